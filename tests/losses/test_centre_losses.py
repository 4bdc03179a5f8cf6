"""Losses of centre heads against sums written out, element by element."""

from __future__ import annotations

import math

import pytest
import torch

from perception.geometry import iou_3d
from perception.losses.centre import distance_iou, mean_l1, overlap_l1, penalised_focal


def test_focal_loss_is_that_of_its_equation() -> None:
    logits, heatmap = torch.randn(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    heatmap[0, 1, 2, 3] = heatmap[1, 0, 0, 0] = 1.0
    total = 0.0
    for x, y in zip(logits.flatten().tolist(), heatmap.flatten().tolist()):
        p = 1 / (1 + math.exp(-x))
        total += (1 - p) ** 2 * math.log(p) if y == 1 else (1 - y) ** 4 * p**2 * math.log(1 - p)
    assert penalised_focal(logits, heatmap).item() == pytest.approx(-total / 2, rel=1e-5)


def test_focal_loss_without_a_centre_is_a_sum_and_stays_finite() -> None:
    logits = torch.tensor([100.0, -100.0], requires_grad=True)
    loss = penalised_focal(logits, torch.zeros(2))
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-4), rel=1e-2)
    assert torch.isfinite(logits.grad).all()
    assert penalised_focal(torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 3)).item() == 0


def test_unknown_values_cost_nothing_but_count_as_objects() -> None:
    predicted = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    loss = mean_l1(predicted, torch.tensor([[0.0, torch.nan], [1.0, 8.0]]))
    assert loss.tolist() == [1.5, 2.0]
    loss.sum().backward()
    assert predicted.grad.tolist() == [[0.5, 0.0], [0.5, -0.5]]
    assert mean_l1(torch.zeros(0, 2), torch.zeros(0, 2)).tolist() == [0.0, 0.0]


def test_overlaps_are_learned_between_minus_one_and_one() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 4, 2, 2, 0.3], [9.0, 0, 0, 4, 2, 2, 0]], requires_grad=True)
    truth = torch.tensor([[0.5, 0, 0, 4, 2, 2, 0.0], [0.0, 0, 0, 4, 2, 2, 0]])
    overlap = iou_3d(boxes.detach(), truth, aligned=True)[0].item()
    loss = overlap_l1(torch.tensor([0.2, -1.0]), boxes, truth)
    assert loss.item() == pytest.approx(abs(0.2 - (2 * overlap - 1)) / 2, rel=1e-5)
    assert not loss.requires_grad


def test_distance_iou_by_hand() -> None:
    # Shared 1 x 2 x 2 of union 8 + 8 - 4; centres 1 apart, the box around both 3 x 2 x 2.
    boxes, truth = torch.tensor([[1.0, 0, 0, 2, 2, 2, 1.0]]), torch.tensor([[0.0, 0, 0, 2, 2, 2, 0]])
    assert distance_iou(boxes, truth).item() == pytest.approx(1 - (4 / 12 - 1 / 17), rel=1e-6)
    assert distance_iou(truth, truth).item() == 0
    assert distance_iou(torch.zeros(0, 7), torch.zeros(0, 7)).item() == 0
