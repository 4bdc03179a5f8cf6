"""Scene flow over whole data sets, by the three protocols in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.flow.classes import GROUPS
from perception.datasets.flow.pairs import FlowDataset, FlowSample
from perception.errors import PerceptionError
from perception.io.flow import write_flow
from perception.metrics.scene_flow import (
    RANGES,
    Cells,
    FlowFrame,
    bucketed,
    mean_three_way,
    range_cells,
    speed_cells,
    three_way,
)
from perception.results import SceneFlow
from perception.scan_pair import ScanPair, ground_mask
from perception.training.provenance import frames_of

Progress = Callable[[Iterable[tuple[int, int]]], Iterable[tuple[int, int]]]


@dataclass(frozen=True, eq=False)
class FlowEvaluation:
    """``frames`` pairs, of which ``trained_on`` are known to the model.

    ``three_way``: the first leaderboard's means. ``speeds``: cells by class and speed. ``ranges``: cells by distance.
    """

    frames: int
    trained_on: int
    three_way: dict[str, float]
    speeds: Cells
    ranges: Cells

    @property
    def title(self) -> str:
        return "end-point errors in metres of 0.1 s, without points on the ground"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; None for what no point tells."""
        plain: dict[str, Any] = json.loads(json.dumps({"three_way": self.three_way, "bucketed": self._bucketed()}))
        edges = [*map(float, RANGES[:-1])]
        by_range = {
            kind: {
                "from": edges,
                "error": self.ranges.error[row].tolist(),
                "points": self.ranges.count[row].tolist(),
                "mean": _mean(self.ranges.error[row]),
            }
            for row, kind in enumerate(("static", "dynamic"))
        }
        values = {"frames": self.frames, "frames_trained_on": self.trained_on, **plain, "by_range": by_range}
        cleaned: dict[str, Any] = _none_for_nan(values)
        return cleaned

    def table(self) -> str:
        """The three protocols, one below the other."""
        three = self.three_way
        lines = ["three-way, within 35 m, ego motion included"]
        lines += [f"  {'mean':>10} {'FD':>8} {'FS':>8} {'BS':>8} {'IoU':>8}"]
        names = ("Three-way", "EPE_FD", "EPE_FS", "EPE_BS", "IoU")
        lines += ["  " + " ".join(f"{three[n]:{10 if i == 0 else 8}.4f}" for i, n in enumerate(names)), ""]
        lines += ["bucketed by speed, within 35 m: static in metres, dynamic as a share of the speed"]
        lines += [f"  {'':14} {'static':>8} {'dynamic':>8} {'points':>10} {'that move':>10}"]
        counts = dict(zip(GROUPS, self.speeds.count))
        for name, row in self._bucketed().items():
            number = [int(c) for c in (counts[name].sum(), counts[name][1:].sum())] if name in counts else ["", ""]
            lines += [f"  {name:14} {_text(row['Static'])} {_text(row['Dynamic'])} {number[0]:>10} {number[1]:>10}"]
        lines += [
            "",
            f"by distance, moving from 1.4 m/s\n  {'':9}"
            + "".join(f"{_band(i):>10}" for i in range(5))
            + f"{'mean':>10}",
        ]
        for kind, errors_of in zip(("static", "dynamic"), self.ranges.error):
            errors = [*errors_of, _mean(errors_of)]
            lines += [f"  {kind:9}" + "".join(f"  {_text(e)}" for e in errors)]
        return "\n".join(lines)

    def _bucketed(self) -> dict[str, dict[str, float]]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return bucketed(self.speeds, list(GROUPS))


def evaluate_flow(
    method: Callable[[ScanPair], SceneFlow],
    datasets: Sequence[FlowDataset],
    trained_on: str = "",
    progress: Progress = iter,
    limit: int | None = None,
    results: Path | None = None,
) -> FlowEvaluation:
    """Tell the flow of every pair, at most ``limit`` of each data set, and measure it.

    ``results``: a folder for one .npz a pair. Raises PerceptionError for pairs without labels.
    """
    seen: set[str] = set().union(*frames_of(trained_on).values())
    places = [(n, i) for n, d in enumerate(datasets) for i in range(len(d) if limit is None else min(limit, len(d)))]
    if not places:
        raise PerceptionError("no pairs to evaluate", "one or more", "check --data and --limit")
    scores, speeds, ranges, known = [], [], [], 0
    for number, index in progress(places):
        sample = datasets[number][index]
        found = method(sample.pair)
        frame = flow_frame(sample, found)
        scores.append(three_way(frame))
        speeds.append(speed_cells([frame], GROUPS))
        ranges.append(range_cells([frame]))
        known += sample.identifier in seen
        if results is not None:
            results.mkdir(parents=True, exist_ok=True)
            name = f"{sample.identifier.replace('/', '_')}.npz"
            write_flow(results / name, sample.pair, found, {"pair": sample.identifier})
    return FlowEvaluation(len(places), known, mean_three_way(scores), _sum(speeds), _sum(ranges))


def flow_frame(sample: FlowSample, found: SceneFlow) -> FlowFrame:
    """What the metrics take: points on the ground and points without a known motion do not count."""
    labels, first = sample.labels, sample.pair.first
    if labels is None:
        raise PerceptionError(f"pair {sample.identifier} has no labels", "a labelled split", "choose another split")
    return FlowFrame(
        first.xyz,
        sample.pair.ego_flow(),
        labels.flow,
        found.flow.numpy().astype(np.float32),
        labels.category,
        labels.valid & ~ground_mask(first),
    )


def _sum(parts: Sequence[Cells]) -> Cells:
    """Cells over many frames: means weighted by points, without keeping the points of all frames in memory."""
    count = np.sum([part.count for part in parts], axis=0)
    with np.errstate(invalid="ignore"):
        error, about = (
            np.sum([np.nan_to_num(values) * part.count for part, values in chosen], axis=0) / count
            for chosen in ([(p, p.error) for p in parts], [(p, p.about) for p in parts])
        )
    return Cells(error, about, count)


def _band(column: int) -> str:
    return f"{RANGES[column]:g}+ m" if np.isinf(RANGES[column + 1]) else f"{RANGES[column]:g}-{RANGES[column + 1]:g}"


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _text(value: float) -> str:
    return f"{value:8.4f}" if np.isfinite(value) else f"{'-':>8}"


def _none_for_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _none_for_nan(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_none_for_nan(below) for below in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
