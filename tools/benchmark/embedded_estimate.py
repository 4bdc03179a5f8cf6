#!/usr/bin/env python3
"""Milliseconds that a sparse backbone would need on an embedded GPU, on paper, and how far to trust the paper.

For each layer the multiplications that the blocked kernel does are counted from the real neighbour table (a block of 64
output rows works on a tap if any of its rows has a neighbour there, so empty places are multiplied too), and the bytes:
table, weights, outputs, and the features at best once and at worst once for each pair. A layer takes the longer of
arithmetic and memory, and a launch. The same arithmetic with this CPU's own rates, measured here on a product of
matrices and on a copy, stands beside what the CPU engine took: the quotient says what such a model is worth.

Rates of Jetson AGX Orin (64 GB): 204.8 GB/s; 42.5 TFLOP/s dense in half precision on tensor cores (NVIDIA, Jetson AGX
Orin technical brief, 2022). Published for CenterPoint's residual backbone on Orin, half precision, nuScenes: 22.3 ms
on average, 28.5 ms on a frame of 106,004 voxels, 22.6 ms on one of 85,179 (NVIDIA Lidar_AI_Solution, CUDA-CenterPoint).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import write_figures
from rich.console import Console
from rich.table import Table
from sparse_clouds import kitti, nuscenes
from sparse_conv import KINDS, recorded
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.engines import cpu
from perception.sparse.table import NeighbourTable

BLOCK = 64
PUBLISHED_ORIN_MS = {"residual": 22.3}


@dataclass(frozen=True)
class Machine:
    """``share`` of the peak that such kernels reach; ``size`` bytes a number; ``launch`` seconds a kernel."""

    name: str
    flops: float
    bandwidth: float
    share: float
    size: int
    launch: float
    block: int


ORIN = Machine("Jetson AGX Orin, half precision", 42.5e12, 204.8e9, 0.4, 2, 8e-6, BLOCK)


@dataclass(frozen=True)
class Layer:
    """Counts of one sparse convolution."""

    inputs: int
    outputs: int
    channels_in: int
    channels_out: int
    taps: int
    pairs: int
    blocked_pairs: int

    @classmethod
    def of(cls, weight: Tensor, table: NeighbourTable) -> Layer:
        valid = table.rows >= 0
        spare = -valid.shape[1] % BLOCK
        blocks = torch.nn.functional.pad(valid, (0, spare)).view(len(valid), -1, BLOCK).any(2)
        return cls(
            table.inputs,
            table.outputs,
            weight.shape[2],
            weight.shape[0],
            len(valid),
            int(valid.sum()),
            int(blocks.sum()) * BLOCK,
        )

    def seconds(self, machine: Machine) -> tuple[float, float]:
        """At best and at worst, by how often features come from memory."""
        pairs = self.blocked_pairs if machine.block > 1 else self.pairs
        arithmetic = 2 * pairs * self.channels_in * self.channels_out / (machine.flops * machine.share)
        fixed = 4 * self.taps * self.outputs + machine.size * self.taps * self.channels_in * self.channels_out
        fixed += machine.size * self.outputs * self.channels_out
        times = []
        for reads in (self.inputs, max(self.pairs, self.inputs)):
            memory = (fixed + machine.size * reads * self.channels_in) / machine.bandwidth
            times.append(max(arithmetic, memory) + machine.launch)
        return times[0], times[1]


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    torch.set_num_threads(1)
    try:
        case = kitti(options.kitti, None) if options.kitti else nuscenes(options.nuscenes)
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    x = case.voxels()
    here = this_cpu()
    lines = Table(
        "backbone", "voxels", "GFLOP", "with empty places", "Orin ms", "published", "CPU paper ms", "CPU measured"
    )
    figures: list[dict[str, Any]] = []
    for kind, make in KINDS.items():
        products = recorded(make().eval(), x)
        layers = [Layer.of(weight, table) for weight, table in products]
        orin = [sum(times) * 1e3 for times in zip(*(layer.seconds(ORIN) for layer in layers))]
        paper = [sum(times) * 1e3 for times in zip(*(layer.seconds(here) for layer in layers))]
        measured = sum(_seconds(_product(weight, table)) for weight, table in products) * 1e3
        useful, done = (
            sum(2 * pairs * layer.channels_in * layer.channels_out for layer, pairs in zip(layers, counts)) / 1e9
            for counts in ([layer.pairs for layer in layers], [layer.blocked_pairs for layer in layers])
        )
        published = PUBLISHED_ORIN_MS.get(kind)
        lines.add_row(
            kind,
            f"{len(x):,}",
            f"{useful:.1f}",
            f"{done:.1f}",
            f"{orin[0]:.1f} to {orin[1]:.1f}",
            f"{published or ''}",
            f"{paper[0]:.1f} to {paper[1]:.1f}",
            f"{measured:.1f}",
        )
        figures.append(
            {"kind": kind, "gflop": useful, "blocked_gflop": done, "orin_ms": orin, "published_ms": published}
        )
        figures[-1].update(cpu_paper_ms=paper, cpu_measured_ms=measured)
    console.print(f"{case.source}: products of the convolutions alone, tables and normalisation apart")
    console.print(lines)
    if options.out:
        facts = {"source": case.source, "voxels": len(x), "orin": ORIN.__dict__, "cpu": here.__dict__}
        write_figures(options.out, {**facts, "backbones": figures})
    return 0


def this_cpu() -> Machine:
    """Rates of one core: what the CPU engine's tiles reach on a full table, and a copy of 256 MB."""
    rows, channels = 16_384, 64
    table = NeighbourTable(torch.arange(rows, dtype=torch.int32)[None].repeat(8, 1), rows)
    product = _product(torch.randn(channels, 8, channels), table)
    block = torch.empty(2**26)
    copied = _seconds(lambda: block.clone())
    return Machine("this CPU", 2 * 8 * rows * channels**2 / _seconds(product), 2 * 4 * 2**26 / copied, 1.0, 4, 3e-5, 1)


def _product(weight: Tensor, table: NeighbourTable) -> Callable[[], Tensor]:
    features = torch.randn(table.inputs, weight.shape[2])
    return lambda: cpu.convolve(features, weight, table)


def _seconds(run: Callable[[], Any]) -> float:
    """The shortest of seven runs after one."""
    times = []
    for _ in range(8):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuscenes", type=Path, help="a cloud of ten sweeps; default: generated streets")
    parser.add_argument("--kitti", type=Path, help="a scan of KITTI instead")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
