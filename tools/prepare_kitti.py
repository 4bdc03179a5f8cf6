"""Check a KITTI object folder and build the database of objects that ground-truth sampling pastes into other scenes.

python tools/prepare_kitti.py KITTI
python tools/prepare_kitti.py KITTI --database KITTI/ground_truth_train.npz --split train
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from perception.datasets.ground_truth_database import GroundTruthDatabase, build_database
from perception.datasets.kitti.check import KittiReport, check_kitti
from perception.datasets.kitti.dataset import KittiDetection
from perception.errors import PerceptionError

SHOWN = 5  # examples of each problem


def main(arguments: list[str] | None = None) -> int:
    """0 when all is well, 1 when the folder has problems (the database is built all the same), 2 when it cannot be."""
    options = _parse(arguments)
    console = Console()
    try:
        reports = [_check(options.root, split, console) for split in ("training", "testing") if _wanted(options, split)]
        for report in reports:
            _show_report(report, console)
        if options.database is not None:
            _show_database(_build(options, console), options.database, console)
    except PerceptionError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 2
    return 1 if any(report.problems for report in reports) else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the folder with training/ and, if you like, testing/ and ImageSets/")
    parser.add_argument("--database", type=Path, help="write the database of objects to this .npz file")
    parser.add_argument("--split", default="training", help="frames for the database: training, or a list in ImageSets")
    parser.add_argument("--classes", nargs="+", default=["Car", "Pedestrian", "Cyclist"], help="classes for it")
    return parser.parse_args(arguments)


def _wanted(options: argparse.Namespace, split: str) -> bool:
    return split == "training" or (options.root / split).is_dir()


def _check(root: Path, split: str, console: Console) -> KittiReport:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"Checking {split}", total=None)
        return check_kitti(root, split, lambda done, total: progress.update(task, completed=done, total=total))


def _build(options: argparse.Namespace, console: Console) -> GroundTruthDatabase:
    dataset = KittiDetection(options.root, options.split)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Cutting out objects", total=len(dataset))
        on_sample: Callable[[int], None] = lambda _: progress.advance(task)  # noqa: E731
        return build_database(dataset, options.database, options.classes, on_sample)


def _show_report(report: KittiReport, console: Console) -> None:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in report.counts.items())
    console.print(f"{report.folder}: {counts}", markup=False, highlight=False)
    if not report.problems:
        console.print("  no problems", style="green")
        return
    table = Table("problem", "files", "examples")
    for kind, texts in sorted(report.problems.items()):
        more = [f"... and {len(texts) - SHOWN:,} more"] if len(texts) > SHOWN else []
        table.add_row(kind, f"{len(texts):,}", "\n".join([*texts[:SHOWN], *more]).replace("[", r"\["))
    console.print(table)


def _show_database(database: GroundTruthDatabase, path: Path, console: Console) -> None:
    table = Table("class", "objects", "points", "easy", "moderate", "hard", "harder", title=str(path))
    for name in sorted(set(database.names.tolist())):
        rows = database.names == name
        levels = [int((database.difficulty[rows] == level).sum()) for level in (0, 1, 2, -1)]
        points = int(database.point_counts[rows].sum())
        table.add_row(name, *(f"{value:,}" for value in (int(rows.sum()), points, *levels)))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
