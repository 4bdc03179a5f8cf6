"""Overlaps against shapely and against the plain torch form, degenerate pairs included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon

from perception.boxes import Boxes3D
from perception.errors import PerceptionError
from perception.geometry import bev_intersection, bev_iou, iou_3d, nearest_bev_iou, reference


def random_boxes(count: int, spread: float = 6.0) -> torch.Tensor:
    scale = torch.tensor([spread, spread, 2.0, 5.0, 3.0, 2.0, 12.0], dtype=torch.float64)
    shift = torch.tensor([0.0, 0.0, 0.0, 0.1, 0.1, 0.1, -6.0], dtype=torch.float64)
    return torch.rand(count, 7, dtype=torch.float64) * scale + shift


def shapely_areas(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    first = [Polygon(c) for c in Boxes3D(a).corners()[:, :4, :2].numpy()]
    second = [Polygon(c) for c in Boxes3D(b).corners()[:, :4, :2].numpy()]
    return np.array([p.intersection(q).area for p, q in zip(first, second)])


def degenerate_pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs that share edges, corners or everything, at several turns."""
    base = [0.0, 0.0, 0.0, 4.0, 2.0, 1.5]
    others = [
        [0.0, 0.0, 0.0, 4.0, 2.0, 1.5],  # identical
        [4.0, 0.0, 0.0, 4.0, 2.0, 1.5],  # touching along an edge
        [4.0, 2.0, 0.0, 4.0, 2.0, 1.5],  # touching at a corner
        [0.5, 0.25, 0.0, 1.0, 0.5, 1.0],  # contained
        [1.0, 0.5, 0.0, 2.0, 1.0, 1.5],  # contained, two edges on the other's
        [2.0, 0.0, 0.0, 4.0, 2.0, 1.5],  # collinear edges, half covered
        [0.0, 0.0, 0.0, 100.0, 1e-3, 1.5],  # thin
        [0.0, 0.0, 0.0, 2.0, 4.0, 1.5],  # crossed
        [50.0, 50.0, 0.0, 4.0, 2.0, 1.5],  # far away
    ]
    first, second = [], []
    for turn in (0.0, np.pi / 2, np.pi, -3 * np.pi / 2, 0.3, 1e-9):
        cos, sin = np.cos(turn), np.sin(turn)
        for other in others:
            for extra in (0.0, np.pi / 2, np.pi):
                x, y = other[:2]
                first.append([*base, turn])
                second.append([x * cos - y * sin, x * sin + y * cos, *other[2:], turn + extra])
    return torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_areas_equal_shapely(offset: float) -> None:
    pairs = random_boxes(4000), random_boxes(4000)
    special = degenerate_pairs()
    a, b = torch.cat([pairs[0], special[0]]), torch.cat([pairs[1], special[1]])
    expected = shapely_areas(a, b)
    shift = torch.tensor([offset, -5 * offset, 0, 0, 0, 0, 0], dtype=torch.float64)
    areas = bev_intersection(a + shift, b + shift, aligned=True).numpy()
    # At 5,000,000 m a float64 coordinate has steps of 1e-9 m, at the origin of 1e-16 m.
    np.testing.assert_allclose(areas, expected, atol=1e-12 if offset == 0 else 1e-7)
    assert (expected > 0).sum() > 1000


def test_compiled_equals_reference() -> None:
    special = degenerate_pairs()
    a = torch.cat([random_boxes(2000), special[0]])
    b = torch.cat([random_boxes(2000), special[1]])
    compiled = bev_intersection(a, b, aligned=True)
    torch.testing.assert_close(compiled, reference.intersection_area(a, b), atol=1e-12, rtol=0)


def test_matrix_equals_pairs() -> None:
    a, b = random_boxes(40), random_boxes(30)
    for function in (bev_intersection, bev_iou, iou_3d):
        matrix = function(a, b)
        rows, columns = torch.meshgrid(torch.arange(40), torch.arange(30), indexing="ij")
        pairs = function(a[rows.flatten()], b[columns.flatten()], aligned=True)
        assert torch.equal(matrix.flatten(), pairs)


