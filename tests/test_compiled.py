"""Kernels compile also where nothing can be cached."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from perception.compiled import compiled


def test_compiles_without_a_cache_folder() -> None:
    """Numba refuses to cache code that has no file, with the error it has for file systems that are read-only."""
    namespace: dict[str, Any] = {}
    exec("def twice(x):\n    return 2 * x", namespace)
    twice: Any = compiled(namespace["twice"])
    assert twice(3) == 6
    assert twice.nopython_signatures


def test_nothing_is_compiled_at_import() -> None:
    """Seconds of compilation belong to the first call, not to the import of the library."""
    code = """
import perception.geometry.clipping as a, perception.geometry.greedy as b, perception.geometry.containment as c
import perception.metrics.kitti_matching as d
kernels = [value for module in (a, b, c, d) for value in vars(module).values() if hasattr(value, "nopython_signatures")]
print(len(kernels), sum(len(kernel.nopython_signatures) for kernel in kernels))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kernels, signatures = map(int, done.stdout.split())
    assert kernels >= 8
    assert signatures == 0
