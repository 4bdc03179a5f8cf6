"""Group reductions against loops in Python; gradients, ties, empty groups and thread counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from perception.errors import PerceptionError
from perception.sparse.scatter import (
    PIECE,
    gather_rows,
    scatter_max,
    scatter_mean,
    scatter_min,
    scatter_softmax,
    scatter_sum,
    sorted_sum,
)

Reduction = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
PLAIN: dict[Reduction, Callable[[torch.Tensor], torch.Tensor]] = {
    scatter_sum: lambda rows: rows.sum(0),
    scatter_mean: lambda rows: rows.mean(0),
    scatter_max: lambda rows: rows.amax(0),
    scatter_min: lambda rows: rows.amin(0),
}
SIZES = [(0, 0), (0, 3), (1, 1), (1, 5), (40, 7), (200, 90)]


def grouped(rows: int, groups: int, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, channels, dtype=torch.float64), torch.randint(0, max(groups, 1), (rows,))


@pytest.mark.parametrize("reduction", PLAIN)
@pytest.mark.parametrize(("rows", "groups"), SIZES)
def test_reductions_equal_a_loop_over_groups(reduction: Reduction, rows: int, groups: int) -> None:
    values, group = grouped(rows, groups)
    expected = torch.zeros(groups, 3, dtype=torch.float64)
    for number in group.unique().tolist():
        expected[number] = PLAIN[reduction](values[group == number])
    torch.testing.assert_close(reduction(values, group, groups), expected)
    torch.testing.assert_close(reduction(values.requires_grad_(), group, groups), expected)


@pytest.mark.parametrize(("rows", "groups"), SIZES)
def test_softmax_equals_a_loop_over_groups(rows: int, groups: int) -> None:
    values, group = grouped(rows, groups)
    expected = torch.zeros_like(values)
    for number in group.unique().tolist():
        expected[group == number] = values[group == number].softmax(0)
    torch.testing.assert_close(scatter_softmax(values, group, groups), expected)


def test_softmax_of_huge_and_masked_values() -> None:
    values = torch.tensor([[1e30], [1e30], [-1e30], [3.0], [-torch.inf]]).requires_grad_()
    weights = scatter_softmax(values, torch.tensor([0, 0, 0, 1, 1]), 3)
    assert weights[:, 0].tolist() == [0.5, 0.5, 0, 1, 0]
    weights[:, 0].dot(torch.arange(5.0)).backward()
    assert values.grad is not None
    assert values.grad[:, 0].tolist() == [-0.25, 0.25, 0, 0, 0]


@pytest.mark.parametrize("reduction", [*PLAIN, scatter_softmax, lambda v, g, n: gather_rows(v, g[:20] % len(v))])
@pytest.mark.parametrize(("rows", "groups"), [(0, 2), (1, 3), (25, 6)])
def test_gradients(reduction: Reduction, rows: int, groups: int) -> None:
    values, group = grouped(rows, groups)
    if rows:
        assert torch.autograd.gradcheck(lambda v: reduction(v, group, groups), values.requires_grad_())
        assert torch.autograd.gradgradcheck(lambda v: reduction(v, group, groups), values)
    else:
        reduction(values.requires_grad_(), group, groups).sum().backward()
        assert values.grad is not None


def test_the_first_of_tied_rows_gets_the_gradient() -> None:
    values = torch.tensor([[1.0, 2.0], [5.0, 2.0], [5.0, 2.0], [-3.0, torch.nan]], requires_grad=True)
    top = scatter_max(values, torch.tensor([2, 2, 2, 0]), 3)
    torch.testing.assert_close(top, torch.tensor([[-3, torch.nan], [0, 0], [5, 2]]), equal_nan=True)
    top.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[0, 1], [1, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize(("rows", "groups"), [*SIZES, (5 * PIECE + 3, 2), (2 * PIECE, 1), (3 * PIECE, 4)])
def test_sum_without_atomics_equals_the_other(rows: int, groups: int) -> None:
    values, group = grouped(rows, groups)
    torch.testing.assert_close(sorted_sum(values, group, groups), scatter_sum(values, group, groups))


@pytest.mark.parametrize("shape", [(30000, 1, 100), (20000, 16, 3), (4000, 64, 9000), (300, 700, 2)])
def test_same_bits_for_any_number_of_threads(shape: tuple[int, int, int], thread_counts: Callable) -> None:
    rows, channels, groups = shape
    values, group = torch.randn(rows, channels), torch.randint(0, groups, (rows,))
    table, direction = torch.randn(groups, channels), torch.randn(groups, channels)

    def run() -> list[torch.Tensor]:
        found = [sorted_sum(values, group, groups)]
        for reduction in (scatter_sum, scatter_mean, scatter_max, scatter_min):
            leaf = values.clone().requires_grad_()
            output = reduction(leaf, group, groups)
            found += [output.detach(), *torch.autograd.grad((output * direction).sum(), leaf)]
        leaf = values.clone().requires_grad_()
        weights = scatter_softmax(leaf, group, groups)
        found += [weights.detach(), *torch.autograd.grad((weights * values.sin()).sum(), leaf)]
        leaf = table.clone().requires_grad_()
        return [*found, *torch.autograd.grad((gather_rows(leaf, group) * values).sum(), leaf)]

    thread_counts(run)


def test_bad_groups_are_refused() -> None:
    values = torch.zeros(3, 2)
    with pytest.raises(PerceptionError, match="from -1 to 1"):
        scatter_sum(values, torch.tensor([0, -1, 1]), 2)
    with pytest.raises(PerceptionError, match="from 0 to 2"):
        scatter_max(values, torch.tensor([0, 2, 1]), 2)
    with pytest.raises(PerceptionError, match="2 group numbers"):
        scatter_mean(values, torch.tensor([0, 1]), 2)
    with pytest.raises(PerceptionError, match="int32"):
        scatter_sum(values, torch.tensor([0, 1, 1], dtype=torch.int32), 2)
    with pytest.raises(PerceptionError, match="from 0 to 3"):
        gather_rows(values, torch.tensor([0, 3]))
