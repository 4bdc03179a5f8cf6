"""Centre heads: peaks to boxes, suppression, and answers in a few cells against those in all."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.heads.centre_grid import CentreGrid, decode
from perception.heads.centre_head import (
    CentreHead,
    CentreLossWeights,
    CentrePredictions,
    TaskMaps,
    object_losses,
    total_loss,
)
from perception.heads.centre_selection import CentreSelection, Peaks, Suppression, best, gather_peaks, suppress
from perception.heads.dense_branches import answers_at
from perception.heads.sparse_branches import SparseBranch
from perception.heads.sparse_centre_head import SparseCentreHead
from perception.sparse import SparseTensor

GRID = CentreGrid((-4.0, -6.0), (0.1, 0.2), 4)
TASKS = (("car",), ("truck", "bus"))


def randomise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.3)


@pytest.mark.parametrize("bias", [True, False])
def test_answers_in_a_few_cells_are_those_of_the_maps(bias: bool) -> None:
    head = CentreHead(8, TASKS, GRID, velocity=True, overlap=True, bias=bias, channels=16).eval()
    randomise(head)
    shared = torch.randn(2, 16, 5, 7)
    sample, cell = torch.arange(2).repeat_interleave(35), torch.arange(35).repeat(2)
    branches = [branch for branch in head.tasks[1].values() if isinstance(branch, nn.Sequential)]
    with torch.no_grad():
        for branch, few in zip(branches, answers_at(branches, shared, sample, cell)):
            torch.testing.assert_close(few, branch(shared).permute(0, 2, 3, 1).flatten(0, 2), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", ["dense", "sparse"])
def test_results_with_and_without_gradients_are_the_same(make: str) -> None:
    head: CentreHead | SparseCentreHead
    given: Tensor | SparseTensor
    if make == "dense":
        head, given = CentreHead(8, TASKS, GRID, True, True, channels=16), torch.randn(2, 8, 6, 9)
    else:
        head, given = SparseCentreHead(8, TASKS, GRID, 3, True, True), sparse_map(8)
    randomise(head.eval())
    rule = CentreSelection(rectifier=(0.5, 0.3, 0.7), suppression=(Suppression(0.5, 100, 50),))
    with torch.no_grad():
        lazily = head.results(head(given), rule)  # type: ignore[arg-type]
    completely = head.results(head(given), rule)  # type: ignore[arg-type]
    for one, other in zip(lazily, completely, strict=True):
        assert len(one) == len(other) > 5
        torch.testing.assert_close(one.boxes.values, other.boxes.values, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.boxes.velocity, other.boxes.velocity, atol=1e-4, rtol=1e-4)
        assert torch.equal(one.labels, other.labels)


def sparse_map(channels: int, count: int = 40) -> SparseTensor:
    cells = torch.randperm(2 * 6 * 9)[:count]
    coordinates = torch.stack([cells // 54, cells % 54 // 9, cells % 9], 1)
    return SparseTensor.of(torch.randn(count, channels), coordinates, (6, 9), 2)


@pytest.mark.parametrize("kernel", [1, 3])
def test_answers_in_a_few_rows_are_those_of_all(kernel: int) -> None:
    branch, x = SparseBranch(8, 3, kernel).eval(), sparse_map(8)
    randomise(branch)
    rows = torch.randperm(len(x))
    with torch.no_grad():
        torch.testing.assert_close(branch.at(x, rows), branch(x)[rows], atol=1e-5, rtol=1e-4)
        assert branch.at(x, rows[:0]).shape == (0, 3)


def test_a_peak_becomes_its_box() -> None:
    head = CentreHead(8, TASKS, GRID, velocity=True, channels=16)
    maps = [
        TaskMaps(torch.full((1, n, 4, 5), -9.0), torch.zeros(1, 16, 4, 5), torch.zeros(1, 10, 4, 5)) for n in (1, 2)
    ]
    maps[1].heatmap[0, 1, 2, 3] = 2.0
    values = torch.tensor([0.25, 0.5, -1.0, math.log(4), math.log(2), math.log(1.5), 0.0, 2.0, 3.0, -1.0])
    assert maps[1].values is not None
    maps[1].values[0, :, 2, 3] = values
    (found,) = head.results(CentrePredictions(tuple(maps)), CentreSelection())
    wanted = [3.25 * 0.4 - 4, 2.5 * 0.8 - 6, -1, 4, 2, 1.5, math.pi / 2]
    torch.testing.assert_close(found.boxes.values, torch.tensor([wanted]))
    assert found.boxes.velocity is not None
    assert found.boxes.velocity.tolist() == [[3, -1]]
    assert found.names == ["bus"]
    assert found.scores.item() == pytest.approx(1 / (1 + math.exp(-2)))


def test_the_best_are_in_order_and_ties_in_that_of_the_rows() -> None:
    scores = torch.tensor([0.5, 0.9, 0.1, 0.9, 0.5, 0.5])
    assert best(scores, 4, 0.2).tolist() == [1, 3, 0, 4]
    many = torch.randint(0, 50, (4000,)) / 50
    wanted = sorted(range(4000), key=lambda i: (-many[i].item(), i))[:30]
    assert best(many, 30, 0.1).tolist() == wanted
    assert best(scores[:0], 4, 0.2).tolist() == []


def test_fewer_voxels_than_peaks_keep_their_classes() -> None:
    head = SparseCentreHead(8, [["a", "b", "c"]], GRID, 1).eval()
    x = SparseTensor.of(torch.randn(3, 8), torch.tensor([[0, 1, 1], [0, 2, 5], [1, 3, 3]]), (6, 9), 3)
    nn.init.zeros_(head.tasks[0]["heatmap"].out.weight)  # type: ignore[index, union-attr, arg-type]
    with torch.no_grad():
        head.tasks[0]["heatmap"].out.bias.copy_(torch.tensor([-9.0, -9.0, 3.0]))  # type: ignore[index, union-attr]
        first, second, none = head.results(head(x), CentreSelection(suppression=(Suppression(1.0, 500, 500),)))
    assert first.names == ["c", "c"]
    assert second.names == ["c"]
    assert len(none) == 0


def two_overlapping() -> Peaks:
    box = torch.tensor([1.0, 2, 0, 4, 2, 1.5, 0.1])
    return Peaks(torch.stack([box, box, box + 20]), torch.tensor([0.6, 0.8, 0.3]), torch.tensor([0, 1, 1]))


def test_suppression_within_a_task_or_within_each_class() -> None:
    within_task = suppress([two_overlapping()], CentreSelection(), ("a", "b"))
    assert within_task.names == ["b", "b"]
    rules = (Suppression(0.2, 10, 10), Suppression(0.2, 10, 1))
    within_class = suppress([two_overlapping()], CentreSelection(suppression=rules), ("a", "b"))
    assert within_class.names == ["b", "a"]
    with pytest.raises(PerceptionError, match="2 rules of suppression for 3 classes"):
        suppress([two_overlapping()], CentreSelection(suppression=rules), ("a", "b", "c"))


def test_radii_suppress_by_distance_within_a_task() -> None:
    rule = CentreSelection(radii=(0.5, 40.0))
    found = suppress([two_overlapping(), two_overlapping()], rule, ("a", "b"))
    assert found.scores.tolist() == pytest.approx([0.8, 0.8, 0.3])  # the box 28 m away stays in the first task alone
    with pytest.raises(PerceptionError, match="2 radii of suppression for 1 tasks"):
        suppress([two_overlapping()], rule, ("a", "b"))


def test_predicted_overlaps_rectify_scores_and_the_range_drops_boxes() -> None:
    peaks = two_overlapping()
    rule = CentreSelection(rectifier=(0.7, 0.4), centre_range=(-5.0, -5.0, -5.0, 10.0, 10.0, 5.0))
    found = gather_peaks(peaks.boxes, peaks.scores, peaks.labels, torch.tensor([0.2, -3.0, 0.0]), rule)
    assert found.scores.tolist() == pytest.approx([0.6**0.3 * 0.6**0.7, 0.0])


def test_weights_that_do_not_fit_are_refused() -> None:
    head = CentreHead(8, TASKS, GRID, velocity=True, channels=16)
    none = [torch.zeros(0, 9)], [torch.zeros(0, dtype=torch.int64)]
    with pytest.raises(PerceptionError, match="8 weights in codes"):
        head.loss(head(torch.randn(1, 8, 4, 5)), *none, CentreLossWeights())


def test_what_is_learned_is_what_is_found() -> None:
    head, x = CentreHead(8, TASKS, GRID, velocity=True, overlap=True, channels=16), torch.randn(1, 8, 8, 8)
    boxes = torch.tensor([[-2.9, -4.1, 0.3, 1.9, 0.8, 1.5, 0.6, 2.0, 1.0], [-1.4, -1.2, 0, 2.5, 1, 2, -2, 0.5, 0]])
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    weights = CentreLossWeights(codes=(1.0,) * 10, distance_iou=2.0)
    for _ in range(300):
        loss = head.loss(head(x), [boxes], [torch.tensor([0, 2])], weights)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        (found,) = head.eval().results(head(x), CentreSelection(score_threshold=0.5))
    assert sorted(found.names) == ["bus", "car"]
    order = found.labels.argsort()
    assert found.boxes.velocity is not None
    both = torch.cat([found.boxes.values, found.boxes.velocity], 1)[order]
    torch.testing.assert_close(both, boxes, atol=0.15, rtol=0)


def test_an_axis_and_a_side_give_the_heading_back() -> None:
    headings = torch.linspace(-3.1, 3.1, 41)
    wanted = torch.cat([torch.zeros(41, 6), headings.cos()[:, None], headings.sin()[:, None]], 1)
    truth = torch.cat([torch.zeros(41, 3), torch.ones(41, 3), headings[:, None]], 1)
    cells = torch.zeros(41, 2, dtype=torch.int64)
    values = torch.cat([torch.zeros(41, 6), torch.randn(41, 3)], 1).requires_grad_()
    weights = CentreLossWeights(side=1.0)
    optimiser = torch.optim.Adam([values], 0.05)
    for _ in range(400):
        parts = object_losses(cells, values, None, wanted, truth, GRID, weights)
        optimiser.zero_grad()
        total_loss([parts])["loss"].backward()
        optimiser.step()
    found = decode(cells, values.detach(), GRID)[:, 6]
    assert ((found - headings).cos() > 0.995).all()


def test_front_and_back_that_look_alike_leave_an_axis() -> None:
    """Half of the boxes head one way, half the other, and one answer must do for all."""
    heading = torch.tensor([0.6, 0.6 + torch.pi]).repeat(20)
    wanted = torch.cat([torch.zeros(40, 6), heading.cos()[:, None], heading.sin()[:, None]], 1)
    truth = torch.cat([torch.zeros(40, 3), torch.ones(40, 3), heading[:, None]], 1)
    cells = torch.zeros(40, 2, dtype=torch.int64)
    answer = torch.zeros(1, 9, requires_grad=True)
    optimiser = torch.optim.Adam([answer], 0.05)
    for _ in range(300):
        parts = object_losses(cells, answer.expand(40, 9), None, wanted, truth, GRID, CentreLossWeights())
        optimiser.zero_grad()
        total_loss([parts])["loss"].backward()
        optimiser.step()
    found = decode(cells[:1], answer.detach(), GRID)[0, 6]
    assert abs(float((found - 0.6).sin())) < 0.02
