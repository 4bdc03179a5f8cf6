"""Which graphs a model of the catalogue becomes."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import nn

from perception.backbones.sparse_encoder import FourStages
from perception.errors import PerceptionError
from perception.export.graphs.encoders import encoder_graph
from perception.export.graphs.fold import fold_maps
from perception.export.graphs.maps import ToMap
from perception.export.graphs.network import DenseEnd, Graph, Graphs, PillarGraph, SparseGraph
from perception.export.graphs.outputs import AnchorOutput, CentreOutput
from perception.export.graphs.sets import SetBlocks
from perception.export.graphs.sparse import SparseBuilder
from perception.export.graphs.specs import focal_specs, output_specs, pillar_specs, set_specs, table_specs, voxel_specs
from perception.export.manifest import SetRule, TensorSpec
from perception.heads.anchor_head import AnchorHead
from perception.heads.centre_head import CentreHead
from perception.models.centerpoint import CenterPoint
from perception.models.detector import Detector
from perception.models.dsvt import SetDetector
from perception.models.pointpillars import PointPillars
from perception.models.second import SECOND

EXPORTABLE = "SECOND, PointPillars, CenterPoint, Focals Conv with CenterPoint's head, DSVT with pillars"


def graphs_of(model: Detector, candidates: int | None = None) -> Graphs:
    """The graphs of a model in eval mode, which is left as it is.

    ``candidates`` caps the boxes that a graph answers with, for runtimes that sort only so many.
    PerceptionError names the part of a model that has no exported form.
    """
    model = deepcopy(model).eval().cpu().requires_grad_(False)
    model.train(False)
    fold_maps(model)
    model_any: Any = model
    if isinstance(model, SetDetector):
        return _sets(model_any, candidates)
    if isinstance(model, PointPillars) or (isinstance(model, CenterPoint) and model.pillars):
        return _pillars(model_any, candidates)
    if type(model) is SECOND or isinstance(model, CenterPoint):
        return _sparse(model_any, candidates)
    raise PerceptionError(
        f"{type(model).__name__} has a part without an exported form: its {_last_part(model)}",
        EXPORTABLE,
        "export one of these, or run this model in torch",
    )


def _last_part(model: Detector) -> str:
    return f"{model.stages[-1]} ({type(getattr(model, model.stages[-1], model)).__name__})"


def _pillars(model: Any, candidates: int | None) -> Graphs:
    inputs = pillar_specs(model)
    end, kept, outputs = _end(model, model.bev, model.grid.shape[1:], 1, candidates)
    module = PillarGraph([spec.name for spec in inputs], encoder_graph(model.encoder), end)
    return Graphs((Graph(module, inputs, outputs),), kept)


def _sets(model: Any, candidates: int | None) -> Graphs:
    (stage,) = model.config.stages if len(model.config.stages) == 1 else (None,)
    if stage is None:
        raise PerceptionError("backbone: attention pooling between stages has no exported form", "one stage (pillars)")
    if model.config.pruned:
        raise PerceptionError(
            f"backbone: pruned = {model.config.pruned}, which has no exported form", "pruned = 0", "export it unpruned"
        )
    windows, shifts = (stage.window, stage.shifted_window), ((0, 0, 0), stage.shift)
    rules = tuple(
        SetRule(str(i), stage.set_size, window, shift) for i, (window, shift) in enumerate(zip(windows, shifts))
    )
    inputs = (*pillar_specs(model), *(spec for rule in rules for spec in set_specs(rule)))
    end, kept, outputs = _end(model, model.bev, model.grid.shape[1:], 1, candidates)
    sets = SetBlocks(model.backbone.stages[0])
    module = PillarGraph([spec.name for spec in inputs], encoder_graph(model.encoder), end, sets)
    return Graphs((Graph(module, inputs, outputs),), kept, sets=rules)


def _sparse(model: Any, candidates: int | None) -> Graphs:
    builder, backbone = SparseBuilder(), model.backbone
    if not isinstance(backbone, FourStages):
        raise PerceptionError(f"backbone: a {type(backbone).__name__}", "four stages of sparse convolution")
    for name in ("stem", "stage1", "stage2", "stage3", "stage4", "out"):
        builder.add(getattr(backbone, name), f"backbone.{name}")
    depth, height, width = model.grid.shape
    shape = builder.shape((depth + 1, height, width))
    end, kept, outputs = _end(model, model.bev, shape[1:], shape[0], candidates)
    parts = []
    for number, layers in enumerate(builder.segments):
        last = number == len(builder.segments) - 1
        first = voxel_specs(model) if number == 0 else focal_specs(builder, number - 1, layers)
        cells = (TensorSpec("cells", "int64", (builder.level,), "cell (z * Y + y) * X + x of each row of the map"),)
        inputs = (*first, *table_specs(builder, layers), *(cells if last else ()))
        encoder = encoder_graph(model.encoder) if number == 0 else None
        module = SparseGraph([spec.name for spec in inputs], encoder, layers, end if last else None)
        parts.append(Graph(module, inputs, outputs if last else _grown(builder, number)))
    return Graphs(tuple(parts), kept, tables=tuple(builder.tables), focals=tuple(builder.focals))


def _grown(builder: SparseBuilder, number: int) -> tuple[TensorSpec, ...]:
    rule, spread = builder.focals[number], builder.widths[number]
    return (
        TensorSpec(f"features{number}", "float32", (rule.source, spread), "features of each row in front of growth"),
        TensorSpec(
            f"importance{number}",
            "float32",
            (rule.source, rule.kernel**3),
            "importance of each neighbour in the order of taps without the centre, then of the row itself",
        ),
    )


def _end(
    model: Any, bev: nn.Module, plane: tuple[int, int], depth: int, candidates: int | None
) -> tuple[DenseEnd, int, tuple[TensorSpec, ...]]:
    head, rule = model.head, model.config.selection
    strides, ups = model.config.strides, model.config.up_strides
    shape = _size(plane[0], strides, ups), _size(plane[1], strides, ups)
    output: AnchorOutput | CentreOutput
    if isinstance(head, AnchorHead):
        kept = min(rule.candidates, candidates or rule.candidates)
        output = AnchorOutput(head, shape, kept, rule.class_by_class)
        kept = output.candidates
    elif isinstance(head, CentreHead):
        kept = min(rule.peaks, candidates or rule.peaks, min(map(len, head.ranges)) * shape[0] * shape[1])
        output = CentreOutput(head, kept)
    else:
        raise PerceptionError(
            f"head: a {type(head).__name__} has no exported form yet", "an anchor head or a centre head"
        )
    return DenseEnd(ToMap((depth, *plane)), bev, output), kept, output_specs(head, kept, rule)


def _size(cells: int, strides: Any, ups: Any) -> int:
    """Cells of the head's map along an axis: a 3x3 convolution of the first level, then its resizing."""
    cells = (cells - 1) // strides[0] + 1
    return int(cells * ups[0]) if ups[0] >= 1 else cells // round(1 / ups[0])
