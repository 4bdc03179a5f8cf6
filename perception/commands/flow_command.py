"""`perception flow`."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from perception.commands.inputs import Input, find_inputs, output_folder
from perception.commands.scan_jobs import device_of
from perception.datasets.rigid import inverse
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.flow import write_flow
from perception.io.poses import Poses, parse_pose, read_poses
from perception.points import PointCloud
from perception.scene_flow.ground import pair_with_ground
from perception.scene_flow.methods import BASELINES, FALLBACK, FlowMethod, default_method, flow_method
from perception.scene_flow.pairs import make_pair
from perception.view.flow_picture import flow_picture

EXAMPLES = """
examples:
  perception flow 000000.bin 000001.bin --out flow.npz --picture
  perception flow 000000.bin 000001.bin --pose "0 0 0 0 0 0 1" --out flow.npz
  perception flow drive/velodyne --poses poses.txt --out flows --picture
  perception flow a.pcd b.pcd --model ssf.safetensors --out flow.npz

--pose is the sensor's motion: it takes points of the first scan's frame to the second's, as 16 or 12 numbers (row by
row) or x y z qx qy qz qw. --poses has a pose of every scan in one common frame: lines of 12 numbers (KITTI), lines of
time x y z qx qy qz qw (TUM), or .npy. Without either the motion is estimated from the scans.
Several scans, or a folder, make a sequence: one file a pair in the folder --out; pairs that are done are skipped.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("scans", nargs="+", metavar="SCAN", help="two scans, more in order, or a folder of them")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--pose", metavar="POSE", help="motion from the first scan's frame to the second's")
    given.add_argument("--poses", type=Path, metavar="FILE", help="poses of all scans")
    parser.add_argument(
        "--mounting", metavar="POSE", help="where the lidar sits in the frame that --poses is about, e.g. a camera's"
    )
    methods = f"weights file, name of a model, or a method without learning: {', '.join(BASELINES)}"
    parser.add_argument("--model", metavar="NAME_OR_PATH", help=methods)
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help=".npz file; a folder for sequences")
    parser.add_argument("--picture", action="store_true", help="also draw each pair from above, with arrows")
    parser.add_argument("--input-format", metavar="F", help="format of the files, where their content does not tell")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")


@dataclass(frozen=True)
class PairJob:
    """Two files and where the flow between them goes; ``numbers`` are their places in the sequence."""

    first: Input
    second: Input
    numbers: tuple[int, int]
    target: Path


@dataclass(frozen=True)
class FlowJob:
    """What is the same for all pairs."""

    method: FlowMethod
    options: argparse.Namespace
    pose: np.ndarray | None
    poses: Poses | None
    mounting: np.ndarray
    scans: int

    def run(self, job: PairJob) -> str:
        """Work one pair out; answers a line for the user."""
        first, second = (_read(item.path, self.options.input_format) for item in (job.first, job.second))
        pair = pair_with_ground(make_pair(first, second, self._motion(job, first, second)))
        found = self.method(pair)
        facts = {"model": self.method.name, "first": str(job.first.path), "second": str(job.second.path)}
        if self.options.picture:
            seconds = _seconds(first, second)
            flow_picture(
                pair,
                found,
                job.target.with_suffix(".png"),
                seconds=seconds or 0.1,
                title=f"{job.first.path.name} → {job.second.path.name}",
                subtitle=self.method.name if seconds else f"{self.method.name}, taken for 0.1 s apart",
            )
        write_flow(job.target, pair, found, facts)  # last: the file says that the pair is done
        moving, dropped = int(found.moving.sum()), first.dropped + second.dropped
        note = f", {dropped:,} non-finite points dropped" if dropped else ""
        ego = float(np.linalg.norm(pair.pose[:3, 3]))
        return f"{job.first.path.name}: {moving:,} of {len(first):,} points move, sensor moved {ego:.2f} m{note}"

    def _motion(self, job: PairJob, first: PointCloud, second: PointCloud) -> np.ndarray | None:
        if self.poses is None:
            return self.pose
        if len(self.poses) == self.scans:
            before, after = (self.poses.matrices[number] for number in job.numbers)
        elif self.poses.stamps is not None and first.stamp is not None and second.stamp is not None:
            before, after = self.poses.at(first.stamp), self.poses.at(second.stamp)
        else:
            raise PerceptionError(
                f"{len(self.poses)} poses for {self.scans} scans",
                "a pose for every scan, or times in both",
                "give the scans that the poses belong to",
            )
        return inverse(after @ self.mounting) @ before @ self.mounting


