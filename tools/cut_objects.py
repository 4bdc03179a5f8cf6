#!/usr/bin/env python3
"""Cut the labelled objects out of a data set, for ground-truth sampling to paste into other scenes.

python tools/cut_objects.py folder:data/own --split train.txt --out data/own/objects.npz
python tools/cut_objects.py waymo:data/waymo --split training --every 10 --out objects.npz
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from perception.datasets.ground_truth_database import GroundTruthDatabase, build_database
from perception.datasets.sample import EveryNth
from perception.errors import PerceptionError
from perception.training.roots import open_dataset


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    console = Console(soft_wrap=True)
    try:
        dataset = EveryNth(open_dataset(options.data, split=options.split)[1], options.every)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("cutting out objects", total=len(dataset))
            database = build_database(dataset, options.out, options.classes, lambda _: progress.advance(task))
    except PerceptionError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 2
    _show(database, options.out, console)
    return 0


def _show(database: GroundTruthDatabase, path: Path, console: Console) -> None:
    table = Table("class", "objects", "points", title=str(path))
    for name in sorted(set(database.names.tolist())):
        rows = database.names == name
        table.add_row(name, f"{int(rows.sum()):,}", f"{int(database.point_counts[rows].sum()):,}")
    console.print(table)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="NAME:ROOT", help="a data set of the catalogue and where it lies")
    parser.add_argument("--split", help="which part; default: the data set's own")
    parser.add_argument("--classes", nargs="+", help="default: all")
    parser.add_argument("--every", type=int, default=1, help="use every N-th recording; default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="the database, a .npz file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
