"""Detection in a map of any size (mobile mapping as LAS or LAZ): tile by tile, each looked at as if from a vehicle.

A detector knows scans of its sensor: the ground at a certain height, a certain density, a certain range. So each tile
is moved into the middle of the model's range, the ground beneath every point is brought to the height at which the
model learned it, and points are thinned. Boxes come back in the coordinates of the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.geometry import box_of_points, nms, points_in_boxes
from perception.ground import Ground, estimate_ground
from perception.io.files import write_atomically
from perception.io.las_tiles import LasTiles, TilePoints
from perception.models.detector import Detector
from perception.pipeline import perceive
from perception.points import PointCloud
from perception.results import Detections

MARGIN = 8.0  # half the longest vehicle and some of its surroundings
WHOLE_16_BITS = 65_535.0


@dataclass(frozen=True, eq=False)
class MapDetections:
    """``boxes`` (N, 7) float64 in the coordinates of the files, best first; ``points`` (N,) in each box."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    points: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)


def tile_size(model: Detector) -> float:
    """The widest tile that the model's range covers with its margin, in metres."""
    low_x, low_y, _, high_x, high_y, _ = model.config.point_range
    return max(min(high_x - low_x, high_y - low_y) - 2 * MARGIN, 2 * MARGIN + 1.0)


def detect_tile(model: Detector, part: TilePoints, thinning: float) -> MapDetections:
    """Objects whose centre lies in the tile; ``thinning`` keeps one point in cells of so many metres, 0 keeps all."""
    classes = model.classes
    cloud = part.cloud
    ground = estimate_ground(cloud.xyz)
    seen = _as_from_a_vehicle(cloud, ground, model, thinning)
    (found,) = perceive(model, [seen])
    assert isinstance(found, Detections)
    found = found.cpu()
    boxes = found.boxes.values.double().numpy()
    middle = _middle(model)
    boxes[:, :2] -= middle
    boxes[:, 2] += ground.at(boxes[:, :2]) - model.ground_height
    half = part.tile.size / 2
    inside = (np.abs(boxes[:, :2]) <= half).all(1)
    boxes = boxes[inside]
    points = points_in_boxes(torch.from_numpy(cloud.xyz), torch.from_numpy(boxes)).sum(0).numpy()
    boxes[:, :3] += cloud.origin
    return MapDetections(boxes, found.scores.numpy()[inside], found.labels.numpy()[inside], points, classes)


def _middle(model: Detector) -> np.ndarray:
    low_x, low_y, _, high_x, high_y, _ = model.config.point_range
    return np.array([(low_x + high_x) / 2, (low_y + high_y) / 2])


def _as_from_a_vehicle(cloud: PointCloud, ground: Ground, model: Detector, thinning: float) -> PointCloud:
    if thinning > 0 and len(cloud):
        cells = np.floor(cloud.xyz / thinning).astype(np.int64)
        cells -= cells.min(0)
        keys = (cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1]) * (cells[:, 2].max() + 1) + cells[:, 2]
        cloud = cloud.select(np.sort(np.unique(keys, return_index=True)[1]))
    xyz = cloud.xyz.copy()
    if len(xyz):
        xyz[:, 2] += (model.ground_height - ground.at(xyz[:, :2])).astype(np.float32)
    xyz[:, :2] += _middle(model).astype(np.float32)
    fields = dict(cloud.fields)
    intensity = fields.get("intensity")
    if intensity is not None and intensity.dtype.kind == "u":
        fields["intensity"] = (intensity / WHOLE_16_BITS).astype(np.float32)  # models know numbers from 0 to 1
    return replace(cloud, xyz=xyz, fields=fields, origin=np.zeros(3))


def detect_map(
    model: Detector,
    tiles: LasTiles,
    thinning: float = 0.1,
    score: float = 0.0,
    identity: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> MapDetections:
    """Objects of all tiles, those found from two sides of a border once.

    What is found in a tile is kept in the tiles' folder, from which a later call continues; ``identity`` tells the
    results of different models apart there.
    """
    parts = []
    for number, tile in enumerate(tiles.tiles, start=1):
        path = tiles.folder / f"found_{identity}_{thinning:g}_{tile.name}.npz"
        part = _found_before(path, model.classes)
        if part is None:
            part = detect_tile(model, tiles.read(tile), thinning)
            _keep(path, part)
        parts.append(part)
        if progress is not None:
            progress(number, len(tiles))
    return _merged(parts, model.classes, score)


def _merged(parts: list[MapDetections], classes: tuple[str, ...], score: float) -> MapDetections:
    boxes = np.concatenate([np.zeros((0, 7)), *(part.boxes for part in parts)])
    scores = np.concatenate([np.zeros(0, np.float32), *(part.scores for part in parts)])
    labels = np.concatenate([np.zeros(0, np.int64), *(part.labels for part in parts)])
    points = np.concatenate([np.zeros(0, np.int64), *(part.points for part in parts)])
    good = np.flatnonzero(scores > score)
    centre = np.round(boxes[good, :3].mean(0)) if len(good) else np.zeros(3)
    local = torch.from_numpy(boxes[good] - [*centre, 0, 0, 0, 0])  # far from zero overlaps would lose digits
    rows = good[nms(local, torch.from_numpy(scores[good]), 0.1).numpy()]
    return MapDetections(boxes[rows], scores[rows], labels[rows], points[rows], classes)


def _keep(path: Path, found: MapDetections) -> None:
    with write_atomically(path, "wb") as file:
        np.savez(file, boxes=found.boxes, scores=found.scores, labels=found.labels, points=found.points)


def _found_before(path: Path, classes: tuple[str, ...]) -> MapDetections | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as found:
        return MapDetections(found["boxes"], found["scores"], found["labels"], found["points"], classes)


def label_points(
    tiles: LasTiles, found: MapDetections, folder: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For every point of all files the number of its detection, counted from 1 (0: none), and its class, likewise.

    Both are memory maps in ``folder``, (N,) uint32 and (N,) uint8.
    """
    shape = (tiles.points,)
    numbers = np.lib.format.open_memmap(folder / "detection.npy", "w+", np.uint32, shape)
    kinds = np.lib.format.open_memmap(folder / "class.npy", "w+", np.uint8, shape)
    reach = math.hypot(tiles.size, tiles.size) / 2 + MARGIN
    for done, part in enumerate(tiles, start=1):
        near = np.flatnonzero(np.hypot(*(found.boxes[:, :2] - part.tile.centre).T) < reach)
        if len(near):
            boxes = Boxes3D(torch.from_numpy(found.boxes[near] - [*part.cloud.origin, 0, 0, 0, 0]))
            member = box_of_points(torch.from_numpy(part.cloud.xyz[part.core]), boxes.values).numpy()
            hit = member >= 0
            index = part.index[part.core][hit]
            numbers[index] = near[member[hit]] + 1
            kinds[index] = found.labels[near[member[hit]]] + 1
        if progress is not None:
            progress(done, len(tiles))
    return numbers, kinds
