"""A detector as one or more graphs of tensors, with the names, shapes and meanings of all that goes in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perception.export.graphs.encoders import Encoder
from perception.export.graphs.maps import ToMap
from perception.export.graphs.sets import SetBlocks
from perception.export.manifest import FocalRule, SetRule, TableRule, TensorSpec


@dataclass(frozen=True, eq=False)
class Graph:
    """``module`` takes tensors in the order of ``inputs`` and returns a tuple in the order of ``outputs``."""

    module: GraphModule
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, eq=False)
class Graphs:
    """The graphs of a model in the order in which they run, and the rules that their inputs follow."""

    parts: tuple[Graph, ...]
    candidates: int
    tables: tuple[TableRule, ...] = ()
    sets: tuple[SetRule, ...] = ()
    focals: tuple[FocalRule, ...] = ()


class GraphModule(nn.Module):
    """``heavy`` are the parts that lower precision pays for."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)

    @property
    def heavy(self) -> list[nn.Module]:
        raise NotImplementedError

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return self.run(dict(zip(self.names, tensors)))

    def run(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        raise NotImplementedError


class DenseEnd(nn.Module):
    """Rows to a map, the 2D backbone and the head's output."""

    def __init__(self, to_map: ToMap, bev: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.to_map, self.bev, self.output = to_map, bev, output

    def forward(self, rows: Tensor, cells: Tensor) -> tuple[Tensor, ...]:
        kind = next(self.bev.parameters()).dtype
        found: tuple[Tensor, ...] = self.output(self.bev(self.to_map(rows.to(kind), cells)))
        return found


class PillarGraph(GraphModule):
    """Pillars encoded from points, attention in sets where the model has it, then the dense end."""

    def __init__(self, names: Sequence[str], encoder: Encoder, end: DenseEnd, sets: SetBlocks | None = None) -> None:
        super().__init__(names)
        self.encoder, self.sets, self.end = encoder, sets, end

    @property
    def heavy(self) -> list[nn.Module]:
        return [self.end.bev, self.end.output, *([] if self.sets is None else [self.sets])]

    def run(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        coordinates = given["coordinates"]
        rows = self.encoder(given["points"], given["owner"], coordinates)
        if self.sets is not None:
            rows = self.sets(rows.to(next(self.sets.parameters()).dtype), given).float()
        return self.end(rows, coordinates[:, 1] * self.end.to_map.shape[2] + coordinates[:, 2])


class SparseGraph(GraphModule):
    """A run of sparse layers. The first of a model starts from points, the last ends in the dense end."""

    def __init__(
        self, names: Sequence[str], encoder: Encoder | None, layers: Sequence[nn.Module], end: DenseEnd | None
    ) -> None:
        super().__init__(names)
        self.encoder, self.layers, self.end = encoder, nn.ModuleList(layers), end

    @property
    def heavy(self) -> list[nn.Module]:
        return [self.layers, *([] if self.end is None else [self.end.bev, self.end.output])]

    def run(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        if self.encoder is None:
            rows = given["features"]
        else:
            rows = self.encoder(given["points"], given["owner"], given["owner"])
        rows = rows.to(next(self.layers.parameters()).dtype)
        importance: Tensor | None = None
        for layer in self.layers:
            found = layer(rows, given)
            rows, importance = found if isinstance(found, tuple) else (found, None)
        if self.end is not None:
            return self.end(rows.float(), given["cells"])
        assert importance is not None
        return rows.float(), importance.float()


def lower(graphs: Graphs) -> None:
    """Half precision in the heavy parts, in place; what goes in and out stays float32."""
    for graph in graphs.parts:
        for part in graph.module.heavy:
            part.half()


def run_graph(graph: Graph, arrays: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """The graph in eager torch."""
    with torch.inference_mode():
        return graph.module(*(arrays[spec.name] for spec in graph.inputs))
