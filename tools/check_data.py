#!/usr/bin/env python3
"""Say what is wrong with labelled data before training starts: python tools/check_data.py configs/detection/own.yaml

Looks for boxes without points, wrong conventions (headings, sizes, frames), classes that are missing or rare, labels
that are there twice, and ranges that cut boxes. Exits with 1 if training would be useless.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from perception.errors import PerceptionError
from perception.models.detector import class_names
from perception.training.data import Pool
from perception.training.data_check import DataReport, check_data
from perception.training.roots import parse_roots
from perception.training.settings import Experiment, model_settings, read_experiment

COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    console = Console(soft_wrap=True, highlight=False)
    try:
        roots = parse_roots(options.data, options.config)
        report = check_experiment_data(read_experiment(options.config, options.set, roots), options.frames, console)
    except PerceptionError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    show(report, console)
    return 0 if report.usable else 1


def check_experiment_data(experiment: Experiment, frames: int, console: Console) -> DataReport:
    """The training data of an experiment, with its model's classes and range in mind."""
    settings = model_settings(experiment)
    pool = Pool(experiment.data.train, "data.train")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("checking labels", total=None)
        return check_data(
            pool,
            class_names(settings),
            settings.point_range,
            experiment.classes,
            frames,
            lambda done, total: progress.update(task, completed=done, total=total),
        )


def show(report: DataReport, console: Console) -> None:
    """Counts by class, then what was found."""
    table = Table("class", "objects", "points, median", "size, median", title=f"{report.frames} frames")
    for name, count in report.objects.items():
        size = " x ".join(f"{v:.2f}" for v in report.median_size[name]) if count else "-"
        table.add_row(name, f"{count:,}", f"{report.median_points[name]:,.0f}" if count else "-", size)
    console.print(table)
    show_findings(report, console)


def show_findings(report: DataReport, console: Console) -> None:
    for finding in report.findings:
        console.print(f"{finding.level}: {finding.what}", style=COLOURS[finding.level], markup=False)
        if finding.fix:
            console.print(f"  what to do: {finding.fix}", markup=False)
    if not report.findings:
        console.print("nothing wrong found", style="green")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="a YAML file of configs/, or your own")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change settings")
    parser.add_argument("--data", nargs="+", default=[], metavar="[NAME:]ROOT", help="where data sets lie")
    parser.add_argument("--frames", type=int, default=200, help="look at this many, evenly spread; default %(default)s")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
