"""Shares of work on torch's threads and on a pool: all done, errors raised, others untouched."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from perception import threads


@pytest.fixture(params=["openmp", "pool"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    if request.param == "pool":
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    elif threads._openmp() is None:
        pytest.skip("torch's OpenMP library has no entry point that we know")
    yield request.param
    torch.set_num_threads(before)


def test_every_share_is_done_once(way: str) -> None:
    for count in (1, 2, 3, 20):
        done: list[int] = []
        seen = set()

        def note(number: int, done: list[int] = done, seen: set[int] = seen) -> None:
            done.append(number)
            seen.add(threading.get_ident())

        threads.run_shares(note, [(number,) for number in range(count)])
        assert sorted(done) == list(range(count))
        assert len(seen) <= 3


def test_several_threads_take_part(way: str) -> None:
    barrier = threading.Barrier(2, timeout=20)
    threads.run_shares(barrier.wait, [(), ()])  # breaks if one thread had to do both


def test_an_error_is_raised_after_all_have_ended(way: str) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 1:
            raise ValueError("share 1")
        done.append(number)

    with pytest.raises(ValueError, match="share 1"):
        threads.run_shares(work, [(number,) for number in range(6)])
    assert sorted(done) == [0, 2, 3, 4, 5]
    threads.run_shares(work, [(7,), (8,)])
    assert sorted(done)[-2:] == [7, 8]


def test_python_threads_may_call_at_the_same_time(way: str) -> None:
    results: list[int] = []

    def caller(number: int) -> None:
        own: list[int] = []
        threads.run_shares(own.append, [(k,) for k in range(10)])
        results.append(sum(own) + number)

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(30)
    assert sorted(results) == [45, 46, 47, 48]


def test_ranges_have_about_equal_work() -> None:
    assert threads.split(np.zeros(0), 4) == [(0, 0)]
    assert threads.split(np.ones(3), 1) == [(0, 3)]
    ranges = threads.split(np.array([1, 1, 1, 1, 4, 4, 4, 1, 1, 1]), 3)
    assert [first for first, _ in ranges[1:]] == [last for _, last in ranges[:-1]]
    assert (ranges[0][0], ranges[-1][1]) == (0, 10)
    assert len(ranges) == 3
