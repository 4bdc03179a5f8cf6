"""A generated street scan with true boxes: a scene by seed, cast by a spinning lidar."""

from __future__ import annotations

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects, Sample
from perception.points import PointCloud
from perception.simulate.people.ranges import articulated_walker
from perception.simulate.raycast import Returns, cast
from perception.simulate.sensor import HDL64, Lidar
from perception.simulate.street import people
from perception.simulate.street.layout import Labelled, lay_out

FOCAL_LENGTH = 721.0
"""Of KITTI's colour camera in pixels; it turns height and distance into the pixel heights of KITTI's difficulties."""


def street(seed: int, sensor: Lidar = HDL64, *, articulated: bool = False) -> Sample:
    """One scan of a random street.

    The cloud has the fields ``intensity`` in [0, 1] and ``object``, the row of the label that each point lies on or
    -1. The objects are those with at least one return, with the attributes ``num_points``, ``occlusion`` (0 fully
    visible, 1 partly, 2 largely occluded), ``truncation`` (share of the box outside the sensor's sector), ``speed`` in
    m/s and ``difficulty`` (0 easy, 1 moderate, 2 hard, -1 none of them) by the limits of the KITTI object benchmark.
    ``articulated`` makes the pedestrians bodies with joints in many postures, another street than without it.
    The same arguments give the same scan.
    """
    layout_random, ray_random = (np.random.Generator(np.random.PCG64([seed, part])) for part in (0, 1))
    scene = lay_out(sensor, layout_random, articulated_walker if articulated else people.pedestrian)
    returns = cast(scene.groups, scene.ground, sensor, ray_random)
    counts = np.bincount(returns.owner[returns.owner >= 0], minlength=len(scene.groups))
    shown = [i for i, label in enumerate(scene.labels) if label is not None and counts[i]]
    row_of_group = np.full(len(scene.groups) + 1, -1, np.int32)
    row_of_group[shown] = np.arange(len(shown))
    fields = {"intensity": returns.intensity, "object": row_of_group[returns.owner]}
    objects = _objects(
        [label for i in shown if (label := scene.labels[i])], returns, np.array(shown, int), counts, sensor
    )
    return Sample(f"street_{seed:03d}", PointCloud(returns.xyz, fields, frame="lidar"), objects)


def _objects(
    labels: list[Labelled], returns: Returns, groups: np.ndarray, counts: np.ndarray, sensor: Lidar
) -> Objects:
    boxes = Boxes3D(torch.tensor([label.box for label in labels], dtype=torch.float32).reshape(-1, 7))
    visible = returns.first[groups] / np.maximum(returns.exposed[groups], 1)
    occlusion = np.where(visible > 0.8, 0, np.where(visible > 0.4, 1, 2))
    truncation = _truncation(boxes, sensor)
    values = boxes.values.numpy().astype(np.float64)
    pixels = FOCAL_LENGTH * values[:, 5] / np.maximum(np.hypot(values[:, 0], values[:, 1]), 0.1)
    attributes = {
        "num_points": counts[groups],
        "occlusion": occlusion,
        "truncation": truncation,
        "difficulty": kitti_difficulty(pixels, occlusion, truncation),
        "speed": np.array([label.speed for label in labels]),
    }
    return Objects(boxes, np.array([label.name for label in labels], dtype=str), attributes)


def kitti_difficulty(pixels: np.ndarray, occlusion: np.ndarray, truncation: np.ndarray) -> np.ndarray:
    """0, 1, 2 or -1 for each object by pixel height, occlusion and truncation (Geiger et al. 2012, section 3)."""
    difficulty = np.full(len(pixels), -1)
    for level, (least, occluded, truncated) in reversed(list(enumerate([(40, 0, 0.15), (25, 1, 0.3), (25, 2, 0.5)]))):
        difficulty[(pixels >= least) & (occlusion <= occluded) & (truncation <= truncated)] = level
    return difficulty


def _truncation(boxes: Boxes3D, sensor: Lidar) -> np.ndarray:
    """Share of each box's horizontal extent outside the sector."""
    corners = boxes.corners().numpy()[:, :4]
    middle = np.arctan2(boxes.values[:, 1].numpy(), boxes.values[:, 0].numpy())
    offset = np.arctan2(corners[..., 1], corners[..., 0]) - middle[:, None]
    offset = (offset + np.pi) % (2 * np.pi) - np.pi
    low, high = middle + offset.min(1, initial=0), middle + offset.max(1, initial=0)
    half = np.radians(sensor.sector) / 2
    if sensor.sector >= 360:
        return np.zeros(len(middle))
    inside = np.clip(np.minimum(high, half) - np.maximum(low, -half), 0, None)
    return 1 - inside / np.maximum(high - low, 1e-6)
