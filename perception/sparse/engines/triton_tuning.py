"""Compile the Triton engine before it is needed, and time its tiles on the GPU at hand. Neither happens by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.engines import triton as engine
from perception.sparse.engines.triton_blocks import Blocks, Loop, candidates, key
from perception.sparse.engines.triton_cache import Sizes, save
from perception.sparse.table import NeighbourTable

Channels = Iterable[tuple[int, int]]


def warmup(
    channels: Channels,
    dtype: torch.dtype,
    device: torch.device | str,
    taps: Sequence[int] = (27,),
    training: bool = True,
) -> None:
    """Compile what layers of these (C_in, C_out) need, so that the first cloud does not wait (seconds a shape).

    Compiled are the plain and the fused convolution and, if ``training``, the gradients, with the tiles and the TF32
    setting of now. ``taps`` are the kernel sizes in use: 27 is 3 x 3 x 3. Call it on each device before a server is
    ready, or before processes meet in a collective operation.
    """
    device = torch.device(device)
    for depth, columns in channels:
        for kernel in taps:
            _compile(depth, columns, kernel, dtype, device, training)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def tune(
    table: NeighbourTable,
    channels: Channels,
    dtype: torch.dtype,
    measure: Callable[[Callable[[], object]], float] | None = None,
) -> dict[str, Blocks]:
    """Time the candidate tiles on a table of one's own data and keep the fastest for this GPU model and Triton.

    ``table`` is on the GPU, best a submanifold one of a typical cloud; ``channels`` are the layers' (C_in, C_out).
    Forward, gradient of the features and gradient of the weights are timed, each for some seconds, by
    ``measure(run) -> milliseconds`` (default: median of Triton's ``do_bench``). The winners lie in the user's cache
    folder, or in PERCEPTION_CACHE, and are read at first use. Other tiles may change the last bits of results.
    """
    measure = measure or _median
    device, precision = table.rows.device, engine.precision_of(dtype)
    _require(device)
    winners: dict[str, Blocks] = {}
    for depth, columns in channels:
        for loop, inner, outer in (("product", depth, columns), ("product", columns, depth), ("outer", depth, columns)):
            name = key(loop, inner, outer, dtype, precision)  # type: ignore[arg-type]
            if name not in winners:
                winners[name] = _fastest(loop, inner, outer, table, dtype, measure)  # type: ignore[arg-type]
    save(device, {name: _sizes(blocks) for name, blocks in winners.items()})
    return winners


def _fastest(
    loop: Loop,
    depth: int,
    columns: int,
    table: NeighbourTable,
    dtype: torch.dtype,
    measure: Callable[[Callable[[], object]], float],
) -> Blocks:
    device, rows = table.rows.device, table.rows
    x = torch.randn(table.inputs, depth, device=device).to(dtype)
    gradient = torch.randn(table.outputs, columns, device=device).to(dtype)
    # Strided as the engine meets them, input channels side by side.
    taps = torch.randn(columns, len(rows), depth, device=device).to(dtype).permute(1, 2, 0)
    times: dict[Blocks, float] = {}
    for blocks in candidates(loop, depth, columns, dtype):

        def run(blocks: Blocks = blocks) -> Tensor:
            if loop == "product":
                return engine.product(x, taps, rows, blocks=blocks)
            return engine.weight_gradient(x, gradient, rows, blocks=blocks)

        try:
            times[blocks] = measure(run)
        except _too_large():  # this tile does not fit this GPU; the others may
            continue
    if not times:
        raise PerceptionError(
            f"no tiles for {depth} -> {columns} channels fit this GPU", "one of the candidates", "report its model"
        )
    return min(times, key=lambda blocks: times[blocks])


def _compile(depth: int, columns: int, kernel: int, dtype: torch.dtype, device: torch.device, training: bool) -> None:
    rows = torch.zeros((kernel, 1), dtype=torch.int32, device=device)
    features = torch.zeros((1, depth), dtype=dtype, device=device)
    weight = torch.zeros((columns, kernel, depth), dtype=dtype, device=device)
    factor = torch.zeros(columns, device=device)
    for mirrored in (False, True):
        table = NeighbourTable(rows, 1, mirrored=mirrored)
        if not mirrored:
            for rectify in (False, True):
                engine.convolve_fused(features, weight, table, factor, factor, rectify)
        if training:
            x, w = features.clone().requires_grad_(), weight.clone().requires_grad_()
            engine.convolve(x, w, table).sum().backward()
        elif not mirrored:
            engine.convolve(features, weight, table)


def _require(device: torch.device) -> None:
    engine.kernels()
    if device.type == "cpu" and not engine.interpreted():
        raise PerceptionError("a table on the CPU", "a table on the GPU to tune for", "move coordinates there first")


def _median(run: Callable[[], object]) -> float:
    from triton.testing import do_bench

    return float(do_bench(run, return_mode="median"))


def _too_large() -> type[Exception]:
    from triton.runtime.errors import OutOfResources

    return OutOfResources


def _sizes(blocks: Blocks) -> Sizes:
    return blocks.rows, blocks.depth, blocks.columns, blocks.warps, blocks.stages
