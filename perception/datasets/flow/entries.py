"""Data sets of pairs of scans, with the options that configurations give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perception.config import config
from perception.datasets.entry import DatasetEntry
from perception.datasets.flow.argoverse2 import Argoverse2Flow, Frame
from perception.datasets.flow.kitti_raw import KittiRawFlow
from perception.datasets.flow.labels import DILATION
from perception.datasets.flow.nuscenes import NuscenesFlow
from perception.datasets.flow.opensceneflow import OpenSceneFlow
from perception.datasets.flow.scans import ScanPairs
from perception.datasets.flow.waymo import WaymoFlow
from perception.simulate.flow import StreetFlow


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


def _flow(options: type[Any], make: Callable[..., Any], **fixed: Any) -> DatasetEntry:
    return DatasetEntry(options, lambda o: make(**vars(o), **fixed), "flow")


FLOW: dict[str, DatasetEntry] = {
    "argoverse2_flow": _flow(Argoverse2FlowOptions, Argoverse2Flow, labelled=True),
    "kitti_raw_flow": _flow(KittiRawFlowOptions, KittiRawFlow, labelled=True),
    "nuscenes_flow": _flow(NuscenesFlowOptions, NuscenesFlow),
    "waymo_flow": _flow(WaymoFlowOptions, WaymoFlow, labelled=True),
    "opensceneflow": _flow(OpenSceneFlowOptions, OpenSceneFlow),
    "street_flow": _flow(StreetFlowOptions, StreetFlow),
    "scan_pairs": _flow(ScanPairsOptions, ScanPairs),
}
