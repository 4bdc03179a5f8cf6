"""All data sets that a configuration can name. A new one adds its file, and an entry to the dict of its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perception.config import parse
from perception.datasets.detection_entries import DETECTION
from perception.datasets.entry import DatasetEntry
from perception.datasets.flow.entries import FLOW
from perception.datasets.places.entries import PLACES
from perception.datasets.sample import NamedDataset
from perception.datasets.trees.entries import TREES
from perception.errors import PerceptionError, nearest

DATASETS: dict[str, DatasetEntry] = {**DETECTION, **FLOW, **TREES, **PLACES}


def dataset_entry(name: str) -> DatasetEntry:
    """The catalogue's entry, or an error with the nearest name."""
    if name not in DATASETS:
        raise PerceptionError(f"no data set is called {name!r}", "a name of the catalogue", nearest(name, DATASETS))
    return DATASETS[name]


def make_dataset(name: str, options: Mapping[str, Any], where: str) -> NamedDataset:
    """Build a data set by name; ``where`` names the source of the options in errors."""
    chosen = dataset_entry(name)
    return chosen.make(parse(chosen.options, options, f"{where}: options of {name}"))
