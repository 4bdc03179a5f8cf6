"""Which proposals the second stage learns from, and what it should answer (Shi et al. 2020, PV-RCNN, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.config import config
from perception.geometry import iou_3d
from perception.heads.roi.proposals import Proposals


@config
class RoISampling:
    """How many proposals of a sample are drawn, and which overlaps with objects of their class make them what.

    Foreground: at least ``foreground``; the rest is background, easy below ``easy`` and hard above. Boxes are learned
    above ``foreground``; the wanted score rises from 0 at an overlap of ``low`` to 1 at ``high``.
    """

    number: int = 128
    foreground_share: float = 0.5
    foreground: float = 0.55
    easy: float = 0.1
    hard_share: float = 0.8
    low: float = 0.25
    high: float = 0.75


@dataclass(frozen=True, eq=False)
class RoITargets:
    """Drawn ``proposals`` (R rows), the ``overlap`` (R,) of each with its object and that object's box (R, 7).

    ``scores`` (R,) in [0, 1] are what to answer; ``boxes`` count where ``foreground`` (R,) bool.
    """

    proposals: Proposals
    overlap: Tensor
    boxes: Tensor
    scores: Tensor
    foreground: Tensor


@torch.no_grad()
def sample_rois(
    proposals: Proposals, boxes: Sequence[Tensor], labels: Sequence[Tensor], rule: RoISampling
) -> RoITargets:
    """Draw proposals of each sample with torch's global generator, and match them with its objects.

    ``boxes`` (N, 7) and class indices ``labels`` (N,) of each sample.
    """
    rows, overlaps, matched = [], [], []
    for sample, (objects, kinds) in enumerate(zip(boxes, labels)):
        mine = (proposals.sample == sample).nonzero()[:, 0]
        overlap, box = best_overlap(proposals.boxes[mine], proposals.labels[mine], objects, kinds)
        drawn = draw(overlap, rule)
        rows.append(mine[drawn])
        overlaps.append(overlap[drawn])
        matched.append(box[drawn])
    overlap = torch.cat(overlaps)
    scores = ((overlap - rule.low) / (rule.high - rule.low)).clamp(0, 1)
    chosen = proposals.select(torch.cat(rows))
    return RoITargets(chosen, overlap, torch.cat(matched), scores, overlap > rule.foreground)


def best_overlap(proposals: Tensor, kinds: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Largest 3D overlap (R,) of each proposal with an object of its class, and that object's box (R, 7).

    0 and a box of zeros for proposals of a class without objects.
    """
    if not len(boxes) or not len(proposals):
        return proposals.new_zeros(len(proposals)), torch.zeros_like(proposals)
    overlap = iou_3d(proposals, boxes).to(proposals.dtype)
    same = kinds[:, None] == labels
    best, index = torch.where(same, overlap, -1.0).max(1)
    found = best >= 0
    return best.clamp(min=0), torch.where(found[:, None], boxes[index].to(proposals.dtype), 0.0)


def draw(overlap: Tensor, rule: RoISampling) -> Tensor:
    """Rows (``rule.number``,) of proposals with those overlaps; none if there are none.

    Foreground is drawn without repetition up to its share; background fills the rest, with repetition, hard ones up
    to their share. With foreground alone, it is drawn with repetition.
    """
    if not len(overlap):
        return torch.zeros(0, dtype=torch.int64, device=overlap.device)
    foreground = (overlap >= rule.foreground).nonzero()[:, 0]
    easy = (overlap < rule.easy).nonzero()[:, 0]
    hard = ((overlap < rule.foreground) & (overlap >= rule.easy)).nonzero()[:, 0]
    if not len(easy) and not len(hard):
        return _with_repetition(foreground, rule.number)
    count = min(round(rule.foreground_share * rule.number), len(foreground))
    order = torch.randperm(len(foreground)).to(overlap.device)
    rest = rule.number - count
    if len(easy) and len(hard):
        difficult = min(int(rest * rule.hard_share), len(hard))
    else:
        difficult = rest if len(hard) else 0
    parts = [foreground[order[:count]], _with_repetition(hard, difficult), _with_repetition(easy, rest - difficult)]
    return torch.cat(parts)


def _with_repetition(rows: Tensor, number: int) -> Tensor:
    # On the CPU whatever the device: training then draws, and resumes, alike everywhere.
    return rows[torch.randint(len(rows), (number,)).to(rows.device)] if number else rows[:0]
