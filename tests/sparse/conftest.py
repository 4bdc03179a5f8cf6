"""What the tests of sparse operations share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from sites import random_sites

from perception.sparse import Sites


@pytest.fixture
def make_sites() -> Callable[..., Sites]:
    return random_sites


@pytest.fixture
def thread_counts() -> Iterator[Callable[[Callable[[], list[torch.Tensor]]], None]]:
    """Assert that a function's tensors are the same bits with 1, 2 and 8 threads.

    The function must leave out torch.sigmoid and a softmax over any but the last axis: torch's own depend on threads.
    """
    before = torch.get_num_threads()

    def compare(function: Callable[[], list[torch.Tensor]]) -> None:
        torch.set_num_threads(1)
        expected = function()
        assert all(torch.isfinite(tensor).all() and tensor.abs().sum() > 0 for tensor in expected)
        for threads in (2, 8):
            torch.set_num_threads(threads)
            for _ in range(2):
                assert all(torch.equal(a, b) for a, b in zip(function(), expected, strict=True)), threads

    yield compare
    torch.set_num_threads(before)
