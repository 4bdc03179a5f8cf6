"""All data sets that a configuration can name: a plain dict. A new data set adds its file and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.config import config, parse
from perception.datasets.argoverse2.dataset import Argoverse2
from perception.datasets.flow.argoverse2 import Argoverse2Flow, Frame
from perception.datasets.flow.kitti_raw import KittiRawFlow
from perception.datasets.flow.labels import DILATION
from perception.datasets.flow.nuscenes import NuscenesFlow
from perception.datasets.flow.opensceneflow import OpenSceneFlow
from perception.datasets.flow.scans import ScanPairs
from perception.datasets.flow.waymo import WaymoFlow
from perception.datasets.folder import LABELS, FolderDataset, read_frames
from perception.datasets.kitti.dataset import KittiDetection
from perception.datasets.kitti.raw import KittiRaw
from perception.datasets.nuscenes.dataset import Fill, Nuscenes
from perception.datasets.places.drives import kitti_odometry, mulran, scans_with_poses
from perception.datasets.places.queries import place_queries
from perception.datasets.places.submaps import cs_wild_places, robotcar, wild_places
from perception.datasets.sample import Dataset
from perception.datasets.trees.las import Labels, LasTrees, for_instance
from perception.datasets.trees.memory import RememberedPlots
from perception.datasets.waymo.dataset import SQUASHABLE, Waymo
from perception.datasets.waymo.segment import LASERS
from perception.errors import PerceptionError, nearest
from perception.interop.info_boxes import Convention
from perception.interop.kitti_infos import KittiInfos
from perception.interop.nuscenes_infos import NuscenesInfos
from perception.simulate.dataset import StreetDataset
from perception.simulate.flow import StreetFlow
from perception.simulate.forest.dataset import ForestDataset
from perception.simulate.forest.scanners import SCANNERS
from perception.simulate.forest.species import STANDS
from perception.simulate.loops.dataset import LoopDataset
from perception.simulate.loops.world import KINDS
from perception.simulate.people.dataset import PeopleDataset
from perception.simulate.people.scene import MOST_PEOPLE
from perception.simulate.sensor import SENSORS


@config
class KittiOptions:
    """Of ``KittiDetection``; ``identifiers`` chooses frames instead of ``split``, ``image`` is for models on images."""

    root: str = "data/kitti"
    split: str = "training"
    identifiers: tuple[str, ...] | None = None
    camera_view: bool = True
    image: bool = False


@config
class KittiRawOptions:
    """Of ``KittiRaw``: ``drives`` None for all that have labels."""

    root: str = "data/kitti_raw"
    drives: tuple[str, ...] | None = None
    camera_view: bool = True


@config
class KittiInfosOptions:
    """Of ``KittiInfos``: info files of OpenPCDet or mmdet3d."""

    root: str = "data/kitti"
    infos: str = "kitti_infos_train.pkl"
    camera_view: bool = True


@config
class NuscenesOptions:
    """Of ``Nuscenes``: ``version`` None for the one that has the split."""

    root: str = "data/nuscenes"
    version: str | None = None
    split: str = "train"
    sweeps: int = 10
    missing: Fill = "repeat"
    near: float = 1.0
    minimum_lidar_points: int = 1
    balanced: bool = False
    seed: int = 0
    scenes: tuple[str, ...] | None = None
    cache: str | None = None


@config
class NuscenesInfosOptions:
    """Of ``NuscenesInfos``: info files of OpenPCDet or mmdet3d."""

    root: str = "data/nuscenes"
    infos: str = "nuscenes_infos_10sweeps_train.pkl"
    sweeps: int = 10
    missing: Fill = "repeat"
    near: float = 1.0
    minimum_lidar_points: int = 1
    convention: Convention = "auto"


@config
class Argoverse2Options:
    """Of ``Argoverse2``: ``split`` names a folder, ``logs`` None for all; labelled sweeps only, ``sweeps`` merged."""

    root: str = "data/argoverse2"
    split: str = "train"
    logs: tuple[str, ...] | None = None
    sweeps: int = 1


@config
class WaymoOptions:
    """Of ``Waymo``: ``split`` names a folder, ``segments`` None for all; labelled segments only."""

    root: str = "data/waymo"
    split: str = "training"
    segments: tuple[str, ...] | None = None
    second_return: bool = True
    lasers: tuple[int, ...] = tuple(LASERS)
    squashed: tuple[str, ...] = SQUASHABLE
    drop_no_label_zones: bool = False
    signs: bool = False
    keypoints: bool = False


@config
class StreetOptions:
    """Of ``StreetDataset``: as many generated streets as wanted, no files."""

    length: int = 1000
    seed: int = 0
    camera_view: bool = True
    articulated: bool = False


@config
class ForestOptions:
    """Of ``ForestDataset``: as many generated forest plots as wanted, no files; ``density`` None draws one a plot."""

    length: int = 1000
    seed: int = 0
    scanners: tuple[str, ...] = tuple(SCANNERS)
    side: float = 20.0
    density: float | None = None
    kinds: tuple[str, ...] = tuple(STANDS)
    split: str = "train"


@config
class LasTreesOptions:
    """Of ``LasTrees``, and of ``RememberedPlots`` that keeps ``remembered`` points in memory, one in ``finest`` m."""

    root: str = "data/trees"
    files: tuple[str, ...] | None = None
    tree_field: str | None = None
    labels: Labels = "ids"
    class_field: str = "classification"
    unknown: tuple[int, ...] = ()
    finest: float | None = 0.05
    remembered: int = 60_000_000


@config
class ForInstanceOptions:
    """FOR-instance as published: ``split`` dev or test, ``sites`` None for all."""

    root: str = "data/for_instance"
    split: str = "dev"
    sites: tuple[str, ...] | None = None
    finest: float | None = 0.05
    remembered: int = 60_000_000


@config
class ForestTreesOptions:
    """Generated plots for models of trees: ``ForestOptions``, made once while there is room in memory."""

    length: int = 100
    seed: int = 0
    scanners: tuple[str, ...] = tuple(SCANNERS)
    side: float = 20.0
    density: float | None = None
    kinds: tuple[str, ...] = tuple(STANDS)
    split: str = "train"
    finest: float | None = 0.1
    remembered: int = 60_000_000


@config
class PeopleOptions:
    """Of ``PeopleDataset``: as many generated scenes of people with joints as wanted, no files."""

    length: int = 1000
    seed: int = 0
    split: str = "train"
    sensors: tuple[str, ...] = ("waymo_top",)
    grounded: bool = True
    most: int = MOST_PEOPLE
    around: float | None = None


@config
class FolderOptions:
    """Of ``FolderDataset``: ``split`` is a text file in the root, one frame a line; None for all labelled clouds."""

    root: str = "data/own"
    split: str | None = None
    labels: str = LABELS
    input_format: str | None = None


@config
class Argoverse2FlowOptions:
    """Of ``Argoverse2Flow``: pairs of labelled sweeps; ``frame`` "lidar" for models trained as in OpenSceneFlow."""

    root: str = "data/argoverse2"
    split: str = "train"
    logs: tuple[str, ...] | None = None
    frame: Frame = "vehicle"
    dilation: float = DILATION


@config
class KittiRawFlowOptions:
    """Of ``KittiRawFlow``: pairs of scans of drives with tracklets."""

    root: str = "data/kitti_raw"
    drives: tuple[str, ...] | None = None
    camera_view: bool = True
    dilation: float = DILATION


@config
class ScanPairsOptions:
    """Of ``ScanPairs``: a folder of scans without labels, for the loss ``seflow``."""

    root: str = "data/scans"
    poses: str | None = None


@config
class NuscenesFlowOptions:
    """Of ``NuscenesFlow``: keyframes and the sweeps ``gap`` seconds after them."""

    root: str = "data/nuscenes"
    version: str | None = None
    split: str = "train"
    gap: float = 0.1
    near: float = 1.0
    dilation: float = DILATION
    scenes: tuple[str, ...] | None = None
    cache: str | None = None


@config
class WaymoFlowOptions:
    """Of ``WaymoFlow``: pairs of labelled frames, of the top lidar's first returns unless said otherwise."""

    root: str = "data/waymo"
    split: str = "training"
    segments: tuple[str, ...] | None = None
    lasers: tuple[int, ...] = (1,)
    second_return: bool = False
    dilation: float = DILATION


