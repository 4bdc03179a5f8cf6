"""Check a nuScenes folder, keep its parsed tables, and build the database of objects for ground-truth sampling.

python tools/prepare_nuscenes.py data/nuscenes --split train --cache data/nuscenes/index.npz
python tools/prepare_nuscenes.py data/nuscenes --database data/nuscenes/ground_truth_train.npz --every 10
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from perception.datasets.ground_truth_database import GroundTruthDatabase, build_database
from perception.datasets.nuscenes.dataset import Nuscenes
from perception.datasets.nuscenes.records import CLASSES
from perception.datasets.sample import EveryNth
from perception.errors import PerceptionError

SHOWN = 5  # examples of missing files


def main(arguments: list[str] | None = None) -> int:
    """0 when all is well, 1 when lidar files are missing (no database is built then), 2 when the tables are no use."""
    options = _parse(arguments)
    console = Console(soft_wrap=True)
    try:
        dataset = Nuscenes(
            options.root, options.version, options.split, minimum_lidar_points=options.points, cache=options.cache
        )
        _show_split(dataset, console)
        missing = _missing_files(dataset)
        if missing:
            console.print(f"{len(missing):,} lidar files are missing, for example:", style="red")
            for name in missing[:SHOWN]:
                console.print(f"  {name}", markup=False, highlight=False)
            return 1
        if options.database is not None:
            _show_database(_build(dataset, options, console), options.database, console)
    except PerceptionError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 2
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the folder with samples/, sweeps/ and v1.0-trainval/")
    parser.add_argument("--split", default="train", help="train, val, test, mini_train, mini_val (default train)")
    parser.add_argument("--version", help="folder of tables, by default the one that has the split")
    parser.add_argument("--cache", type=Path, help="keep the parsed tables in this .npz file")
    parser.add_argument("--database", type=Path, help="write the database of objects to this .npz file")
    parser.add_argument("--every", type=int, default=10, help="for it use each N-th keyframe only (default 10)")
    parser.add_argument("--points", type=int, default=5, help="lidar points that its objects have at least (default 5)")
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error("--every is a number from 1")
    return options


def _missing_files(dataset: Nuscenes) -> list[str]:
    tables = dataset.index
    used = {int(sweep) for sweep in tables.sample_sweep[dataset.rows]}
    frontier = np.array(sorted(used))
    for _ in range(dataset.sweeps - 1):
        frontier = np.unique(tables.sweep_previous[frontier])
        frontier = frontier[frontier >= 0]
        used.update(frontier.tolist())
    names = tables.sweep_file[sorted(used)].tolist()
    return [n for n in track(names, "lidar files", disable=not sys.stderr.isatty()) if not (dataset.root / n).is_file()]


def _build(dataset: Nuscenes, options: argparse.Namespace, console: Console) -> GroundTruthDatabase:
    chosen = EveryNth(dataset, options.every)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Cutting out objects", total=len(chosen))
        return build_database(chosen, options.database, CLASSES, lambda _: progress.advance(task))


def _show_split(dataset: Nuscenes, console: Console) -> None:
    truth = dataset.truth()
    scenes = len(np.unique(dataset.index.sample_scene[dataset.rows]))
    console.print(f"{dataset.root}, {dataset.split}: {scenes:,} scenes, {len(dataset):,} keyframes", markup=False)
    table = Table("class", "labels", "with points")
    for name in CLASSES:
        own = truth.boxes.points[truth.boxes.names == name]
        table.add_row(name, f"{len(own):,}", f"{int((own > 0).sum()):,}")
    console.print(table)


def _show_database(database: GroundTruthDatabase, path: Path, console: Console) -> None:
    table = Table("class", "objects", "points", title=str(path))
    for name in sorted(set(database.names.tolist())):
        rows = database.names == name
        table.add_row(name, f"{int(rows.sum()):,}", f"{int(database.point_counts[rows].sum()):,}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
