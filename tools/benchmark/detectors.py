#!/usr/bin/env python3
"""Milliseconds a frame of the detectors, stage by stage, on the CPU; with --peer beside another implementation.

Ours and the peer's runs alternate in one process, so that a busy machine slows both; one run of each comes first and
is not timed. The row `frame` is everything after reading, by the clock, from points in memory to boxes; `other` is the
part of it that no stage accounts for; a row `backbone` sums `backbone.stem` and the like where the peer has only the
whole. Ratios are the peer's time over ours. With a peer the boxes of both are compared too, and the exit code is 1 if
they differ.

Without --weights a model gets random numbers, normalised on the cloud and with a score bias that lets --candidates
boxes through to suppression: times hardly depend on the numbers, except through how many boxes there are to suppress.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Row, Timing, ratio_table, write_figures
from peers import SAME_SHARE, SAME_SHARE_TWO_STAGES, Peer, Run, load_peer, matched, same_boxes
from random_weights import random_model
from rich.console import Console

from perception.datasets.kitti.calibration import KittiCalibration, read_object_calibration
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.models.catalogue import MODELS
from perception.models.detector import Detector
from perception.models.loading import load_with_header
from perception.models.two_stage import TwoStageDetector
from perception.pipeline import perceive
from perception.points import PointCloud
from perception.results import Detections
from perception.sparse.engines import SETTING
from perception.timing import Stopwatch

Laps = dict[str, list[float]]
OUTSIDE_FRAME = ("read", "camera view")


@dataclass(frozen=True)
class Source:
    """A cloud file, cut to the view of a KITTI camera where there is a calibration."""

    path: Path
    calibration: KittiCalibration | None

    def read(self, watch: Stopwatch) -> PointCloud:
        with watch.lap("read"):
            cloud = read_points(self.path)
        if self.calibration is None:
            return cloud
        with watch.lap("camera view"):
            return cloud.select(self.calibration.in_camera_view(cloud.world()))


@dataclass(frozen=True)
class Subject:
    """A model to measure, and where its numbers come from."""

    name: str
    model: Detector
    weights: str


@dataclass(frozen=True)
class Outcome:
    """All figures of one model. ``same`` is None without a peer's run."""

    subject: Subject
    points: int
    rows: list[Row]
    boxes: dict[str, int]
    same: bool | None

    def as_dict(self) -> dict[str, Any]:
        head = {"model": self.subject.name, "weights": self.subject.weights, "points": self.points}
        return {**head, "boxes": self.boxes, "same_boxes": self.same, "rows": [row.as_dict() for row in self.rows]}


def main(arguments: list[str] | None = None) -> int:
    """0 when all is well, 1 when a peer's boxes differ from ours, 2 when the work cannot be done."""
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    torch.set_num_threads(options.threads)
    try:
        calibration = None if options.calib is None else read_object_calibration(options.calib)
        source = Source(options.cloud, calibration)
        peer = None if options.peer is None else load_peer(options.peer)
        outcomes = []
        for subject in _subjects(options, source.read(Stopwatch())):
            run = None if peer is None else peer.build(subject.name, subject.model, options.threads)
            outcomes.append(measure(subject, source, run, options.repeats))
            _print(console, outcomes[-1], peer, options.threads)
        if options.out:
            write_figures(options.out, _figures(options, peer, outcomes))
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if any(outcome.same is False for outcome in outcomes) else 0


def measure(subject: Subject, source: Source, peer: Run | None, repeats: int) -> Outcome:
    """One frame of ours and one of the peer's in turn; the first round only warms both up."""
    ours: Laps = defaultdict(list)
    theirs: Laps = defaultdict(list)
    peer_boxes = np.zeros((0, 7))
    for number in range(repeats + 1):
        keep = number > 0
        cloud, found = _our_frame(subject.model, source, ours if keep else None)
        if peer is not None:
            points = subject.model.points([cloud]).values.numpy()
            peer_boxes = _peer_frame(peer, points, theirs if keep else None)
    our_boxes = found.boxes.values.numpy()
    ours = _with_wholes(ours, theirs)
    names = [*ours, *(name for name in theirs if name not in ours)]
    names = [*(name for name in names if name not in ("other", "frame")), "other", "frame"]
    rows = [Row(name, _timing(ours, name), _timing(theirs, name)) for name in names]
    boxes, same = {"ours": len(our_boxes)}, None
    if peer is not None:
        boxes.update(peer=len(peer_boxes), matched=matched(our_boxes, peer_boxes))
        two_stages = isinstance(subject.model, TwoStageDetector)
        same = same_boxes(our_boxes, peer_boxes, SAME_SHARE_TWO_STAGES if two_stages else SAME_SHARE)
    return Outcome(subject, len(cloud), rows, boxes, same)


