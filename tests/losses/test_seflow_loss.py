"""The loss without labels against a plain form with loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from perception.losses.seflow import MotionPair, chamfer_loss, cluster_errors, nearest, seflow_loss


def made(count: int, seed: int = 0, moving: int = 300) -> MotionPair:
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand((count, 3), generator=generator) * 10
    flow = (torch.randn((count, 3), generator=generator) * 0.2).requires_grad_()
    second = torch.rand((count + 50, 3), generator=generator) * 10
    motion = torch.zeros(count, dtype=torch.int64)
    motion[:moving] = torch.arange(moving) % 4  # 0 and 1 too: static, and moving without a cluster
    motion[moving : 2 * moving] = 5
    later = (torch.arange(count + 50) % 3 > 0).long()
    return MotionPair(first, flow, second, motion, later)


def plain_chamfer(first: np.ndarray, second: np.ndarray, truncated: float) -> float:
    squared = ((first[:, None] - second[None]) ** 2).sum(-1)
    sides = squared.min(1), squared.min(0)
    return sum(float(side[side <= truncated].mean()) if (side <= truncated).any() else 0.0 for side in sides)


@pytest.mark.parametrize("truncated", [4.0, 0.05])
def test_chamfer_equals_the_plain_form(truncated: float) -> None:
    pair = made(400)
    ours = chamfer_loss(pair.first, pair.second, truncated).item()
    assert ours == pytest.approx(plain_chamfer(pair.first.numpy(), pair.second.numpy(), truncated), rel=1e-4)


def test_nearest_equals_all_distances() -> None:
    pair = made(500)
    assert torch.equal(nearest(pair.first, pair.second), torch.cdist(pair.first, pair.second).argmin(1))


def test_a_cluster_follows_its_farthest_moving_neighbour() -> None:
    first = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 9, 9]])
    second = torch.tensor([[0.1, 0, 0], [1.3, 0, 0], [2.4, 0, 0], [9, 9, 8]])
    flow = torch.zeros((4, 3))
    motion, later = torch.tensor([2, 2, 2, 0]), torch.tensor([1, 1, 0, 1])
    (errors,) = cluster_errors(MotionPair(first, flow, second, motion, later))
    torch.testing.assert_close(errors, torch.full((3,), 0.3))  # the third neighbour does not move


def plain(pairs: list[MotionPair]) -> float:
    chamfer, dynamic, static, clusters = [], [], 0.0, []
    for p in pairs:
        first, flow, second = p.first.numpy(), p.flow.detach().numpy(), p.second.numpy()
        a, b = p.first_motion.numpy(), p.second_motion.numpy()
        chamfer.append(plain_chamfer(first + flow, second, 4.0))
        static += float(np.linalg.norm(flow[a == 0], axis=1).mean())
        if (a > 0).sum() <= 256 or (b > 0).sum() <= 256:
            continue
        dynamic.append(plain_chamfer((first + flow)[a > 0], second[b > 0], 4.0))
        squared = ((first[:, None] - second[None]) ** 2).sum(-1)
        for label in np.unique(a[a > 1]):
            rows = [r for r in np.flatnonzero(a == label) if b[squared[r].argmin()] > 0]
            if rows:
                tip = max(rows, key=lambda r: squared[r].min())
                target = second[squared[tip].argmin()] - first[tip]
                clusters += np.linalg.norm(flow[a == label] - target, axis=1).tolist()
    return float(np.mean(chamfer) + np.mean(dynamic) + static + np.mean(clusters))


def test_the_sum_equals_the_plain_form_and_has_gradients() -> None:
    pairs = [made(700), made(900, 3), made(120, 4, moving=40)]
    parts = seflow_loss(pairs)
    assert parts["loss"].item() == pytest.approx(plain(pairs), rel=1e-4)
    parts["loss"].backward()
    assert all(p.flow.grad is not None and bool(torch.isfinite(p.flow.grad).all()) for p in pairs)


def test_empty_clouds_cost_nothing() -> None:
    none, no_label = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)

    def pair(first: Tensor, second: Tensor) -> MotionPair:
        flow = torch.zeros_like(first).requires_grad_()
        return MotionPair(first, flow, second, no_label[:0].new_zeros(len(first)), no_label.new_zeros(len(second)))

    parts = seflow_loss([pair(none, none), pair(torch.ones(1, 3), none), pair(none, torch.ones(1, 3))])
    parts["loss"].backward()
    assert parts["loss"].item() == 0
    assert seflow_loss([])["loss"].item() == 0
