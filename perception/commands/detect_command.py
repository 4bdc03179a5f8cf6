"""`perception detect`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from perception.commands.detect_map_job import MapJob, map_header
from perception.commands.inputs import Input, find_inputs, output_folder
from perception.commands.scan_input import Scan, mounted, read_scan
from perception.commands.scan_jobs import add_mounting, device_of, mounting_note, scan_outcomes, summarise
from perception.errors import PerceptionError
from perception.io.detections import detections_to_plain, write_json, write_kitti
from perception.io.las_header import LasHeader
from perception.models.catalogue import MODELS
from perception.models.detector import Detector
from perception.models.loading import load
from perception.pipeline import perceive
from perception.results import Detections
from perception.view.birds_eye import birds_eye

DEFAULT_MODEL = "centerpoint-small"
EXAMPLES = """
examples:
  perception detect scan.bin --out results
  perception detect 'drive/*.pcd' --model second.safetensors --out results --picture
  perception detect training/velodyne --out results --format kitti --calib training/calib
  perception detect city.laz --out results --labels

A LAS or LAZ file wider than the model's range is taken for a map: it is cut into tiles (any size, little memory),
the ground is found and brought to the height at which the model knows it, boxes are in the file's coordinates. A run
that was stopped goes on where it was.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders or globs of point clouds")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME_OR_PATH", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--format", choices=("json", "kitti"), default="json", help="default: %(default)s")
    parser.add_argument(
        "--calib",
        type=Path,
        metavar="FILE",
        help="KITTI calibration, or a folder with one of the same name for each cloud: only the points that the "
        "camera sees are used, as the benchmark does; needed by --format kitti",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="for models that read images: a folder with an image of each cloud's name, or a file",
    )
    parser.add_argument("--picture", action="store_true", help="also draw each cloud with its boxes, from above")
    parser.add_argument("--score", type=float, metavar="S", help="keep detections above this score, 0 to 1")
    parser.add_argument("--labels", action="store_true", help="maps: also write the cloud with detection and class")
    parser.add_argument(
        "--thinning",
        type=float,
        default=0.1,
        metavar="M",
        help="maps: one point in cells of M metres, 0 for all points",
    )
    add_mounting(parser)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="clouds at once; default: %(default)s")
    parser.add_argument("--input-format", metavar="F", help="format of the files, where their content does not tell")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")


@dataclass(frozen=True)
class Job:
    """Everything that is the same for all files."""

    model: Detector
    options: argparse.Namespace

    def read(self, item: Input) -> Scan:
        """One file as the model will see it."""
        scan = read_scan(item, self.options.input_format, self.options.calib, self.options.images)
        return mounted(scan, self.model) if self.options.mounting == "auto" else scan

    def run(self, scans: Sequence[Scan]) -> list[Detections]:
        """Detect in several files at once."""
        views = [scan.view for scan in scans] if self.model.reads_images else None
        results = perceive(self.model, [scan.mounting.cloud(scan.cloud) for scan in scans], views=views)
        found = [
            scan.mounting.detections(result.cpu())
            for scan, result in zip(scans, results)
            if isinstance(result, Detections)
        ]
        limit = self.options.score
        return found if limit is None else [one.select(one.scores > limit) for one in found]

    def write(self, scan: Scan, found: Detections) -> str:
        """Write the results of one file; answers a line for the user."""
        options = self.options
        target = options.out / scan.item.name
        if options.format == "kitti":
            assert scan.calibration is not None
            write_kitti(target.with_name(target.name + ".txt"), found, scan.calibration)
        else:
            facts = {"source": str(scan.item.path), "model": str(options.model)}
            write_json(target.with_name(target.name + ".json"), detections_to_plain(found, scan.cloud, facts))
        if options.picture:
            birds_eye(scan.cloud, found, path=target.with_name(target.name + ".png"), title=scan.item.path.name)
        return _line(scan, found, self.model) + mounting_note(scan)


