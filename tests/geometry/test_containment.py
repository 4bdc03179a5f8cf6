"""Points in boxes against the plain torch form."""

from __future__ import annotations

import pytest
import torch

from perception.errors import PerceptionError
from perception.geometry import box_of_points, points_in_boxes, reference


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    points = torch.rand(5000, 3) * torch.tensor([20.0, 20.0, 4.0])
    boxes = torch.rand(25, 7) * torch.tensor([20.0, 20.0, 4.0, 6.0, 3.0, 3.0, 9.0])
    return points, boxes


def test_mask_and_index_equal_reference() -> None:
    points, boxes = scene()
    expected = reference.points_in_boxes(points, boxes)
    assert expected.sum() > 300
    assert torch.equal(points_in_boxes(points, boxes), expected)
    first = torch.where(expected.any(1), expected.int().argmax(1), -1)
    assert torch.equal(box_of_points(points, boxes), first)


def test_faces_belong_to_the_box() -> None:
    box = torch.tensor([[1.0, 2.0, 3.0, 4.0, 2.0, 2.0, 0.0]])
    points = torch.tensor([[3.0, 2, 3], [-1, 2, 3], [1, 3, 3], [1, 2, 4], [1, 2, 2], [3.0001, 2, 3], [1, 2, 4.0001]])
    assert points_in_boxes(points, box)[:, 0].tolist() == [True] * 5 + [False] * 2


def test_nothing_in_nothing() -> None:
    points, boxes = scene()
    assert points_in_boxes(points[:0], boxes).shape == (0, 25)
    assert points_in_boxes(points, boxes[:0]).shape == (5000, 0)
    assert box_of_points(points, boxes[:0]).eq(-1).all()
    with pytest.raises(PerceptionError, match="points of shape"):
        points_in_boxes(torch.zeros(4), boxes)