@config
class OpenSceneFlowOptions:
    """Of ``OpenSceneFlow``: a folder of its .h5 files; ``evaluation`` for the pairs with a mask of the leaderboard."""

    root: str = "data/opensceneflow/train"
    scenes: tuple[str, ...] | None = None
    labelled: bool = True
    evaluation: bool = False


@config
class StreetFlowOptions:
    """Of ``StreetFlow``: as many generated pairs as wanted, no files."""

    length: int = 1000
    seed: int = 0
    sensor: str = "hdl64"
    seconds: float = 0.1


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


@dataclass(frozen=True)
class DatasetEntry:
    """``make`` builds the data set from checked ``options``; ``identifiers`` names its recordings, unread.

    The samples of data sets for ``task`` "flow" are pairs of scans, for "trees" plots whose points know their tree.
    """

    options: type[Any]
    make: Callable[[Any], Any]
    identifiers: Callable[[Any], list[str]]
    task: str = "detection"


def _raw_identifiers(raw: KittiRaw) -> list[str]:
    return [drive.identifier(frame) for drive in raw.drives for frame in range(len(drive))]


def _folder(options: FolderOptions) -> FolderDataset:
    frames = read_frames(Path(options.root) / options.split) if options.split is not None else None
    return FolderDataset(options.root, frames, options.labels, options.input_format)


def _plot_identifiers(plots: ForestDataset | PeopleDataset) -> list[str]:
    return [f"{plots.split}, seed {plots.seed}: {len(plots)} scenes"]


def _street_identifiers(streets: StreetDataset) -> list[str]:
    return [f"seed {streets.seed}: {len(streets)} scenes"]