def run(options: argparse.Namespace) -> int:
    _check(options)
    if options.model in MODELS and MODELS[options.model].task != "detection":
        raise _no_detector(options.model, MODELS[options.model].task)
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    items = find_inputs(options.inputs)
    output_folder(options.out)
    model = load(options.model, device_of(options.device))
    if not isinstance(model, Detector) or model.task != "detection":
        raise _no_detector(options.model, model.task)
    if model.reads_images and (options.images is None or options.calib is None):
        raise PerceptionError(
            f"{options.model} reads camera images", "--images and --calib", "add both, or choose a model of lidar alone"
        )
    job = Job(model, options)
    failures: list[tuple[Input, PerceptionError]] = []
    bar = track(range(len(items)), "detecting", console=errors, disable=len(items) == 1 or not errors.is_terminal)
    advance = iter(bar)
    for item, outcome in _outcomes(job, items, errors):
        next(advance, None)
        if isinstance(outcome, PerceptionError):
            failures.append((item, outcome))
        else:
            console.print(outcome, markup=False)
    next(advance, None)
    summarise(console, errors, options.out, items, failures)
    return 1 if failures else 0


def _no_detector(model: object, task: str) -> PerceptionError:
    own = f"`perception {task}` is the command for it, " if task in ("keypoints", "trees", "flow", "places") else ""
    return PerceptionError(f"{model} is a model for {task}", "a detector", f"{own}`perception models` lists all")


def _check(options: argparse.Namespace) -> None:
    if options.format == "kitti" and options.calib is None:
        raise PerceptionError("--format kitti without --calib", "the calibration of the camera", "add --calib FILE")
    if options.score is not None and not 0 <= options.score <= 1:
        raise PerceptionError(f"--score {options.score}", "a number from 0 to 1")
    if options.images is not None and options.calib is None:
        raise PerceptionError("--images without --calib", "the calibration of the camera", "add --calib FILE")
    if options.batch < 1:
        raise PerceptionError(f"--batch {options.batch}", "1 or more")
    if not 0 <= options.thinning < 10:
        raise PerceptionError(f"--thinning {options.thinning}", "metres from 0 to below 10")


def _outcomes(job: Job, items: Sequence[Input], errors: Console) -> Iterator[tuple[Input, str | PerceptionError]]:
    """A line or an error for each input, in order: maps one by one, scans in batches that a thread reads ahead."""
    scans: list[Input] = []
    for item in items:
        header = None
        try:
            header = None if job.options.calib is not None else map_header(item.path, job.model)
        except PerceptionError as error:
            yield from scan_outcomes(job, scans, job.options.batch)
            scans = []
            yield item, error
            continue
        if header is None:
            scans.append(item)
            continue
        yield from scan_outcomes(job, scans, job.options.batch)
        scans = []
        yield item, _map_outcome(job, item, header, errors)
    yield from scan_outcomes(job, scans, job.options.batch)


def _map_outcome(job: Job, item: Input, header: LasHeader, errors: Console) -> str | PerceptionError:
    options = job.options
    maps = MapJob(
        job.model, str(options.model), options.thinning, options.score or 0.0, options.labels, options.picture, errors
    )
    try:
        found = maps.run(header, options.out / item.name)
    except PerceptionError as error:
        return error
    return f"{item.path.name}: a map of {header.points:,} points, {_counts([found.classes[i] for i in found.labels])}"


def _line(scan: Scan, found: Detections, model: Detector) -> str:
    cloud = scan.mounting.cloud(scan.cloud)
    counts = _counts(found.names)
    dropped = f", {cloud.dropped:,} non-finite points dropped" if cloud.dropped else ""
    inside = int(model.grid.cells(torch.from_numpy(cloud.xyz))[1].sum())
    outside = f" (none of the {len(cloud):,} points is in the model's range)" if not inside else ""
    return f"{scan.item.path.name}: {counts}{outside}{dropped}"


def _counts(names: Sequence[str]) -> str:
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "nothing found"
