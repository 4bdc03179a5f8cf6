"""Where anchors lie, and how headings are told from their opposites."""

from __future__ import annotations

import math

import pytest
import torch

from perception.heads.anchor_head import AnchorHead, AnchorPredictions, _direction_bin
from perception.heads.anchors import make_anchors
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
