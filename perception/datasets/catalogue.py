"""All data sets that a configuration can name: a plain dict. A new data set adds its file and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from perception.config import config, parse
from perception.datasets.kitti import KittiDetection
from perception.datasets.kitti_raw import KittiRaw
from perception.datasets.sample import Dataset
from perception.errors import PerceptionError, nearest
from perception.simulate.dataset import StreetDataset


@config
class KittiOptions:
    """Of ``KittiDetection``; ``identifiers`` chooses frames instead of ``split``."""

    root: str = "data/kitti"
    split: str = "training"
    identifiers: tuple[str, ...] | None = None
    camera_view: bool = True


@config
class KittiRawOptions:
    """Of ``KittiRaw``: ``drives`` None for all that have labels."""

    root: str = "data/kitti_raw"
    drives: tuple[str, ...] | None = None
    camera_view: bool = True


@config
class StreetOptions:
    """Of ``StreetDataset``: as many generated streets as wanted, no files."""

    length: int = 1000
    seed: int = 0
    camera_view: bool = True


@dataclass(frozen=True)
class DatasetEntry:
    """``make`` builds the data set from checked ``options``; ``identifiers`` names its recordings, unread."""

    options: type[Any]
    make: Callable[[Any], Dataset]
    identifiers: Callable[[Any], list[str]]


def _raw_identifiers(raw: KittiRaw) -> list[str]:
    return [drive.identifier(frame) for drive in raw.drives for frame in range(len(drive))]


def _street_identifiers(streets: StreetDataset) -> list[str]:
    return [f"seed {streets.seed}: {len(streets)} scenes"]


DATASETS: dict[str, DatasetEntry] = {
    "kitti": DatasetEntry(
        KittiOptions,
        lambda o: KittiDetection(o.root, o.split, o.identifiers, o.camera_view),
        lambda kitti: list(kitti.identifiers),
    ),
    "kitti_raw": DatasetEntry(
        KittiRawOptions, lambda o: KittiRaw(o.root, o.drives, o.camera_view, labelled=True), _raw_identifiers
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
