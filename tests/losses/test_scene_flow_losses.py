"""Supervised losses of scene flow against sums by hand."""

from __future__ import annotations

import math

import pytest
import torch

from perception.losses.scene_flow import foreground_loss, speed_group_loss, speed_scaled_loss

TRUE = torch.tensor([[0.0, 0, 0], [0.02, 0, 0], [0.05, 0, 0], [0, 0.1, 0], [0, 0, 0.11], [0.5, 0, 0]])
ERRORS = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.2, 0.6])
"""Speeds are 0, 0.2, 0.5, 1, 1.1 and 5 m/s: two slow, two medium, two fast."""
FLOW = TRUE + ERRORS[:, None] * torch.tensor([0.0, 0.6, 0.8])


def test_each_speed_group_counts_alike() -> None:
    assert speed_group_loss(FLOW, TRUE).item() == pytest.approx((0.4 + 1.2 + 0.8) / 2, rel=1e-5)


def test_a_group_without_points_adds_nothing() -> None:
    assert speed_group_loss(FLOW[:2], TRUE[:2]).item() == pytest.approx(0.2, rel=1e-5)


def test_errors_are_scaled_by_speed() -> None:
    scales = [0.1, 0.1, 0.1, 1.0, 1.0, 1.0]
    wanted = sum(e * s for e, s in zip(ERRORS.tolist(), scales)) / 6
    assert speed_scaled_loss(FLOW, TRUE).item() == pytest.approx(wanted, rel=1e-5)
    between = torch.tensor([[0.07, 0.0, 0.0]])  # 0.7 m/s: 1.8 * 0.7 - 0.8 = 0.46
    assert speed_scaled_loss(between * 2, between).item() == pytest.approx(0.07 * 0.46, rel=1e-4)


def test_the_background_counts_a_tenth() -> None:
    foreground = torch.tensor([True, False, False, True, False, True])
    wanted = (0.1 + 0.7 + 0.6 + 0.1 * (0.3 + 0.5 + 0.2)) / 6
    assert foreground_loss(FLOW, TRUE, foreground).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_no_points_and_no_error_give_finite_gradients(rows: int) -> None:
    flow = torch.zeros(rows, 3, requires_grad=True)
    true = torch.zeros(rows, 3)
    total = speed_group_loss(flow, true) + speed_scaled_loss(flow, true)
    total = total + foreground_loss(flow, true, torch.ones(rows, dtype=torch.bool))
    total.backward()
    assert total.item() == 0
    assert flow.grad is not None
    assert torch.isfinite(flow.grad).all()


def test_only_the_error_matters_not_its_direction() -> None:
    turned = TRUE - ERRORS[:, None] * torch.tensor([math.sqrt(0.5), math.sqrt(0.5), 0.0])
    torch.testing.assert_close(speed_group_loss(turned, TRUE), speed_group_loss(FLOW, TRUE))
