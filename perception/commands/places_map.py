"""`perception places build` and `add`, and what all of its actions share: scans, poses, descriptors."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from perception.commands.inputs import Input, find_inputs
from perception.commands.scan_jobs import device_of
from perception.datasets.places.drives import rows_of_scans
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.poses import Poses, parse_pose, read_poses
from perception.places.describe import SCAN_CONTEXT, Describer, make_describer
from perception.places.map_file import load_map, save_map
from perception.places.place_map import PlaceMap
from perception.points import PointCloud


def build(options: argparse.Namespace) -> int:
    """A new map; the file appears when all is done."""
    console = Console(highlight=False, soft_wrap=True)
    _writable(options.out)
    items, poses = posed_scans(options)
    describer = make_describer(options.method or options.model, device_of(options.device))
    vectors = describe_scans(describer, items, options.input_format)
    names = kept_names(items, options.out)
    places = PlaceMap.of(describer.facts, vectors, poses, names, options.drive or drive_of(items))
    save_map(options.out, places)
    console.print(_summary(options.out, places), markup=False)
    return 0


def add(options: argparse.Namespace) -> int:
    """More places in a map that is there."""
    console = Console(highlight=False, soft_wrap=True)
    places = load_map(options.map)
    items, poses = posed_scans(options)
    describer = describer_of(places, options)
    names = kept_names(items, options.map)
    known = set(places.scans).intersection(names)
    if known:
        raise PerceptionError(
            f"{sorted(known)[0]} and {len(known) - 1} more scans are in {options.map} already",
            "new scans",
            "leave them out",
        )
    vectors = describe_scans(describer, items, options.input_format)
    places = places.added(vectors, poses, names, options.drive or drive_of(items))
    save_map(options.map, places)
    console.print(_summary(options.map, places), markup=False)
    return 0


def posed_scans(options: argparse.Namespace) -> tuple[list[Input], np.ndarray]:
    """The scans that are named and the pose of each (N, 4, 4); PerceptionError where there are too few."""
    if options.poses is None:
        raise PerceptionError("scans without --poses", "a pose for every scan", "add --poses FILE")
    items = [item for item in find_inputs(options.scans) if item.path != options.poses]
    poses = read_poses(options.poses)
    matrices = _matched(items, poses)
    if options.mounting:
        matrices = matrices @ parse_pose(options.mounting)
    return items, matrices


def _matched(items: Sequence[Input], poses: Poses) -> np.ndarray:
    """By their number; or by their times where the poses have times and there are other numbers of both."""
    if poses.stamps is not None and len(items) != len(poses):
        stamps = [read_points(item.path).stamp for item in items]
        if all(stamp is not None for stamp in stamps):
            return np.stack([poses.at(stamp) for stamp in stamps if stamp is not None])
    return poses.matrices[rows_of_scans([item.path for item in items], len(poses))]


def describer_of(places: PlaceMap, options: argparse.Namespace) -> Describer:
    """What the map was built by, or what the user names if it fits the map."""
    facts = places.facts
    name = options.method or options.model or (facts.method if facts.method == SCAN_CONTEXT else facts.model)
    settings = facts.settings if name == SCAN_CONTEXT == facts.method else None
    try:
        describer = make_describer(name, device_of(options.device), settings)
    except PerceptionError as error:
        if options.model or options.method:
            raise
        raise PerceptionError(
            f"the map was built by {name}, which is not there: {error.found}", "the same weights", "give --model PATH"
        ) from None
    places.fits(describer)
    return describer


def describe_scans(describer: Describer, items: Sequence[Input], input_format: str | None) -> np.ndarray:
    """Vectors (N, D) of files, read ahead; an error names the file."""
    errors = Console(stderr=True)
    shown = track(
        read_ahead(items, input_format),
        "describing",
        total=len(items),
        console=errors,
        disable=len(items) < 2 or not errors.is_terminal,
    )
    return np.concatenate([described(describer, item, cloud) for item, cloud in shown])


def described(describer: Describer, item: Input, cloud: PointCloud) -> np.ndarray:
    """The vector (1, D) of one scan."""
    try:
        return describer([cloud])
    except PerceptionError as error:
        raise PerceptionError(f"{item.path}: {error.found}", error.expected, error.fix) from None


def read_ahead(items: Sequence[Input], input_format: str | None) -> Iterator[tuple[Input, PointCloud]]:
    """Scans in order, the next one read while the last one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = None
        for number, item in enumerate(items):
            now = coming or reader.submit(read_points, item.path, format=input_format)
            following = items[number + 1] if number + 1 < len(items) else None
            cloud = now.result()
            coming = reader.submit(read_points, following.path, format=input_format) if following else None
            yield item, cloud


def kept_names(items: Sequence[Input], out: Path) -> list[str]:
    """Paths as the map keeps them: from its own folder, so that both can move together."""
    folder = out.absolute().parent
    return [Path(os.path.relpath(item.path.absolute(), folder)).as_posix() for item in items]


def drive_of(items: Sequence[Input]) -> str:
    """The folder of the first scan; the folder above where that only names the sensor."""
    folder = items[0].path.absolute().parent
    return folder.parent.name if folder.name.lower() in ("velodyne", "ouster", "lidar", "data") else folder.name


def _writable(path: Path) -> None:
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise PerceptionError(f"--out {path}", "a file in a folder that is there", "name a file, make the folder")


def _summary(path: Path, places: PlaceMap) -> str:
    drives = ", ".join(
        f"{name} {int((places.drives == number).sum()):,}" for number, name in enumerate(places.drive_names)
    )
    by = places.facts.model or places.facts.method
    return f"{path}: {len(places):,} places ({drives}), by {by}, {path.stat().st_size / 1e6:,.2f} MB"
