"""The threads that torch uses, for compiled loops that let go of the interpreter lock.

torch's OpenMP threads wait for work in a busy loop. Threads of our own beside them would get half a core each, so
where OpenMP's library can be called (libgomp, that of torch on Linux), its threads do our work too. Elsewhere, and in
forked processes, where OpenMP's threads no longer exist, a pool of our own does it.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

SHARES_A_THREAD = 2

Task = Callable[[], None]

_pools: dict[int, ThreadPoolExecutor] = {}
_forked: list[bool] = []


def threads() -> int:
    """How many torch uses in this process: ``torch.set_num_threads`` rules our loops too."""
    return torch.get_num_threads()


def run_shares(function: Callable[..., Any], shares: Sequence[tuple[Any, ...]]) -> None:
    """Call ``function(*share)`` for every share, in any order and on any thread. All have ended on return.

    The loops must not depend on who runs which share. The first exception of a share is raised after all have ended.
    """
    if len(shares) == 1:
        function(*shares[0])
        return
    left = list(shares)
    errors: list[BaseException] = []

    def work() -> None:
        while True:
            try:
                share = left.pop()
            except IndexError:
                return
            try:
                function(*share)
            except BaseException as error:  # raised below, in the thread that asked
                errors.append(error)

    everywhere = None if _forked else _openmp()
    (everywhere or _in_pool)(work, max(threads(), 2))
    if errors:
        raise errors[0]


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


def fair(work: np.ndarray, worth: float) -> list[tuple[int, int]]:
    """``split`` into a few shares for each thread, since some start late; one if ``work`` sums to under ``worth``."""
    number = threads()
    return split(work, SHARES_A_THREAD * number if number > 1 and work.sum() > worth else 1)


@functools.cache
def _openmp() -> Callable[[Task, int], None] | None:
    """A function that runs a task on every thread of torch's OpenMP, or None where that cannot be called."""
    library = _torch_openmp()
    if library is None:
        return None
    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    parallel = library.GOMP_parallel
    parallel.argtypes = [callback, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None

    def everywhere(task: Task, number: int) -> None:
        parallel(callback(lambda _: task()), None, number, 0)

    return everywhere


def _torch_openmp() -> ctypes.CDLL | None:
    """The loaded library that obeys ``torch.set_num_threads``, if it has GNU's entry point."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    paths = {line.split(maxsplit=5)[-1] for line in lines if "omp" in line.rpartition("/")[2]}
    return next(filter(None, map(_obedient, sorted(paths, key=lambda path: "/torch" not in path))), None)


def _obedient(path: str) -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(path)
        same = bool(library.GOMP_parallel) and library.omp_get_max_threads() == torch.get_num_threads()
    except (OSError, AttributeError):
        return None
    return library if same else None


def _in_pool(task: Task, number: int) -> None:
    """Run a task here and on ``number - 1`` threads of our own."""
    if number not in _pools:
        _pools[number] = ThreadPoolExecutor(number - 1, thread_name_prefix="perception")
    futures = [_pools[number].submit(task) for _ in range(number - 1)]
    task()
    for future in futures:
        future.result()


def _after_fork() -> None:
    """Threads do not survive a fork; a child that waited for its parent's would wait for ever."""
    _pools.clear()
    _forked.append(True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
