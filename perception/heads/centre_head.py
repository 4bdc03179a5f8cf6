"""The centre head of CenterPoint (Yin et al. 2021): objects are peaks of a heatmap, with their boxes at the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.config import config
from perception.dense import Layers
from perception.errors import PerceptionError
from perception.heads.centre_grid import CentreGrid, axes, decode
from perception.heads.centre_selection import CentreSelection, Peaks, best, gather_peaks, suppress
from perception.heads.centre_targets import centre_targets, objects_of_task
from perception.heads.dense_branches import answers_at, branch, conv_norm_relu
from perception.losses.centre import distance_iou, mean_l1, overlap_l1, penalised_focal
from perception.results import Detections
from perception.sparse.scatter import gather_rows

# Scores start at 0.1 everywhere: sigmoid(-2.19).
HEATMAP_BIAS = -2.19


@config
class CentreLossWeights:
    """``heatmap``, and ``box`` for the L1 loss of the values, of which each has a further weight in ``codes``: offset
    (2), z, log of the sizes (3), cosine, sine, velocity (2).

    ``distance_iou`` weighs a DIoU loss of the boxes and ``overlap`` the L1 loss of predicted overlaps, for heads that
    predict them; ``side`` that of which way along its axis a box heads, for heads that predict axes. ``reach``: how
    many cells beside an object's own, in each direction, learn its box too; for dense maps only.
    """

    heatmap: float = 1.0
    box: float = 2.0
    codes: tuple[float, ...] = (1.0,) * 8
    distance_iou: float = 0.0
    overlap: float = 1.0
    side: float = 0.2
    reach: int = 0

    def check_sparse(self) -> None:
        if self.reach:
            raise PerceptionError(f"reach = {self.reach} for a sparse map", "reach = 0: cells beside may be empty")


@dataclass(frozen=True, eq=False)
class TaskMaps:
    """Of one task: ``heatmap`` (B, C, H, W) logits, and the ``shared`` features (B, C, H, W) that all is read from.

    ``values`` (B, 8 to 11, H, W) and ``overlap`` (B, 1, H, W) are None where the head has none, or has left them for
    the few cells that need them.
    """

    heatmap: Tensor
    shared: Tensor
    values: Tensor | None = None
    overlap: Tensor | None = None


@dataclass(frozen=True, eq=False)
class CentrePredictions:
    tasks: tuple[TaskMaps, ...]


class CentreHead(nn.Module):
    """A shared 3x3 convolution, then for each task a small network for every kind of value.

    ``tasks`` are the names of the classes that share a heatmap and compete in suppression; labels count through all of
    them. ``bias``: the convolutions before normalisations have one, as CenterPoint's do and DSVT's do not.
    ``axis``: headings are an axis and a side of it. Where front and back look alike, cosine and sine learn their mean,
    which is no heading; an axis has no front.
    """

    def __init__(
        self,
        inputs: int,
        tasks: Sequence[Sequence[str]],
        grid: CentreGrid,
        velocity: bool = False,
        overlap: bool = False,
        bias: bool = True,
        eps: float = 1e-5,
        momentum: float = 0.1,
        channels: int = 64,
        axis: bool = False,
    ) -> None:
        super().__init__()
        self.grid, self.velocity, self.has_overlap = grid, velocity, overlap
        self.classes = tuple(name for names in tasks for name in names)
        ends = list(accumulate(len(names) for names in tasks))
        self.ranges = tuple(range(end - len(names), end) for end, names in zip(ends, tasks))
        self.shared = Layers(*conv_norm_relu(inputs, channels, bias, eps, momentum))
        self.tasks = nn.ModuleList()
        for names in tasks:
            widths = branch_widths(len(names), velocity, overlap) | {"rotation": 2 + axis}
            made = {name: branch(channels, width, bias, eps, momentum) for name, width in widths.items()}
            self.tasks.append(nn.ModuleDict(made))
        initialise(self.tasks)

    def forward(self, x: Tensor) -> CentrePredictions:
        """Of maps (B, C, H, W): everything for training; in use without gradients the heatmaps alone, as only their
        peaks need values."""
        shared, tasks = self.shared(x), range(len(self.tasks))
        if self.training or torch.is_grad_enabled():
            return CentrePredictions(tuple(self.everywhere(shared, task) for task in tasks))
        return CentrePredictions(tuple(TaskMaps(self._branch(task, "heatmap")(shared), shared) for task in tasks))

    def everywhere(self, shared: Tensor, task: int) -> TaskMaps:
        """All answers of a task in all cells."""
        values = torch.cat([self._branch(task, name)(shared) for name in value_names(self.velocity)], 1)
        overlap = self._branch(task, "overlap")(shared) if self.has_overlap else None
        return TaskMaps(self._branch(task, "heatmap")(shared), shared, values, overlap)

    def _at(self, maps: TaskMaps, task: int, sample: Tensor, cell: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (M, 8 to 11) and overlaps (M,) in flat cells (M,) of the samples (M,)."""
        if maps.values is not None:
            overlap = None if maps.overlap is None else _gather(maps.overlap, sample, cell)[:, 0]
            return _gather(maps.values, sample, cell), overlap
        names = value_names(self.velocity) + (["overlap"] if self.has_overlap else [])
        found = answers_at([self._branch(task, name) for name in names], maps.shared, sample, cell)
        overlap = found.pop()[:, 0] if self.has_overlap else None
        return torch.cat(found, 1), overlap

    def _branch(self, task: int, name: str) -> nn.Sequential:
        found = self.tasks[task][name]  # type: ignore[index]
        assert isinstance(found, nn.Sequential)
        return found

    def loss(
        self,
        predictions: CentrePredictions,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        weights: CentreLossWeights,
    ) -> dict[str, Tensor]:
        """``loss`` and its parts, summed over the tasks.

        ``boxes`` (N, 7 or 9) and class indices ``labels`` (N,) of each sample.
        """
        terms = []
        for task, (maps, classes) in enumerate(zip(predictions.tasks, self.ranges)):
            batch, count, height, width = maps.heatmap.shape
            with torch.no_grad():
                objects = objects_of_task(boxes, labels, classes, self.grid, (height, width), self.velocity)
                targets = centre_targets(objects, count, batch, (height, width), weights.reach)
            values, overlap = self._at(maps, task, targets.sample, targets.cell)
            cells = _columns_and_rows(targets.cell, width)
            parts = object_losses(cells, values, overlap, targets.values, targets.boxes, self.grid, weights)
            terms.append({"heatmap": weights.heatmap * penalised_focal(maps.heatmap, targets.heatmap), **parts})
        return total_loss(terms)

    def results(self, predictions: CentrePredictions, selection: CentreSelection) -> list[Detections]:
        """Peaks, their boxes, suppression: one Detections a sample, best first."""
        batch = len(predictions.tasks[0].heatmap)
        return [
            suppress(self.peaks(predictions, sample, selection), selection, self.classes) for sample in range(batch)
        ]

    def peaks(self, predictions: CentrePredictions, sample: int, selection: CentreSelection) -> list[Peaks]:
        """Candidates of one sample, task by task, as suppression gets them."""
        found = []
        for task, (maps, classes) in enumerate(zip(predictions.tasks, self.ranges)):
            height, width = maps.heatmap.shape[2:]
            scores = maps.heatmap[sample].float().sigmoid().flatten()
            top = best(scores, selection.peaks, selection.score_threshold)
            cell = top % (height * width)
            label = torch.div(top, height * width, rounding_mode="floor") + classes.start
            values, overlap = self._at(maps, task, torch.full_like(cell, sample), cell)
            boxes = decode(_columns_and_rows(cell, width), values.float(), self.grid)
            overlap = None if overlap is None else overlap.float()
            found.append(gather_peaks(boxes, scores[top], label, overlap, selection))
        return found


