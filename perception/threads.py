"""One pool of threads for compiled loops that let go of the interpreter lock; as many as torch uses."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

_pools: dict[int, ThreadPoolExecutor] = {}


def threads() -> int:
    """How many torch uses in this process: ``torch.set_num_threads`` rules our loops too."""
    return torch.get_num_threads()


def run_shares(function: Callable[..., Any], shares: Sequence[tuple[Any, ...]]) -> None:
    """Call ``function(*share)`` for every share: the last one here, the others in the pool. All have ended on return.

    The loops must not depend on who runs which share. An exception of any share is raised after all have ended.
    """
    futures = [_pool(len(shares) - 1).submit(function, *share) for share in shares[:-1]]
    try:
        function(*shares[-1])
    finally:
        errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None:
            raise error


def split(work: np.ndarray, parts: int) -> list[tuple[int, int]]:
    """Ranges [first, last) of the items 0 .. len(work) - 1, up to ``parts`` of them, with about equal sums of ``work``.

    Ranges without items are left out; without any item there is the one range (0, 0).
    """
    if parts == 1:
        return [(0, len(work))]
    total = np.concatenate([[0], np.cumsum(work, dtype=np.float64)])
    cuts = np.searchsorted(total, np.linspace(0, total[-1], parts + 1)[1:-1], side="left")
    ends = np.unique(np.concatenate([[0], cuts, [len(work)]]))
    return [(int(a), int(b)) for a, b in itertools.pairwise(ends)] or [(0, 0)]


def _pool(size: int) -> ThreadPoolExecutor:
    if size not in _pools:
        _pools[size] = ThreadPoolExecutor(size, thread_name_prefix="perception")
    return _pools[size]


# Threads do not survive a fork; a child that kept the pool would wait for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
