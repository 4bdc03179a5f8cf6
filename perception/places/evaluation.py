"""Recall of places: scans against a map, loops within one drive, runs against runs, published evaluation sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.datasets.places.queries import evaluation_sets
from perception.datasets.places.sample import PlaceTable
from perception.errors import PerceptionError
from perception.metrics.loop_closure import LoopClosure, loop_closure
from perception.metrics.places import PlaceRecall, place_recall
from perception.places.describe import Describer, DescriberFacts
from perception.places.place_map import PlaceMap


@dataclass(frozen=True, eq=False)
class Evaluation:
    """``recalls`` of each pair of database and queries, averaged in ``figures``; loop closure where there is one."""

    recalls: tuple[PlaceRecall, ...]
    closure: LoopClosure | None
    queries: int

    def figures(self, official: bool = False) -> dict[str, float | int]:
        """Percent. ``official``: means over pairs of runs, 1 % of at most 25 places, misses left out of the MRR."""
        if not self.recalls:
            raise PerceptionError(
                "no query has a true neighbour", "queries at places of the database", "widen --radius"
            )
        recalls = self.recalls
        weights = np.ones(len(recalls)) if official else np.array([r.evaluated for r in recalls], np.float64)

        def mean(values: Sequence[float]) -> float:
            return float(np.average(values, weights=weights))

        found: dict[str, float | int] = {"queries": self.queries, "evaluated": int(sum(r.evaluated for r in recalls))}
        found |= {f"recall@{k}": mean([float(r.recall[k - 1]) for r in recalls]) for k in (1, 5, 10, 25)}
        found["recall@1%"] = mean([r.one_percent if official else r.exact_one_percent for r in recalls])
        found["mrr"] = mean([r.mrr if official else r.mrr_full for r in recalls])
        if self.closure is not None:
            found["max F1"] = 100 * self.closure.max_f1
            found["at the distance"] = self.closure.best_threshold
            found["recall at full precision"] = 100 * self.closure.recall_at_full_precision
        return found


def against_map(places: PlaceMap, vectors: np.ndarray, positions: np.ndarray, radius: float) -> Evaluation:
    """Scans at ``positions`` (M, 3), in the map's frame, against all places of the map."""
    apart = np.linalg.norm(positions[:, None] - places.positions[None], axis=2)
    return _ranked(_distances(places, vectors), apart <= radius, np.ones_like(apart, bool), len(places))


def loops_within(places: PlaceMap, radius: float, gap: float) -> Evaluation:
    """Each place against the earlier ones of its drive from ``gap`` metres of way back on, and all earlier drives."""
    steps = np.linalg.norm(np.diff(places.positions, axis=0, prepend=places.positions[:1]), axis=1)
    way = np.where(np.diff(places.drives, prepend=-1) != 0, 0.0, steps).cumsum()
    order = np.arange(len(places))
    asked = order[None, :] < order[:, None]
    asked &= (places.drives[:, None] != places.drives[None]) | (way[:, None] - way[None] > gap)
    apart = np.linalg.norm(places.positions[:, None] - places.positions[None], axis=2)
    return _ranked(_distances(places, places.vectors), (apart <= radius) & asked, asked, len(places))


def between_runs(
    table: PlaceTable, vectors: np.ndarray, facts: DescriberFacts, radius: float, gap: float
) -> Evaluation:
    """Each run's recordings as queries to each other run of its region; loops within the run where there is one."""
    poses = np.tile(np.eye(4), (len(table), 1, 1))
    poses[:, :2, 3] = table.positions
    recalls: list[PlaceRecall] = []
    closure = None
    for region in np.unique(table.regions):
        runs = np.unique(table.runs[table.regions == region])
        for base in runs:
            rows = np.flatnonzero(table.runs == base)
            places = PlaceMap.of(facts, vectors[rows], poses[rows], [""] * len(rows), table.names[base])
            if len(runs) == 1:
                found = loops_within(places, radius, gap)
                recalls += found.recalls
                closure = found.closure if len(np.unique(table.regions)) == 1 else None
            for other in runs[runs != base]:
                asked = np.flatnonzero(table.runs == other)
                recalls += against_map(places, vectors[asked], poses[asked, :3, 3], radius).recalls
    return Evaluation(tuple(recalls), closure, len(table))


def between_sets(root: str, name: str, describer: Describer, radius: float) -> Evaluation:
    """The published lists of databases and queries: each list of queries against each database but its own."""
    sets = evaluation_sets(root, name)
    vectors = [
        [
            None if part is None else np.concatenate([describer([part[i].cloud]) for i in range(len(part))])
            for part in kind
        ]
        for kind in (sets.databases, sets.queries)
    ]
    recalls, count = [], 0
    for first, base in enumerate(sets.databases):
        for second, asked in enumerate(sets.queries):
            left, right = vectors[0][first], vectors[1][second]
            if first == second or base is None or asked is None or left is None or right is None:
                continue
            found = place_recall(base.table.positions, left, asked.table.positions, right, radius)
            count += len(asked)
            recalls += [found] if found.evaluated else []
    return Evaluation(tuple(recalls), None, count)


def _distances(places: PlaceMap, vectors: np.ndarray) -> np.ndarray:
    """(M, N) of each query to each place, by the map's own way of comparing; not compared: infinite."""
    if places.facts.method == "model":
        left, right = vectors.astype(np.float64), places.vectors.astype(np.float64)
        squares = (left**2).sum(1)[:, None] - 2 * left @ right.T + (right**2).sum(1)[None]
        return np.asarray(np.sqrt(np.maximum(squares, 0)))
    found = np.full((len(vectors), len(places)), np.inf)
    for row, matches in enumerate(places.search(vectors, len(places))):
        found[row, [m.row for m in matches]] = [m.distance for m in matches]
    return found


def _ranked(distances: np.ndarray, true: np.ndarray, asked: np.ndarray, count: int) -> Evaluation:
    """Recall and loop closure of queries (rows) that may be answered by the places ``asked``."""
    distances = np.where(asked, distances, np.inf)
    answered = asked.any(1)
    distances, true = distances[answered], true[answered]
    if not len(distances):
        raise PerceptionError("no scan has earlier ones to compare it with", "a drive that is longer", "lower --gap")
    has = np.asarray(true.any(1), np.bool_)
    order = np.argsort(distances, axis=1, kind="stable")
    first = order[:, 0]
    right = true[np.arange(len(true)), first]
    closure = loop_closure(distances[np.arange(len(true)), first], right, has)
    if not has.any():
        return Evaluation((), closure, len(distances))
    rank = np.take_along_axis(true, order, 1)[has].argmax(1) + 1
    return Evaluation((_recall(rank, count, true.sum(1)),), closure, len(distances))


def _recall(rank: np.ndarray, count: int, neighbours: np.ndarray) -> PlaceRecall:
    """From the rank of the first true neighbour of each query; see ``metrics.places``."""
    threshold, seen = max(round(count / 100), 1), rank <= 25
    return PlaceRecall(
        np.array([100 * np.mean(rank <= k) for k in range(1, 26)]),
        float(100 * np.mean(rank <= min(threshold, 25))),
        float(100 * np.mean(1 / rank[seen])) if seen.any() else 0.0,
        len(rank),
        threshold,
        float(100 * np.mean(rank <= threshold)),
        float(100 * np.mean(np.where(seen, 1 / rank, 0.0))),
        float(100 * np.mean(1 / rank)),
        neighbours,
    )
