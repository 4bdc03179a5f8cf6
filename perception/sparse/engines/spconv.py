"""Adapter for an installed spconv (CUDA wheels ``spconv-cuXXX``, 2.3): its native gather, multiply, scatter-add.

It has not been run on a GPU yet: its pair lists have been held to the reference on the CPU wheel 2.3.8 with one thread,
forward only. CUDA tensors only: with more threads that CPU path gives wrong sums (racing scatter-add).
"""

from __future__ import annotations

import importlib
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.engines import reference
from perception.sparse.table import NeighbourTable

DTYPES = (torch.float32, torch.float16)

_pairs: WeakKeyDictionary[NeighbourTable, tuple[Tensor, Tensor]] = WeakKeyDictionary()


def convolve(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Features (N, C_in), weight (C_out, K, C_in) -> (M, C_out), differentiable in both."""
    check("spconv", features, DTYPES)
    functional = package("spconv.pytorch.functional", "spconv-cu126 or the wheel of your CUDA version")
    native = package("spconv.core", "spconv").ConvAlgo.Native
    pairs, counts = indice_pairs(table)
    if not pairs.shape[2]:  # spconv asserts that some tap has a pair
        return reference.convolve(features, weight, table)
    result: Tensor = functional.SparseConvFunction.apply(
        features.contiguous(), weight.contiguous(), pairs, counts, table.outputs, native
    )
    return result


def indice_pairs(table: NeighbourTable) -> tuple[Tensor, Tensor]:
    """spconv's form of a table: pairs (2, K, most of any tap) int32, input rows first, filled up with -1; counts (K,).

    Kept while the table lives.
    """
    if table not in _pairs:
        most = max((len(inputs) for inputs, _ in table.pairs), default=0)
        pairs = torch.full((2, len(table.rows), most), -1, dtype=torch.int32, device=table.rows.device)
        for tap, (inputs, outputs) in enumerate(table.pairs):
            pairs[0, tap, : len(inputs)] = inputs
            pairs[1, tap, : len(outputs)] = outputs
        _pairs[table] = pairs, (table.rows >= 0).sum(1, dtype=torch.int32)
    return _pairs[table]


def check(engine: str, features: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    """Raise PerceptionError for features that a foreign engine does not take, whether it is installed or not."""
    if features.device.type != "cuda":
        raise PerceptionError(
            f"features on {features.device} for the sparse engine {engine!r}",
            "features on a CUDA GPU; on the CPU this engine is not used",
            "leave PERCEPTION_SPARSE_ENGINE unset",
        )
    if features.dtype not in dtypes:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise PerceptionError(f"{features.dtype} features for the sparse engine {engine!r}", f"one of {names}")


def package(module: str, wheel: str) -> Any:
    """A module of the foreign package, or a PerceptionError that names what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PerceptionError(
            f"{module} cannot be imported: {error}",
            "the package that this sparse engine adapts",
            f"pip install {wheel}",
        ) from error
