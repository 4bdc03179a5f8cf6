"""Where anchors lie, and how headings are told from their opposites."""

from __future__ import annotations

import math

import pytest
import torch

from perception.geometry import bev_iou
from perception.heads.anchor_head import AnchorHead, AnchorPredictions, _direction_bin
from perception.heads.anchors import make_anchors
from perception.heads.selection import Selection
from perception.models.detector import KITTI_CLASSES

RANGE = (0.0, -8.0, -3.0, 16.0, 8.0, 1.0)


def test_anchors_span_the_range_or_lie_in_the_middle_of_cells() -> None:
    spread = make_anchors(KITTI_CLASSES, RANGE, (4, 8))
    centred = make_anchors(KITTI_CLASSES, RANGE, (4, 8), centred=True)
    assert torch.allclose(spread[:, 0, 0, 1], torch.tensor([-8.0, -8 / 3, 8 / 3, 8.0]))
    assert torch.allclose(centred[:, 0, 0, 1], torch.tensor([-6.0, -2.0, 2.0, 6.0]))
    assert torch.allclose(centred[0, :, 0, 0], torch.arange(8) * 2.0 + 1)
    assert torch.equal(spread[..., 2:], centred[..., 2:])


@pytest.mark.parametrize("offset", [0.78539, -math.pi / 2, 0.0])
def test_headings_come_back_from_their_bins(offset: float) -> None:
    head = AnchorHead(4, KITTI_CLASSES[:1], RANGE, direction_offset=offset)
    headings = torch.linspace(-3.1, 3.1, 41)
    anchors = make_anchors(KITTI_CLASSES[:1], RANGE, (1, 1)).view(-1, 7)[:1].expand(len(headings), 7)
    residuals = torch.zeros(1, len(headings), 7)
    residuals[0, :, 6] = headings + math.pi  # the loss of the sine does not tell opposite headings apart
    bins = torch.nn.functional.one_hot(_direction_bin(headings, offset), 2).float()[None]
    found = head.decode(AnchorPredictions(torch.zeros(1, len(headings), 1), residuals, bins, anchors.contiguous()))
    assert torch.allclose(torch.cos(found[0, :, 6] - headings), torch.ones(len(headings)), atol=1e-5)


def test_class_by_class_a_candidate_is_one_of_every_class_above_the_floor() -> None:
    head = AnchorHead(4, KITTI_CLASSES, RANGE)
    anchors = make_anchors(KITTI_CLASSES, RANGE, (6, 6)).view(-1, 7)
    scores = torch.randn(1, len(anchors), 3) * 2
    directions = torch.zeros(1, len(anchors), 2)
    predictions = AnchorPredictions(scores, 0.1 * torch.randn(1, len(anchors), 7), directions, anchors)
    rule = Selection(0.6, 30, 0.05, 500, class_by_class=True)
    (found,) = head.results(predictions, rule)

    boxes, likely = head.decode(predictions)[0], scores[0].sigmoid()
    candidates = likely.amax(1).argsort(descending=True)[:30]
    wanted: list[tuple[float, int, int]] = []
    for label in range(3):
        kept: list[int] = []
        for row in sorted(candidates.tolist(), key=lambda i: -likely[i, label]):
            if likely[row, label] > 0.6 and not any(bev_iou(boxes[[row]], boxes[[k]])[0, 0] > 0.05 for k in kept):
                kept.append(row)
        wanted += [(float(likely[row, label]), label, row) for row in kept]
    wanted.sort(reverse=True)
    assert len({row for _, _, row in wanted}) < len(wanted)
    assert found.labels.tolist() == [label for _, label, _ in wanted]
    torch.testing.assert_close(found.boxes.values, boxes[[row for _, _, row in wanted]])
    torch.testing.assert_close(found.scores, torch.tensor([score for score, _, _ in wanted]))
    (few,) = head.results(predictions, Selection(0.6, 30, 0.05, 4, class_by_class=True))
    assert few.labels.tolist() == found.labels.tolist()[:4]