def run(options: argparse.Namespace) -> int:
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    items = _scans(options.scans)
    jobs = _jobs(items, options)
    if options.mounting and options.poses is None:
        raise PerceptionError("--mounting without --poses", "poses of another sensor than the lidar", "add --poses")
    waiting = [job for job in jobs if len(jobs) == 1 or not job.target.is_file()]
    job = FlowJob(
        _method(options, console),
        options,
        parse_pose(options.pose) if options.pose else None,
        read_poses(options.poses) if options.poses else None,
        parse_pose(options.mounting) if options.mounting else np.eye(4),
        len(items),
    )
    if len(waiting) < len(jobs):
        console.print(f"{len(jobs) - len(waiting)} pairs are done already", markup=False)
    failures = 0
    for pair, outcome in _outcomes(job, waiting, errors):
        if isinstance(outcome, PerceptionError):
            failures += 1
            errors.print(f"failed: {pair.first.path}\n  {outcome}", markup=False)
        else:
            console.print(outcome, markup=False)
    if len(jobs) > 1:
        console.print(f"{len(jobs) - failures} of {len(jobs)} pairs done, results in {options.out}", markup=False)
    return 1 if failures else 0


def _outcomes(
    job: FlowJob, waiting: Sequence[PairJob], errors: Console
) -> Iterator[tuple[PairJob, str | PerceptionError]]:
    for pair in track(waiting, "flow", console=errors, disable=len(waiting) < 2 or not errors.is_terminal):
        yield pair, _outcome(job, pair)


def _outcome(job: FlowJob, pair: PairJob) -> str | PerceptionError:
    try:
        return job.run(pair)
    except PerceptionError as error:
        return error


def _scans(arguments: Sequence[str]) -> list[Input]:
    """The scans in order; a file that is named twice is both scans of its pair."""
    if len(arguments) == 2 and arguments[0] == arguments[1] and Path(arguments[0]).is_file():
        return find_inputs(arguments) * 2
    return find_inputs(arguments)


def _jobs(items: Sequence[Input], options: argparse.Namespace) -> list[PairJob]:
    """Neighbouring scans as pairs. Two files alone may name the file of their flow."""
    if len(items) < 2:
        raise PerceptionError(f"{len(items)} scan", "two scans, or a folder of them", "name the second scan too")
    single = len(items) == 2 and options.out.suffix == ".npz"
    if options.pose and len(items) > 2:
        raise PerceptionError(f"--pose for {len(items)} scans", "two scans", "give --poses with a pose of every scan")
    if single:
        output_folder(options.out.absolute().parent)
        return [PairJob(items[0], items[1], (0, 1), options.out)]
    if options.out.suffix == ".npz":
        raise PerceptionError(f"--out {options.out} for {len(items)} scans", "a folder, for one file a pair", "")
    output_folder(options.out)
    return [
        PairJob(first, second, (number, number + 1), options.out / f"{first.name}.npz")
        for number, (first, second) in enumerate(itertools.pairwise(items))
    ]


def _method(options: argparse.Namespace, console: Console) -> FlowMethod:
    name = options.model or default_method()
    if options.model is None and name == FALLBACK:
        console.print(
            f"no weights of a flow model come with the package: using {FALLBACK}, which learns nothing", markup=False
        )
    return flow_method(name, device_of(options.device))


def _seconds(first: PointCloud, second: PointCloud) -> float | None:
    if first.stamp is None or second.stamp is None or second.stamp <= first.stamp:
        return None
    return second.stamp - first.stamp


@lru_cache(maxsize=2)  # of a sequence each scan is the second one, then the first
def _read(path: Path, input_format: str | None) -> PointCloud:
    return read_points(path, format=input_format)
