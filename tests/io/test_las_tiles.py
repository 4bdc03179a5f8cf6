from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.las_header import read_las_header
from perception.io.las_tiles import LasTiles
from perception.io.writers import write_points
from perception.points import PointCloud

ORIGIN = np.array([500_000.0, 4_000_000.0, 100.0])


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two neighbouring files of a strip that is 100 m long."""
    generator = np.random.default_rng(0)
    paths = []
    for number, low in enumerate((-3.0, 47.0)):
        xyz = generator.uniform([low, -20, 0], [low + 50, 20, 5], (4000, 3)).astype(np.float32)
        fields = {"intensity": generator.integers(0, 1000, 4000).astype(np.uint16)}
        paths.append(tmp_path / f"part{number}.laz")
        write_points(paths[-1], PointCloud(xyz, fields, ORIGIN, frame="map"))
    return paths


def test_each_point_is_in_one_core_and_in_every_margin_it_reaches(files: list[Path], tmp_path: Path) -> None:
    tiles = LasTiles(files, tmp_path / "tiles", 20.0, 4.0, ["intensity"])
    assert tiles.points == 8000
    world = np.full((8000, 3), np.nan)
    times = np.zeros(8000, int)
    held = []
    for part in tiles:
        times[part.index[part.core]] += 1
        world[part.index[part.core]] = part.cloud.world()[part.core]
        away = np.abs(part.cloud.xyz[:, :2]).max(1)
        assert (away <= 10 + 4 + 1e-3).all()
        assert ((away <= 10.001) >= part.core).all()
        assert (np.diff(part.index) > 0).all()
        held.append((part.tile, set(part.index.tolist())))
    assert (times == 1).all()
    for tile, members in held:
        expected = np.flatnonzero((np.abs(world[:, :2] - tile.centre) <= 14 - 1e-3).all(1))
        assert set(expected.tolist()) <= members
        assert abs(len(members) - len(expected)) < 20
    assert 490_000 < world[:, 0].min() < world[:, 0].max() < 500_100


def test_the_grid_is_that_of_the_coordinates(files: list[Path], tmp_path: Path) -> None:
    both = LasTiles(files, tmp_path / "both", 20.0, 0.0)
    one = LasTiles(files[:1], tmp_path / "one", 20.0, 0.0)
    assert {tile.centre for tile in one.tiles} <= {tile.centre for tile in both.tiles}
    assert all((np.array(tile.centre) - 10) % 20 == pytest.approx([0, 0]) for tile in both.tiles)


def test_sorted_tiles_are_used_again_until_a_file_changes(files: list[Path], tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(2):
        LasTiles(files, tmp_path / "tiles", 20.0, 4.0, progress=lambda done, total: calls.append(done))
    assert calls == [4000, 8000]
    os.utime(files[0], (1, 1))
    tiles = LasTiles(files, tmp_path / "tiles", 20.0, 4.0, progress=lambda done, total: calls.append(done))
    assert len(calls) == 4
    next(iter((tmp_path / "tiles").glob("tile_*.bin"))).write_bytes(b"")
    with pytest.raises(PerceptionError, match="as sorted before"):
        list(tiles)


def test_files_without_points_and_wrong_settings(tmp_path: Path) -> None:
    empty = tmp_path / "empty.las"
    write_points(empty, PointCloud(np.zeros((0, 3), np.float32)))
    assert read_las_header(empty).points == 0
    assert list(LasTiles([empty], tmp_path / "tiles", 20.0, 4.0)) == []
    with pytest.raises(PerceptionError, match="a margin below half the size"):
        LasTiles([empty], tmp_path / "tiles", 20.0, 10.0)
    with pytest.raises(PerceptionError, match="no dimension 'colour'"):
        LasTiles([empty], tmp_path / "tiles", 20.0, 1.0, ["colour"])
