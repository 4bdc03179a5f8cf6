"""Hold our Waymo metric against figures published with the evaluator's example files.

python tools/check_waymo_metric.py PREDICTIONS GROUND_TRUTH --published compute_detection_metrics_main.cc

The three files lie in metrics/tools of the public waymo-open-dataset repository.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects
from perception.datasets.waymo.results import WaymoObjects, read_objects
from perception.errors import PerceptionError
from perception.metrics.waymo import MINIMUM_IOU, Frame, WaymoReport, evaluate
from perception.results import Detections

CLASSES = tuple(MINIMUM_IOU)
PARTS = {None: "", "[0, 30)": "/0-30", "[30, 50)": "/30-50", "[50, +inf)": "/50+"}
LINE = re.compile(
    r"^// (?:OBJECT_TYPE|RANGE)_TYPE_(\w+?)_(?:(\[.*?\))_)?LEVEL_(\d): \[mAP ([\d.]+)\] \[mAPH ([\d.]+)\]", re.MULTILINE
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("ground_truth", type=Path)
    parser.add_argument("--published", type=Path, help="a text with the figures in comments")
    options = parser.parse_args(arguments)
    try:
        report = evaluate_files(read_objects(options.predictions), read_objects(options.ground_truth))
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.table())
    if options.published is not None:
        compare(report, options.published.read_text())
    return 0


def evaluate_files(found: WaymoObjects, truth: WaymoObjects) -> WaymoReport:
    """The report over all frames that either file names."""
    frames: list[Frame] = []
    zones = []
    for name in sorted({*found.frames.tolist(), *truth.frames.tolist()}):
        mine = (found.frames == name) & np.isin(found.names, CLASSES)
        labels = torch.tensor([CLASSES.index(n) for n in found.names[mine]], dtype=torch.int64)
        boxes = Boxes3D(torch.from_numpy(found.boxes[mine]))
        theirs = truth.frames == name
        attributes = {"points": truth.points[theirs], "difficulty": truth.difficulty[theirs]}
        objects = Objects(Boxes3D(torch.from_numpy(truth.boxes[theirs])), truth.names[theirs], attributes)
        frames.append((objects, Detections(boxes, torch.from_numpy(found.scores[mine]), labels, CLASSES)))
        zones.append(found.in_no_label_zone[mine])
    return evaluate(frames, CLASSES, zones)


def compare(report: WaymoReport, text: str) -> None:
    """Print how many of the published figures agree in all digits, and those that do not."""
    equal = 0
    for name, part, level, *values in LINE.findall(text):
        for metric, value in zip(("AP", "APH"), values):
            key = f"{name.capitalize()}{PARTS[part or None]}/L{level}/{metric}"
            if abs(report.values[key] - float(value)) < 1.5e-6:
                equal += 1
            else:
                print(f"{key}: {report.values[key]:.6f}, published {value}")
    print(f"{equal} figures as published")


if __name__ == "__main__":
    sys.exit(main())
