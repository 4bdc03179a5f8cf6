#!/usr/bin/env python3
"""Milliseconds that an exported network would need on an embedded GPU, on paper: from multiplications and bytes.

python tools/benchmark/export_estimate.py second.safetensors --clouds scan.bin

Every operator of the traced graph is counted on the real cloud. From below: arithmetic of matrices alone, at the share
of the peak that such kernels reach, and each weight read once. From above: every operator a kernel of its own that
reads its inputs and writes its outputs in memory (nothing fused), in half precision, and a launch. An engine lies
between; voxels, neighbour tables and suppression run on the CPU and come on top (``cpu_ms``, measured here).

Rates of Jetson AGX Orin are those of ``embedded_estimate.py``; docs/export.md sets NVIDIA's published times beside.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from common import write_figures
from embedded_estimate import ORIN
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from perception.commands.inputs import find_inputs
from perception.errors import PerceptionError
from perception.export.description import describe
from perception.export.feeds import feed_of
from perception.export.graphs.build import graphs_of
from perception.export.graphs.network import run_graph
from perception.export.growth import grown_feed
from perception.export.samples import sample_clouds, with_fields
from perception.export.select import detections_of
from perception.export.write import Order
from perception.io.clouds import read_points
from perception.models.detector import Detector
from perception.models.loading import load_with_header

HALF = 2
VIEWS = ("view", "expand", "permute", "transpose", "slice", "select.", "unsqueeze", "squeeze", "alias", "t.", "split")


class Traffic(TorchDispatchMode):
    """Bytes that operators read and write in half precision, and how many of them there are; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.kernels = 0, Counter[str]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        name = str(function).removeprefix("aten.")
        if not name.startswith(VIEWS):
            tensors = [t for t in tree_leaves((args, found)) if isinstance(t, torch.Tensor)]
            self.bytes += sum(t.numel() * (HALF if t.is_floating_point() else t.element_size()) for t in tensors)
            self.kernels[name.split(".")[0]] += 1
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="weights, or names of models")
    parser.add_argument("--clouds", nargs="+", help="default: the bundled street")
    parser.add_argument("--out", type=Path, help="JSON to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        rows = [estimate(name, options.clouds) for name in options.models]
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    if options.out is not None:
        write_figures(options.out, {"machine": ORIN.name, "models": rows})
    return 0


def estimate(name: str, inputs: list[str] | None) -> dict[str, object]:
    model, header = load_with_header(name)
    if not isinstance(model, Detector):
        raise PerceptionError(f"{name} is a model for {model.task}", "a detector")
    found = [with_fields(read_points(item.path), model) for item in find_inputs(inputs)] if inputs else []
    cloud = (found or sample_clouds(model))[0]
    graphs = graphs_of(model)
    manifest = describe(model, header, graphs, Order())
    flops, traffic, weights = 0, Traffic(), 0
    feed_of(model.points([cloud]), manifest)  # compiles
    start = time.process_time()
    feed = feed_of(model.points([cloud]), manifest)
    outside = time.process_time() - start
    arrays: dict[str, torch.Tensor] = feed.arrays
    for number, graph in enumerate(graphs.parts):
        run_graph(graph, arrays)
        with FlopCounterMode(display=False) as counter, traffic:
            answer = run_graph(graph, arrays)
        flops += counter.get_total_flops()
        weights += HALF * sum(p.numel() for p in graph.module.parameters())
        start = time.process_time()
        if number < len(graphs.parts) - 1:
            arrays = grown_feed(feed, manifest, number, *answer)
        else:
            detections_of({s.name: a for s, a in zip(graph.outputs, answer)}, manifest)
        outside += time.process_time() - start
    arithmetic = flops / (ORIN.flops * ORIN.share)
    kernels = sum(traffic.kernels.values())
    return {
        "model": Path(name).stem,
        "points": len(cloud),
        "voxels": len(feed.sites["rows0"]),
        "GFLOP": round(flops / 1e9, 1),
        "MB moved": round(traffic.bytes / 1e6),
        "operators": kernels,
        "least_ms": round(1e3 * max(arithmetic, weights / ORIN.bandwidth), 1),
        "most_ms": round(1e3 * (arithmetic + traffic.bytes / ORIN.bandwidth + kernels * ORIN.launch), 1),
        "cpu_ms": round(1e3 * outside, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
