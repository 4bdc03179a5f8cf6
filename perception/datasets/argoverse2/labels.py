"""Cuboids of Argoverse 2: annotations.feather of a log, as labelled objects by sweep.

Wilson et al., "Argoverse 2: Next generation datasets for self-driving perception and forecasting", NeurIPS 2021
Datasets, and its user guide: centre tx_m ty_m tz_m, size and quaternion in the ego frame (x ahead, y left, z up) at the
time of the sweep.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.rigid import headings, rotations
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.io.arrow import Kind, read_feather_columns, rows_by_value

# The detection benchmark's classes, in its alphabetical order.
CATEGORIES = (
    "ARTICULATED_BUS",
    "BICYCLE",
    "BICYCLIST",
    "BOLLARD",
    "BOX_TRUCK",
    "BUS",
    "CONSTRUCTION_BARREL",
    "CONSTRUCTION_CONE",
    "DOG",
    "LARGE_VEHICLE",
    "MESSAGE_BOARD_TRAILER",
    "MOBILE_PEDESTRIAN_CROSSING_SIGN",
    "MOTORCYCLE",
    "MOTORCYCLIST",
    "PEDESTRIAN",
    "REGULAR_VEHICLE",
    "SCHOOL_BUS",
    "SIGN",
    "STOP_SIGN",
    "STROLLER",
    "TRUCK",
    "TRUCK_CAB",
    "VEHICULAR_TRAILER",
    "WHEELCHAIR",
    "WHEELED_DEVICE",
    "WHEELED_RIDER",
)
# Labelled too, too seldom to be evaluated.
RARE_CATEGORIES = ("ANIMAL", "OFFICIAL_SIGNALER", "RAILED_VEHICLE", "TRAFFIC_LIGHT_TRAILER")

NO_OBJECTS = Objects(Boxes3D.empty(), np.zeros(0, str), {"track": np.zeros(0, str), "points": np.zeros(0, np.int64)})
CUBOID = ("tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m", "qw", "qx", "qy", "qz")
_COLUMNS: dict[str, Kind] = {
    "timestamp_ns": "integer",
    "track_uuid": "text",
    "category": "text",
    "num_interior_pts": "integer",
    **dict.fromkeys(CUBOID, "number"),
}


def read_annotations(path: str | Path) -> dict[int, Objects]:
    """Objects of each annotated sweep by its stamp in nanoseconds, in the order of the file.

    Attributes: ``track`` (str) names the same object throughout the log, ``points`` how many points of the sweep lie in
    the box as published. Raises PerceptionError for a damaged file, an unknown category and a box without size.
    """
    columns = read_feather_columns(path, _COLUMNS, "Argoverse 2 annotations")
    unknown = sorted(set(columns["category"]) - {*CATEGORIES, *RARE_CATEGORIES})
    if unknown:
        raise PerceptionError(f"{path}: category {str(unknown[0])!r}", f"one of {', '.join(CATEGORIES)}", "")
    boxes = cuboid_boxes(columns, str(path))
    objects = Objects(
        Boxes3D(torch.from_numpy(boxes.astype(np.float32))),
        columns["category"],
        {"track": columns["track_uuid"], "points": columns["num_interior_pts"]},
    )
    return {stamp: objects.select(rows) for stamp, rows in rows_by_value(columns["timestamp_ns"]).items()}


def annotated_stamps(path: str | Path) -> frozenset[int]:
    """Stamps of the sweeps that have annotations."""
    columns = read_feather_columns(path, {"timestamp_ns": "integer"}, "Argoverse 2 annotations")
    return frozenset(columns["timestamp_ns"].tolist())


def cuboid_boxes(columns: Mapping[str, np.ndarray], where: str) -> np.ndarray:
    """Boxes (N, 7) float64 in the library's convention from columns named as in ``CUBOID``."""
    values = np.stack([columns[name] for name in CUBOID], axis=1)
    flat = np.flatnonzero((values[:, 3:6] <= 0).any(1))
    if len(flat):
        raise PerceptionError(f"{where}, row {flat[0]}: size {values[flat[0], 3:6].tolist()}", "sizes above 0", "")
    heading = headings(rotations(values[:, 6:], where))
    return np.column_stack([values[:, :6], heading])
