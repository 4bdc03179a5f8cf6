"""A data set of one's own: a folder of clouds of any readable format, and boxes in JSON.

``labels.json`` in the folder maps the path of each cloud to its boxes::

    {"scans/0001.pcd": [{"class": "Car", "centre": [x, y, z], "size": [length, width, height], "heading": radians}]}

or each cloud has a file of the same name ending in ``.json`` beside it, with that list under ``detections``: what
`perception detect` writes, so that corrected results become labels. ``velocity`` [vx, vy] and ``track`` may be added.
Coordinates are those of the cloud file, metres; the centre is that of the box, the heading counter-clockwise from +x.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError, nearest
from perception.io.clouds import SUFFIXES, read_points

LABELS = "labels.json"
KEYS = ("class", "centre", "size", "heading", "velocity", "track", "score", "points")


class FolderDataset:
    """Labelled clouds of a folder, in the order of their names.

    ``frames`` names clouds by path relative to ``root`` (with or without suffix); None for all that have labels.
    ``input_format`` is that of the files, where their content does not tell.
    """

    def __init__(
        self,
        root: str | Path,
        frames: Sequence[str] | None = None,
        labels: str = LABELS,
        input_format: str | None = None,
    ) -> None:
        self.root, self.input_format = Path(root), input_format
        if not self.root.is_dir():
            raise PerceptionError(f"no folder {self.root}", "the root of a data set", "check the path")
        self._labels = _read_labels(self.root, labels)
        self.identifiers = self._chosen(frames)
        if not self.identifiers:
            raise PerceptionError(
                f"no labelled clouds in {self.root}",
                f"clouds ({', '.join(sorted(SUFFIXES))}, .bin), and {labels} or a .json file beside each cloud",
                "see docs/datasets.md",
            )

    def __len__(self) -> int:
        return len(self.identifiers)

    def __getitem__(self, index: int) -> Sample:
        identifier = self.identifiers[index]
        cloud = read_points(self.root / identifier, format=self.input_format)
        where = f"labels of {identifier}"
        return Sample(identifier, cloud, parse_objects(self._entries(identifier), cloud.origin, where))

    def _entries(self, identifier: str) -> Sequence[Any]:
        if self._labels is not None:
            return self._labels[identifier]
        path = (self.root / identifier).with_suffix(".json")
        content = _read_json(path)
        entries = content.get("detections") if isinstance(content, Mapping) else content
        if not isinstance(entries, list):
            raise PerceptionError(f"{path} holds no list under 'detections'", "a list of boxes", "see docs/datasets.md")
        return entries

    def _chosen(self, frames: Sequence[str] | None) -> list[str]:
        known = sorted(self._labels) if self._labels is not None else _clouds_with_json(self.root)
        if frames is None:
            return known
        by_stem = {str(Path(name).with_suffix("")): name for name in known}
        chosen = []
        for frame in frames:
            name = frame if frame in known else by_stem.get(frame)
            if name is None:
                hint = nearest(frame, known) if len(known) <= 1000 else "check its spelling"
                raise PerceptionError(f"frame {frame!r} has no labels in {self.root}", "a labelled cloud", hint)
            chosen.append(name)
        return chosen


def read_frames(path: str | Path) -> list[str]:
    """The names in a split list: one a line, empty lines and those that begin with # left out."""
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PerceptionError(f"{path} cannot be read: {error}", "a text file with one frame a line") from None
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def parse_objects(entries: Sequence[Any], origin: np.ndarray, where: str) -> Objects:
    """Boxes in file coordinates as objects about the cloud's ``origin``; ``where`` names their source in errors."""
    rows, names, velocities, tracks = [], [], [], []
    for number, item in enumerate(entries):
        row, name, velocity, track = _parse_entry(item, f"{where}, object {number}")
        rows.append(row)
        names.append(name)
        velocities.append(velocity)
        tracks.append(track)
    values = np.array(rows, np.float64).reshape(-1, 7)
    values[:, :3] -= origin
    known = any(v is not None for v in velocities)
    moving = np.array([v or (math.nan, math.nan) for v in velocities], np.float32).reshape(-1, 2)
    boxes = Boxes3D(torch.from_numpy(values.astype(np.float32)), torch.from_numpy(moving) if known else None)
    attributes = {"track": np.array(tracks, str)} if any(tracks) else {}
    return Objects(boxes, np.array(names, str), attributes)


def _parse_entry(item: Any, where: str) -> tuple[list[float], str, tuple[float, float] | None, str]:
    if not isinstance(item, Mapping):
        raise PerceptionError(f"{where} is {item!r}", f"a mapping with {', '.join(KEYS[:4])}")
    for key in item:
        if key not in KEYS:
            raise PerceptionError(f"{where} has the key {key!r}", f"one of {', '.join(KEYS)}", nearest(str(key), KEYS))
    for key in KEYS[:4]:
        if key not in item:
            raise PerceptionError(f"{where} has no {key!r}", f"{', '.join(KEYS[:4])}", "see docs/datasets.md")
    row = [*_numbers(item["centre"], 3, f"{where}: centre"), *_numbers(item["size"], 3, f"{where}: size")]
    row += _numbers([item["heading"]], 1, f"{where}: heading")
    velocity = item.get("velocity")
    moving = None if velocity is None else _numbers(velocity, 2, f"{where}: velocity")
    return row, str(item["class"]), None if moving is None else (moving[0], moving[1]), str(item.get("track", ""))


def _numbers(value: Any, count: int, where: str) -> list[float]:
    good = isinstance(value, (list, tuple)) and len(value) == count
    if not good or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
        raise PerceptionError(f"{where} = {value!r}", f"{count} numbers" if count > 1 else "a number")
    return [float(v) for v in value]


def _read_labels(root: Path, name: str) -> dict[str, list[Any]] | None:
    path = root / name
    if not path.is_file():
        if name != LABELS:
            raise PerceptionError(f"no file {path}", "a JSON file of boxes", "correct labels")
        return None
    content = _read_json(path)
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise PerceptionError(f"{path} is no mapping of lists", "the path of each cloud with a list of its boxes")
    missing = [key for key in content if not (root / key).is_file()]
    if missing:
        raise PerceptionError(
            f"{path} names {len(missing)} clouds that do not exist, first {missing[0]!r}",
            f"paths relative to {root}",
            "correct the paths",
        )
    return content


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise PerceptionError(f"{path} cannot be read: {error}", "a JSON file of boxes") from None


def _clouds_with_json(root: Path) -> list[str]:
    suffixes = {*SUFFIXES, ".bin"}
    clouds = (p for p in root.rglob("*") if p.suffix.lower() in suffixes and p.with_suffix(".json").is_file())
    return sorted(path.relative_to(root).as_posix() for path in clouds)
