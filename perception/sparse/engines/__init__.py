"""Engines that carry out a sparse convolution, and the one place where an engine is chosen.

An engine is a function ``(features, weight, table) -> output``: features (N, C_in), weight (C_out, K, C_in) and a
NeighbourTable give (M, C_out), differentiable in features and weight. All of them agree with ``reference``.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from torch import Tensor

from perception.errors import PerceptionError, nearest
from perception.sparse.engines.reference import convolve as reference
from perception.sparse.neighbours import NeighbourTable

Engine = Callable[[Tensor, Tensor, NeighbourTable], Tensor]

ENGINES: dict[str, Engine] = {"reference": reference}
SETTING = "PERCEPTION_SPARSE_ENGINE"


def choose(features: Tensor) -> str:
    """Name of the engine for these features: the environment's PERCEPTION_SPARSE_ENGINE, else by device and shape."""
    wanted = os.environ.get(SETTING)
    if wanted is None:
        return "reference"
    if wanted not in ENGINES:
        raise PerceptionError(f"{SETTING}={wanted}", "the name of a sparse engine", nearest(wanted, ENGINES))
    return wanted


def convolve(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Sparse convolution by the chosen engine: features (N, C_in), weight (C_out, K, C_in) -> (M, C_out)."""
    return ENGINES[choose(features)](features, weight, table)
