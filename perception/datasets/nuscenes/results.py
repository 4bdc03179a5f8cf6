"""Detections as nuScenes' submission file: JSON in the global frame (detection task, "Results format")."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.nuscenes.geometry import NuscenesCalibration, lidar_to_global
from perception.datasets.nuscenes.records import ATTRIBUTES, CLASSES, MOST_BOXES, NuscenesBoxes
from perception.errors import PerceptionError, nearest
from perception.io.files import write_atomically
from perception.results import Detections

META = {"use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": False}
MOVING = 0.2  # m/s

# The attribute of a class when it moves and when it stands: what most labels of the class say.
_MOVES = {
    "bicycle": "cycle.with_rider",
    "motorcycle": "cycle.with_rider",
    "pedestrian": "pedestrian.moving",
    "traffic_cone": "",
    "barrier": "",
}
_STANDS = {
    "bicycle": "cycle.without_rider",
    "motorcycle": "cycle.without_rider",
    "pedestrian": "pedestrian.standing",
    "bus": "vehicle.stopped",
    "traffic_cone": "",
    "barrier": "",
}


def detections_to_nuscenes(detections: Detections, calibration: NuscenesCalibration, frame: int = 0) -> NuscenesBoxes:
    """The best 500 detections of a class that the benchmark knows, in the global frame, best first.

    Models without velocity count as standing. Attributes, which detectors do not tell, are guessed by speed.
    """
    names = np.array(detections.names, dtype=str)
    scores = detections.scores.detach().cpu().double().numpy()
    kept = np.flatnonzero(np.isin(names, CLASSES))
    kept = kept[np.argsort(-scores[kept], kind="stable")][:MOST_BOXES]
    boxes = detections.boxes.values.detach().cpu().double().numpy()[kept]
    velocity = detections.boxes.velocity
    moved = np.zeros((len(names), 2)) if velocity is None else velocity.detach().cpu().double().numpy()
    translation, size, rotation, speed = lidar_to_global(
        boxes, np.nan_to_num(moved[kept], posinf=0.0, neginf=0.0), calibration.lidar_to_global
    )
    return NuscenesBoxes(
        np.full(len(kept), frame, np.int64),
        names[kept],
        translation,
        size,
        rotation,
        speed,
        guess_attributes(names[kept], speed),
        scores[kept],
        np.full(len(kept), -1),
    )


def guess_attributes(names: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """The likeliest attribute (N,) of each box by class and ``velocity`` (N, 2)."""
    moving = np.hypot(velocity[:, 0], velocity[:, 1]) > MOVING
    chosen = [
        _MOVES.get(name, "vehicle.moving") if fast else _STANDS.get(name, "vehicle.parked")
        for name, fast in zip(names.tolist(), moving.tolist())
    ]
    return np.array(chosen, str)


def write_results(
    path: str | Path, tokens: Sequence[str], boxes: NuscenesBoxes, meta: Mapping[str, bool] | None = None
) -> None:
    """Write the submission of the keyframes ``tokens``, with an empty list where nothing was found, atomically."""
    order = np.argsort(boxes.frame, kind="stable")
    bounds = np.searchsorted(boxes.frame[order], np.arange(len(tokens) + 1))
    too_many = np.flatnonzero(np.diff(bounds) > MOST_BOXES)
    if len(too_many):
        count = int(np.diff(bounds)[too_many[0]])
        raise PerceptionError(f"sample {tokens[too_many[0]]} has {count} boxes", f"{MOST_BOXES} or fewer a sample")
    with write_atomically(path, "w") as file:
        file.write(f'{{"meta": {json.dumps({**META, **(meta or {})})},\n"results": {{')
        for number, token in enumerate(tokens):
            rows = order[bounds[number] : bounds[number + 1]]
            file.write(f"{',' if number else ''}\n{json.dumps(token)}: ")
            json.dump([_entry(token, boxes, row) for row in rows], file, allow_nan=False)
        file.write("\n}}\n")


def read_results(path: str | Path, tokens: Sequence[str]) -> NuscenesBoxes:
    """The boxes of a submission, in its order, ``frame`` the place of their sample in ``tokens``.

    Raises PerceptionError for samples that are missing or not in ``tokens``, more than 500 boxes of one, unknown
    classes or attributes, and numbers that are missing or not finite (velocities may be NaN).
    """
    results = _load(path)
    frames = {token: number for number, token in enumerate(tokens)}
    _check_samples(path, results, frames)
    rows = [(frames[token], box) for token, boxes in results.items() for box in boxes]
    return NuscenesBoxes(
        frame=np.array([frame for frame, _ in rows], np.int64),
        names=_words(path, rows, "detection_name", CLASSES),
        translation=_numbers(path, rows, "translation", 3),
        size=_numbers(path, rows, "size", 3, positive=True),
        rotation=_numbers(path, rows, "rotation", 4),
        velocity=_numbers(path, rows, "velocity", 2, finite=False),
        attribute=_words(path, rows, "attribute_name", ("", *ATTRIBUTES)),
        score=_numbers(path, rows, "detection_score", 0),
        points=np.full(len(rows), -1),
    )


def _entry(token: str, boxes: NuscenesBoxes, row: int) -> dict[str, Any]:
    return {
        "sample_token": token,
        "translation": boxes.translation[row].tolist(),
        "size": boxes.size[row].tolist(),
        "rotation": boxes.rotation[row].tolist(),
        "velocity": boxes.velocity[row].tolist(),
        "detection_name": str(boxes.names[row]),
        "detection_score": float(boxes.score[row]),
        "attribute_name": str(boxes.attribute[row]),
    }


def _load(path: str | Path) -> dict[str, list[Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise PerceptionError(f"{path} cannot be read: {error}", "a nuScenes submission (JSON)") from None
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(boxes, list) for boxes in results.values()):
        raise PerceptionError(f"{path} has no lists under 'results'", "a nuScenes submission: meta, results by sample")
    return results


def _check_samples(path: str | Path, results: Mapping[str, list[Any]], frames: Mapping[str, int]) -> None:
    strange, absent = set(results) - set(frames), set(frames) - set(results)
    if strange or absent:
        raise PerceptionError(
            f"{path}: {len(absent)} samples of the split are missing, {len(strange)} are not in it, "
            f"for example {min(absent or strange)}",
            f"the {len(frames)} samples of the split, with an empty list where nothing was found",
            "evaluate on the split that the results are of",
        )
    for token, boxes in results.items():
        if len(boxes) > MOST_BOXES:
            raise PerceptionError(f"{path}: sample {token} has {len(boxes)} boxes", f"{MOST_BOXES} or fewer a sample")


def _words(path: str | Path, rows: Sequence[tuple[int, Any]], key: str, known: Sequence[str]) -> np.ndarray:
    try:
        values = [box[key] for _, box in rows]
        wrong = next((value for value in values if value not in known), None)
    except (KeyError, TypeError):
        raise PerceptionError(f"{path}: a box without {key}", "a nuScenes submission") from None
    if wrong is not None:
        raise PerceptionError(f"{path}: {key} {wrong!r:.60}", f"one of {', '.join(known)}", nearest(str(wrong), known))
    return np.array(values, str)


def _numbers(
    path: str | Path,
    rows: Sequence[tuple[int, Any]],
    key: str,
    width: int,
    positive: bool = False,
    finite: bool = True,
) -> np.ndarray:
    shape = (len(rows), width) if width else (len(rows),)
    try:
        values = np.array([box[key] for _, box in rows], np.float64).reshape(shape)
    except (KeyError, TypeError, ValueError):
        raise PerceptionError(
            f"{path}: a box whose {key} is not {width or 1} numbers", "a nuScenes submission"
        ) from None
    if (finite and not np.isfinite(values).all()) or (positive and not (values > 0).all()):
        raise PerceptionError(f"{path}: a box whose {key} is not {'positive' if positive else 'finite'}", "real boxes")
    return values
