"""`perception export`: graphs, files, manifest and self-check, all or nothing."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.export.compare import TOLERANCES, Answer, check_report, unsuppressed
from perception.export.description import describe, versions
from perception.export.feeds import Feed, feed_of
from perception.export.graphs.build import graphs_of
from perception.export.graphs.network import Graph, Graphs, lower, run_graph
from perception.export.growth import grown_feed
from perception.export.manifest import MANIFEST, Manifest, Segment, digest, write_manifest
from perception.export.onnx_file import DEFAULT_OPSET, check_opset, traced, write_onnx
from perception.export.package import write_package
from perception.export.precision import last_convolutions, quantise_static
from perception.export.runner import ExportedDetector
from perception.export.samples import sample_clouds
from perception.export.select import detections_of
from perception.io.weights import WeightsHeader
from perception.models.detector import Detector
from perception.points import PointCloud

Target = Literal["onnx", "aoti", "engine"]
Precision = Literal["fp32", "fp16", "int8"]
# TensorRT's TopK takes fewer than this (its list of supported ONNX operators).
TENSORRT_TOPK = 3840


@dataclass(frozen=True)
class Order:
    """What to write. ``points`` and ``voxels`` are the limits; None: a million points, voxels as the model has them."""

    target: Target = "onnx"
    precision: Precision = "fp32"
    points: int | None = None
    voxels: int | None = None
    opset: int = DEFAULT_OPSET
    clouds: Sequence[PointCloud] = ()


def export_model(model: Detector, header: WeightsHeader, folder: Path, order: Order) -> Manifest:
    """Write ``folder``; when this raises, nothing new is left on the disk and what was there before is as it was.

    PerceptionError for a model or an operator without an exported form, and where the boxes of the written file differ
    from torch's beyond ``TOLERANCES``.
    """
    _check(model, order)
    graphs = graphs_of(model, TENSORRT_TOPK - 1 if order.target == "engine" else None)
    if order.precision == "fp16":
        lower(graphs)
    manifest = describe(model, header, graphs, order)
    clouds = [_within(cloud, model, manifest) for cloud in (order.clouds or sample_clouds(model))]
    with _whole(folder) as work:
        feeds = [feed_of(model.points([cloud]), manifest) for cloud in clouds]
        segments = _write_segments(graphs, feeds, manifest, work, order)
        manifest = replace(manifest, segments=segments, versions=versions(order.target))
        write_manifest(work, manifest)
        wanted, found = (answers_of(part, clouds, graphs.candidates) for part in (model, ExportedDetector(work)))
        manifest = replace(manifest, check=check_report(wanted, found, TOLERANCES[order.precision]))
        write_manifest(work, manifest)
    return manifest


@torch.inference_mode()
def answers_of(model: Detector, clouds: Sequence[PointCloud], kept: int) -> list[Answer]:
    """Results and candidates, cloud by cloud; the best ``kept`` candidates (of a task) were decoded."""
    found = []
    for cloud in clouds:
        predictions = model(model.voxelise(model.points([cloud])))
        if isinstance(model, ExportedDetector):
            candidates = detections_of(predictions[0], without_suppression(model.manifest))
        else:
            head: Any = model.head
            (candidates,) = head.results(predictions, unsuppressed(model.config.selection))
        found.append(Answer(model.results(predictions)[0].cpu(), candidates.cpu(), 2 * len(candidates) >= kept))
    return found


def without_suppression(manifest: Manifest) -> Manifest:
    if manifest.anchors is not None:
        return replace(manifest, anchors=unsuppressed(manifest.anchors))
    assert manifest.centres is not None
    return replace(manifest, centres=unsuppressed(manifest.centres))


def _check(model: Detector, order: Order) -> None:
    if order.target != "aoti":
        check_opset(order.opset)
    if order.precision == "int8" and order.target == "aoti":
        raise PerceptionError("int8 in an AOTInductor package", "fp32 or fp16", "use --to onnx for int8")
    for name, limit in (("--points", order.points), ("--voxels", order.voxels)):
        if limit is not None and limit < 2:
            raise PerceptionError(f"{name} {limit}", "2 or more")


def _write_segments(
    graphs: Graphs, feeds: Sequence[Feed], manifest: Manifest, work: Path, order: Order
) -> tuple[Segment, ...]:
    segments = []
    arrays = [feed.arrays for feed in feeds]
    for number, graph in enumerate(graphs.parts):
        suffix = {"aoti": "pt2", "onnx": "onnx", "engine": "onnx"}[order.target]
        path = work / ("network." + suffix if len(graphs.parts) == 1 else f"network{number}.{suffix}")
        _write_graph(graph, arrays, path, order)
        if order.target == "engine":
            path = _engine(path, graph, manifest, order)
        segments.append(Segment(path.name, path.stat().st_size, digest(path), graph.inputs, graph.outputs))
        if number < len(graphs.parts) - 1:
            arrays = [_grown(graph, feed, given, manifest, number) for feed, given in zip(feeds, arrays)]
    return tuple(segments)


def _grown(graph: Graph, feed: Feed, arrays: dict[str, Tensor], manifest: Manifest, number: int) -> dict[str, Tensor]:
    features, importance = run_graph(graph, arrays)
    return grown_feed(feed, manifest, number, features, importance)


def _write_graph(graph: Graph, arrays: Sequence[dict[str, Tensor]], path: Path, order: Order) -> None:
    program = traced(graph, arrays[0])
    if order.target == "aoti":
        write_package(program, path)
        return
    write_onnx(graph, program, path, order.opset)
    if order.precision == "int8":
        chosen = [{spec.name: given[spec.name] for spec in graph.inputs} for given in arrays]
        quantise_static(path, chosen, last_convolutions(path))


def _engine(path: Path, graph: Graph, manifest: Manifest, order: Order) -> Path:
    from perception.export.tensorrt.build import build_engine
    from perception.export.tensorrt.profiles import profile_of

    return build_engine(path, profile_of(graph.inputs, manifest.limits), order.precision)


def _within(cloud: PointCloud, model: Detector, manifest: Manifest) -> PointCloud:
    """The cloud, thinned until it fits the limits: the check compares networks, not what limits cost."""
    import numpy as np

    while feed_of(model.points([cloud]).to("cpu"), manifest).dropped:
        cloud = cloud.select(np.arange(0, len(cloud), 2))
    return cloud


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A work folder beside ``folder`` that takes its place when the block ends, or vanishes with an exception."""
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file())):
        raise PerceptionError(f"{folder} exists and is no exported folder", "a new folder, or an export to replace")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(6)}.part")
        work.mkdir()
    except OSError as error:
        raise PerceptionError(f"{folder} cannot be made: {error.strerror}", "a writable place") from None
    try:
        yield work
        if folder.exists():
            old = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(6)}.old")
            os.replace(folder, old)
            os.replace(work, folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
