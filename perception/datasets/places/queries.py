"""Published lists of training queries and evaluation sets: pickles, read without running what they may ask for.

Two kinds: PointNetVLAD's, dicts of ``query`` (a path), ``positives``, ``northing`` and ``easting``; and MinkLoc3D's,
objects ``TrainingTuple`` with ``rel_scan_filepath`` and ``position`` (north, east). CS-Campus3D and CS-Wild-Places
come with both. The true pairs follow from positions here, as in the lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from perception.datasets.places.files import FilePlaces, read_submap
from perception.datasets.places.sample import PlaceTable
from perception.errors import PerceptionError
from perception.interop.info_files import read_plain_pickle
from perception.io.clouds import read_points
from perception.points import PointCloud

EXPECTED = "a list of queries of PointNetVLAD's or MinkLoc3D's format with positions"


class TrainingTuple:
    """Stands where a pickle names MinkLoc3D's class: its attributes, and no code."""


def place_queries(root: str, file: str = "training_queries_baseline2.pickle") -> FilePlaces:
    """The recordings of a training list in ``root``; a run is the folder that a recording lies in."""
    found = read_plain_pickle(Path(root) / file, EXPECTED, {"TrainingTuple": TrainingTuple})
    if not isinstance(found, Mapping) or not found:
        raise PerceptionError(f"{Path(root) / file} holds {type(found).__name__}", EXPECTED)
    entries = [_entry(found[key], f"{file}, entry {key}") for key in sorted(found)]
    return _places(root, entries)


@dataclass(frozen=True, eq=False)
class EvaluationSets:
    """Of each run the submaps of its database and its queries, in PointNetVLAD's protocol; empty ones stay."""

    databases: tuple[FilePlaces | None, ...]
    queries: tuple[FilePlaces | None, ...]


def evaluation_sets(root: str, name: str = "oxford") -> EvaluationSets:
    """``NAME_evaluation_database.pickle`` and ``NAME_evaluation_query.pickle`` of ``root``."""
    sets = []
    for kind in ("database", "query"):
        path = Path(root) / f"{name}_evaluation_{kind}.pickle"
        found = read_plain_pickle(path, EXPECTED, {})
        if not isinstance(found, Sequence) or not found:
            raise PerceptionError(f"{path} holds {type(found).__name__}", EXPECTED)
        runs: list[FilePlaces | None] = []
        for number, run in enumerate(found):
            listed = [run[key] for key in sorted(run)] if isinstance(run, Mapping) else list(run)
            entries = [_entry(item, f"{path.name}, run {number}") for item in listed]
            runs.append(_places(root, entries) if entries else None)
        sets.append(tuple(runs))
    return EvaluationSets(*sets)


def _entry(item: Any, where: str) -> tuple[PurePosixPath, float, float]:
    """Path, east and north of one recording."""
    if isinstance(item, TrainingTuple):
        values: Mapping[str, Any] = vars(item)
        path, position = values.get("rel_scan_filepath"), np.asarray(values.get("position", ()), np.float64)
    elif isinstance(item, Mapping):
        path = item.get("query")
        position = np.array([item.get("northing", np.nan), item.get("easting", np.nan)], np.float64)
    else:
        raise PerceptionError(f"{where}: {type(item).__name__}", EXPECTED)
    if not isinstance(path, str) or position.shape != (2,) or not np.isfinite(position).all():
        raise PerceptionError(
            f"{where}: path {path!r:.60}, position {position.tolist()!r:.60}",
            EXPECTED,
            "the first lists of Oxford have no positions: read its csv files (robotcar), or make lists that have them",
        )
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise PerceptionError(f"{where}: {path!r:.80}", "a path inside the data set")
    return relative, float(position[1]), float(position[0])


def _places(root: str, entries: Sequence[tuple[PurePosixPath, float, float]]) -> FilePlaces:
    runs = [entry[0].parent.as_posix() for entry in entries]
    names = tuple(dict.fromkeys(runs))
    numbers = {name: number for number, name in enumerate(names)}
    table = PlaceTable(
        np.array([entry[1:] for entry in entries]),
        np.zeros(len(entries), np.int64),
        np.array([numbers[run] for run in runs]),
        names,
    )
    return FilePlaces(root, [Path(root) / entry[0] for entry in entries], table, _read)


def _read(path: Path) -> PointCloud:
    return read_submap(path) if path.suffix == ".bin" else read_points(path)
