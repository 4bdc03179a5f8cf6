"""Voxels to measure sparse convolution on: a scan of KITTI's kind, one of nuScenes' kind, a forest of a million."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from perception.datasets.kitti.calibration import read_object_calibration
from perception.io.clouds import read_points
from perception.points import PointBatch, PointCloud
from perception.simulate.sensor import HDL32, HDL64, KITTI_CAMERA_SECTOR
from perception.simulate.street.scene import street
from perception.sparse import SparseTensor, VoxelGrid, dynamic_voxelise

KITTI_GRID = VoxelGrid((0.0, -40.0, -3.0, 70.4, 40.0, 1.0), (0.05, 0.05, 0.1))
NUSCENES_GRID = VoxelGrid((-54.0, -54.0, -5.0, 54.0, 54.0, 3.0), (0.075, 0.075, 0.2))
FOREST_VOXEL, FOREST_VOXELS = 0.1, 1_000_000


@dataclass(frozen=True)
class Case:
    """``source`` says where the points come from."""

    name: str
    source: str
    points: PointBatch
    grid: VoxelGrid

    def voxels(self, channels: int = 4) -> SparseTensor:
        """Occupied cells with random features; the grid has the spare layer in z that published models have."""
        found = dynamic_voxelise(self.points, self.grid)
        depth, height, width = self.grid.shape
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(len(found.coordinates), channels, generator=generator)
        return SparseTensor.of(features, found.coordinates, (depth + 1, height, width), 1)


def kitti(file: Path | None, calibration: Path | None) -> Case:
    if file is None:
        cloud, source = street(7, HDL64.facing(KITTI_CAMERA_SECTOR)).cloud, "a generated street, 64 beams"
    else:
        cloud, source = read_points(file), file.name
        if calibration is not None:
            cloud = cloud.select(read_object_calibration(calibration).in_camera_view(cloud.world()))
    return Case("kitti", source, _batch(cloud), KITTI_GRID)


def nuscenes(file: Path | None) -> Case:
    if file is None:
        clouds = [street(seed, HDL32).cloud for seed in range(3)]
        values = np.concatenate([_batch(cloud).values.numpy() for cloud in clouds])
        return Case("nuscenes", "three generated streets, 32 beams", _of(values), NUSCENES_GRID)
    return Case("nuscenes", file.name, _batch(read_points(file)), NUSCENES_GRID)


def forest(file: Path | None, voxels: int = FOREST_VOXELS) -> Case:
    """A real plot repeated side by side, or generated stems and crowns, until ``voxels`` cells are occupied."""
    if file is None:
        plot, source = _generated_plot(), "generated stems and crowns"
    else:
        cloud = read_points(file)
        plot, source = cloud.xyz - cloud.xyz.min(0), file.name
    plot = np.unique(np.floor(plot / FOREST_VOXEL), axis=0) * FOREST_VOXEL + FOREST_VOXEL / 2
    side = int(np.ceil(np.sqrt(voxels / len(plot))))
    width = np.ceil(plot.max(0) / FOREST_VOXEL) * FOREST_VOXEL
    tiles = [plot + width * (i, j, 0) for i in range(side) for j in range(side)]
    xyz = np.concatenate(tiles)[:voxels].astype(np.float32)
    cells = np.ceil(xyz.max(0) / FOREST_VOXEL) + 1
    high = tuple(float(c * FOREST_VOXEL) for c in cells)
    grid = VoxelGrid((0.0, 0.0, 0.0, *high), (FOREST_VOXEL,) * 3)  # type: ignore[arg-type]
    return Case("forest", f"{source}, {side} x {side} times", _of(xyz), grid)


CASES: dict[str, Callable[..., Case]] = {"kitti": kitti, "nuscenes": nuscenes, "forest": forest}


def _batch(cloud: PointCloud) -> PointBatch:
    return PointBatch.from_clouds([cloud], ("intensity",) if "intensity" in cloud.fields else ())


def _of(values: np.ndarray) -> PointBatch:
    return PointBatch(torch.from_numpy(values), torch.zeros(len(values), dtype=torch.int64), 1)


def _generated_plot(trees: int = 60, side: float = 30.0) -> np.ndarray:
    """Points (N, 3) on a plot of ``side`` metres: a rough floor, thin stems, crowns that are surfaces."""
    random = np.random.default_rng(0)
    floor = random.random((60_000, 3)) * (side, side, 0.3)
    parts = [floor]
    for x, y, height in zip(random.random(trees) * side, random.random(trees) * side, 12 + 12 * random.random(trees)):
        angle, z = random.random(800) * 2 * np.pi, random.random(800) * height * 0.6
        parts.append(np.stack([x + 0.15 * np.cos(angle), y + 0.15 * np.sin(angle), z], 1))
        direction = random.standard_normal((4000, 3))
        shell = direction / np.linalg.norm(direction, axis=1, keepdims=True) * (0.8 + 0.2 * random.random((4000, 1)))
        parts.append(shell * (2.2, 2.2, height * 0.25) + (x, y, height * 0.75))
    points = np.concatenate(parts)
    return points - points.min(0)
