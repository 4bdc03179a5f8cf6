"""`perception places evaluate`: recall of the nearest places, and loop closure."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from perception.commands.places_map import describe_scans, describer_of, posed_scans
from perception.commands.scan_jobs import device_of
from perception.errors import PerceptionError
from perception.io.detections import write_json
from perception.places.describe import Describer, make_describer
from perception.places.evaluation import Evaluation, against_map, between_runs, between_sets, loops_within
from perception.places.map_file import load_map
from perception.training.roots import open_dataset
from perception.view.place_pictures import precision_recall


def evaluate(options: argparse.Namespace) -> int:
    console = Console(highlight=False, soft_wrap=True)
    if (options.map is None) == (options.data is None):
        raise PerceptionError(
            "evaluate needs one of --map and --data", "a map to ask, or a data set", "see `perception places --help`"
        )
    if options.radius <= 0 or options.gap < 0:
        raise PerceptionError(f"--radius {options.radius}, --gap {options.gap}", "metres above 0, from 0")
    found = _of_data(options) if options.data else _of_map(options)
    for name, value in found.figures(options.official).items():
        console.print(
            f"{name:36s} {value:10.3f}" if isinstance(value, float) else f"{name:36s} {value:>10}", markup=False
        )
    if options.out:
        write_json(options.out, {"map": str(options.map), "data": options.data, **found.figures(options.official)})
    if options.picture:
        if found.closure is None:
            raise PerceptionError("--picture without loop closure", "a single evaluation", "evaluate a map")
        precision_recall(found.closure, options.picture, title=str(options.map or options.data))
    return 0


def _of_map(options: argparse.Namespace) -> Evaluation:
    places = load_map(options.map)
    if not options.scans:
        return loops_within(places, options.radius, options.gap)
    items, poses = posed_scans(options)
    describer = describer_of(places, options)
    vectors = describe_scans(describer, items, options.input_format)
    return against_map(places, vectors, poses[:, :3, 3], options.radius)


def _of_data(options: argparse.Namespace) -> Evaluation:
    describer: Describer = make_describer(options.method or options.model, device_of(options.device))
    if options.sets is not None:
        _, _, root = options.data.partition(":")
        return between_sets(str(Path(root)), options.sets, describer, options.radius)
    name, dataset = open_dataset(options.data)
    table = getattr(dataset, "table", None)
    if table is None:
        raise PerceptionError(f"{name} has no places", "a data set of places", "for example kitti_odometry:ROOT")
    vectors = np.concatenate([describer([dataset[i].cloud]) for i in range(len(dataset))])
    return between_runs(table, vectors, describer.facts, options.radius, options.gap)
