"""Names, types, shapes and meanings of the tensors that graphs take and answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from perception.export.graphs.sparse import SparseBuilder, Spread, TableConv
from perception.export.manifest import SetRule, TensorSpec
from perception.heads.anchor_head import AnchorHead


def voxel_specs(model: Any) -> tuple[TensorSpec, ...]:
    """Points and what tells which voxel they are in; voxels in the order of z, y, x."""
    width, slots = 3 + len(model.config.point_fields), getattr(model.config, "max_points", 0)
    fields = ", ".join(("x", "y", "z", *model.config.point_fields))
    if is_dynamic(model):
        return (
            TensorSpec("points", "float32", ("points", width), f"{fields} of each point in range"),
            TensorSpec("owner", "int64", ("points",), "row of the voxel that each point lies in"),
        )
    return (
        TensorSpec("points", "float32", ("rows0", slots, width), f"{fields} in the slots of each voxel, else zeros"),
        TensorSpec("owner", "int64", ("rows0",), "how many slots of each voxel are filled"),
    )


def pillar_specs(model: Any) -> tuple[TensorSpec, ...]:
    coordinates = TensorSpec("coordinates", "int64", ("rows0", 3), "cell z y x of each voxel; y = Y for filling rows")
    return (*voxel_specs(model), coordinates)


def is_dynamic(model: Any) -> bool:
    config = model.config
    if hasattr(config, "encoder"):
        return bool(config.encoder == "dynamic")
    if hasattr(config, "backbone"):
        return config.backbone in ("dynamic_pillars", "local_pillars", "height_slices")
    return not hasattr(config, "max_points")


def set_specs(rule: SetRule) -> tuple[TensorSpec, ...]:
    name, sets = rule.name, f"sets{rule.name}"
    return (
        TensorSpec(f"rows{name}", "int32", (2, sets, rule.size), "row in each slot of the sets, along y and along x"),
        TensorSpec(f"repeated{name}", "bool", (2, sets, rule.size), "slots that repeat the row of the slot before"),
        TensorSpec(f"slot{name}", "int32", (2, "rows0"), "first slot of each row, counted through all sets"),
        TensorSpec(f"cell{name}", "int32", ("rows0",), "place of each row in its window, (z * Y + y) * X + x"),
    )


def table_specs(builder: SparseBuilder, layers: Sequence[nn.Module]) -> tuple[TensorSpec, ...]:
    """The tables that a segment reads, in the order of the layers."""
    used = {part.table for layer in layers for part in layer.modules() if isinstance(part, TableConv)}
    found = []
    for number, focal in enumerate(builder.focals):
        if f"growth{number}" in used:
            shape = (focal.target, focal.kernel**3)
            found.append(TensorSpec(f"growth{number}", "int32", shape, f"rows of {focal.source} that each tap reads"))
    for rule in builder.tables:
        if rule.name in used:
            taps = rule.kernel[0] * rule.kernel[1] * rule.kernel[2]
            found.append(
                TensorSpec(rule.name, "int32", (rule.target, taps), f"rows of {rule.source} that each tap reads")
            )
    return tuple(found)


def focal_specs(builder: SparseBuilder, number: int, layers: Sequence[nn.Module]) -> tuple[TensorSpec, ...]:
    """What the segment behind growth ``number`` starts from."""
    rule, spread = builder.focals[number], layers[0]
    assert isinstance(spread, Spread)
    specs = [TensorSpec("features", "float32", (rule.source, spread.conv.weight.shape[1]), "what was answered before")]
    if spread.weight is not None:
        specs.append(TensorSpec(spread.weight, "float32", (rule.source, 1), "mean of the importances of each row"))
    return tuple(specs)


def output_specs(head: Any, kept: int, rule: Any) -> tuple[TensorSpec, ...]:
    anchors = isinstance(head, AnchorHead)
    each = len(head.classes) if anchors and rule.class_by_class else 1
    rows = kept * each if anchors else kept * len(head.tasks)
    width = 7 if anchors or not head.velocity else 9
    order = ("best first" if each == 1 else "each once a class") if anchors else f"{kept} of each task, best first"
    overlap = [TensorSpec("overlap", "float32", (rows,), "predicted overlap, 2 IoU - 1")]
    return (
        TensorSpec("boxes", "float32", (rows, width), f"x y z length width height heading; {order}"),
        TensorSpec("scores", "float32", (rows,), "0 to 1, in front of thresholds"),
        TensorSpec("labels", "int64", (rows,), "index into classes"),
        *(overlap if not anchors and head.has_overlap else []),
    )
