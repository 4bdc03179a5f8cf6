"""Greedy suppression against the full matrix of overlaps."""

from __future__ import annotations

import pytest
import torch

from perception.errors import PerceptionError
from perception.geometry import nms, nms_per_class, reference


def crowded(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    scale = torch.tensor([15.0, 15.0, 2.0, 4.0, 2.0, 1.0, 6.3])
    return torch.rand(count, 7) * scale + torch.tensor([0.0, 0, 0, 1, 1, 1, 0]), torch.rand(count)


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.2, 0.7, 1.0])
def test_equals_reference(threshold: float) -> None:
    boxes, scores = crowded(150)
    assert torch.equal(nms(boxes, scores, threshold), reference.greedy_suppression(boxes, scores, threshold))


def test_ties_keep_the_first_and_the_limit_cuts() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0], [0.1, 0, 0, 4, 2, 1, 0], [50, 0, 0, 4, 2, 1, 0]])
    scores = torch.tensor([0.5, 0.5, 0.9])
    assert nms(boxes, scores, 0.1).tolist() == [2, 0]
    assert nms(boxes, scores, 0.1, maximum=1).tolist() == [2]
    assert nms(boxes, scores, 0.1, maximum=0).tolist() == []


def test_per_class_with_own_thresholds() -> None:
    boxes, scores = crowded(120)
    labels = torch.arange(120) % 3
    kept = nms_per_class(boxes, scores, labels, [0.1, 0.3, 0.5])
    expected = []
    for label, threshold in enumerate([0.1, 0.3, 0.5]):
        rows = (labels == label).nonzero()[:, 0]
        expected += rows[reference.greedy_suppression(boxes[rows], scores[rows], threshold)].tolist()
    assert kept.tolist() == expected
    with pytest.raises(PerceptionError, match="2 thresholds"):
        nms_per_class(boxes, scores, labels, [0.1, 0.3])


def test_no_boxes_and_wrong_scores() -> None:
    none = torch.zeros(0, 7)
    assert nms(none, torch.zeros(0), 0.5).shape == (0,)
    assert nms_per_class(none, torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5).shape == (0,)
    with pytest.raises(PerceptionError, match="one score a box"):
        nms(torch.zeros(2, 7), torch.zeros(3), 0.5)
