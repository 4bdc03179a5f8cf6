"""`perception places query`: the nearest places of scans, and the pose at them."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from perception.commands.inputs import find_inputs
from perception.commands.places_map import described, describer_of, read_ahead
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.detections import write_json
from perception.places.map_file import load_map
from perception.places.place_map import Match, PlaceMap
from perception.places.registration import register
from perception.points import PointCloud


def query(options: argparse.Namespace) -> int:
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    if options.k < 1:
        raise PerceptionError(f"-k {options.k}", "1 or more")
    places = load_map(options.map)
    items = find_inputs(options.scans)
    describer = describer_of(places, options)
    answers, failures = [], 0
    for item in items:
        try:
            ((_, cloud),) = read_ahead([item], options.input_format)
            (matches,) = places.search(described(describer, item, cloud), options.k)
            answer = _answer(options.map, places, matches)
            for line in _lines(item.path, answer):
                console.print(line, markup=False)
            if options.register:
                answer["registered"] = registered = _registered(options.map, places, matches[0], cloud)
                console.print(_pose_line(registered), markup=False)
            answers.append({"scan": str(item.path), **answer})
        except PerceptionError as error:  # noqa: PERF203 (one scan does not cost the others)
            failures += 1
            errors.print(f"failed: {item.path}\n  {error}", markup=False)
    if options.out:
        write_json(options.out, {"map": str(options.map), "answers": answers})
    return 1 if failures else 0


def _answer(path: Path, places: PlaceMap, matches: list[Match]) -> dict[str, Any]:
    found = []
    for match in matches:
        row = match.row
        place = {
            "place": row,
            "distance": round(match.distance, 6),
            "drive": places.drive_names[places.drives[row]],
            "scan": places.scans[row],
            "position": [round(float(value), 3) for value in places.positions[row]],
        }
        found.append(place if match.turn is None else {**place, "turn": round(match.turn, 4)})
    return {"places": found}


def _lines(path: Path, answer: dict[str, Any]) -> list[str]:
    lines = [f"{path.name}:"]
    for number, place in enumerate(answer["places"], 1):
        x, y, z = place["position"]
        where = f"({x:.2f}, {y:.2f}, {z:.2f})"
        turned = f", turned {math.degrees(place['turn']):.0f}°" if "turn" in place else ""
        lines.append(
            f"  {number}. distance {place['distance']:.4f}  {where}  {place['drive']}: {place['scan']}{turned}"
        )
    return lines


def _registered(path: Path, places: PlaceMap, match: Match, cloud: PointCloud) -> dict[str, Any]:
    """The query's pose by the nearest place; ``motion`` from its frame to that scan's, ``pose`` to the map's."""
    file = path.absolute().parent / places.scans[match.row]
    if not file.is_file():
        raise PerceptionError(
            f"no scan {places.scans[match.row]} beside the map",
            "the scans that the map was built from",
            "move them along",
        )
    found = register(cloud, read_points(file))
    pose = places.poses[match.row] @ found.motion
    return {"place": match.row, "motion": found.motion.tolist(), "pose": pose.tolist(), "turn": found.turn}


def _pose_line(registered: dict[str, Any]) -> str:
    shift, position = np.array(registered["motion"])[:3, 3], np.array(registered["pose"])[:3, 3]
    apart, turn = float(np.linalg.norm(shift)), math.degrees(registered["turn"])
    where = ", ".join(f"{value:.2f}" for value in position)
    return f"  laid on place 1: {apart:.2f} m away, turned {turn:.1f}°; the scan was taken at ({where})"
