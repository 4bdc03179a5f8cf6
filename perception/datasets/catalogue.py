"""All data sets that a configuration can name: a plain dict. A new data set adds its file and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.config import config, parse
from perception.datasets.argoverse2 import Argoverse2
from perception.datasets.folder import LABELS, FolderDataset, read_frames
from perception.datasets.kitti import KittiDetection
from perception.datasets.kitti_raw import KittiRaw
from perception.datasets.nuscenes import Fill, Nuscenes
from perception.datasets.sample import Dataset
from perception.datasets.waymo import SQUASHABLE, Waymo
from perception.datasets.waymo_segment import LASERS
from perception.errors import PerceptionError, nearest
from perception.interop.info_boxes import Convention
from perception.interop.kitti_infos import KittiInfos
from perception.interop.nuscenes_infos import NuscenesInfos
from perception.simulate.dataset import StreetDataset


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


@config
class FolderOptions:
    """Of ``FolderDataset``: ``split`` is a text file in the root, one frame a line; None for all labelled clouds."""

    root: str = "data/own"
    split: str | None = None
    labels: str = LABELS
    input_format: str | None = None


@dataclass(frozen=True)
class DatasetEntry:
    """``make`` builds the data set from checked ``options``; ``identifiers`` names its recordings, unread."""

    options: type[Any]
    make: Callable[[Any], Dataset]
    identifiers: Callable[[Any], list[str]]


def _raw_identifiers(raw: KittiRaw) -> list[str]:
    return [drive.identifier(frame) for drive in raw.drives for frame in range(len(drive))]


def _folder(options: FolderOptions) -> FolderDataset:
    frames = read_frames(Path(options.root) / options.split) if options.split is not None else None
    return FolderDataset(options.root, frames, options.labels, options.input_format)


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
        StreetOptions, lambda o: StreetDataset(o.length, o.seed, o.camera_view), _street_identifiers
    ),
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
