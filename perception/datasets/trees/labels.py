"""What the points of a labelled plot are: FOR-instance's classes, and ids of trees in whatever a file calls them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from perception.errors import PerceptionError
from perception.losses.trees import IGNORED, TREE, TreeTruth
from perception.points import PointCloud

TREE_ID, SEMANTIC, FOOT = "tree_id", "semantic", "tree_foot"
"""Fields of a labelled plot: the id of each point's tree from 1, 0 for none; its class, one of ``CLASSES``; where its
tree stands (N, 3), relative to the cloud's origin, NaN for none."""
UNCLASSIFIED, LOW_VEGETATION, TERRAIN, OUT_POINTS, STEM, LIVE_BRANCHES, DEAD_BRANCHES = range(7)
"""FOR-instance's classes (Puliti et al. 2023, table 2); out-points are trees that nobody told apart."""
CLASSES = 7
LARGEST_ID = 2**31 - 1
ID_NAMES = ("treeID", "tree_id", "TreeID", "treeid", "tree", "PredInstance", "instance", "label")
"""What programs call ids of trees, looked for in this order where no name is given."""

# Of each class: other things 0, trees 1, not known -1, as SegmentAnyTree's training takes them.
_MEANING = np.array([IGNORED, 0, 0, IGNORED, TREE, TREE, TREE], np.int64)


def tree_truth(cloud: PointCloud, identifier: str) -> TreeTruth:
    """What a loss takes of a labelled plot, or of a part of one.

    Raises PerceptionError that names a plot without labels.
    """
    for name in (TREE_ID, SEMANTIC):
        if name not in cloud.fields:
            raise PerceptionError(
                f"plot {identifier} has no field {name}", "a labelled plot", "choose a data set of trees with their ids"
            )
    foot = cloud.fields.get(FOOT)
    return TreeTruth(
        torch.from_numpy(cloud.fields[TREE_ID].astype(np.int64)),
        torch.from_numpy(_MEANING[cloud.fields[SEMANTIC]]),
        None if foot is None else torch.from_numpy(foot.astype(np.float32)),
    )


def id_field(cloud: PointCloud, wanted: str | None, identifier: str) -> str:
    """The field with the ids of trees: ``wanted``, or the first usual name that the file has."""
    names = (wanted,) if wanted is not None else ID_NAMES
    for name in names:
        if name in cloud.fields:
            return name
    raise PerceptionError(
        f"{identifier}: no field {wanted!r}" if wanted is not None else f"{identifier}: no ids of trees",
        f"ids of trees in one of the fields {', '.join(names)}",
        f"name the right one (tree_field); the file has {', '.join(cloud.fields) or 'none'}",
    )


def clean_ids(values: np.ndarray, identifier: str) -> np.ndarray:
    """Ids (N,) int64, 0 for no tree: what is negative, not finite or no int32 stands for none (programs write -1, NaN
    and 1.797e308). Raises PerceptionError for fractions and where no point has a tree."""
    numbers = np.asarray(values)
    if numbers.ndim != 1:
        raise PerceptionError(f"{identifier}: ids of shape {numbers.shape}", "one id a point")
    if numbers.dtype.kind == "f":
        numbers = np.where(np.isfinite(numbers) & (numbers <= LARGEST_ID), numbers, 0)
        if (numbers != np.round(numbers)).any():
            raise PerceptionError(f"{identifier}: ids that are fractions", "whole numbers", "name another field")
    else:
        numbers = np.where(numbers <= LARGEST_ID, numbers, 0)
    ids: np.ndarray = np.maximum(numbers, 0).astype(np.int64)
    return ids


def check_any_tree(ids: np.ndarray, identifier: str) -> None:
    """Raises PerceptionError for a plot of which no point has a tree."""
    if not (ids > 0).any():
        raise PerceptionError(
            f"{identifier}: all {len(ids)} points have the tree id 0",
            "points of trees",
            "leave the plot out, or name the field that has the ids",
        )


def for_instance_classes(classification: np.ndarray, ids: np.ndarray, identifier: str) -> np.ndarray:
    """Classes (N,) uint8 as FOR-instance's files have them in ``classification``."""
    if (classification >= CLASSES).any():
        raise PerceptionError(
            f"{identifier}: classes up to {int(classification.max())}",
            f"FOR-instance's 0 to {CLASSES - 1}",
            "for plots with other classes use the data set trees_las with labels: ids",
        )
    return classification.astype(np.uint8)


def classes_by_ids(ids: np.ndarray, classification: np.ndarray | None, unknown: Sequence[int]) -> np.ndarray:
    """Classes (N,) uint8 of plots whose points are known by their trees alone: what has none is no tree, but those of
    the ``unknown`` LAS classes, which nobody looked at."""
    classes = np.where(ids > 0, LIVE_BRANCHES, TERRAIN).astype(np.uint8)
    if classification is not None and len(unknown):
        classes[np.isin(classification, list(unknown)) & (ids == 0)] = UNCLASSIFIED
    return classes
