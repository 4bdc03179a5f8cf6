"""The losses of a TransFusion head: heatmap, classes, boxes and, where they are predicted, overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from perception.config import config
from perception.geometry import iou_3d
from perception.heads.centre_targets import draw_gaussians, objects_of_task
from perception.heads.transfusion_head import QueryPredictions, TransFusionHead
from perception.heads.transfusion_matching import MatchingCosts, assign, matching_cost
from perception.losses.centre import penalised_focal
from perception.losses.focal import sigmoid_focal


@config
class TransFusionLossWeights:
    """Weights of the published recipe; ``codes`` further weighs each code of a box, the last two its velocity."""

    classification: float = 1.0
    box: float = 0.25
    heatmap: float = 1.0
    overlap: float = 0.5
    codes: tuple[float, ...] = (1.0,) * 8 + (0.2, 0.2)
    costs: MatchingCosts = MatchingCosts()


@dataclass(frozen=True, eq=False)
class Matches:
    """M pairs: ``sample`` and ``query`` (M,), and the object's ``boxes`` (M, 9) and ``labels`` (M,)."""

    sample: Tensor
    query: Tensor
    boxes: Tensor
    labels: Tensor


def transfusion_loss(
    head: TransFusionHead,
    predictions: QueryPredictions,
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    weights: TransFusionLossWeights,
) -> dict[str, Tensor]:
    """``loss`` and its parts; ``boxes`` (N, 7 or 9) and class indices ``labels`` (N,) of each sample.

    Velocities that are missing or NaN are unknown and cost nothing.
    """
    batch, number, height, width = predictions.heatmap.shape
    with torch.no_grad():
        objects = objects_of_task(boxes, labels, range(number), head.grid, (height, width), velocity=True)
        wanted = draw_gaussians(objects, objects.position.long(), (batch, number, height, width))
        pairs = match(head, predictions, objects.boxes, objects.sample, objects.label, weights.costs)
    count = max(len(pairs.query), 1)
    scores = predictions.scores.float()
    classes = torch.zeros_like(scores)
    classes[pairs.sample, pairs.query, pairs.labels] = 1
    codes = predictions.codes[pairs.sample, pairs.query].float()
    parts = {
        "heatmap": weights.heatmap * penalised_focal(predictions.heatmap, wanted),
        "classification": weights.classification * sigmoid_focal(scores, classes).sum() / count,
        "box": weights.box * _box_loss(codes, head.encode(pairs.boxes), weights.codes) / count,
    }
    if predictions.overlap is not None:
        found = head.decode(codes.detach())
        predicted = predictions.overlap[pairs.sample, pairs.query].float()
        parts["overlap"] = weights.overlap * _overlap_loss(predicted, found, pairs.boxes)
    return {"loss": torch.stack(list(parts.values())).sum(), **parts}


def match(
    head: TransFusionHead,
    predictions: QueryPredictions,
    boxes: Tensor,
    sample: Tensor,
    labels: Tensor,
    costs: MatchingCosts,
) -> Matches:
    """Each object (rows of ``boxes`` (M, 9), with its ``sample`` and ``labels``) to one query of its sample."""
    found = head.decode(predictions.codes.float())
    height, width = predictions.heatmap.shape[2:]
    extent = head.grid.to_metres(found.new_tensor([width, height])) - found.new_tensor(head.grid.low)
    queries, rows = [], []
    for number in range(len(found)):
        own = (sample == number).nonzero()[:, 0]
        cost = matching_cost(
            predictions.scores[number], found[number, :, :7], boxes[own, :7], labels[own], extent.tolist(), costs
        )
        query, column = assign(cost)
        queries.append(query)
        rows.append(own[column])
    chosen = torch.cat(rows)
    return Matches(sample[chosen], torch.cat(queries), boxes[chosen], labels[chosen])


def _box_loss(codes: Tensor, wanted: Tensor, weights: Sequence[float]) -> Tensor:
    known = ~wanted.isnan()
    difference = (codes - wanted.nan_to_num(0.0)).abs() * codes.new_tensor(weights)
    return torch.where(known, difference, 0.0).sum()


def _overlap_loss(predicted: Tensor, boxes: Tensor, truth: Tensor) -> Tensor:
    """Mean over the pairs that overlap at all, by their true volumes. (DSVT's code compares boxes whose tops, which its
    head predicts, stand in for their centres.)"""
    overlap = iou_3d(boxes[:, :7], truth[:, :7], aligned=True).float()
    touching = overlap > 0
    return F.l1_loss(predicted[touching], 2 * overlap[touching] - 1, reduction="sum") / touching.sum().clamp(min=1)
