"""Proposals: the best boxes of the first stage, and what the second stage makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perception.config import config
from perception.geometry import nms
from perception.heads.anchor_head import AnchorHead, AnchorPredictions
from perception.heads.roi import refinement


@config
class ProposalRule:
    """How many of the first stage's boxes are looked at, at which overlap the worse goes, and how many stay."""

    candidates: int
    nms_overlap: float
    maximum: int


@dataclass(frozen=True, eq=False)
class Proposals:
    """``boxes`` (R, 7) of all samples, ``scores`` (R,) logits, ``labels`` (R,) int64 class indices and ``sample`` (R,).

    Rows are in the order of the samples, each sample's best first.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    sample: Tensor
    batch_size: int

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: Tensor) -> Proposals:
        return Proposals(self.boxes[rows], self.scores[rows], self.labels[rows], self.sample[rows], self.batch_size)


@dataclass(frozen=True, eq=False)
class Refined:
    """The second stage's answer to each proposal: ``scores`` (R,) logits of the overlap, ``residuals`` (R, 7)."""

    proposals: Proposals
    scores: Tensor
    residuals: Tensor

    @property
    def boxes(self) -> Tensor:
        """(R, 7)."""
        return refinement.decode(self.residuals.float(), self.proposals.boxes)


@torch.no_grad()
def propose(head: AnchorHead, predictions: AnchorPredictions, rule: ProposalRule) -> Proposals:
    """The best boxes of each sample whatever their class, without those that overlap better ones.

    Boxes carry no gradient to the first stage: the second stage takes them as they are.
    """
    found = []
    for sample in range(len(predictions.scores)):
        score, label = predictions.scores[sample].float().max(1)
        rows = score.topk(min(rule.candidates, len(score))).indices
        chosen = AnchorPredictions(
            predictions.scores[sample, rows],
            predictions.residuals[sample, rows].float(),
            predictions.directions[sample, rows],
            predictions.anchors.view(-1, 7)[rows],
        )
        boxes = head.decode(chosen)
        kept = nms(boxes, score[rows], rule.nms_overlap, rule.maximum)
        rows = rows[kept]
        found.append((boxes[kept], score[rows], label[rows], torch.full_like(rows, sample)))
    boxes, scores, labels, samples = (torch.cat(part) for part in zip(*found))
    return Proposals(boxes, scores, labels, samples, len(predictions.scores))
