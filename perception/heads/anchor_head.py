"""The single-shot anchor head of SECOND and PointPillars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.boxes import Boxes3D, wrap_angle
from perception.config import config
from perception.dense import pointwise
from perception.heads import box_coder
from perception.heads.anchors import AnchorClass, AnchorTargets, assign, make_anchors
from perception.heads.selection import Selection, every_class, survivors
from perception.losses.focal import sigmoid_focal
from perception.results import Detections


@config
class AnchorLossWeights:
    """Weights and constants of the loss (Yan et al. 2018, section 3.3)."""

    classification: float = 1.0
    location: float = 2.0
    direction: float = 0.2
    smooth_l1_beta: float = 1 / 9


@dataclass(frozen=True, eq=False)
class AnchorPredictions:
    """For all N anchors in the order y, x, class, rotation: ``scores`` (B, N, C) logits, ``residuals`` (B, N, 7),
    ``directions`` (B, N, 2) logits; ``anchors`` (H, W, A, 7)."""

    scores: Tensor
    residuals: Tensor
    directions: Tensor
    anchors: Tensor


# Directions are told apart at 45 degrees, away from the headings along and across the road.
DIRECTION_OFFSET = 0.78539


class AnchorHead(nn.Module):
    """1x1 convolutions that score every anchor, refine it and tell its direction from the opposite one."""

    anchors: Tensor

    def __init__(
        self,
        inputs: int,
        classes: Sequence[AnchorClass],
        point_range: Sequence[float],
        direction_offset: float = DIRECTION_OFFSET,
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.classes, self.point_range = tuple(classes), tuple(point_range)
        self.direction_offset, self.centred = direction_offset, centred
        per_cell = sum(len(kind.rotations) for kind in classes)
        self.score = nn.Conv2d(inputs, per_cell * len(classes), 1)
        self.residual = nn.Conv2d(inputs, per_cell * 7, 1)
        self.direction = nn.Conv2d(inputs, per_cell * 2, 1)
        nn.init.constant_(self.score.bias, -math.log((1 - 0.01) / 0.01))  # type: ignore[arg-type]
        nn.init.normal_(self.residual.weight, 0, 0.001)
        self.register_buffer("anchors", torch.zeros(0, 0, per_cell, 7), persistent=False)

    def forward(self, x: Tensor) -> AnchorPredictions:
        shape = (x.shape[2], x.shape[3])
        if self.anchors.shape[:2] != shape:
            self.anchors = make_anchors(self.classes, self.point_range, shape, self.centred).to(x.device)
        scores, residuals, directions = self._maps(x)
        return AnchorPredictions(
            _by_anchor(scores, len(self.classes)), _by_anchor(residuals, 7), _by_anchor(directions, 2), self.anchors
        )

    def _maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """The three convolutions as one: each alone spends its time reading the map."""
        parts = (self.score, self.residual, self.direction)
        weight = torch.cat([part.weight for part in parts])
        bias = torch.cat([_bias(part) for part in parts])
        return pointwise(x, weight, bias).split([part.out_channels for part in parts], 1)

    def loss(
        self,
        predictions: AnchorPredictions,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        weights: AnchorLossWeights,
    ) -> dict[str, Tensor]:
        """Mean over the batch; ``boxes`` (N, 7) and class indices ``labels`` (N,) of each sample."""
        with torch.no_grad():
            found = [assign(predictions.anchors, self.classes, b, k) for b, k in zip(boxes, labels)]
        terms = [
            self._sample_loss(predictions, sample, target, weights.smooth_l1_beta)
            for sample, target in enumerate(found)
        ]
        classification, location, direction = torch.stack(terms).mean(0).unbind()
        parts = {
            "classification": classification * weights.classification,
            "location": location * weights.location,
            "direction": direction * weights.direction,
        }
        return {"loss": sum(parts.values(), start=classification.new_zeros(())), **parts}

    def _sample_loss(self, predictions: AnchorPredictions, sample: int, target: AnchorTargets, beta: float) -> Tensor:
        positive = target.labels > 0
        normaliser = positive.sum().clamp(min=1)
        scores = predictions.scores[sample].float()
        wanted = F.one_hot(target.labels.clamp(min=0), scores.shape[1] + 1)[:, 1:].to(scores.dtype)
        classification = (sigmoid_focal(scores, wanted) * (target.labels >= 0)[:, None]).sum() / normaliser

        predicted, residual = predictions.residuals[sample][positive].float(), target.residuals[positive]
        # sin(a - b) = sin a cos b - cos a sin b: opposite headings cost nothing here, the direction logits tell them.
        turned = predicted[:, 6].sin() * residual[:, 6].cos(), predicted[:, 6].cos() * residual[:, 6].sin()
        predicted = torch.cat([predicted[:, :6], turned[0][:, None]], 1)
        residual = torch.cat([residual[:, :6], turned[1][:, None]], 1)
        location = F.smooth_l1_loss(predicted, residual, reduction="sum", beta=beta) / normaliser

        bins = _direction_bin(target.headings[positive], self.direction_offset)
        direction = (
            F.cross_entropy(predictions.directions[sample][positive].float(), bins, reduction="sum") / normaliser
        )
        return torch.stack([classification, location, direction])

    def decode(self, predictions: AnchorPredictions) -> Tensor:
        """Boxes (B, N, 7) with headings turned to the more likely direction."""
        return self._turned(predictions.residuals, predictions.anchors.view(-1, 7), predictions.directions)

    def _turned(self, residuals: Tensor, anchors: Tensor, directions: Tensor) -> Tensor:
        boxes = box_coder.decode(residuals, anchors)
        heading = wrap_angle(boxes[..., 6] - self.direction_offset, torch.pi, 0.0) + self.direction_offset
        heading = heading + torch.pi * directions.argmax(-1)
        return torch.cat([boxes[..., :6], heading[..., None]], -1)

    def results(self, predictions: AnchorPredictions, selection: Selection) -> list[Detections]:
        """Score, decode, suppress: one Detections a sample, best first."""
        names = tuple(kind.name for kind in self.classes)
        anchors = predictions.anchors.view(-1, 7)
        answers = []
        for logits, residuals, directions in zip(predictions.scores, predictions.residuals, predictions.directions):
            best, label = logits.float().max(1)
            best = best.sigmoid()
            candidates = (best > selection.score_threshold).nonzero()[:, 0]
            top = best[candidates].topk(min(selection.candidates, len(candidates))).indices
            candidates = candidates[top]
            boxes = self._turned(residuals[candidates], anchors[candidates], directions[candidates]).float()
            scores, label = best[candidates], label[candidates]
            if selection.class_by_class:
                boxes, scores, label = every_class(boxes, logits[candidates].float().sigmoid())
                above = scores > selection.score_threshold
                boxes, scores, label = boxes[above], scores[above], label[above]
            kept = survivors(boxes, scores, label, selection)
            answers.append(Detections(Boxes3D(boxes[kept]), scores[kept], label[kept], names))
        return answers


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _by_anchor(maps: Tensor, width: int) -> Tensor:
    """(B, A * width, H, W) to (B, H * W * A, width)."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, width)


def _direction_bin(heading: Tensor, offset: float) -> Tensor:
    turned = wrap_angle(heading - offset, 2 * torch.pi, 0.0)
    return (turned / torch.pi).floor().clamp(0, 1).long()
