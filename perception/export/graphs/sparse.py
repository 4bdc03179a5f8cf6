"""Sparse convolution in standard operators: gather the neighbours of each output, multiply by the taps, add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from perception.backbones.focal import FocalConv
from perception.backbones.sparse_resnet import ResidualBlock
from perception.errors import PerceptionError
from perception.export.manifest import FocalRule, TableRule
from perception.sparse import ConvNormReLU, SparseConv, SubmanifoldConv
from perception.sparse.conv import SparseLayer

# Taps gathered at once: 27 in three pieces need a third of the memory and no more time (measured).
TAPS_AT_ONCE = 9
Tables = Mapping[str, Tensor]


class TableConv(nn.Module):
    """A convolution with its normalisation folded; rows (N, C) and a table (M, K) give (M, outputs)."""

    def __init__(self, conv: SparseLayer, scale: Tensor, shift: Tensor, rectify: bool, table: str) -> None:
        super().__init__()
        self.rectify, self.table = rectify, table
        shift = shift if conv.bias is None else shift + conv.bias * scale
        weight = (conv.taps() * scale[:, None, None]).permute(1, 2, 0).contiguous()
        self.weight, self.bias = nn.Parameter(weight.detach()), nn.Parameter(shift.detach().clone())

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        rows = tables[self.table]
        taps, inputs, outputs = self.weight.shape
        x = torch.cat([x, torch.zeros((1, inputs), dtype=x.dtype)])  # the row that missing neighbours are read from
        answer: Tensor = self.bias
        for tap in range(0, taps, TAPS_AT_ONCE):
            weight = self.weight[tap : tap + TAPS_AT_ONCE].reshape(-1, outputs)
            near = x.index_select(0, rows[:, tap : tap + TAPS_AT_ONCE].reshape(-1)).reshape(-1, weight.shape[0])
            answer = answer + near @ weight
        return answer.relu() if self.rectify else answer


class ResidualRows(nn.Module):
    def __init__(self, first: TableConv, second: TableConv) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        return (self.second(self.first(x, tables), tables) + x).relu()


class Importance(nn.Module):
    """The end of a segment in front of growth: features (N, C), and importances (N, K) of each row and its taps."""

    def __init__(self, enlarge: TableConv | None, importance: TableConv, mask: bool) -> None:
        super().__init__()
        self.enlarge, self.importance, self.mask = enlarge, importance, mask

    def forward(self, x: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
        wide = x if self.enlarge is None else self.enlarge(x, tables)
        importance = self.importance(wide, tables).float().sigmoid()
        return (x * importance[:, -1:].to(x.dtype) if self.mask else x), importance


class Spread(nn.Module):
    """The begin of a segment behind growth; ``weight`` (N, 1) are means of importances, where they are averaged."""

    def __init__(self, conv: TableConv, weight: str | None) -> None:
        super().__init__()
        self.conv, self.weight = conv, weight

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        return self.conv(x if self.weight is None else x * tables[self.weight].to(x.dtype), tables)


@dataclass
class SparseBuilder:
    """Walks a sparse backbone, makes its layers and notes the tables that they need, each once."""

    level: str = "rows0"
    tables: list[TableRule] = field(default_factory=list)
    focals: list[FocalRule] = field(default_factory=list)
    segments: list[list[nn.Module]] = field(default_factory=lambda: [[]])
    widths: list[int] = field(default_factory=list)
    _levels: int = 0

    def add(self, module: nn.Module, name: str) -> None:
        """Translate a part of a backbone; ``name`` says in errors which part that was."""
        if isinstance(module, nn.Sequential):
            for number, part in enumerate(module):
                self.add(part, f"{name}.{number}")
        elif isinstance(module, ConvNormReLU):
            self._append(self._unit(module, name))
        elif isinstance(module, ResidualBlock):
            first, second = self._unit(module.first, f"{name}.first"), self._unit(module.second, f"{name}.second")
            self._append(ResidualRows(first, second))
        elif isinstance(module, FocalConv):
            self._focal(module, name)
        else:
            raise PerceptionError(
                f"{name}: a {type(module).__name__} has no form in standard operators yet",
                "convolutions with normalisation, residual blocks and focal convolutions",
                "export a model without it",
            )

    def shape(self, cells: tuple[int, ...]) -> tuple[int, int, int]:
        """The grid (z, y, x) that is left of so many cells."""
        for rule in self.tables:
            if rule.kind == "strided":
                axes = zip(cells, rule.kernel, rule.stride, rule.padding, rule.dilation)
                cells = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
        depth, height, width = cells
        return depth, height, width

    def _append(self, part: nn.Module) -> None:
        self.segments[-1].append(part)

    def _unit(self, unit: ConvNormReLU, name: str) -> TableConv:
        return TableConv(unit.conv, *unit.norm.folded(), unit.rectify, self._table(unit.conv, name))

    def _table(self, conv: SparseLayer, name: str) -> str:
        if isinstance(conv, SubmanifoldConv):
            rule = TableRule("", "submanifold", conv.kernel, self.level, self.level, dilation=conv.dilation)
        elif isinstance(conv, SparseConv) and conv.dialect == "spconv":
            self._levels += 1
            target = f"rows{self._levels}"
            rule = TableRule("", "strided", conv.kernel, self.level, target, conv.stride, conv.padding, conv.dilation)
            self.level = target
        else:
            raise PerceptionError(f"{name}: {type(conv).__name__} {conv}", "submanifold and strided convolutions")
        return self._known(rule)

    def _known(self, rule: TableRule) -> str:
        for known in self.tables:
            if replace(known, name="") == rule:
                return known.name
        named = replace(rule, name=f"table{len(self.tables)}")
        self.tables.append(named)
        return named.name

    def _focal(self, focal: FocalConv, name: str) -> None:
        options = focal.options
        if options.merge != "coordinates":
            raise PerceptionError(f"{name}: growth merged as {options.merge!r}", "'coordinates'")
        one = focal.importance.weight.new_ones(len(focal.importance.weight))
        enlarge = None if focal.enlarge is None else self._unit(focal.enlarge, f"{name}.enlarge")
        table = self._table(focal.importance, f"{name}.importance")
        self._append(Importance(enlarge, TableConv(focal.importance, one, one * 0, False, table), options.mask))
        self._levels += 1
        source, self.level = self.level, f"rows{self._levels}"
        number, spread = len(self.focals), focal.spread
        self.widths.append(spread.conv.weight.shape[-1])
        self.focals.append(
            FocalRule(
                source, self.level, options.kernel, options.threshold, options.top, options.average, options.merge
            )
        )
        conv = TableConv(spread.conv, *spread.norm.folded(), spread.rectify, f"growth{number}")
        self.segments.append([Spread(conv, f"weight{number}" if options.average else None)])
