#!/usr/bin/env python3
"""Is a place nearer to itself seen again than to any other? Trained weights beside random ones and Scan Context.

    python tools/evaluate_places.py --data ../shared/data --out runs/places

Two questions. On recordings of several data sets (--data), each scan turned about z by a random angle: is its nearest
cloud among the others of its place, with --distractors generated clouds of other places among them? On generated loops
that no training has seen: does a scan find its place when that is passed in the opposite direction, by another lidar,
with other cars? Writes figures as JSON and the matrix of distances as a picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common_places import REAL_PLACES, scans_of, turned
from rich.console import Console
from rich.table import Table

from perception.errors import PerceptionError
from perception.io.detections import write_json
from perception.places.describe import SCAN_CONTEXT, Describer, make_describer, random_describer
from perception.places.place_map import PlaceMap
from perception.points import PointCloud
from perception.simulate.loops.dataset import LoopDataset
from perception.view.place_pictures import similarity_matrices

RADIUS = 10.0


@dataclass(frozen=True)
class Method:
    name: str
    describer: Describer


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    try:
        model = make_describer(options.model)
        methods = [
            Method("these weights", model),
            Method("the same network, random weights", random_describer(options.network)),
            Method(SCAN_CONTEXT, make_describer(SCAN_CONTEXT)),
        ]
        options.out.mkdir(parents=True, exist_ok=True)
        figures: dict[str, Any] = {}
        if options.data is not None:
            figures["recordings"] = real_places(methods, options, console)
        figures["opposite direction"] = opposite_direction(methods, options, console)
        write_json(options.out / "places.json", figures)
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def real_places(methods: Sequence[Method], options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Of each scan of a place that was seen again, the rank of the first other scan of that place."""
    rng = np.random.default_rng(options.seed)
    places = [place for place in REAL_PLACES if place.there(options.data)]
    clouds, owners, names = [], [], []
    for number, place in enumerate(places):
        for file, cloud in scans_of(place, options.data):
            clouds.append(cloud)
            owners.append(number)
            names.append(f"{place.name} {file.stem[-10:]}")
    others = _distractors(options.distractors, options.seed)
    everything = [*clouds, *others]
    owner = np.array([*owners, *range(len(places), len(places) + len(others))])
    angles = rng.uniform(-np.pi, np.pi, len(clouds))
    found: dict[str, Any] = {"places": {}, "clouds": len(clouds), "distractors": len(others)}
    matrices = []
    for method in methods:
        base = np.concatenate([method.describer([cloud]) for cloud in everything])
        asked = np.concatenate([method.describer([turned(c, a)]) for c, a in zip(clouds, angles)])
        distance = distances(method.describer, asked, base)
        own = np.arange(len(clouds))
        itself = distance[own, own].copy()
        nearest_other = np.where(owner[None] == owner[: len(clouds), None], np.inf, distance).min(1)
        apart = distance.copy()
        apart[own, own] = np.inf
        again = np.where(owner[None] == owner[: len(clouds), None], apart, np.inf).min(1)
        rows = np.isfinite(again)
        ranks = 1 + (np.where(owner[None] != owner[: len(clouds), None], apart, np.inf) < again[:, None]).sum(1)
        found["places"][method.name] = {
            "scans of places seen again": int(rows.sum()),
            "nearest is its own place, %": 100 * float((ranks[rows] == 1).mean()),
            "turned scan nearest to itself, %": 100 * float((itself <= nearest_other).mean()),
            "margin: nearest other place over own, median": float(np.median(nearest_other[rows] / again[rows])),
            "worst rank": int(ranks[rows].max()),
            "ranks": {n: int(r) for n, r, seen in zip(names, ranks, rows) if seen},
        }
        shown = len(clouds) + min(40, len(others))
        matrices.append(np.concatenate([distance[:, :shown]]))
    starts = [owners.index(number) for number in dict.fromkeys(owners)]
    similarity_matrices(
        matrices, [m.name for m in methods], names, options.out / "similarity.png", [*starts, len(clouds)]
    )
    _table(console, f"{len(clouds)} recordings, {len(others)} generated distractors, all turned", found["places"])
    return found


def opposite_direction(methods: Sequence[Method], options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Unseen worlds: the first laps are the map, the second laps, the other way round, ask it."""
    loops = LoopDataset(options.worlds, options.seed + 1, options.length, split="test")
    table = loops.table
    positions = table.positions + 1e5 * table.regions[:, None]
    first = np.flatnonzero(table.runs % 2 == 0)
    second = np.flatnonzero(table.runs % 2 == 1)
    clouds = [loops[i].cloud for i in range(len(loops))]
    apart = np.linalg.norm(positions[second][:, None] - positions[first][None], axis=2)
    figures = {}
    for method in methods:
        vectors = np.concatenate([method.describer([cloud]) for cloud in clouds])
        order = distances(method.describer, vectors[second], vectors[first]).argsort(1, kind="stable")
        rank = np.take_along_axis(apart <= RADIUS, order, 1).argmax(1) + 1
        forest = np.array([loops.kinds[r % len(loops.kinds)] == "forest" for r in table.regions[second]])
        figures[method.name] = {f"recall@{k}, %": 100 * float((rank <= k).mean()) for k in (1, 5, 10)} | {
            "recall@1 in streets, %": 100 * float((rank[~forest] == 1).mean()),
            "recall@1 in forests, %": 100 * float((rank[forest] == 1).mean()),
        }
    _table(console, f"opposite direction: {len(second)} scans ask {len(first)} places, within {RADIUS:g} m", figures)
    return {"places": len(first), "queries": len(second), "figures": figures}


def distances(describer: Describer, asked: np.ndarray, base: np.ndarray) -> np.ndarray:
    """(M, N), by the method's own way of comparing."""
    if describer.facts.method == "model":
        return np.linalg.norm(asked[:, None].astype(np.float64) - base[None], axis=2)
    poses = np.tile(np.eye(4), (len(base), 1, 1))
    places = PlaceMap.of(describer.facts, base, poses, [""] * len(base), "")
    found = np.full((len(asked), len(base)), np.inf)
    for row, matches in enumerate(places.search_all(asked)):
        found[row, [m.row for m in matches]] = [m.distance for m in matches]
    return found


def _distractors(count: int, seed: int) -> list[PointCloud]:
    """Scans of many worlds, all rays, at least 32 m apart: each is of another place."""
    each = 20
    loops = LoopDataset(
        -(-count // each), seed + 7, split="test", spacing=32.0, fine=True, sensors=("hdl64", "os1_128")
    )
    half = len(loops.along) // 2
    rows = [world * len(loops.along) + visit for world in range(loops.worlds) for visit in range(min(each, half))]
    return [loops.scan(row) for row in rows[:count]]


def _table(console: Console, title: str, figures: dict[str, dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in figures:
        table.add_column(name, justify="right")
    first = next(iter(figures.values()))
    for key, value in first.items():
        if isinstance(value, dict):
            continue
        table.add_row(
            key,
            *(
                f"{column[key]:.2f}" if isinstance(column[key], float) else str(column[key])
                for column in figures.values()
            ),
        )
    console.print(table)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="NAME_OR_PATH", help="default: the model that comes with the package")
    parser.add_argument("--network", default="minkloc3dv2-small", help="for random weights; default: %(default)s")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the recordings; default: generated loops only")
    parser.add_argument("--distractors", type=int, default=240, help="default: %(default)s")
    parser.add_argument("--worlds", type=int, default=6, help="unseen loops; default: %(default)s")
    parser.add_argument("--length", type=float, default=640.0, help="metres around each; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
