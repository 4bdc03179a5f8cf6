"""Detections as files: JSON in the cloud's frame, or KITTI result lines in the camera's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.datasets.kitti.calibration import KittiCalibration
from perception.datasets.kitti.labels import format_label_lines
from perception.datasets.kitti.results import detections_to_kitti
from perception.detect_map import MapDetections
from perception.geometry import points_in_boxes
from perception.io.files import write_atomically
from perception.points import PointCloud
from perception.results import Detections


def detections_to_plain(detections: Detections, cloud: PointCloud, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON file says: ``facts``, the cloud's frame and counts, and one entry a detection, best first.

    ``centre`` is in the coordinates of the file (the cloud's origin added), metres; ``heading`` in radians
    counter-clockwise from +x; ``points`` how many points of the cloud lie in the box.
    """
    boxes = detections.boxes.values.double()
    counts = points_in_boxes(torch.from_numpy(cloud.xyz), detections.boxes.values.float()).sum(0)
    centres = boxes[:, :3].numpy() + cloud.origin
    entries = _entries(detections.names, detections.scores.tolist(), centres, boxes.numpy(), counts.tolist())
    return {
        **facts,
        "frame": cloud.frame,
        "stamp": cloud.stamp,
        "points": len(cloud),
        "points_dropped": cloud.dropped,
        "detections": entries,
    }


def map_detections_to_plain(found: MapDetections, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a map, whose boxes are in the coordinates of the file already."""
    names = [found.classes[i] for i in found.labels.tolist()]
    entries = _entries(names, found.scores.tolist(), found.boxes[:, :3], found.boxes, found.points.tolist())
    return {**facts, "frame": "map", "detections": entries}


def _entries(
    names: Sequence[str], scores: Sequence[float], centres: np.ndarray, boxes: np.ndarray, counts: Sequence[int]
) -> list[dict[str, Any]]:
    return [
        {
            "class": name,
            "score": round(score, 4),
            "centre": [round(float(v), 3) for v in centre],
            "size": [round(float(v), 3) for v in box[3:6]],
            "heading": round(float(box[6]), 4),
            "points": int(count),
        }
        for name, score, centre, box, count in zip(names, scores, centres, boxes, counts)
    ]


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as readable JSON, atomically."""
    with write_atomically(path, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")


def write_kitti(path: str | Path, detections: Detections, calibration: KittiCalibration) -> None:
    """Write KITTI result lines, atomically."""
    with write_atomically(path, "w") as file:
        file.write(format_label_lines(detections_to_kitti(detections, calibration)))
