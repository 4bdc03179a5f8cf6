"""`perception_bag`: nodes' pipelines over bags, and bags of public recordings, without ROS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from perception.errors import PerceptionError
from perception_ros.bags.record import SOURCES, record
from perception_ros.bags.run import Report, run_bag
from perception_ros.bags.writing import STORAGES
from perception_ros.tasks.catalogue import TASKS

EXAMPLES = """
examples:
  perception_bag record kitti 2011_09_26/2011_09_26_drive_0001_sync --out drive
  perception_bag run drive --task detection --set score_threshold=0.3 --out found --report found.json
  perception_bag run drive --task detection --task flow --set flow.model=nearest --out found
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="perception_bag",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a node's pipeline over a bag, without ROS")
    run.add_argument("bag", type=Path, help="folder of a bag, .db3 or .mcap")
    run.add_argument("--task", action="append", required=True, choices=list(TASKS), help="several share each cloud")
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new bag of results")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter, or TASK.NAME=VALUE")
    run.add_argument("--topic", help="topic of the clouds, where the bag has several")
    run.add_argument("--odometry", metavar="TOPIC", help="topic of odometry, where the bag has several")
    run.add_argument("--report", type=Path, metavar="FILE", help="JSON of numbers, times and refused clouds")
    run.add_argument("--keep-clouds", action="store_true", help="write the clouds into the new bag too")
    new = commands.add_parser("record", help="write a bag of a public recording")
    new.add_argument("source", choices=list(SOURCES))
    new.add_argument("folder", type=Path, help="a KITTI raw drive, or a log of Argoverse 2")
    new.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new bag")
    new.add_argument("--topic", default="/points")
    new.add_argument("--frame", default="lidar")
    for command in (run, new):
        command.add_argument("--storage", choices=STORAGES, default="mcap", help="default: %(default)s")
        command.add_argument("--limit", type=int, metavar="N", help="only the first N clouds")
    options = parser.parse_args(arguments)
    try:
        if options.command == "record":
            number = record(
                options.source,
                options.folder,
                options.out,
                options.topic,
                options.frame,
                storage=options.storage,
                limit=options.limit,
            )
            print(f"{number} clouds in {options.out}")
            return 0
        told = run_bag(
            options.bag,
            options.out,
            _values(options.task, options.set),
            options.topic,
            options.odometry,
            options.storage,
            options.keep_clouds,
            options.limit,
            options.report,
        )
    except PerceptionError as error:
        print(f"error {error}", file=sys.stderr)
        return 1
    _print(told, options.out)
    return 1 if told.refused else 0


def _values(tasks: Sequence[str], given: Sequence[str]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {task: {} for task in tasks}
    for one in given:
        name, sign, text = one.partition("=")
        task, dot, own = name.partition(".")
        if not sign or (dot and task not in values):
            raise PerceptionError(f"--set {one}", "NAME=VALUE, or TASK.NAME=VALUE for one of several tasks")
        for known in [task] if dot else values:
            values[known][own if dot else name] = yaml.safe_load(text) if text else ""
    return values


def _print(told: Report, out: Path) -> None:
    plain = told.plain()
    times = ", ".join(f"{name} {value:.1f}" for name, value in plain["latency_ms"].items())
    print(f"{told.clouds} clouds, {told.results} results in {out}; ms a cloud: {times or 'none'}")
    for name, number in told.found.items():
        print(f"  {name}: {number}")
    for reason, number in told.refused.items():
        print(f"  refused {number}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
