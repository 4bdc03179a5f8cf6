"""Submaps listed in csv files: Oxford RobotCar and in-house (PointNetVLAD's format), Wild-Places, CS-Wild-Places.

Uy & Lee, CVPR 2018; Knights et al., ICRA 2023; Griffiths et al., CVPR 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from perception.datasets.places.files import FilePlaces, folders_of, read_submap, read_table
from perception.datasets.places.regions import POLYGONS, SQUARES, in_polygons, in_squares, near_buffers
from perception.datasets.places.sample import PlaceTable
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.points import PointCloud

EAST = ("easting", "x")
NORTH = ("northing", "y")
LAYOUTS = {  # csv file, folder of clouds
    "train": ("pointcloud_locations_20m_10overlap.csv", "pointcloud_20m_10overlap"),
    "test": ("pointcloud_locations_20m.csv", "pointcloud_20m"),
    "inhouse": ("pointcloud_centroids_25.csv", "pointcloud_25m_25"),
}
INHOUSE = {"business": slice(0, 5), "residential": slice(5, 10), "university": slice(10, 15)}
SPLITS = ("train", "test", "all")


def robotcar(root: str, area: str = "oxford", split: str = "train", runs: Sequence[str] | None = None) -> FilePlaces:
    """Submaps of PointNetVLAD's benchmark; ``root`` holds ``oxford/`` and ``inhouse_datasets/``.

    ``split`` train: every 10 m, outside the test squares; test: every 20 m, inside them; all: every 20 m, everywhere,
    as the database of the evaluation. In-house submaps, every 25 m, have one file for all splits.
    """
    _check(area, SQUARES, "area")
    _check(split, SPLITS, "split")
    layout = LAYOUTS["inhouse"] if area != "oxford" else LAYOUTS["train" if split == "train" else "test"]
    folders = folders_of(Path(root) / ("oxford" if area == "oxford" else "inhouse_datasets"), runs, layout[0])
    if area != "oxford" and runs is None:
        folders = folders[INHOUSE[area]]

    def kept(positions: np.ndarray) -> np.ndarray:
        inside = in_squares(positions, area)
        return np.ones(len(inside), np.bool_) if split == "all" else inside == (split == "test")

    return _submaps(root, folders, *layout, ".bin", kept, read_submap)


def wild_places(
    root: str,
    forest: str = "Karawatha",
    split: str = "train",
    runs: Sequence[str] | None = None,
    csv: str = "poses_aligned_fixed.csv",
    clouds: str = "Clouds_downsampled",
) -> FilePlaces:
    """Submaps of a forest walked several times; training leaves the test polygons and the circles about them out."""
    _check(forest, POLYGONS, "forest")
    _check(split, SPLITS, "split")

    def kept(positions: np.ndarray) -> np.ndarray:
        inside = in_polygons(positions, forest)
        if split == "train":
            return ~inside & ~near_buffers(positions, forest)
        return inside if split == "test" else np.ones(len(inside), np.bool_)

    return _submaps(root, folders_of(Path(root) / forest, runs, csv), csv, clouds, ".pcd", kept, read_points)


def cs_wild_places(
    root: str, forest: str = "Karawatha", split: str = "all", runs: Sequence[str] | None = None
) -> FilePlaces:
    """Submaps of a forest from the ground and from the air: folders ``FOREST/RUN`` with poses.csv and clouds/.

    Runs are named ``ground_..`` or ``aerial..``. ``split`` ground or aerial keeps the runs of one platform, train and
    test need the published pickle (``place_queries``), whose polygons are in the coordinates of a map projection.
    """
    _check(split, ("all", "ground", "aerial"), "split")
    folders = folders_of(Path(root) / forest, runs, "poses.csv")
    folders = [folder for folder in folders if split == "all" or folder.name.startswith(split)]
    if not folders:
        raise PerceptionError(f"{Path(root) / forest} has no run from the {split}", "folders ground_.. and aerial_..")
    return _submaps(root, folders, "poses.csv", "clouds", ".pcd", lambda positions: np.ones(len(positions), np.bool_))


def _submaps(
    root: str,
    folders: Sequence[Path],
    csv: str,
    clouds: str,
    suffix: str,
    kept: Callable[[np.ndarray], np.ndarray],
    read: Callable[[Path], PointCloud] = read_points,
) -> FilePlaces:
    files: list[Path] = []
    positions, runs = [np.zeros((0, 2))], [np.zeros(0, np.int64)]
    for number, folder in enumerate(folders):
        stamps, places = read_table(folder / csv, (EAST, NORTH))
        rows = np.flatnonzero(kept(places))
        files += [folder / clouds / f"{stamps[row]}{suffix}" for row in rows]
        positions.append(places[rows])
        runs.append(np.full(len(rows), number, np.int64))
    if not files:
        raise PerceptionError(f"{root}: no submap is in this split", "runs through its regions", "choose another split")
    table = PlaceTable(
        np.concatenate(positions),
        np.zeros(len(files), np.int64),
        np.concatenate(runs),
        tuple(folder.name for folder in folders),
    )
    return FilePlaces(root, files, table, read)


def _check(name: str, known: Iterable[str], what: str) -> None:
    if name not in known:
        raise PerceptionError(f"{what} {name!r}", f"one of {', '.join(known)}")
