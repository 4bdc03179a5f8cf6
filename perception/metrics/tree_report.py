"""Trees found in plots against the truth: one-to-one over all plots together, and by the height of the trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perception.metrics.tree_protocols import PROTOCOLS, PlotTrees

EDGES = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, float("inf"))
"""Of the strata of height above the ground, metres."""


@dataclass(frozen=True)
class Tally:
    """``true`` and ``predicted`` trees, of which ``matched`` overlap by more than a half (no tree has two such, so the
    pairs are those of an assignment); ``overlap`` the sum over pairs, ``covered`` the sum over true trees of their best
    overlap with any prediction."""

    true: int = 0
    predicted: int = 0
    matched: int = 0
    overlap: float = 0.0
    covered: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def precision(self) -> float:
        return self.matched / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        return self.matched / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        total = self.true + self.predicted
        return 2 * self.matched / total if total else 0.0

    @property
    def coverage(self) -> float:
        return self.covered / self.true if self.true else 0.0

    @property
    def segmentation_quality(self) -> float:
        return self.overlap / self.matched if self.matched else 0.0

    @property
    def panoptic_quality(self) -> float:
        return self.f1 * self.segmentation_quality

    def as_dict(self) -> dict[str, float]:
        """Counts and shares; omission and commission are what recall and precision leave."""
        return {
            "true": self.true,
            "predicted": self.predicted,
            "matched": self.matched,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "coverage": self.coverage,
            "segmentation_quality": self.segmentation_quality,
            "panoptic_quality": self.panoptic_quality,
            "detection": self.recall,
            "omission": 1 - self.recall if self.true else 0.0,
            "commission": 1 - self.precision if self.predicted else 0.0,
        }


@dataclass(frozen=True)
class TreeReport:
    """``total`` over all plots, ``strata`` by height (a prediction counts in the stratum of its own height if it is
    not matched, else in that of its tree), ``protocols`` by the names of ``tree_protocols``."""

    total: Tally
    strata: tuple[Tally, ...]
    protocols: dict[str, dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        strata = [
            {"from": low, "to": high if np.isfinite(high) else None, **tally.as_dict()}
            for low, high, tally in zip(EDGES, EDGES[1:], self.strata)
        ]
        return {"one_to_one": self.total.as_dict(), "by_height": strata, "protocols": self.protocols}

    def table(self) -> str:
        """One line for all trees, one a stratum, one a protocol."""
        lines = [f"{'height':>9} {'true':>6} {'found':>6} {'match':>6}" + "".join(f"{n:>8}" for n in _COLUMNS)]
        for name, tally in [("all", self.total), *zip(map(_band, range(len(EDGES) - 1)), self.strata)]:
            if tally.true or tally.predicted:
                values = "".join(f"{tally.as_dict()[key]:8.3f}" for key in _COLUMNS.values())
                lines.append(f"{name:>9} {tally.true:>6} {tally.predicted:>6} {tally.matched:>6}{values}")
        for name, values_of in self.protocols.items():
            lines.append(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values_of.items()))
        return "\n".join(lines)


_COLUMNS = {"P": "precision", "R": "recall", "F1": "f1", "Cov": "coverage", "PQ": "panoptic_quality",
            "omiss.": "omission", "commis.": "commission"}  # fmt: skip


def tree_report(plots: Sequence[PlotTrees]) -> TreeReport:
    """All plots together: each prediction is compared with the trees of its own plot."""
    strata = [Tally() for _ in EDGES[1:]]
    for plot in plots:
        strata = [mine + other for mine, other in zip(strata, _tallies(plot))]
    total = sum(strata, Tally())
    return TreeReport(total, tuple(strata), {name: count(plots) for name, count in PROTOCOLS.items()})


def counted(plot: PlotTrees, known: np.ndarray | None = None, least_points: int = 1) -> PlotTrees:
    """The plot without points that nobody labelled (not ``known``) and without true trees of fewer than
    ``least_points`` points; predictions lose those points too."""
    keep = np.ones(len(plot.true), bool) if known is None else known.copy()
    ids, inverse, sizes = np.unique(np.where(keep, plot.true, 0), return_inverse=True, return_counts=True)
    keep &= ~((ids > 0) & (sizes < least_points))[inverse]
    return PlotTrees(plot.true[keep], plot.predicted[keep], plot.z[keep], plot.height[keep])


def _tallies(plot: PlotTrees) -> list[Tally]:
    found = plot.overlaps()
    of_true = _strata(plot.true, plot.height, found.true_ids)
    of_predicted = _strata(plot.predicted, plot.height, found.predicted_ids)
    rows, columns = np.nonzero(found.iou > 0.5)
    of_predicted[columns] = of_true[rows]
    best = found.iou.max(1, initial=0.0)
    return [
        Tally(
            int((of_true == band).sum()),
            int((of_predicted == band).sum()),
            int((of_true[rows] == band).sum()),
            float(found.iou[rows, columns][of_true[rows] == band].sum()),
            float(best[of_true == band].sum()),
        )
        for band in range(len(EDGES) - 1)
    ]


def _strata(ids: np.ndarray, height: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The stratum of each tree's highest point."""
    top = np.full(len(wanted), -np.inf)
    rows = np.flatnonzero(ids > 0)
    np.maximum.at(top, np.searchsorted(wanted, ids[rows]), height[rows])
    return np.clip(np.searchsorted(EDGES, top, side="right") - 1, 0, len(EDGES) - 2)


def _band(row: int) -> str:
    return f"{EDGES[row]:g}+ m" if np.isinf(EDGES[row + 1]) else f"{EDGES[row]:g}-{EDGES[row + 1]:g} m"
