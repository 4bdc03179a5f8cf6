"""VoxelNeXt's head (Chen et al. 2023, section 3.2): objects are found and described in the sparse voxels themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from perception.heads.centre_grid import CentreGrid, decode
from perception.heads.centre_head import (
    CentreLossWeights,
    branch_widths,
    initialise,
    object_losses,
    total_loss,
    value_names,
)
from perception.heads.centre_selection import CentreSelection, Peaks, best, gather_peaks, suppress
from perception.heads.centre_targets import objects_of_task
from perception.heads.sparse_branches import SparseBranch
from perception.heads.sparse_targets import sparse_targets
from perception.losses.centre import penalised_focal
from perception.results import Detections
from perception.sparse import SparseTensor
from perception.sparse.scatter import gather_rows

# Bound of the sizes' logarithms in the losses of overlap: early predictions must not blow them up.
LOG_LIMIT = 5.0


@dataclass(frozen=True, eq=False)
class TaskRows:
    """Of one task on N rows: ``heatmap`` (N, C) logits; ``values`` (N, 8 or 10) and ``overlap`` (N, 1), where None the
    head has none, or has left them for the few rows that need them."""

    heatmap: Tensor
    values: Tensor | None = None
    overlap: Tensor | None = None


@dataclass(frozen=True, eq=False)
class SparseCentrePredictions:
    """``features`` on (y, x) sites that the answers are read from."""

    features: SparseTensor
    tasks: tuple[TaskRows, ...]


class SparseCentreHead(nn.Module):
    """For each task a small network for every kind of value, on the rows of a sparse map; see ``CentreHead``."""

    def __init__(
        self,
        channels: int,
        tasks: Sequence[Sequence[str]],
        grid: CentreGrid,
        kernel: int,
        velocity: bool = False,
        overlap: bool = False,
    ) -> None:
        super().__init__()
        self.grid, self.velocity, self.has_overlap = grid, velocity, overlap
        self.classes = tuple(name for names in tasks for name in names)
        ends = list(accumulate(len(names) for names in tasks))
        self.ranges = tuple(range(end - len(names), end) for end, names in zip(ends, tasks))
        self.tasks = nn.ModuleList()
        for names in tasks:
            widths = branch_widths(len(names), velocity, overlap)
            self.tasks.append(nn.ModuleDict({n: SparseBranch(channels, width, kernel) for n, width in widths.items()}))
        initialise(self.tasks)

    def forward(self, x: SparseTensor) -> SparseCentrePredictions:
        """Everything for training; in use without gradients the heatmaps, whose peaks alone need values."""
        tasks = range(len(self.tasks))
        if self.training or torch.is_grad_enabled():
            return SparseCentrePredictions(x, tuple(self.everywhere(x, task) for task in tasks))
        return SparseCentrePredictions(x, tuple(TaskRows(self._branch(task, "heatmap")(x)) for task in tasks))

    def everywhere(self, x: SparseTensor, task: int) -> TaskRows:
        """All answers of a task on all rows."""
        values = torch.cat([self._branch(task, name)(x) for name in value_names(self.velocity)], 1)
        overlap = self._branch(task, "overlap")(x) if self.has_overlap else None
        return TaskRows(self._branch(task, "heatmap")(x), values, overlap)

    def _at(self, predictions: SparseCentrePredictions, task: int, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (M, 8 or 10) and overlaps (M,) in some rows."""
        given, x = predictions.tasks[task], predictions.features
        if given.values is not None:
            overlap = None if given.overlap is None else gather_rows(given.overlap, rows)[:, 0]
            return gather_rows(given.values, rows), overlap
        values = torch.cat([self._branch(task, name).at(x, rows) for name in value_names(self.velocity)], 1)
        return values, self._branch(task, "overlap").at(x, rows)[:, 0] if self.has_overlap else None

    def _branch(self, task: int, name: str) -> SparseBranch:
        branch = self.tasks[task][name]  # type: ignore[index]
        assert isinstance(branch, SparseBranch)
        return branch

    def loss(
        self,
        predictions: SparseCentrePredictions,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        weights: CentreLossWeights,
    ) -> dict[str, Tensor]:
        """``loss`` and its parts, summed over the tasks.

        ``boxes`` (N, 7 or 9) and class indices ``labels`` (N,) of each sample.
        """
        weights.check_sparse()
        sites = predictions.features.sites
        height, width = sites.spatial_shape
        terms = []
        for task, (rows, classes) in enumerate(zip(predictions.tasks, self.ranges)):
            with torch.no_grad():
                objects = objects_of_task(boxes, labels, classes, self.grid, (height, width), self.velocity)
                targets = sparse_targets(objects, len(classes), sites)
            values, overlap = self._at(predictions, task, targets.row)
            cells = sites.coordinates[targets.row][:, [2, 1]]
            parts = object_losses(cells, values, overlap, targets.values, targets.boxes, self.grid, weights, LOG_LIMIT)
            heatmap = weights.heatmap * penalised_focal(rows.heatmap, targets.heatmap)
            terms.append({"heatmap": heatmap, **parts})
        return total_loss(terms)

    def results(self, predictions: SparseCentrePredictions, selection: CentreSelection) -> list[Detections]:
        """Peaks, their boxes, suppression: one Detections a sample, best first."""
        batch = predictions.features.sites.batch_size
        return [
            suppress(self.peaks(predictions, sample, selection), selection, self.classes) for sample in range(batch)
        ]

    def peaks(self, predictions: SparseCentrePredictions, sample: int, selection: CentreSelection) -> list[Peaks]:
        """Candidates of one sample, task by task, as suppression gets them."""
        sites = predictions.features.sites
        mine = (sites.coordinates[:, 0] == sample).nonzero()[:, 0]
        found = []
        for task, (rows, classes) in enumerate(zip(predictions.tasks, self.ranges)):
            scores = rows.heatmap[mine].float().sigmoid().T.flatten()
            top = best(scores, selection.peaks, selection.score_threshold)
            # Classes one after the other, each with as many cells as the sample has.
            cells = max(len(mine), 1)
            row, label = mine[top % cells], torch.div(top, cells, rounding_mode="floor") + classes.start
            values, overlap = self._at(predictions, task, row)
            boxes = decode(sites.coordinates[row][:, [2, 1]], values.float(), self.grid)
            found.append(
                gather_peaks(boxes, scores[top], label, None if overlap is None else overlap.float(), selection)
            )
        return found
