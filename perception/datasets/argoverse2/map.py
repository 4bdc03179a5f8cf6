"""The region of interest of Argoverse 2's benchmark: the drivable area of a log's map, widened by 5 m.

The public evaluator paints polygons on a grid of 0.1 m and widens that; here distances are exact, so that answers can
differ for corners of boxes within about 0.1 m of the border. Like its grid, the region ends at the rectangle around the
polygons.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.compiled import compiled
from perception.datasets.rigid import move
from perception.errors import PerceptionError

WIDENING = 5.0
_GRID = 0.1
_LARGEST = 256 << 20


@dataclass(frozen=True, eq=False)
class DrivableArea:
    """Polygons in the city's frame: ``edges`` (E, 4) x y to x y, ``first`` where each polygon's begin, and the
    ``bounds`` low x, low y, high x, high y of the region of interest."""

    edges: np.ndarray
    first: np.ndarray
    bounds: np.ndarray

    def in_region(self, boxes: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Whether any corner of each box (N, 7), in the ego frame, is in the region; ``pose`` (4, 4) ego to city."""
        corners = Boxes3D(torch.from_numpy(boxes.astype(np.float64))).corners().numpy()
        places = np.ascontiguousarray(move(corners.reshape(-1, 3), pose)[:, :2])
        near = _near(places, self.edges, self.first, WIDENING)
        cells = np.trunc((places - self.bounds[:2]) / _GRID)
        inside = ((cells >= 0) & (cells < np.trunc((self.bounds[2:] - self.bounds[:2] + 1) / _GRID))).all(1)
        return (near & inside).reshape(-1, 8).any(1)


def find_map(log: str | Path) -> Path | None:
    """The vector map of a log's folder, None where there is none."""
    return next(iter(sorted((Path(log) / "map").glob("log_map_archive_*.json"))), None)


def read_drivable_area(path: str | Path) -> DrivableArea:
    """The drivable area of a log's vector map; PerceptionError where the file is damaged or has none."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise PerceptionError(f"{path} is larger than {_LARGEST:,} bytes", "a log's vector map", "")
        areas = json.loads(path.read_bytes())["drivable_areas"].values()
        polygons = [_polygon(area["area_boundary"]) for area in areas]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PerceptionError(f"{path} is no vector map", "JSON with drivable_areas", "download it again") from None
    if not polygons:
        raise PerceptionError(f"{path} has no drivable area", "one polygon or more", "download it again")
    corners = np.concatenate(polygons)
    edges = np.concatenate([np.hstack([p, np.roll(p, -1, axis=0)]) for p in polygons])
    first = np.cumsum([0, *(len(p) for p in polygons)])
    bounds = np.concatenate([np.floor(corners.min(0)), np.ceil(corners.max(0))])
    return DrivableArea(edges, first.astype(np.int64), bounds)


def _polygon(boundary: list[Any]) -> np.ndarray:
    corners = np.array([[point["x"], point["y"]] for point in boundary], np.float64)
    if corners.shape[0] < 3 or not np.isfinite(corners).all():
        raise ValueError("no polygon")
    return corners


@compiled
def _near(points: np.ndarray, edges: np.ndarray, first: np.ndarray, distance: float) -> np.ndarray:
    """Whether each point (P, 2) is in a polygon or at most ``distance`` from an edge of one."""
    found = np.zeros(len(points), np.bool_)
    for polygon in range(len(first) - 1):
        own = edges[first[polygon] : first[polygon + 1]]
        low_x, high_x = own[:, 0].min() - distance, own[:, 0].max() + distance
        low_y, high_y = own[:, 1].min() - distance, own[:, 1].max() + distance
        for i in range(len(points)):
            x, y = points[i]
            if not found[i] and low_x <= x <= high_x and low_y <= y <= high_y:
                found[i] = _near_polygon(x, y, own, distance)
    return found


@compiled
def _near_polygon(x: float, y: float, edges: np.ndarray, distance: float) -> bool:
    inside = False
    for e in range(len(edges)):
        ax, ay, bx, by = edges[e]
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            inside = not inside
        dx, dy = bx - ax, by - ay
        length = dx * dx + dy * dy
        share = 0.0 if length == 0 else min(max(((x - ax) * dx + (y - ay) * dy) / length, 0.0), 1.0)
        off_x, off_y = x - ax - share * dx, y - ay - share * dy
        if off_x * off_x + off_y * off_y <= distance * distance:
            return True
    return inside
