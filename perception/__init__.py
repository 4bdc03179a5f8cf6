"""3D perception on lidar point clouds: detection, keypoints, trees, places and scene flow.

>>> import perception
>>> cloud = perception.read_points("scan.bin")
>>> model = perception.load("centerpoint-small")
>>> (found,) = perception.perceive(model, [cloud])
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# torch asks Linux for pages of 2 MB for its large tensors if this is set before the first of them: maps of a hundred
# megabytes at 4 kB a page cost a network on the CPU up to a fifth of its time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if TYPE_CHECKING:
    from perception.boxes import Boxes3D
    from perception.errors import PerceptionError
    from perception.io.clouds import read_points
    from perception.models.loading import load
    from perception.pipeline import perceive
    from perception.points import PointCloud
    from perception.results import Detections, PlaceDescriptor, SceneFlow, Skeletons, TreeInstances
    from perception.sparse import SparseTensor

# Looked up on first use, so that `import perception` does not wait for torch.
_HOME = {
    "Boxes3D": "boxes",
    "Detections": "results",
    "PerceptionError": "errors",
    "PlaceDescriptor": "results",
    "PointCloud": "points",
    "SceneFlow": "results",
    "Skeletons": "results",
    "SparseTensor": "sparse",
    "TreeInstances": "results",
    "load": "models.loading",
    "perceive": "pipeline",
    "read_points": "io.clouds",
}
__all__ = [
    "Boxes3D",
    "Detections",
    "PerceptionError",
    "PlaceDescriptor",
    "PointCloud",
    "SceneFlow",
    "Skeletons",
    "SparseTensor",
    "TreeInstances",
    "load",
    "perceive",
    "read_points",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'perception' has no attribute {name!r}")
    return getattr(importlib.import_module(f"perception.{_HOME[name]}"), name)
