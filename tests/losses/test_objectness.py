"""Supervision of importances: targets by hand, the doubly squashed loss against its published form."""

from __future__ import annotations

import pytest
import torch

from perception.backbones.focal import Importance
from perception.losses.objectness import cells_around, cells_inside, objectness_loss, squashed_focal
from perception.sparse import Sites, VoxelGrid

GRID = VoxelGrid((0.0, -4.0, -3.0, 8.0, 4.0, 1.0), (0.5, 0.25, 0.2))


def test_the_loss_is_a_focal_loss_of_two_softmaxed_probabilities() -> None:
    logits = torch.linspace(-6, 6, 13)
    inside = torch.arange(13) % 3 == 0
    p = logits.sigmoid()
    two = torch.stack([1 - p, p], 1).softmax(1)
    target = torch.stack([~inside, inside], 1).float()
    wanted = (-target * two.log() * (1 - two) ** 2).mean()
    torch.testing.assert_close(squashed_focal(logits, inside), wanted)


def test_no_cells_cost_nothing() -> None:
    assert squashed_focal(torch.zeros(0), torch.zeros(0, dtype=torch.bool)) == 0
    assert objectness_loss([], [], GRID) == 0


def test_cells_count_by_their_lowest_corner_in_a_turned_box_of_their_sample() -> None:
    # On the grid of stride 2 the corners of these cells are (4.0, 0.0, -1.0), (4.0, 1.0, -1.0) and (5.0, 0.0, -1.0).
    cells = torch.tensor([[0, 5, 8, 4], [0, 5, 8, 5], [0, 5, 10, 4], [1, 5, 8, 4]])
    sites = Sites.of(cells, (10, 16, 8), 3, stride=(2, 2, 2))
    along_y = torch.tensor([[4.0, 0.0, -1.0, 2.2, 0.6, 1.0, torch.pi / 2]])
    none = torch.zeros(0, 7)
    assert cells_inside(sites, [along_y, none, none], GRID).tolist() == [True, False, True, False]
    with_velocity = torch.cat([along_y, torch.ones(1, 2)], 1)
    assert cells_inside(sites, [none, with_velocity, none], GRID).tolist() == [False, False, False, True]


def test_cells_count_around_a_box_by_its_size_from_its_centre_whatever_its_heading() -> None:
    # The corners lie 0, 1, 1.5 and 3 m from the centre in y, and 1 and 1.5 in x; of another sample the last.
    cells = [[0, 5, 8, 4], [0, 5, 8, 5], [0, 5, 8, 6], [0, 5, 10, 4], [0, 5, 11, 4], [0, 5, 14, 4], [1, 5, 8, 4]]
    sites = Sites.of(torch.tensor(cells), (10, 16, 8), 2, stride=(2, 2, 2))
    box = torch.tensor([[4.0, 0.0, -1.0, 1.6, 1.2, 0.1, 0.7, 9.0, 9.0]])  # 1.6 m long, 1.2 m wide, and fast
    assert cells_around(sites, [box, box[:0]], GRID).tolist() == [True, True, False, True, True, False, False]
    importance = [Importance(torch.zeros(7), sites)]
    around = cells_around(sites, [box, box[:0]], GRID)
    assert objectness_loss(importance, [box, box[:0]], GRID, "around") == squashed_focal(torch.zeros(7), around)
    assert objectness_loss(importance, [box, box[:0]], GRID, "none") == 0


def test_layers_are_added_up_and_gradients_point_to_the_boxes() -> None:
    cells = torch.tensor([[0, 10, 16, 8], [0, 10, 16, 12]])
    sites = Sites.of(cells, (20, 32, 16), 1)
    logits = torch.zeros(2, requires_grad=True)
    box = [torch.tensor([[4.0, 0.0, -1.0, 1.0, 1.0, 1.0, 0.0]])]
    once = objectness_loss([Importance(logits, sites)], box, GRID)
    twice = objectness_loss([Importance(logits, sites)] * 2, box, GRID)
    assert twice.item() == pytest.approx(2 * once.item())
    once.backward()
    assert logits.grad is not None
    assert logits.grad[0] < 0 < logits.grad[1]