def branch_widths(classes: int, velocity: bool, overlap: bool) -> dict[str, int]:
    """Channels of every branch of a task, those of the values first, in their order."""
    values = {"offset": 2, "height": 1, "size": 3, "rotation": 2}
    return values | ({"velocity": 2} if velocity else {}) | ({"overlap": 1} if overlap else {}) | {"heatmap": classes}


def value_names(velocity: bool) -> list[str]:
    """Branches whose answers together are the values of a box, in their order."""
    return [name for name in branch_widths(0, velocity, False) if name != "heatmap"]


def initialise(tasks: nn.Module) -> None:
    """He et al. 2015 for the values' branches; heatmaps start low, so that the many empty cells do not drown the few.

    Names of parameters are task, branch, layers (the last is 3 or out) and kind.
    """
    for name, parameter in tasks.named_parameters():
        _, branch, *layers, kind = name.split(".")
        if branch == "heatmap":
            if layers in (["3"], ["out"]) and kind == "bias":
                nn.init.constant_(parameter, HEATMAP_BIAS)
        elif parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
        elif kind == "bias":
            nn.init.zeros_(parameter)


def object_losses(
    cells: Tensor,
    values: Tensor,
    overlap: Tensor | None,
    wanted: Tensor,
    truth: Tensor,
    grid: CentreGrid,
    weights: CentreLossWeights,
    log_limit: float | None = None,
) -> dict[str, Tensor]:
    """Losses of the ``values`` (M, 8 to 11) and ``overlap`` (M,) predicted in the objects' ``cells`` (M, 2), for
    ``wanted`` values (M, 8 or 10) and ``truth`` boxes (M, 7)."""
    if len(weights.codes) != wanted.shape[1]:
        raise PerceptionError(f"{len(weights.codes)} weights in codes", f"{wanted.shape[1]}, one a predicted value")
    end = 8 + axes(values)
    found, parts = values, {}
    if axes(values):
        cosine, sine = wanted[:, 6:7], wanted[:, 7:8]
        ahead = ((cosine > 0) | ((cosine == 0) & (sine > 0))).float()
        side = F.binary_cross_entropy_with_logits(values[:, 8:9].float(), ahead, reduction="sum") / max(len(wanted), 1)
        parts["side"] = weights.side * side
        found = torch.cat([values[:, :8], values[:, end:]], 1)
        wanted = torch.cat([wanted[:, :6], cosine**2 - sine**2, 2 * cosine * sine, wanted[:, 8:]], 1)
    parts["box"] = weights.box * (mean_l1(found, wanted) * values.new_tensor(weights.codes).float()).sum()
    # Neither loss below teaches headings, and their gradient does not exist where cosine and sine are both 0.
    geometry = torch.cat([values[:, :6], values[:, 6:end].detach()], 1).float()
    boxes = decode(cells, geometry, grid, log_limit)
    if overlap is not None:
        parts["overlap"] = weights.overlap * overlap_l1(overlap, boxes, truth)
    if weights.distance_iou:
        parts["distance_iou"] = weights.distance_iou * distance_iou(boxes, truth)
    return parts


def total_loss(tasks: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """``loss`` and its parts, each summed over the tasks."""
    parts = {name: torch.stack([task[name] for task in tasks]).sum() for name in tasks[0]}
    return {"loss": torch.stack(list(parts.values())).sum(), **parts}


def _gather(maps: Tensor, sample: Tensor, cell: Tensor) -> Tensor:
    """Rows (M, C) of maps (B, C, H, W) at flat cells (M,) of the samples (M,)."""
    cells = maps.shape[2] * maps.shape[3]
    return gather_rows(maps.permute(0, 2, 3, 1).flatten(0, 2), sample * cells + cell)


def _columns_and_rows(cell: Tensor, width: int) -> Tensor:
    return torch.stack([cell % width, torch.div(cell, width, rounding_mode="floor")], 1)
