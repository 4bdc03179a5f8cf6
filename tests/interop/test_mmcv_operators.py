"""mmcv's operators by our kernels: its arguments, its results."""

from __future__ import annotations

import math

import pytest
import torch

from perception.errors import PerceptionError
from perception.interop.mmcv import boxes, voxels
from perception.interop.mmcv.stand_in import SERVED, StandIn

SIZE, REACH = torch.tensor([0.5, 0.5, 1.0]), torch.tensor([0.0, -2.0, -1.0, 4.0, 2.0, 1.0])


def hard(points: torch.Tensor, max_points: int, max_voxels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As mmcv's layer calls it."""
    filled = points.new_zeros((max_voxels, max_points, points.shape[1]))
    cells = points.new_zeros((max_voxels, 3), dtype=torch.int)
    counts, number = points.new_zeros(max_voxels, dtype=torch.int), torch.zeros((), dtype=torch.long)
    voxels.hard_voxelize_forward(points, SIZE, REACH, filled, cells, counts, number, max_points, max_voxels, NDim=3)
    return filled[:number], cells[:number], counts[:number]


def test_voxels_come_in_the_order_of_their_first_point() -> None:
    points = torch.tensor([[3.9, 0, 0, 1], [0.1, -1.9, 0, 2], [3.8, 0.1, 0.2, 3], [9, 0, 0, 4], [3.7, 0.1, 0, 5.0]])
    filled, cells, counts = hard(points, 2, 10)
    assert cells.tolist() == [[1, 4, 7], [1, 0, 0]]
    assert counts.tolist() == [2, 1]
    assert filled[0, :, 3].tolist() == [1, 3]
    assert filled[1, :, 3].tolist() == [2, 0]
    assert hard(points, 2, 1)[1].tolist() == [[1, 4, 7]]


def test_no_points_are_no_voxels() -> None:
    assert [len(part) for part in hard(torch.zeros(0, 4), 2, 5)] == [0, 0, 0]


def test_cells_of_points_and_minus_one_out_of_range() -> None:
    points = torch.tensor([[3.9, 0, 0], [4.0, 0, 0], [0, -2.0, -1.0], [0, -2.1, 0]])
    cells = torch.zeros(4, 3, dtype=torch.int)
    voxels.dynamic_voxelize_forward(points, SIZE, REACH, cells)
    assert cells.tolist() == [[1, 4, 7], [-1, -1, -1], [0, 0, 0], [-1, -1, -1]]


@pytest.mark.parametrize("kind", ["max", "mean", "sum"])
def test_points_to_voxels_and_back(kind: str) -> None:
    """Against a loop over the cells, gradients by autograd of the loop."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(30, 3, generator=generator)
    cells = torch.randint(-1, 2, (30, 3), generator=generator)
    reduced, found, rows, counts = voxels.dynamic_point_to_voxel_forward(features, cells, kind)
    leaf = features.clone().requires_grad_()
    wanted = sorted({tuple(c) for c in cells.tolist() if min(c) >= 0})
    assert found.tolist() == [list(c) for c in wanted]
    members = [[i for i, c in enumerate(cells.tolist()) if tuple(c) == cell] for cell in wanted]
    reduce = {"max": lambda x: x.max(0).values, "mean": lambda x: x.mean(0), "sum": lambda x: x.sum(0)}[kind]
    expected = torch.stack([reduce(leaf[group]) for group in members])
    torch.testing.assert_close(reduced, expected.detach())
    assert counts.tolist() == [len(group) for group in members]
    assert all(rows[i] == number for number, group in enumerate(members) for i in group)
    weights = torch.randn(expected.shape, generator=generator)
    expected.backward(weights)
    gradient = torch.full_like(features, 7.0)
    voxels.dynamic_point_to_voxel_backward(gradient, weights, features, reduced, rows, counts, kind)
    torch.testing.assert_close(gradient, leaf.grad)


def test_an_unknown_reduction_is_named() -> None:
    with pytest.raises(PerceptionError, match="median"):
        voxels.dynamic_point_to_voxel_forward(torch.zeros(1, 1), torch.zeros(1, 3), "median")


def test_turned_boxes_are_turned_counter_clockwise() -> None:
    """A long box at 45 degrees covers a small one on the diagonal, not the one beside it."""
    dets = torch.tensor([[0, 0, 8, 1, math.pi / 4], [2, 2, 1, 1, 0], [2, -2, 1, 1, 0]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    none = torch.zeros(0, dtype=torch.int)
    kept = boxes.nms_rotated(dets, scores, scores.argsort(), dets, none, 0.05, 0)
    assert kept.tolist() == [1, 2]
    labels = torch.tensor([0, 1, 1])
    assert boxes.nms_rotated(dets, scores, scores.argsort(), dets, labels, 0.05, 1).tolist() == [1, 2, 0]
    ious = torch.zeros(3)
    boxes.box_iou_rotated(dets, dets[[0, 0, 0]], ious, mode_flag=0, aligned=True)
    assert ious[0] == pytest.approx(1)
    assert ious[1] > 0.05
    assert ious[2] == 0
    boxes.box_iou_rotated(dets[1:], dets[:1], ious[:2], mode_flag=1, aligned=False)
    assert ious[0] > 0.7  # of the small box


def test_upright_boxes_with_and_without_inclusive_corners() -> None:
    flat, scores = torch.tensor([[0, 0, 9, 9], [0, 0, 9, 4.0], [20, 20, 21, 21]]), torch.tensor([0.2, 0.9, 0.5])
    assert boxes.nms(flat, scores, 0.4, 0).tolist() == [1, 2]
    assert boxes.nms(flat, scores, 0.5, 0).tolist() == [1, 2, 0]
    assert boxes.nms(flat, scores, 0.499, 1).tolist() == [1, 2]  # 50 of 100 cells


def test_points_in_boxes_with_z_at_the_bottom() -> None:
    box, points = torch.tensor([[1, 0, 0, 4, 2, 2, 0.0]]), torch.tensor([[0, 0, 1.9], [0, 0, -0.1], [2.9, 0.9, 0.1]])
    found = torch.zeros(1, 3, dtype=torch.int)
    boxes.points_in_boxes_cpu_forward(box, points, found)
    assert found.tolist() == [[1, 0, 1]]
    every = torch.zeros(1, 3, 1, dtype=torch.int)
    boxes.points_in_boxes_all_forward(box[None], points[None], every)
    assert every[0, :, 0].tolist() == [1, 0, 1]
    first = torch.zeros(1, 3, dtype=torch.int)
    boxes.points_in_boxes_part_forward(box[None], points[None], first)
    assert first.tolist() == [[0, -1, 0]]


def test_other_operators_are_there_and_say_what_is_missing() -> None:
    module = StandIn()
    assert all(hasattr(module, name) for name in SERVED)
    with pytest.raises(PerceptionError, match=r"'ball_query_forward'(.|\n)*install mmcv with its compiled"):
        module.ball_query_forward(1, key=2)
    assert not hasattr(module, "__path__")
