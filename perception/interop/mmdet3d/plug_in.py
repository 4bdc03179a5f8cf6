"""What happens on import: a stand-in for mmcv's compiled module, our layers in mmdet3d's registry, plainer errors."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from perception.errors import PerceptionError
from perception.interop import mmcv

INSTALL = (
    "pip install 'lidar-perception[mmdet3d]' && "
    "pip install --no-deps mmdet3d==1.4.0 nuscenes-devkit==1.2.0 lyft-dataset-sdk==0.0.8"
)
PACKAGES = ("mmengine", "mmcv", "mmdet", "mmdet3d")


def require() -> None:
    """Raise PerceptionError for the first of mmdet3d's packages that is not installed."""
    for package in PACKAGES:
        found = find_spec(package)
        if found is None or found.origin is None:  # a folder of that name is no package
            raise PerceptionError(
                f"the package {package!r} is not installed", "the optional dependencies of 'mmdet3d'", INSTALL
            )


def install() -> None:
    """Register our layers in place of mmdet3d's of the same names; once is enough, twice does no harm."""
    mmcv.install()
    importlib.import_module("mmdet3d.models")  # its own layers register first, so that ours may replace them
    from mmdet3d.registry import MODELS
    from mmengine.registry import MODELS as EVERY_MODEL

    from perception.interop.mmdet3d import evaluation
    from perception.interop.mmdet3d.backbones import DSVTEncoder, FocalsConvEncoder, VoxelNeXtEncoder
    from perception.interop.mmdet3d.missing import explain
    from perception.interop.mmdet3d.sparse_encoder import SparseEncoder

    for layer in (SparseEncoder, FocalsConvEncoder, VoxelNeXtEncoder, DSVTEncoder):
        MODELS.register_module(module=layer, force=True)
    for registry in (MODELS, EVERY_MODEL):
        explain(registry)
    evaluation.install()
    _allow_own_checkpoints()


def _allow_own_checkpoints() -> None:
    """What mmengine writes into its checkpoints beside tensors, so that ``resume`` passes torch's weights_only."""
    from mmengine.logging import HistoryBuffer

    array: Any = np.zeros(1).__reduce__()[0]  # its module has another name in each NumPy
    scalar: Any = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "b1", "u1", "U1")}

    def statistic(owner: object, name: str) -> Callable[..., Any]:
        """In place of getattr, by which the pickle of a HistoryBuffer names its four methods."""
        if owner is not HistoryBuffer or name not in ("min", "max", "mean", "current"):
            raise PerceptionError(f"a checkpoint that asks for {name!r:.60} of {owner!r:.60}", "what mmengine writes")
        return getattr(HistoryBuffer, name)

    named = [(statistic, f"{builtins}.getattr") for builtins in ("builtins", "__builtin__")]
    torch.serialization.add_safe_globals([HistoryBuffer, np.ndarray, np.dtype, array, scalar, *dtypes, *named])
