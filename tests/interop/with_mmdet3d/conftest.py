"""The tests against the real mmdet3d: in an environment of their own, which ``make test-mmdet3d`` makes."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # spconv's CPU convolution is silently wrong with more
sys.path.insert(0, str(Path(__file__).parents[2] / "io"))  # the weights by a rule

if find_spec("mmengine"):
    import perception.interop.mmdet3d  # noqa: F401  before anything of mmdet3d that needs mmcv's compiled module
