"""Methods without training, by name: the baselines that a network must beat."""

from __future__ import annotations

from collections.abc import Callable

from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.li2012 import li2012_trees
from perception.trees.stems import stem_trees
from perception.trees.watershed import watershed_trees

METHODS: dict[str, Callable[[PointCloud], TreeInstances]] = {
    "watershed": watershed_trees,
    "li2012": li2012_trees,
    "stems": stem_trees,
}
"""``watershed`` and ``li2012`` for airborne lidar, ``stems`` for terrestrial and mobile."""
