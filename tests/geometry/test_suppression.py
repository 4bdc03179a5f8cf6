"""Greedy suppression against the full matrix of overlaps."""

from __future__ import annotations

import pytest
import torch

from perception.errors import PerceptionError
from perception.geometry import circle_nms, nms, nms_per_class, reference


def crowded(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    scale = torch.tensor([15.0, 15.0, 2.0, 4.0, 2.0, 1.0, 6.3])
    return torch.rand(count, 7) * scale + torch.tensor([0.0, 0, 0, 1, 1, 1, 0]), torch.rand(count)


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.2, 0.7, 1.0])
def test_equals_reference(threshold: float) -> None:
    boxes, scores = crowded(150)
    assert torch.equal(nms(boxes, scores, threshold), reference.greedy_suppression(boxes, scores, threshold))


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.7, 0.9])
def test_bounds_never_skip_an_overlap_above_the_threshold(threshold: float) -> None:
    """Near copies in all sizes and turns: overlaps all around the threshold, where a bound too small would show."""
    seeds, _ = crowded(12)
    boxes = seeds.repeat_interleave(25, 0).double() + torch.randn(300, 7).double() * 0.2
    boxes[:, 3:5] = boxes[:, 3:5].abs() * torch.rand(300, 2).add(0.5)
    boxes[::7, 6] += torch.pi / 2
    scores = torch.rand(300)
    assert torch.equal(nms(boxes, scores, threshold), reference.greedy_suppression(boxes, scores, threshold))


def test_equal_boxes_and_far_coordinates() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0.3]], dtype=torch.float64).repeat(3, 1)
    boxes[:, :2] += 5e6
    assert nms(boxes, torch.tensor([0.1, 0.3, 0.2]), 0.99).tolist() == [1]


def test_boxes_without_area_neither_suppress_nor_go() -> None:
    solid, flat, negative, broken = [5.0, 2], [0.0, 2], [-10.0, 4], [float("nan"), 2]
    boxes = torch.tensor([[0.0, 0, 0, *size, 1, 0] for size in (solid, flat, negative, broken)])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert nms(boxes, scores, 0.1).tolist() == [0, 1, 2, 3]
    assert nms(boxes, scores.flip(0), 0.1).tolist() == [3, 2, 1, 0]


def test_scores_that_are_not_numbers_are_refused() -> None:
    boxes, scores = crowded(5)
    scores[2] = float("nan")
    with pytest.raises(PerceptionError, match="1 of 5 scores are not numbers"):
        nms(boxes, scores, 0.5)


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


@pytest.mark.parametrize("maximum", [None, 5])
def test_circles_drop_what_is_near_a_better_one(maximum: int | None) -> None:
    boxes, scores = crowded(200)
    kept: list[int] = []
    for row in scores.argsort(descending=True).tolist():
        if all(torch.dist(boxes[row, :2].double(), boxes[other, :2].double()) > 1.5 for other in kept):
            kept.append(row)
    assert 5 < len(kept) < 200
    assert circle_nms(boxes, scores, 1.5, maximum).tolist() == kept[:maximum]
    on_the_rim = torch.tensor([[0.0, 0], [2, 0], [2.001, 0]])
    assert circle_nms(on_the_rim, torch.tensor([0.9, 0.8, 0.7]), 2.0).tolist() == [0, 2]
    assert circle_nms(boxes[:0], scores[:0], 2.0).tolist() == []
