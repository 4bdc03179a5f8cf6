"""Clouds that an export is traced, calibrated and checked with, where the user gives none."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from perception.io.clouds import read_points
from perception.models.detector import Detector
from perception.points import PointCloud

KITTI_GROUND = -1.73
TURNS = (0.0, 2.1, 4.0)


def sample_clouds(model: Detector) -> list[PointCloud]:
    """The bundled street turned about the sensor, a thin copy, one point and none; with the fields of the model.

    The road is brought to the height at which the model knows it, and to all sides of models that look around.
    """
    street = read_points(Path(str(files("perception"))) / "samples" / "street_000.bin")
    lifted = street.xyz + np.array([0, 0, model.ground_height - KITTI_GROUND], np.float32)
    whole = [_turned(street.with_xyz(lifted), angle) for angle in TURNS]
    around = model.config.point_range[0] < 0
    first = PointCloud.concatenate(whole) if around else whole[0]
    few = (np.arange(0, len(first), 7), np.array([100]), np.array([], np.int64))
    clouds = [first, whole[0], *(first.select(rows) for rows in few)]
    return [with_fields(cloud, model) for cloud in clouds]


def with_fields(cloud: PointCloud, model: Detector) -> PointCloud:
    """The cloud with zeros for fields that it lacks: fit to compare two runs, not to judge either."""
    names = model.config.point_fields
    fields = {name: cloud.fields.get(name, np.zeros(len(cloud), np.float32)) for name in names}
    return PointCloud(cloud.xyz, fields)


def _turned(cloud: PointCloud, angle: float) -> PointCloud:
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], np.float32)
    return cloud.with_xyz(cloud.xyz @ turn.T)