def test_boxes_without_extent_share_nothing() -> None:
    flat = torch.tensor([[0.0, 0, 0, 0, 2, 1, 0], [0.0, 0, 0, 2, -1, 1, 0], [0.0, 0, 0, 2, 2, 0, 0]])
    broken = torch.tensor([[float("nan"), 0, 0, 2, 2, 2, 0], [0, 0, 0, 2, 2, 2, float("inf")]])
    solid = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0.1]])
    assert bev_iou(flat[:2], solid).eq(0).all()
    assert bev_iou(flat, flat)[:2, :2].eq(0).all()
    assert iou_3d(flat, solid).eq(0).all()
    assert bev_iou(broken[:1], solid).eq(0).all()
    assert not torch.isnan(iou_3d(broken, solid)).any()


@pytest.mark.parametrize(
    "row", [[0, 0, 0, np.inf, 2, 1, 0.3], [0, 0, 0, np.inf, np.inf, 1, 0], [np.inf, 0, 0, 2, 2, 1, 0]]
)
def test_infinite_boxes_share_nothing_either_way_round(row: list[float]) -> None:
    endless, solid = torch.tensor([row]), torch.tensor([[0.0, 0, 0, 2, 2, 2, 0.1]])
    for function in (bev_intersection, bev_iou, iou_3d):
        assert (
            function(endless, solid).item() == function(solid, endless).item() == function(endless, endless).item() == 0
        )


def test_no_boxes() -> None:
    none = torch.zeros(0, 7)
    assert bev_iou(none, random_boxes(3)).shape == (0, 3)
    assert iou_3d(random_boxes(3), none).shape == (3, 0)


def test_wrong_shapes_are_errors() -> None:
    with pytest.raises(PerceptionError, match="boxes of shape"):
        bev_iou(torch.zeros(3, 5), torch.zeros(3, 7))
    with pytest.raises(PerceptionError, match="in pairs"):
        bev_iou(torch.zeros(3, 7), torch.zeros(2, 7), aligned=True)


numbers = st.floats(-20, 20)
sizes = st.floats(0.01, 20)
box = st.tuples(numbers, numbers, numbers, sizes, sizes, sizes, st.floats(-10, 10))


@settings(max_examples=200, deadline=None)
@given(box, box, st.floats(-3, 3), numbers)
def test_symmetry_bounds_and_rigid_motion(first: tuple, second: tuple, turn: float, shift: float) -> None:
    a, b = torch.tensor([first], dtype=torch.float64), torch.tensor([second], dtype=torch.float64)
    for function in (bev_iou, iou_3d):
        value = function(a, b).item()
        assert 0 <= value <= 1 + 1e-9
        assert abs(value - function(b, a).item()) < 1e-9
        assert abs(function(a, a).item() - 1) < 1e-9
        moved = [_moved(boxes, turn, shift) for boxes in (a, b)]
        assert abs(value - function(moved[0], moved[1]).item()) < 1e-7
    assert iou_3d(a, b).item() <= bev_iou(a, b).item() + 1e-9


def _moved(boxes: torch.Tensor, turn: float, shift: float) -> torch.Tensor:
    x, y = boxes[:, 0], boxes[:, 1]
    cos, sin = np.cos(turn), np.sin(turn)
    moved = boxes.clone()
    moved[:, 0], moved[:, 1] = x * cos - y * sin + shift, x * sin + y * cos - shift
    moved[:, 2] += shift
    moved[:, 6] += turn
    return moved


def test_nearest_rounds_the_heading() -> None:
    car = torch.tensor([[0.0, 0, 0, 4, 2, 1.5, 0.1]])
    turned = torch.tensor([[0.0, 0, 0, 4, 2, 1.5, 1.57], [0, 0, 0, 2, 4, 1.5, 1.5], [2, 0, 0, 4, 2, 1.5, 3.2]])
    expected = torch.tensor([[4 / 12, 1.0, 1 / 3]])
    torch.testing.assert_close(nearest_bev_iou(car, turned), expected)


@pytest.mark.parametrize("heading", [torch.pi / 4, -torch.pi / 4])
def test_nearest_turns_the_diagonal(heading: float) -> None:
    """Half way between two axes the published rule (below 45 degrees stays) swaps length and width."""
    diagonal, upright = torch.tensor([[0.0, 0, 0, 4, 2, 1, heading]]), torch.tensor([[0.0, 0, 0, 2, 4, 1, 0]])
    assert nearest_bev_iou(diagonal, upright).item() == 1
