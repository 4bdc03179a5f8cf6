#!/usr/bin/env python3
"""Milliseconds of sparse convolution on this machine's CPU, beside another implementation in the same process.

For each set of voxels: voxelisation; a neighbour table beside as many binary searches; one 64-channel layer by stage;
and whole backbones (SECOND's, CenterPoint's residual one, a U-Net), forward and forward with backward, tables made
anew each time. `GEMMs` are the same multiplications done densely by torch, tap by tap on matrices that lie ready:
what a gather-multiply-scatter on torch's products cannot go below. Runs of ours and the peer's alternate; the ratio is
the peer's median over ours.

A peer is a module on the path with `backbone(kind) -> nn.Module (features, indices, spatial_shape, batch_size)` for
the kinds second, residual and unet, and `voxelise(points, range, voxel_size, max_points, max_voxels)`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from common import Row, Timing, ratio_table, write_figures
from rich.console import Console
from sparse_clouds import Case, forest, kitti, nuscenes
from torch import Tensor, nn

from perception.backbones.sparse_encoder import SparseEncoder
from perception.backbones.sparse_resnet import SparseResNet
from perception.backbones.sparse_unet import SparseUNet
from perception.errors import PerceptionError
from perception.sparse import Sites, SparseTensor, conv, hard_voxelise
from perception.sparse.engines import choose
from perception.sparse.engines import cpu as engine
from perception.sparse.engines.cpu_tiles import ROWS
from perception.sparse.neighbours import centred_steps, plain_neighbours, submanifold_table
from perception.sparse.table import NeighbourTable

KINDS: dict[str, Callable[[], nn.Module]] = {
    "second": lambda: SparseEncoder(4),
    "residual": lambda: SparseResNet(4, bias=False),
    "unet": lambda: SparseUNet(4),
}
KERNEL, ONES = (3, 3, 3), (1, 1, 1)
LAYER_CHANNELS = 64


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    torch.set_num_threads(options.threads)
    try:
        peer = None if options.peer is None else importlib.import_module(options.peer)
        cases = []
        for name in options.cases:
            case = _case(name, options)
            rows = measure(case, peer, options)
            console.print(f"\n{case.name}: {len(case.voxels()):,} voxels of {case.source}; {options.threads} thread(s)")
            console.print(ratio_table(rows, options.peer))
            cases.append({"name": case.name, "source": case.source, "voxels": len(case.voxels())})
            cases[-1]["rows"] = [row.as_dict() for row in rows]
        if options.out:
            versions = dict(getattr(peer, "VERSIONS", {}))
            facts = {"threads": options.threads, "repeats": options.repeats, "engine": choose(torch.zeros(0))}
            write_figures(options.out, {**facts, "peer": options.peer, "peer_versions": versions, "cases": cases})
    except (PerceptionError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(case: Case, peer: Any, options: argparse.Namespace) -> list[Row]:
    """All rows of one case."""
    x = case.voxels()
    rows = [_voxelisation(case, peer, options.repeats), *_layer(x.sites, options.repeats)]
    for kind in options.kinds:
        rows += _backbone(kind, x, peer, options)
    return rows


def _voxelisation(case: Case, peer: Any, repeats: int) -> Row:
    points, grid = case.points, case.grid
    caps = 10, max(len(points.values), 1)
    theirs = None
    if peer is not None and case.name != "forest":  # spconv's voxeliser keeps a dense grid of all cells
        values = points.values.numpy()
        theirs = lambda: peer.voxelise(values, grid.point_range, grid.voxel_size, *caps)  # noqa: E731
    return timed(f"voxelise {len(points.values):,} points", lambda: hard_voxelise(points, grid, *caps), theirs, repeats)


def _layer(sites: Sites, repeats: int) -> Iterator[Row]:
    """A submanifold layer of 64 channels, stage by stage, beside plain torch."""

    def fresh() -> Sites:
        return Sites(sites.coordinates, sites.spatial_shape, sites.batch_size, sites.stride, sites.order)

    steps = centred_steps(KERNEL, ONES)
    table = submanifold_table(sites, KERNEL, ONES)
    yield timed(
        "table of 27 taps; searches",
        lambda: submanifold_table(fresh(), KERNEL, ONES),
        lambda: plain_neighbours(fresh(), steps),
        repeats,
    )
    yield timed("pairs in blocks", lambda: NeighbourTable(table.rows, table.inputs).blocks(ROWS), None, repeats)
    features = torch.randn(len(sites), LAYER_CHANNELS)
    weight = torch.randn(LAYER_CHANNELS, 27, LAYER_CHANNELS)
    gemms = _gemms([(weight, table)])
    yield timed("64 to 64, product; GEMMs", lambda: engine.convolve(features, weight, table), gemms, repeats)
    for name in ("features", "weight"):
        leaf, taps = features.clone(), weight.clone()
        wanted = (leaf if name == "features" else taps).requires_grad_()  # or both gradients would be computed
        output = engine.convolve(leaf, taps, table)
        direction = torch.randn_like(output)
        backward = lambda o=output, w=wanted, d=direction: torch.autograd.grad(o, w, d, retain_graph=True)  # noqa: E731
        yield timed(f"64 to 64, gradient of {name}; GEMMs", backward, gemms, repeats)


def _backbone(kind: str, x: SparseTensor, peer: Any, options: argparse.Namespace) -> Iterator[Row]:
    ours = KINDS[kind]()
    theirs = None if peer is None else peer.backbone(kind)

    def fresh() -> SparseTensor:
        sites = x.sites
        return SparseTensor(x.features, Sites.of(sites.coordinates, sites.spatial_shape, sites.batch_size))

    def run_peer() -> Tensor:
        assert theirs is not None
        result: Tensor = theirs(x.features, x.coordinates, x.sites.spatial_shape, x.sites.batch_size)[0]
        return result

    products = recorded(ours.eval(), fresh())
    with torch.inference_mode():
        if theirs is not None:
            theirs.eval()
        yield timed(f"{kind} forward", lambda: ours(fresh()), theirs and run_peer, options.repeats)
        yield timed(f"{kind} forward; GEMMs", lambda: ours(fresh()), _gemms(products), options.repeats)
    if options.forward_only:
        return
    ours.train()
    if theirs is not None:
        theirs.train()
    yield timed(
        f"{kind} forward + backward",
        lambda: ours(fresh()).features.sum().backward(),
        theirs and (lambda: run_peer().sum().backward()),
        options.repeats,
    )


def recorded(backbone: nn.Module, x: SparseTensor) -> list[tuple[Tensor, NeighbourTable]]:
    """Weights (C_out, K, C_in) and tables of all products of one pass, in order."""
    products: list[tuple[Tensor, NeighbourTable]] = []
    kept = conv.convolve

    def record(features: Tensor, weight: Tensor, table: NeighbourTable) -> Tensor:
        products.append((weight.detach(), table))
        return kept(features, weight, table)

    conv.convolve = record
    try:
        backbone(x)
    finally:
        conv.convolve = kept
    return products


def _gemms(products: list[tuple[Tensor, NeighbourTable]]) -> Callable[[], None]:
    """The multiplications of sparse convolutions on matrices that lie ready."""
    work = []
    for weight, table in products:
        for tap, number in enumerate((table.rows >= 0).sum(1).tolist()):
            if number:
                work.append((torch.randn(number, weight.shape[2]), weight[:, tap].T.contiguous()))

    def run() -> None:
        for left, right in work:
            left @ right

    return run


def timed(name: str, ours: Callable[[], Any], theirs: Callable[[], Any] | None, repeats: int) -> Row:
    """One run of each in turn; the first round warms up and is not timed."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(repeats + 1):
        for run, kept in zip((ours, theirs), seconds):
            if run is None:
                continue
            start = time.perf_counter()
            run()
            if number:
                kept.append(time.perf_counter() - start)
    return Row(name, Timing.of(seconds[0]), Timing.of(seconds[1]) if seconds[1] else None)


def _case(name: str, options: argparse.Namespace) -> Case:
    if name == "kitti":
        return kitti(options.kitti, options.calib)
    return nuscenes(options.nuscenes) if name == "nuscenes" else forest(options.forest, options.forest_voxels)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=("kitti", "nuscenes", "forest"), default=["kitti", "nuscenes"])
    parser.add_argument("--kinds", nargs="*", choices=tuple(KINDS), default=list(KINDS), help="backbones; default all")
    parser.add_argument("--kitti", type=Path, help="a scan of KITTI; default: a generated street")
    parser.add_argument("--calib", type=Path, help="its calibration: cut it to what the camera sees")
    parser.add_argument("--nuscenes", type=Path, help="a cloud of nuScenes; default: generated streets")
    parser.add_argument("--forest", type=Path, help="a plot to repeat side by side; default: a generated one")
    parser.add_argument("--forest-voxels", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--peer", metavar="MODULE", help="the other implementation")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=9, help="timed runs of each; default: %(default)s")
    parser.add_argument("--forward-only", action="store_true", help="leave training out")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    if options.threads < 1 or options.repeats < 1 or options.forest_voxels < 1:
        parser.error("--threads, --repeats and --forest-voxels must be at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
