"""Drives and submaps for place recognition, with the options that configurations give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perception.config import config
from perception.datasets.entry import DatasetEntry
from perception.datasets.places.drives import kitti_odometry, mulran, scans_with_poses
from perception.datasets.places.queries import place_queries
from perception.datasets.places.submaps import cs_wild_places, robotcar, wild_places
from perception.simulate.loops.dataset import LoopDataset
from perception.simulate.loops.world import KINDS
from perception.simulate.sensor import SENSORS


@config
class LoopOptions:
    """Of ``LoopDataset``: as many generated worlds with a way around as wanted, no files."""

    worlds: int = 20
    seed: int = 0
    length: float = 640.0
    spacing: float = 8.0
    kinds: tuple[str, ...] = KINDS
    sensors: tuple[str, ...] = tuple(SENSORS)
    split: str = "train"
    fine: bool = False


@config
class RobotCarOptions:
    """Of ``robotcar``: PointNetVLAD's submaps; ``area`` oxford, university, residential or business."""

    root: str = "data/benchmark_datasets"
    area: str = "oxford"
    split: str = "train"
    runs: tuple[str, ...] | None = None


@config
class PlaceQueriesOptions:
    """Of ``place_queries``: a published list of training queries, of CS-Campus3D unless said otherwise."""

    root: str = "data/benchmark_datasets"
    file: str = "training_queries_umd_4096_v2.pickle"


@config
class WildPlacesOptions:
    """Of ``wild_places``: a forest walked several times."""

    root: str = "data/wild_places"
    forest: str = "Karawatha"
    split: str = "train"
    runs: tuple[str, ...] | None = None
    csv: str = "poses_aligned_fixed.csv"
    clouds: str = "Clouds_downsampled"


@config
class CSWildPlacesOptions:
    """Of ``cs_wild_places``: a forest from the ground and from the air."""

    root: str = "data/cs_wild_places"
    forest: str = "Karawatha"
    split: str = "all"
    runs: tuple[str, ...] | None = None


@config
class KittiOdometryOptions:
    """Of ``kitti_odometry``: each ``every``-th scan of sequences that have poses."""

    root: str = "data/kitti_odometry"
    sequences: tuple[str, ...] = ("00",)
    every: int = 1


@config
class MulranOptions:
    """Of ``mulran``: each ``every``-th scan of the runs, None for all."""

    root: str = "data/mulran"
    runs: tuple[str, ...] | None = None
    every: int = 1


@config
class ScansWithPosesOptions:
    """Of ``scans_with_poses``: your own drive."""

    root: str = "data/own"
    poses: str = "poses.txt"
    scans: str = ""
    up: str = "z"


def _places(options: type[Any], make: Callable[..., Any]) -> DatasetEntry:
    return DatasetEntry(options, lambda o: make(**vars(o)), "places")


PLACES: dict[str, DatasetEntry] = {
    "loops": _places(LoopOptions, LoopDataset),
    "robotcar": _places(RobotCarOptions, robotcar),
    "place_queries": _places(PlaceQueriesOptions, place_queries),
    "wild_places": _places(WildPlacesOptions, wild_places),
    "cs_wild_places": _places(CSWildPlacesOptions, cs_wild_places),
    "kitti_odometry": _places(KittiOdometryOptions, kitti_odometry),
    "mulran": _places(MulranOptions, mulran),
    "scans_with_poses": _places(ScansWithPosesOptions, scans_with_poses),
}
