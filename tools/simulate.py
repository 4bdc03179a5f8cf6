"""Make worlds with their truth: streets in KITTI's layout, forests as LAS with tree numbers, people with joints.

python tools/simulate.py streets --count 100 --out data/streets
python tools/simulate.py forests --sensor terrestrial --side 20 --density 5000 --count 10 --out data/plots --format laz
python tools/simulate.py people --split test --sensor os1_128 --count 200 --out data/people

The same command makes the same files. A run that was interrupted goes on where it stopped when it is repeated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from perception.errors import PerceptionError
from perception.simulate.export import FORMATS, Order, simulate
from perception.simulate.forest.scanners import SCANNERS
from perception.simulate.forest.species import STANDS
from perception.simulate.people.ranges import SPLITS
from perception.simulate.sensor import SENSORS


def main(arguments: list[str] | None = None) -> int:
    """0 when all worlds are there, 2 when they cannot be made."""
    options = _parse(arguments)
    console = Console()
    try:
        order = _order(options)
        with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), TimeRemainingColumn(), console=console,
                      transient=True) as progress:  # fmt: skip
            task = progress.add_task(f"Making {order.kind}", total=order.count)
            made = simulate(order, options.out, lambda done, total: progress.update(task, completed=done))
    except PerceptionError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 2
    console.print(f"{options.out}: {order.count} {order.kind}, {made} of them new", markup=False, highlight=False)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", help=f"one of {', '.join(FORMATS)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first world; the next ones count up")
    parser.add_argument("--count", type=int, default=1, help="how many worlds")
    parser.add_argument("--out", type=Path, required=True, help="a new folder, or one of an earlier run to go on with")
    parser.add_argument("--format", help="; ".join(f"{kind}: {', '.join(known)}" for kind, known in FORMATS.items()))
    parser.add_argument("--sensor", help=f"streets, people: {', '.join(SENSORS)}; forests: {', '.join(SCANNERS)}")
    parser.add_argument("--beams", type=int, help="streets, people: so many beams over the angles of the lidar")
    parser.add_argument("--articulated", action="store_true", help="streets: pedestrians in many postures")
    parser.add_argument("--side", type=float, default=30.0, help="forests: metres (default %(default)s)")
    parser.add_argument("--density", type=float, help="forests: points a square metre")
    parser.add_argument("--stems", type=float, help="forests: trees of the upper storey per hectare")
    parser.add_argument("--stand", help=f"forests: {', '.join(STANDS)}")
    parser.add_argument("--split", default="train", help=f"people: {', '.join(SPLITS)}")
    return parser.parse_args(arguments)


def _order(options: argparse.Namespace) -> Order:
    return Order.of(
        options.kind,
        options.seed,
        options.count,
        options.format,
        options.sensor,
        side=options.side,
        density=options.density,
        stems=options.stems,
        stand=options.stand,
        split=options.split,
        articulated=options.articulated,
        beams=options.beams,
    )


if __name__ == "__main__":
    sys.exit(main())
