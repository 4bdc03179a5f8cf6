"""`perception keypoints`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from perception.commands.inputs import Input, find_inputs, output_folder
from perception.commands.scan_input import Scan, mounted, read_scan
from perception.commands.scan_jobs import add_mounting, device_of, mounting_note, scan_outcomes, summarise
from perception.errors import PerceptionError
from perception.io.detections import write_json
from perception.io.skeletons import skeletons_to_plain
from perception.models.loading import load, shipped_weights
from perception.models.model import Model
from perception.models.voxelkp import VoxelKP
from perception.pipeline import perceive
from perception.results import Skeletons
from perception.view.skeletons import skeletons_from_above, skeletons_in_perspective

DEFAULT_MODEL = "voxelkp-small"
EXAMPLES = """
examples:
  perception keypoints scan.bin --out results --picture
  perception keypoints 'drive/*.pcd' --model voxelkp.safetensors --out results

Each cloud gives a JSON file with its people, best first: box, score, and every joint's name, place in the coordinates
of the file (metres) and visibility (above 0.5: the sensor saw it; half: there, but hidden).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders or globs of point clouds")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME_OR_PATH", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--picture", action="store_true", help="also draw the skeletons over the points, in perspective and from above"
    )
    parser.add_argument("--score", type=float, metavar="S", help="keep people above this score, 0 to 1")
    add_mounting(parser)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="clouds at once; default: %(default)s")
    parser.add_argument("--input-format", metavar="F", help="format of the files, where their content does not tell")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")


@dataclass(frozen=True)
class Job:
    """Everything that is the same for all files."""

    model: VoxelKP
    options: argparse.Namespace

    def read(self, item: Input) -> Scan:
        scan = read_scan(item, self.options.input_format, None, None)
        return mounted(scan, self.model) if self.options.mounting == "auto" else scan

    def run(self, scans: Sequence[Scan]) -> list[Skeletons]:
        """People in several files at once."""
        results = perceive(self.model, [scan.mounting.cloud(scan.cloud) for scan in scans])
        found = [
            scan.mounting.skeletons(result.cpu())
            for scan, result in zip(scans, results)
            if isinstance(result, Skeletons)
        ]
        limit = self.options.score
        return found if limit is None else [one.select(one.scores > limit) for one in found]

    def write(self, scan: Scan, found: Skeletons) -> str:
        """Write the results of one file; answers a line for the user."""
        target, cloud = self.options.out / scan.item.name, scan.cloud
        facts = {"source": str(scan.item.path), "model": str(self.options.model)}
        write_json(target.with_name(target.name + ".json"), skeletons_to_plain(found, cloud, facts))
        if self.options.picture:
            for draw, ending in ((skeletons_in_perspective, ".png"), (skeletons_from_above, "_above.png")):
                draw(cloud, found, path=target.with_name(target.name + ending), title=scan.item.path.name)
        return f"{scan.item.path.name}: {self._words(scan, len(found))}{mounting_note(scan)}"

    def _words(self, scan: Scan, people: int) -> str:
        cloud = scan.mounting.cloud(scan.cloud)
        counted = f"{people} {'person' if people == 1 else 'people'}"
        dropped = f", {cloud.dropped:,} non-finite points dropped" if cloud.dropped else ""
        inside = int(self.model.grid.cells(torch.from_numpy(cloud.xyz))[1].sum())
        outside = f" (none of the {len(cloud):,} points is in the model's range)" if not inside else ""
        return f"{counted}{outside}{dropped}"


def run(options: argparse.Namespace) -> int:
    if options.score is not None and not 0 <= options.score <= 1:
        raise PerceptionError(f"--score {options.score}", "a number from 0 to 1")
    if options.batch < 1:
        raise PerceptionError(f"--batch {options.batch}", "1 or more")
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    items = find_inputs(options.inputs)
    output_folder(options.out)
    job = Job(_model(options), options)
    failures: list[tuple[Input, PerceptionError]] = []
    bar = track(range(len(items)), "looking", console=errors, disable=len(items) == 1 or not errors.is_terminal)
    advance = iter(bar)
    for item, outcome in scan_outcomes(job, items, options.batch):
        next(advance, None)
        if isinstance(outcome, PerceptionError):
            failures.append((item, outcome))
        else:
            console.print(outcome, markup=False)
    next(advance, None)
    summarise(console, errors, options.out, items, failures)
    return 1 if failures else 0


def _model(options: argparse.Namespace) -> VoxelKP:
    if options.model == DEFAULT_MODEL and DEFAULT_MODEL not in shipped_weights():
        raise PerceptionError(
            f"no weights of {DEFAULT_MODEL} come with this package",
            "--model FILE.safetensors, weights of a model of keypoints",
            "import published ones (perception import FILE --model voxelkp) or train your own "
            "(tools/train.py configs/keypoints/voxelkp-small_people.yaml needs no download)",
        )
    model: Model = load(options.model, device_of(options.device))
    if not isinstance(model, VoxelKP):
        raise PerceptionError(
            f"{options.model} is a model for {model.task}", "a model for keypoints", "see `perception models`"
        )
    return model
