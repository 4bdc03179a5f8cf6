"""Data sets of boxes and keypoints, and generated worlds, with the options that configurations give them."""

from __future__ import annotations

from pathlib import Path

from perception.config import config
from perception.datasets.argoverse2.dataset import Argoverse2
from perception.datasets.entry import DatasetEntry
from perception.datasets.folder import LABELS, FolderDataset, read_frames
from perception.datasets.kitti.dataset import KittiDetection
from perception.datasets.kitti.raw import KittiRaw
from perception.datasets.nuscenes.dataset import Fill, Nuscenes
from perception.datasets.waymo.dataset import SQUASHABLE, Waymo
from perception.datasets.waymo.segment import LASERS
from perception.interop.info_boxes import Convention
from perception.interop.kitti_infos import KittiInfos
from perception.interop.nuscenes_infos import NuscenesInfos
from perception.simulate.dataset import StreetDataset
from perception.simulate.forest.dataset import ForestDataset
from perception.simulate.forest.scanners import SCANNERS
from perception.simulate.forest.species import STANDS
from perception.simulate.people.dataset import PeopleDataset
from perception.simulate.people.scene import MOST_PEOPLE


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
    sensors: tuple[str, ...] = ("hdl64",)


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


def _folder(options: FolderOptions) -> FolderDataset:
    frames = read_frames(Path(options.root) / options.split) if options.split is not None else None
    return FolderDataset(options.root, frames, options.labels, options.input_format)


DETECTION: dict[str, DatasetEntry] = {
    "kitti": DatasetEntry(
        KittiOptions, lambda o: KittiDetection(o.root, o.split, o.identifiers, o.camera_view, o.image)
    ),
    "kitti_raw": DatasetEntry(KittiRawOptions, lambda o: KittiRaw(**vars(o), labelled=True)),
    "kitti_infos": DatasetEntry(KittiInfosOptions, lambda o: KittiInfos(**vars(o))),
    "nuscenes": DatasetEntry(NuscenesOptions, lambda o: Nuscenes(**vars(o))),
    "nuscenes_infos": DatasetEntry(NuscenesInfosOptions, lambda o: NuscenesInfos(**vars(o))),
    "folder": DatasetEntry(FolderOptions, _folder),
    "argoverse2": DatasetEntry(Argoverse2Options, lambda o: Argoverse2(**vars(o), labelled=True)),
    "waymo": DatasetEntry(WaymoOptions, lambda o: Waymo(**vars(o), labelled=True)),
    "street": DatasetEntry(StreetOptions, lambda o: StreetDataset(**vars(o))),
    "forest": DatasetEntry(ForestOptions, lambda o: ForestDataset(**vars(o))),
    "people": DatasetEntry(PeopleOptions, lambda o: PeopleDataset(**vars(o))),
}
