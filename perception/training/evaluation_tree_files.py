"""Trees in LAS files against those of reference files: folders of both, matched by name, points matched by place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from perception.datasets.trees.labels import clean_ids, id_field
from perception.datasets.trees.las import SUFFIXES, Labels, LasTrees
from perception.errors import PerceptionError, nearest
from perception.io.las import read_las
from perception.metrics.tree_protocols import PlotTrees
from perception.points import PointCloud
from perception.training.evaluation_trees import TreeEvaluation, evaluation_of, labelled_plot

PREDICTED_NAMES = ("tree_id", "PredInstance", "predicted_tree_id", "treeID", "TreeID", "tree")
"""What programs call ids that they found, looked for in this order: our own come beside those of the input file."""
ENDINGS = ("", "_trees", "_out", "_predicted", "_segmented")
"""Of predicted files' names behind those of their references."""
SAME_POINT = 0.01
"""Metres within which two files' points in the same place of the order are the same."""
NEAR, LEAST_NEAR = 0.5, 0.5
"""Files show the same place if that share of points have a point of the other within so many metres."""

Files = tuple[Path, Path]


@dataclass(frozen=True, eq=False)
class ComparedFiles:
    """``notes``: files whose points were matched by their neighbours, and references that nobody predicted."""

    evaluation: TreeEvaluation
    notes: tuple[str, ...]


def compare_files(
    predicted: Path,
    reference: Path,
    predicted_field: str | None = None,
    reference_field: str | None = None,
    for_instance: bool = False,
    least_points: int = 1,
    progress: Callable[[Iterable[Files]], Iterable[Files]] = iter,
) -> ComparedFiles:
    """Two LAS or LAZ files, or two folders of them.

    ``for_instance``: the references' classes are FOR-instance's, and what they do not know is left out. Raises
    PerceptionError for files without ids, references without trees, and pairs of files of different places.
    """
    pairs, notes = file_pairs(predicted, reference)
    plots: dict[str, PlotTrees] = {}
    for ours, theirs in progress(pairs):
        labels: Labels = "for_instance" if for_instance else "ids"
        truth = LasTrees(theirs.parent, [theirs.name], reference_field, labels)[0].cloud
        found = read_las(ours, origin=truth.origin.tolist())
        ids = clean_ids(found.fields[_predicted_field(found, predicted_field, ours.name)], ours.name)
        handed, by_place = ids_at(truth, found, ids, f"{ours.name} and {theirs.name}")
        if not by_place:
            notes.append(f"{ours.name}: {len(found):,} points for {len(truth):,}, matched by the nearest")
        plots[theirs.name] = labelled_plot(truth, theirs.name, handed, least_points)
    return ComparedFiles(evaluation_of(plots, 0, least_points), tuple(notes))


def file_pairs(predicted: Path, reference: Path) -> tuple[list[Files], list[str]]:
    """Files of the same name, but for an ending such as ``_trees``; notes on references without a prediction.

    Raises PerceptionError where there is none, and for predictions without a reference: they would count for nothing.
    """
    for path in (predicted, reference):
        if not path.exists():
            raise PerceptionError(f"no file or folder {path}", "LAS or LAZ files", "check the path")
    if predicted.is_file() and reference.is_file():
        return [(predicted, reference)], []
    theirs, ours = _listed(reference), _listed(predicted)
    pairs, notes, taken = [], [], set()
    for stem, path in theirs.items():
        name = next((stem + ending for ending in ENDINGS if stem + ending in ours), None)
        if name is None:
            notes.append(f"{path.name}: no prediction, left out")
        else:
            pairs.append((ours[name], path))
            taken.add(name)
    spare = sorted(set(ours) - taken)
    if not pairs or spare:
        raise PerceptionError(
            f"{spare[0] if spare else predicted} has no reference in {reference}",
            f"files of the same names, or ending in {', '.join(e for e in ENDINGS if e)}",
            nearest(spare[0], list(theirs)) if spare else "check both folders",
        )
    return pairs, notes


def ids_at(truth: PointCloud, found: PointCloud, ids: np.ndarray, names: str) -> tuple[np.ndarray, bool]:
    """Predicted ids (N,) of the points of ``truth``: row by row where both files have the same points in the same
    order, which the second value tells; else those of the nearest point. Both clouds have one origin."""
    if len(truth) == len(found) and np.abs(truth.xyz - found.xyz).max(initial=0.0) <= SAME_POINT:
        return ids, True
    if not len(found):
        raise PerceptionError(f"{names}: no points in the first", "the same place in both", "check the pairs of files")
    away, row = cKDTree(found.xyz).query(truth.xyz)
    if (away <= NEAR).mean() < LEAST_NEAR:
        raise PerceptionError(
            f"{names}: {(away <= NEAR).mean():.0%} of the points are within {NEAR} m of one of the other",
            "two files of the same place",
            "check the pairs of files and their coordinates",
        )
    return ids[row], False


def _predicted_field(cloud: PointCloud, wanted: str | None, name: str) -> str:
    if wanted is None:
        wanted = next((known for known in PREDICTED_NAMES if known in cloud.fields), None)
    return id_field(cloud, wanted, name)


def _listed(folder: Path) -> dict[str, Path]:
    paths: Sequence[Path] = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    found = {path.stem: path for path in paths if path.suffix.lower() in SUFFIXES}
    if not found:
        raise PerceptionError(f"no LAS or LAZ files in {folder}", "plots with ids of trees", "check the path")
    return found
