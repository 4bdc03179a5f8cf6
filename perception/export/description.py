"""The manifest of a model before its files are written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch

from perception import __version__
from perception.errors import missing_extra
from perception.export.graphs.network import Graphs
from perception.export.graphs.specs import is_dynamic
from perception.export.manifest import Limits, Manifest, Segment, VoxelRule
from perception.heads.anchor_head import AnchorHead
from perception.io.weights import WeightsHeader
from perception.models.centerpoint import columns
from perception.models.detector import Detector
from perception.sparse import VoxelGrid

if TYPE_CHECKING:
    from perception.export.write import Order

MOST_POINTS = 1_000_000
MOST_VOXELS = 200_000
# Stands in until the files are written; never on the disk.
NO_FILE = Segment("none", 0, "", (), ())


def describe(model: Detector, header: WeightsHeader, graphs: Graphs, order: Order) -> Manifest:
    config: Any = model.config
    head: Any = model.head
    anchors = isinstance(head, AnchorHead)
    rule = voxel_rule(model)
    most = rule.max_voxels or MOST_VOXELS
    return Manifest(
        model=header.model,
        classes=model.classes,
        point_fields=config.point_fields,
        point_range=config.point_range,
        voxel_size=config.voxel_size,
        voxels=rule,
        limits=Limits(order.points or MOST_POINTS, min(order.voxels or most, most)),
        segments=(NO_FILE,) * (len(graphs.focals) + 1),
        target=order.target,
        precision=order.precision,
        velocity=model.velocity,
        ground_height=model.ground_height,
        opset=None if order.target == "aoti" else order.opset,
        tables=graphs.tables,
        sets=graphs.sets,
        focals=graphs.focals,
        anchors=_capped(config.selection, candidates=graphs.candidates) if anchors else None,
        centres=None if anchors else _capped(config.selection, peaks=graphs.candidates),
        tasks=1 if anchors else len(head.tasks),
        steps=steps(rule, graphs, anchors),
        weights=weights_digest(model),
        trained_on=header.card.trained_on,
        licence=header.card.licence,
    )


def voxel_rule(model: Detector) -> VoxelRule:
    """The cells that points are counted in, and the grid that they are cells of."""
    config: Any = model.config
    grid: VoxelGrid = model.grid
    depth, height, width = grid.shape
    if getattr(config, "backbone", "") == "dynamic_pillars":
        grid = columns(grid)
    if is_dynamic(model):
        return VoxelRule("dynamic", grid.point_range, grid.voxel_size, (depth, height, width))
    sparse = hasattr(model, "flatten") and type(model.flatten).__name__ == "FlattenHeight"
    shape = (depth + 1, height, width) if sparse else (depth, height, width)
    caps = config.max_points, config.max_voxels[1]
    return VoxelRule("hard", grid.point_range, grid.voxel_size, shape, *caps)


def steps(rule: VoxelRule, graphs: Graphs, anchors: bool) -> tuple[str, ...]:
    """What a program has to do, in words; numbers are elsewhere in the manifest."""
    found = [
        "cell of a point: floor((x - low) / voxel_size) in float32, for x, y and z; points outside voxels.point_range "
        "are left out",
        "voxels in ascending order of z, y, x; at least two rows everywhere: fill up with rows of zeros, owner "
        "the last voxel (dynamic) or 0 (hard), coordinates (0, Y, 0)",
    ]
    if graphs.tables:
        found.append(
            "tables in their order; the sites of a strided table's target are all cells that an input reaches, in "
            "ascending order of z, y, x, of a grid with (n + 2 padding - dilation (kernel - 1) - 1) // stride + 1 cells"
        )
    if graphs.sets:
        found.append(
            "sets: windows hold cells with floor((cell + shift) / window); a window of n rows has ceil(n / size) sets, "
            "slot j of set s holds the row of rank floor((s size + j) n / (sets size)), ranks by y, x, z (index 0) and "
            "by x, y, z (index 1) within the window; a window as high as the grid is not shifted along z"
        )
    if graphs.focals:
        found.append(
            "growth between files: the share (top) or the threshold of importance[:, -1] tells foreground rows; of "
            "those, neighbours whose importance reaches the threshold become cells, cell 0 of any axis never; weight "
            "is the mean of the importances that propose a row, itself counted as 1, and 1 for the background"
        )
    if anchors:
        found.append(
            "keep scores above anchors.score_threshold; suppress by rotated overlap, all classes together or, with "
            "anchors.class_by_class, each by itself; keep the best anchors.maximum of them"
        )
    else:
        found.append(
            "each task: keep scores above centres.score_threshold; with a rectifier a of the class, score becomes "
            "score^(1 - a) ((overlap + 1) / 2)^a; keep centres in centre_range; suppress by rotated overlap, one rule "
            "for a task or one a class; with centres.radii by the distance of centres instead, one radius a task"
        )
    return tuple(found)


def versions(target: str) -> dict[str, str]:
    found = {"lidar-perception": __version__, "torch": str(torch.__version__)}
    if target != "aoti":
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise missing_extra(str(error.name), "export") from None
        found |= {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    return found


def weights_digest(model: Detector) -> str:
    """sha256 of all parameters and buffers, in the order of their names."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _capped(rule: Any, **caps: int) -> Any:
    from dataclasses import replace

    return replace(rule, **caps)
