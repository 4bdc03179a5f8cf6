"""Plots with trees, with the options that configurations give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perception.config import config
from perception.datasets.entry import DatasetEntry
from perception.datasets.trees.las import Labels, LasTrees, for_instance
from perception.datasets.trees.memory import RememberedPlots
from perception.simulate.forest.dataset import ForestDataset
from perception.simulate.forest.scanners import SCANNERS
from perception.simulate.forest.species import STANDS


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


def _trees(options: type[Any], make: Callable[..., Any]) -> DatasetEntry:
    def remembered(o: Any) -> RememberedPlots:
        values = {key: value for key, value in vars(o).items() if key not in ("finest", "remembered")}
        return RememberedPlots(make(**values), o.finest, o.remembered)

    return DatasetEntry(options, remembered, "trees")


TREES: dict[str, DatasetEntry] = {
    "trees_las": _trees(LasTreesOptions, LasTrees),
    "for_instance": _trees(ForInstanceOptions, for_instance),
    "forest_trees": _trees(ForestTreesOptions, ForestDataset),
}