def _our_frame(model: Detector, source: Source, laps: Laps | None) -> tuple[PointCloud, Detections]:
    watch = Stopwatch()
    cloud = source.read(watch)
    start = time.perf_counter()
    (found,) = perceive(model, [cloud], watch)
    frame = time.perf_counter() - start
    assert isinstance(found, Detections)
    _keep(laps, watch.seconds, frame)
    return cloud, found


def _peer_frame(peer: Run, points: np.ndarray, laps: Laps | None) -> np.ndarray:
    start = time.perf_counter()
    seconds, boxes = peer(points)
    _keep(laps, seconds, time.perf_counter() - start)
    return np.asarray(boxes)


def _keep(laps: Laps | None, seconds: Any, frame: float) -> None:
    if laps is None:
        return
    inside = sum(value for name, value in seconds.items() if name not in OUTSIDE_FRAME)
    for name, value in {**seconds, "other": max(frame - inside, 0.0), "frame": frame}.items():
        laps[name].append(value)


def _with_wholes(ours: Laps, theirs: Laps) -> Laps:
    """``ours`` with the sum of the parts of each stage that the peer has whole, in front of the parts."""
    answer: Laps = {}
    for name in ours:
        whole = name.partition(".")[0]
        if whole != name and whole in theirs and whole not in answer:
            parts = [ours[part] for part in ours if part.startswith(f"{whole}.")]
            answer[whole] = [sum(seconds) for seconds in zip(*parts)]
        answer[name] = ours[name]
    return answer


def _timing(laps: Laps, name: str) -> Timing | None:
    return Timing.of(laps[name]) if name in laps else None


def _subjects(options: argparse.Namespace, cloud: PointCloud) -> list[Subject]:
    subjects = {}
    for path in options.weights:
        model, header = load_with_header(path)
        if not isinstance(model, Detector):
            raise PerceptionError(f"{path} holds a model for {model.task}", "weights of a detector")
        subjects[header.model] = Subject(header.model, model, path.name)
    for name in options.models if options.models is not None else () if subjects else _able(cloud):
        if name not in subjects:
            subjects[name] = Subject(name, random_model(name, cloud, options.candidates), "random")
    return list(subjects.values())


def _detectors() -> Sequence[str]:
    return [name for name, known in MODELS.items() if known.task == "detection"]


def _able(cloud: PointCloud) -> Sequence[str]:
    """Detectors that read nothing but what the cloud has."""
    published = {name: MODELS[name] for name in _detectors()}
    return [
        name
        for name, known in published.items()
        if set(known.defaults.point_fields) <= set(cloud.fields) and not getattr(known.make, "reads_images", False)
    ]


def _print(console: Console, outcome: Outcome, peer: Peer | None, threads: int) -> None:
    subject, boxes = outcome.subject, outcome.boxes
    cores = "1 thread" if threads == 1 else f"{threads} threads"
    console.print(f"\n{subject.name}, weights: {subject.weights}; {outcome.points:,} points, {cores}", markup=False)
    console.print(ratio_table(outcome.rows, peer.name if peer and outcome.same is not None else None))
    if outcome.same is not None:
        verdict = "[green]the same[/]" if outcome.same else "[red]DIFFERENT[/]"
        console.print(f"boxes: {boxes['ours']} ours, {boxes['peer']} the peer's, {boxes['matched']} in both: {verdict}")
    elif peer is not None:
        console.print(f"{peer.name} has no {subject.name}")


def _figures(options: argparse.Namespace, peer: Peer | None, outcomes: list[Outcome]) -> dict[str, Any]:
    return {
        "threads": options.threads,
        "repeats": options.repeats,
        "sparse_engine": os.environ.get(SETTING, "chosen by the library"),
        "cloud": options.cloud.name,
        "camera_view": options.calib is not None,
        "peer": None if peer is None else {"name": peer.name, "versions": dict(peer.versions)},
        "models": [outcome.as_dict() for outcome in outcomes],
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models",
        nargs="+",
        choices=_detectors(),
        help="default: those of --weights, else all that read what the cloud has",
    )
    parser.add_argument(
        "--weights", nargs="+", type=Path, default=[], metavar="FILE", help="weights files; each names its model"
    )
    sample = Path(str(files("perception"))) / "samples" / "street_000.bin"
    parser.add_argument("--cloud", type=Path, default=sample, help="any cloud file; default: the bundled sample")
    parser.add_argument("--calib", type=Path, help="KITTI calibration of the cloud: cut it to what the camera sees")
    parser.add_argument("--peer", metavar="MODULE[:FUNCTION]", help="the other implementation; see peers.py")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=7, help="timed frames of each; default: %(default)s")
    parser.add_argument(
        "--candidates", type=int, default=500, help="boxes above the score threshold with random weights; %(default)s"
    )
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    for name in ("threads", "repeats", "candidates"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if options.out and not options.out.parent.is_dir():
        parser.error(f"no folder {options.out.parent}: create it first")
    return options


if __name__ == "__main__":
    sys.exit(main())
