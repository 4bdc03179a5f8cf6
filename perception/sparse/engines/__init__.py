"""Engines that carry out a sparse convolution, and the one place where an engine is chosen.

An engine is a function ``(features, weight, table) -> output``: features (N, C_in), weight (C_out, K, C_in) and a
NeighbourTable give (M, C_out), differentiable in features and weight. All of them agree with ``reference``.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor

from perception.errors import PerceptionError, nearest
from perception.sparse.engines import cpu, cpu_depthwise, reference, spconv, spconv_triton, triton, triton_depthwise
from perception.sparse.table import NeighbourTable

Engine = Callable[[Tensor, Tensor, NeighbourTable], Tensor]

# The last three import the packages that they need at their first call.
ENGINES: dict[str, Engine] = {
    "reference": reference.convolve,
    "cpu": cpu.convolve,
    "triton": triton.convolve,
    "spconv": spconv.convolve,
    "spconv-triton": spconv_triton.convolve,
}
DEPTHWISE: dict[str, Engine] = {
    "cpu": cpu_depthwise.convolve_depthwise,
    "triton": triton_depthwise.convolve_depthwise,
}
FUSED = {"cpu": cpu.convolve_fused, "triton": triton.convolve_fused}
SETTING = "PERCEPTION_SPARSE_ENGINE"


def choose(features: Tensor) -> str:
    """Name of the engine for these features: the environment's PERCEPTION_SPARSE_ENGINE, else by device.

    On GPUs that is ``reference``: an engine that has never run on its hardware is not chosen automatically there.
    """
    on_cpu = features.device.type == "cpu"
    wanted = os.environ.get(SETTING)
    if wanted is None:
        return "cpu" if on_cpu else "reference"
    if wanted not in ENGINES:
        raise PerceptionError(f"{SETTING}={wanted}", "the name of a sparse engine", nearest(wanted, ENGINES))
    if wanted == "cpu" and not on_cpu:
        raise PerceptionError(f"{SETTING}=cpu for features on {features.device}", "an engine for that device")
    return wanted


@torch.compiler.disable
def convolve(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Sparse convolution by the chosen engine: features (N, C_in), weight (C_out, K, C_in) -> (M, C_out).

    Under autocast both are rounded to its precision first, as torch's own convolutions do; sums are in float32.
    """
    features, weight = _rounded(features, weight)
    with torch.autocast(features.device.type, enabled=False):
        return ENGINES[choose(features)](features, weight.to(features.dtype), table)


@torch.compiler.disable
def convolve_depthwise(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
    """Sparse convolution of each channel by itself: features (N, C), weight (C, K) -> (M, C)."""
    kind = features.device.type
    with torch.autocast(kind, enabled=False):
        engine = DEPTHWISE.get(choose(features), reference.convolve_depthwise)
        return engine(features, weight.to(features.dtype), table)


@torch.compiler.disable
def convolve_fused(
    features: Tensor, weight: Tensor, table: NeighbourTable, scale: Tensor, shift: Tensor, rectify: bool
) -> Tensor:
    """Convolution, times ``scale`` plus ``shift`` (C_out), then ReLU if ``rectify``: for use without gradients."""
    features, weight = _rounded(features, weight)
    engine = choose(features)
    if engine in FUSED:
        return FUSED[engine](features, weight, table, scale, shift, rectify)
    output = (convolve(features, weight, table) * scale + shift).to(features.dtype)
    return output.relu() if rectify else output


def _rounded(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the precision of autocast where it is on."""
    kind = features.device.type
    if not torch.is_autocast_enabled(kind):
        return features, weight
    low = torch.get_autocast_dtype(kind)
    return features.to(low), weight.to(low)
