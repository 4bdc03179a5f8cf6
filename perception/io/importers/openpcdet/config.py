"""OpenPCDet's configurations as ours: points, voxels, backbone of the map, and the head's part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perception.io.importers.foreign_config import ForeignConfig, two
from perception.io.importers.openpcdet.heads import anchor_head, centre_head, transfusion_head
from perception.io.importers.openpcdet.rois import second_stage
from perception.models.catalogue import entry

FIELDS = {"intensity": "intensity", "timestamp": "time", "elongation": "elongation"}
HEADS = {
    "AnchorHeadSingle": anchor_head,
    "CenterHead": centre_head,
    "VoxelNeXtHead": centre_head,
    "TransFusionHead": transfusion_head,
}
ENCODERS = {
    "PillarVFE": "hard_pillars",
    "DynPillarVFE": "dynamic_pillars",
    "DynamicPillarVFE": "dynamic_pillars",
    "MeanVFE": "",
    "DynamicVoxelVFE": "",
    "DynPillarVFE3D": "",
    "DynamicPillarVFESimple2D": "",
}


def our_values(source: ForeignConfig, name: str) -> dict[str, Any]:
    """Values of the configuration of our model ``name``; what ours cannot express is noted in ``source``."""
    defaults = entry(name).defaults
    values = _points_and_voxels(source)
    values |= _encoder(source, defaults)
    values |= _map_backbone(source, conv=hasattr(defaults, "head") and not hasattr(defaults, "stages"))
    if hasattr(defaults, "channels") and hasattr(defaults, "kernels"):
        values |= _sparse_next(source, defaults)
    if hasattr(defaults, "stages"):
        _check_attention(source, defaults)
    head = source.expect("MODEL.DENSE_HEAD.NAME", *_heads_of(defaults))
    if head in _heads_of(defaults):
        values |= HEADS[head](source, defaults)
    if source.get("MODEL.ROI_HEAD", None):
        values |= second_stage(source, defaults)
    return values


def _heads_of(defaults: Any) -> tuple[str, ...]:
    """Heads that a model of that configuration may have."""
    if hasattr(defaults, "head"):
        return ("TransFusionHead",)
    if hasattr(defaults, "head_kernel"):
        return ("VoxelNeXtHead",)
    return ("CenterHead",) if hasattr(defaults, "tasks") or hasattr(defaults, "stages") else ("AnchorHeadSingle",)


def _points_and_voxels(source: ForeignConfig) -> dict[str, Any]:
    encoding = "DATA_CONFIG.POINT_FEATURE_ENCODING."
    source.expect(encoding + "encoding_type", "absolute_coordinates_encoding", default="absolute_coordinates_encoding")
    names = source.get(encoding + "used_feature_list", []) or []
    for name in names[3:]:
        if name not in FIELDS:
            source.refuse(f"{encoding}used_feature_list has {name!r}")
    values: dict[str, Any] = {
        "point_range": source.numbers("DATA_CONFIG.POINT_CLOUD_RANGE", 6),
        "point_fields": tuple(FIELDS.get(name, name) for name in names[3:]),
    }
    steps = source.get("DATA_CONFIG.DATA_PROCESSOR", []) or []
    found = next((step for step in steps if str(step.get("NAME")).startswith("transform_points_to_voxels")), None)
    if found is None:
        source.refuse("DATA_CONFIG.DATA_PROCESSOR makes no voxels")
        return values
    values["voxel_size"] = tuple(map(float, found.get("VOXEL_SIZE", ())))
    if "MAX_POINTS_PER_VOXEL" in found:
        values["max_points"] = found["MAX_POINTS_PER_VOXEL"]
    caps = found.get("MAX_NUMBER_OF_VOXELS")
    if caps is not None:
        values["max_voxels"] = two([caps["train"], caps["test"]] if isinstance(caps, Mapping) else caps)
    return values


def _encoder(source: ForeignConfig, defaults: Any) -> dict[str, Any]:
    kind = source.expect("MODEL.VFE.NAME", *ENCODERS)
    if kind == "MeanVFE":
        return {}
    source.expect("MODEL.VFE.WITH_DISTANCE", False, default=False)
    source.expect("MODEL.VFE.USE_ABSLOTE_XYZ", True, default=True)
    source.expect("MODEL.VFE.USE_NORM", True, default=True)
    widths = source.get("MODEL.VFE.NUM_FILTERS", []) or []
    if hasattr(defaults, "encoder_channels"):  # PointPillars
        if len(widths) != 1 or kind != "PillarVFE":
            source.refuse(f"MODEL.VFE is {kind} with {widths!r} where PointPillars has PillarVFE with one layer")
        return {"encoder_channels": widths[0] if widths else 0}
    if ENCODERS.get(kind) and hasattr(defaults, "pillar_channels"):
        return {"backbone": ENCODERS[kind], "pillar_channels": widths}
    return {}


def _map_backbone(source: ForeignConfig, conv: bool) -> dict[str, Any]:
    part = "MODEL.BACKBONE_2D."
    if source.get(part[:-1], None) is None:
        return {}
    source.expect(part + "NAME", "BaseBEVBackbone", "BaseBEVResBackbone")
    source.expect(part + "USE_CONV_FOR_NO_STRIDE", conv, default=False)
    return {
        "layers": source.get(part + "LAYER_NUMS"),
        "strides": source.get(part + "LAYER_STRIDES"),
        "filters": source.get(part + "NUM_FILTERS"),
        "up_strides": source.get(part + "UPSAMPLE_STRIDES"),
        "up_filters": source.get(part + "NUM_UPSAMPLE_FILTERS"),
    }


def _sparse_next(source: ForeignConfig, defaults: Any) -> dict[str, Any]:
    part = "MODEL.BACKBONE_3D."
    values: dict[str, Any] = {}
    usual = defaults.channels
    if not defaults.planar:
        usual = (16, 32, 64, 128, 128)
        kernels = source.get(part + "SPCONV_KERNEL_SIZES", [3, 3, 3, 3])
        widths = source.get(part + "CHANNELS", list(usual))
        # Theirs repeats the last width for the sixth stage and its kernel for the fifth convolution.
        values |= {"channels": [*widths, widths[-1]], "kernels": [*kernels, kernels[-1]]}
    values["head_channels"] = source.get(part + "OUT_CHANNEL", 256 if defaults.planar else 128)
    values["head_kernel"] = source.get("MODEL.DENSE_HEAD.KERNEL_SIZE_HEAD", 3)
    source.expect("MODEL.DENSE_HEAD.SHARED_CONV_CHANNEL", values["head_channels"], default=values["head_channels"])
    return values


def _check_attention(source: ForeignConfig, defaults: Any) -> None:
    """DSVT's blocks, windows and sets must be those of our model: they are its identity, not options of a file."""
    part = "MODEL.BACKBONE_3D."
    stages = defaults.stages
    source.expect(part + "INPUT_LAYER.set_info", [[stage.set_size, stage.blocks] for stage in stages])
    source.expect(part + "INPUT_LAYER.window_shape", [list(reversed(stage.window)) for stage in stages])
    shifts = [[[0, 0, 0], list(reversed(stage.shift))] for stage in stages]
    source.expect(part + "INPUT_LAYER.shifts_list", shifts)
    source.expect(part + "INPUT_LAYER.normalize_pos", False, default=False)
    source.expect(part + "d_model", [defaults.channels] * len(stages))
    source.expect(part + "nhead", [defaults.attention_heads] * len(stages))
    source.expect(part + "dim_feedforward", [defaults.feedforward] * len(stages))
