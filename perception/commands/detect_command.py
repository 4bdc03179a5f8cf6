"""`perception detect`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from perception.commands.inputs import Input, find_inputs, output_folder
from perception.datasets.kitti_calibration import KittiCalibration, read_object_calibration
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.detections import detections_to_plain, write_json, write_kitti
from perception.models.detector import Detector
from perception.models.loading import load
from perception.pipeline import perceive
from perception.points import PointCloud
from perception.results import Detections
from perception.view.birds_eye import birds_eye

DEFAULT_MODEL = "pointpillars-small"
EXAMPLES = """
examples:
  perception detect scan.bin --out results
  perception detect 'drive/*.pcd' --model second.safetensors --out results --picture
  perception detect training/velodyne --out results --format kitti --calib training/calib
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
    parser.add_argument("--picture", action="store_true", help="also draw each cloud with its boxes, from above")
    parser.add_argument("--score", type=float, metavar="S", help="keep detections above this score, 0 to 1")
    parser.add_argument("--input-format", metavar="F", help="format of the files, where their content does not tell")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")


@dataclass(frozen=True)
class Job:
    """Everything that is the same for all files."""

    model: Detector
    options: argparse.Namespace

    def run(self, item: Input) -> str:
        """Detect in one file and write its results; answers a line for the user."""
        options = self.options
        calibration = _calibration(options.calib, item.path)
        cloud = read_points(item.path, format=options.input_format)
        if calibration is not None:
            cloud = cloud.select(calibration.in_camera_view(cloud.world()))
        (found,) = perceive(self.model, [cloud])
        assert isinstance(found, Detections)
        found = found.cpu()
        if options.score is not None:
            found = found.select(found.scores > options.score)
        target = options.out / item.name
        if options.format == "kitti":
            assert calibration is not None
            write_kitti(target.with_name(target.name + ".txt"), found, calibration)
        else:
            facts = {"source": str(item.path), "model": str(options.model)}
            write_json(target.with_name(target.name + ".json"), detections_to_plain(found, cloud, facts))
        if options.picture:
            birds_eye(cloud, found, path=target.with_name(target.name + ".png"), title=item.path.name)
        return _line(item, cloud, found, self.model)


def run(options: argparse.Namespace) -> int:
    if options.format == "kitti" and options.calib is None:
        raise PerceptionError("--format kitti without --calib", "the calibration of the camera", "add --calib FILE")
    if options.score is not None and not 0 <= options.score <= 1:
        raise PerceptionError(f"--score {options.score}", "a number from 0 to 1")
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    items = find_inputs(options.inputs)
    output_folder(options.out)
    model = load(options.model, _device(options.device))
    if not isinstance(model, Detector):
        raise PerceptionError(f"{options.model} is a model for {model.task}", "a detector", "see `perception models`")
    job = Job(model, options)
    failures: list[tuple[Input, PerceptionError]] = []
    for item in track(items, "detecting", console=errors, disable=len(items) == 1 or not errors.is_terminal):
        try:
            line = job.run(item)
        except PerceptionError as error:
            failures.append((item, error))
            continue
        console.print(line, markup=False)
    _summarise(console, errors, options.out, items, failures)
    return 1 if failures else 0


def _summarise(
    console: Console,
    errors: Console,
    out: Path,
    items: Sequence[Input],
    failures: Sequence[tuple[Input, PerceptionError]],
) -> None:
    console.print(f"{len(items) - len(failures)} of {len(items)} clouds done, results in {out}", markup=False)
    for item, error in failures:
        errors.print(f"failed: {item.path}\n  {error}", markup=False)


def _line(item: Input, cloud: PointCloud, found: Detections, model: Detector) -> str:
    names = found.names
    counts = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "nothing found"
    dropped = f", {cloud.dropped:,} non-finite points dropped" if cloud.dropped else ""
    inside = int(model.grid.cells(torch.from_numpy(cloud.xyz))[1].sum())
    outside = f" (none of the {len(cloud):,} points is in the model's range)" if not inside else ""
    return f"{item.path.name}: {counts}{outside}{dropped}"


def _calibration(given: Path | None, cloud: Path) -> KittiCalibration | None:
    if given is None:
        return None
    return read_object_calibration(given / f"{cloud.stem}.txt" if given.is_dir() else given)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise PerceptionError(f"--device {name}", "cpu, cuda or cuda:NUMBER") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise PerceptionError(f"--device {name}, but torch sees no CUDA GPU", "a GPU and a CUDA build of torch")
    return device
