"""What to say where a configuration names a type that no registry has: which of ours, of mmdet3d's or which package."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from perception.errors import PerceptionError

_FOCALS = "FocalsConvEncoder of perception.interop.mmdet3d"
_VOXELNEXT = "VoxelNeXtEncoder of perception.interop.mmdet3d"
_DSVT = "DSVTEncoder of perception.interop.mmdet3d"
_TRANSFUSION = "ours is a whole model: perception.load('transfusion-lidar')"
SERVED_BY = {
    "VoxelBackBone8x": "SparseEncoder, with perception.interop.mmdet3d on our engine",
    "VoxelResBackBone8x": "SparseEncoder with block_type='basicblock', with perception.interop.mmdet3d on our engine",
    "MeanVFE": "HardSimpleVFE of mmdet3d",
    "DynamicMeanVFE": "DynamicSimpleVFE of mmdet3d",
    "PillarVFE": "PillarFeatureNet of mmdet3d",
    "PointPillarScatter": "PointPillarsScatter of mmdet3d",
    "BaseBEVBackbone": "SECOND as backbone and SECONDFPN as neck, both of mmdet3d",
    "AnchorHeadSingle": "Anchor3DHead of mmdet3d",
    "VoxelBackBone8xFocal": _FOCALS,
    "FocalSparseEncoder": _FOCALS,
    "FocalSparseConv": _FOCALS,
    "SpMiddleResNetFHDFocal": f"{_FOCALS} with residual=True",
    "SpMiddleResNetFHD": "SparseEncoder with block_type='basicblock'",
    "VoxelResBackBone8xVoxelNeXt": _VOXELNEXT,
    "VoxelNeXt": _VOXELNEXT,
    "DSVT": _DSVT,
    "DSVTMiddleEncoder": _DSVT,
    "DSVTBackbone": _DSVT,
    "TransFusionHead": _TRANSFUSION,
    "TransFusionDetector": _TRANSFUSION,
    "BEVFusion": "mmdet3d's projects/BEVFusion, which the package does not carry: add it to custom_imports",
}


def hint(name: str, known: Iterable[str]) -> str:
    """What serves instead of the type ``name``."""
    if name in SERVED_BY:
        return f"take {SERVED_BY[name]}"
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "name the module that registers it in custom_imports"


def explain(registry: Any) -> None:
    """Let ``registry`` (of mmengine) answer unknown types with what serves instead."""
    build = registry.build_func
    if getattr(build, "explains", False):
        return

    def explained(cfg: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return build(cfg, *arguments, **named)
        except KeyError as error:
            name = cfg.get("type") if hasattr(cfg, "get") else None
            if not isinstance(name, str) or "is not in the" not in str(error):
                raise
            raise PerceptionError(
                f"the type {name!r}, which {registry.scope} does not have", "a registered layer", hint(name, _all())
            ) from error

    explained.explains = True  # type: ignore[attr-defined]
    registry.build_func = explained


def _all() -> set[str]:
    from mmdet3d.registry import MODELS

    return set(MODELS.module_dict)
