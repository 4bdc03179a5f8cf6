"""Detections as the Argoverse 2 benchmark exchanges them: one Feather table for a whole split.

Columns as in the user guide's submission format: log_id, timestamp_ns, category, the cuboid as in annotations, score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.argoverse2.labels import CATEGORIES, CUBOID, cuboid_boxes
from perception.errors import PerceptionError, nearest
from perception.io.arrow import Kind, arrow_errors, read_feather_columns
from perception.io.files import write_atomically
from perception.results import Detections

_COLUMNS: dict[str, Kind] = {
    "log_id": "text",
    "timestamp_ns": "integer",
    "category": "text",
    **dict.fromkeys(CUBOID, "number"),
    "score": "number",
}


def category_of(name: str) -> str:
    """The benchmark's category of a class name, in whatever case it is written; PerceptionError for any other."""
    if name.upper() not in CATEGORIES:
        raise PerceptionError(
            f"the class {name!r}", "a category of Argoverse 2's detection benchmark", nearest(name.upper(), CATEGORIES)
        )
    return name.upper()


def write_results(path: str | Path, frames: Iterable[tuple[str, Detections]]) -> None:
    """Write detections by the identifier of their sweep (``<log>/<stamp in ns>``), atomically."""
    columns: dict[str, list[np.ndarray]] = {name: [np.zeros(0, str)] for name in ("log_id", "category")}
    columns |= {name: [np.zeros(0)] for name in (*CUBOID, "score")} | {"timestamp_ns": [np.zeros(0, np.int64)]}
    for identifier, detections in frames:
        log, _, stamp = identifier.rpartition("/")
        if not log or not stamp.isdecimal():
            raise PerceptionError(f"the identifier {identifier!r}", "<log>/<stamp in ns>", "use Sample.identifier")
        for name, values in _rows(log, int(stamp), detections).items():
            columns[name].append(values)
    with arrow_errors(path, "a writable Feather file", "argoverse"):
        import pyarrow
        from pyarrow import feather

        table = pyarrow.table({name: np.concatenate(columns[name]) for name in _COLUMNS})
        with write_atomically(path) as file:
            feather.write_feather(table, file)


def read_results(path: str | Path) -> dict[str, Detections]:
    """Detections by the identifier of their sweep, best first; boxes in float64, classes ``CATEGORIES``.

    Raises PerceptionError for a damaged file, absent columns and unknown categories.
    """
    columns = read_feather_columns(path, _COLUMNS, "Argoverse 2 results")
    boxes = cuboid_boxes(columns, str(path))
    number = {name: i for i, name in enumerate(CATEGORIES)}
    labels = np.array([number[category_of(name)] for name in columns["category"]], np.int64)
    sweeps = np.char.add(np.char.add(columns["log_id"], "/"), columns["timestamp_ns"].astype(str))
    order = np.lexsort((-columns["score"], sweeps))
    names, first = np.unique(sweeps[order], return_index=True)
    found = {}
    for name, rows in zip(names.tolist(), np.split(order, first[1:])):
        found[name] = Detections(
            Boxes3D(torch.from_numpy(boxes[rows])),
            torch.from_numpy(columns["score"][rows]),
            torch.from_numpy(labels[rows]),
            CATEGORIES,
        )
    return found


def _rows(log: str, stamp: int, detections: Detections) -> Mapping[str, np.ndarray]:
    boxes = detections.boxes.values.detach().cpu().double().numpy()
    half = boxes[:, 6] / 2
    none = np.zeros(len(boxes))
    cuboid = [*boxes[:, :6].T, np.cos(half), none, none, np.sin(half)]
    return {
        "log_id": np.full(len(boxes), log),
        "timestamp_ns": np.full(len(boxes), stamp, np.int64),
        "category": np.array([category_of(name) for name in detections.names], str),
        **dict(zip(CUBOID, cuboid)),
        "score": detections.scores.detach().cpu().double().numpy(),
    }