DATASETS: dict[str, DatasetEntry] = {
    "kitti": DatasetEntry(
        KittiOptions,
        lambda o: KittiDetection(o.root, o.split, o.identifiers, o.camera_view, o.image),
        lambda kitti: list(kitti.identifiers),
    ),
    "kitti_raw": DatasetEntry(
        KittiRawOptions, lambda o: KittiRaw(o.root, o.drives, o.camera_view, labelled=True), _raw_identifiers
    ),
    "kitti_infos": DatasetEntry(KittiInfosOptions, lambda o: KittiInfos(**vars(o)), lambda infos: infos.identifiers),
    "nuscenes": DatasetEntry(NuscenesOptions, lambda o: Nuscenes(**vars(o)), lambda nuscenes: nuscenes.identifiers),
    "nuscenes_infos": DatasetEntry(
        NuscenesInfosOptions, lambda o: NuscenesInfos(**vars(o)), lambda infos: infos.identifiers
    ),
    "folder": DatasetEntry(FolderOptions, _folder, lambda folder: list(folder.identifiers)),
    "argoverse2": DatasetEntry(
        Argoverse2Options,
        lambda o: Argoverse2(o.root, o.split, o.logs, o.sweeps, labelled=True),
        lambda logs: list(logs.identifiers),
    ),
    "waymo": DatasetEntry(
        WaymoOptions, lambda o: Waymo(**vars(o), labelled=True), lambda segments: list(segments.identifiers)
    ),
    "street": DatasetEntry(
        StreetOptions,
        lambda o: StreetDataset(o.length, o.seed, o.camera_view, articulated=o.articulated),
        _street_identifiers,
    ),
    "forest": DatasetEntry(ForestOptions, lambda o: ForestDataset(**vars(o)), _plot_identifiers),
    "people": DatasetEntry(PeopleOptions, lambda o: PeopleDataset(**vars(o)), _plot_identifiers),
}


def _flow(options: type[Any], make: Callable[..., Any], **fixed: Any) -> DatasetEntry:
    return DatasetEntry(options, lambda o: make(**vars(o), **fixed), lambda pairs: list(pairs.identifiers), "flow")


DATASETS |= {
    "argoverse2_flow": _flow(Argoverse2FlowOptions, Argoverse2Flow, labelled=True),
    "kitti_raw_flow": _flow(KittiRawFlowOptions, KittiRawFlow, labelled=True),
    "nuscenes_flow": _flow(NuscenesFlowOptions, NuscenesFlow),
    "waymo_flow": _flow(WaymoFlowOptions, WaymoFlow, labelled=True),
    "opensceneflow": _flow(OpenSceneFlowOptions, OpenSceneFlow),
    "street_flow": _flow(StreetFlowOptions, StreetFlow),
    "scan_pairs": _flow(ScanPairsOptions, ScanPairs),
}


def _trees(options: type[Any], make: Callable[..., Any]) -> DatasetEntry:
    def remembered(o: Any) -> RememberedPlots:
        values = {key: value for key, value in vars(o).items() if key not in ("finest", "remembered")}
        return RememberedPlots(make(**values), o.finest, o.remembered)

    def names(plots: Any) -> list[str]:
        return _plot_identifiers(plots.source) if isinstance(plots.source, ForestDataset) else list(plots.identifiers)

    return DatasetEntry(options, remembered, names, "trees")


DATASETS |= {
    "trees_las": _trees(LasTreesOptions, LasTrees),
    "for_instance": _trees(ForInstanceOptions, for_instance),
    "forest_trees": _trees(ForestTreesOptions, ForestDataset),
}


def _places(options: type[Any], make: Callable[..., Any]) -> DatasetEntry:
    return DatasetEntry(options, lambda o: make(**vars(o)), lambda places: list(places.identifiers), "places")


DATASETS |= {
    "loops": _places(LoopOptions, LoopDataset),
    "robotcar": _places(RobotCarOptions, robotcar),
    "place_queries": _places(PlaceQueriesOptions, place_queries),
    "wild_places": _places(WildPlacesOptions, wild_places),
    "cs_wild_places": _places(CSWildPlacesOptions, cs_wild_places),
    "kitti_odometry": _places(KittiOdometryOptions, kitti_odometry),
    "mulran": _places(MulranOptions, mulran),
    "scans_with_poses": _places(ScansWithPosesOptions, scans_with_poses),
}


def dataset_entry(name: str) -> DatasetEntry:
    """The catalogue's entry, or an error with the nearest name."""
    if name not in DATASETS:
        raise PerceptionError(f"no data set is called {name!r}", "a name of the catalogue", nearest(name, DATASETS))
    return DATASETS[name]


def make_dataset(name: str, options: Mapping[str, Any], where: str) -> Dataset:
    """Build a data set by name; ``where`` names the source of the options in errors."""
    chosen = dataset_entry(name)
    return chosen.make(parse(chosen.options, options, f"{where}: options of {name}"))
