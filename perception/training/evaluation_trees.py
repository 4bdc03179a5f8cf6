"""Trees over whole data sets of labelled plots, whatever finds them: a network or a classical method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.sample import Dataset, Sample
from perception.datasets.trees.labels import TREE_ID, tree_truth
from perception.errors import PerceptionError
from perception.io.detections import write_json
from perception.losses.trees import IGNORED
from perception.metrics.tree_protocols import PlotTrees
from perception.metrics.tree_report import Tally, TreeReport, counted, tree_report
from perception.models.model import Model
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.training.provenance import frames_of
from perception.trees.watershed import heights_above_ground
from perception.trees.whole_cloud import Blocks, Method, segment_trees

Progress = Callable[[Iterable[tuple[int, int]]], Iterable[tuple[int, int]]]


@dataclass(frozen=True, eq=False)
class TreeEvaluation:
    """``report`` over ``frames`` plots; ``by_plot`` the tally of each; true trees of fewer than ``least_points`` points
    do not count."""

    report: TreeReport
    frames: int
    trained_on: int
    by_plot: dict[str, Tally]
    least_points: int = 1

    @property
    def total(self) -> Tally:
        return self.report.total

    @property
    def title(self) -> str:
        least = f", true trees from {self.least_points} points on" if self.least_points > 1 else ""
        return f"trees matched one to one, points overlapping by more than a half{least}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "frames": self.frames,
            "frames_trained_on": self.trained_on,
            "least_points": self.least_points,
            **self.report.as_dict(),
            "plots": {name: tally.as_dict() for name, tally in self.by_plot.items()},
        }

    def table(self) -> str:
        return self.report.table()

    def write_results(self, path: Path) -> None:
        """The figures of every plot as one JSON file."""
        write_json(path, {name: tally.as_dict() for name, tally in self.by_plot.items()})


def evaluate_trees(
    method: Model | str | Method,
    datasets: Sequence[Dataset],
    trained_on: str = "",
    progress: Progress = iter,
    limit: int | None = None,
    least_points: int = 1,
    blocks: Blocks | None = None,
    seen: Callable[[Sample, TreeInstances], None] | None = None,
) -> TreeEvaluation:
    """Find the trees of every plot, at most ``limit`` of each data set, and compare them with the truth.

    Models are taken as they are: put them into eval mode. ``seen`` is told each plot and what was found in it.
    Raises PerceptionError for plots without labels.
    """
    known_frames: set[str] = set().union(*frames_of(trained_on).values())
    places = [(n, i) for n, d in enumerate(datasets) for i in range(len(d) if limit is None else min(limit, len(d)))]
    if not places:
        raise PerceptionError("no plots to evaluate", "one or more", "check --data and --limit")
    plots: dict[str, PlotTrees] = {}
    trained = 0
    for number, index in progress(places):
        sample = datasets[number][index]
        found = segment_trees(method, _unlabelled(sample.cloud), blocks)
        if seen is not None:
            seen(sample, found)
        plots[f"{number}/{sample.identifier}" if len(datasets) > 1 else sample.identifier] = labelled_plot(
            sample.cloud, sample.identifier, found.tree_id.numpy(), least_points
        )
        trained += sample.identifier in known_frames
    return evaluation_of(plots, trained, least_points)


def labelled_plot(cloud: PointCloud, identifier: str, predicted: np.ndarray, least_points: int = 1) -> PlotTrees:
    """A labelled plot and ``predicted`` ids (N,) of its points; points that nobody labelled are left out."""
    truth = tree_truth(cloud, identifier)
    plot = PlotTrees(cloud.fields[TREE_ID].astype(np.int64), predicted, cloud.xyz[:, 2], heights_above_ground(cloud))
    return counted(plot, truth.semantic.numpy() != IGNORED, least_points)


def evaluation_of(plots: dict[str, PlotTrees], trained_on: int = 0, least_points: int = 1) -> TreeEvaluation:
    """The figures of plots by name."""
    tallies = {name: tree_report([plot]).total for name, plot in plots.items()}
    return TreeEvaluation(tree_report(list(plots.values())), len(plots), trained_on, tallies, least_points)


def _unlabelled(cloud: PointCloud) -> PointCloud:
    """The cloud as a user would have it: a method must not see the labels."""
    return PointCloud(cloud.xyz, {}, cloud.origin, cloud.frame)
