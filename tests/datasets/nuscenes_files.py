"""A made nuScenes: all tables and lidar files of a few short scenes, written without the library's own code.

A vehicle drives along a curve with a slightly pitched body; its lidar is mounted turned by a quarter, as the real one.
Boxes hold as many points in each keyframe as their label says. One object appears once only (no velocity), one again
only after two seconds (none either), a bicycle stands in a rack and another one beside it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

CATEGORIES = (
    "animal",
    "human.pedestrian.adult",
    "movable_object.barrier",
    "movable_object.trafficcone",
    "static_object.bicycle_rack",
    "vehicle.bicycle",
    "vehicle.bus.rigid",
    "vehicle.car",
    "vehicle.truck",
    "vehicle.motorcycle",
)
ATTRIBUTES = ("vehicle.moving", "vehicle.parked", "pedestrian.moving", "cycle.without_rider", "vehicle.stopped")
KEY_STEPS = 5  # sweeps from keyframe to keyframe
STEP = 100_000  # microseconds
WORLD = np.array([600.0, 1600.0, 0.0])
MOUNT = (Rotation.from_euler("zyx", [-89.9, 0.6, -0.4], degrees=True), np.array([0.94, 0.02, 1.84]))


@dataclass
class Thing:
    """An object of a scene: where it starts, how it moves, the keyframes it is labelled in."""

    category: str
    attribute: str
    place: tuple[float, float, float]
    size: tuple[float, float, float]  # width, length, height
    yaw: float
    velocity: tuple[float, float] = (0.0, 0.0)
    points: int = 6
    seen: tuple[int, ...] = ()
    radar: int = 0

    def at(self, seconds: float) -> np.ndarray:
        return np.array(self.place) + np.array([*self.velocity, 0.0]) * seconds


@dataclass
class Written:
    """What a test needs to know: ``samples`` by identifier with token, lidar file and labels in the lidar frame."""

    root: Path
    version: str
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)


def things(frames: int) -> list[Thing]:
    always = tuple(range(frames))
    return [
        Thing("vehicle.car", "vehicle.moving", (12, 5, 0.8), (1.9, 4.6, 1.6), 0.4, (3.0, 1.2), 40, always),
        Thing("vehicle.car", "vehicle.parked", (-9, 7, 0.9), (1.8, 4.2, 1.5), -2.8, (0, 0), 25, always),
        Thing("vehicle.truck", "vehicle.stopped", (20, -9, 1.6), (2.6, 9.0, 3.4), 1.5, (0, 0), 60, always),
        Thing("vehicle.bus.rigid", "vehicle.moving", (-25, -6, 1.7), (2.9, 11.0, 3.5), 0.1, (-5, 0.3), 30, always),
        Thing(
            "human.pedestrian.adult", "pedestrian.moving", (6, -4, 0.9), (0.6, 0.7, 1.75), 2.0, (1.0, 0.5), 8, always
        ),
        Thing("human.pedestrian.adult", "", (7, 9, 0.9), (0.6, 0.6, 1.8), 0.0, (0, 0), 3, (1,)),
        Thing("movable_object.trafficcone", "", (4, 3, 0.5), (0.4, 0.4, 1.0), 0.0, (0, 0), 4, always),
        Thing("movable_object.barrier", "", (9, -7, 0.5), (2.0, 0.6, 1.1), 1.1, (0, 0), 7, always),
        Thing("vehicle.bicycle", "cycle.without_rider", (5, 11, 0.6), (0.6, 1.7, 1.2), 0.7, (0, 0), 5, always),
        Thing("static_object.bicycle_rack", "", (5, 11, 0.7), (3.0, 6.0, 1.6), 0.7, (0, 0), 0, always),
        Thing("vehicle.bicycle", "cycle.without_rider", (14, 11, 0.6), (0.6, 1.7, 1.2), 0.7, (0, 0), 5, always),
        Thing("vehicle.motorcycle", "cycle.without_rider", (-6, -8, 0.7), (0.8, 2.1, 1.4), 3.0, (0, 0), 0, always, 2),
        Thing("animal", "", (3, -9, 0.3), (0.4, 0.8, 0.6), 0.0, (0, 0), 2, always),
        Thing("vehicle.car", "vehicle.parked", (30, 30, 0.9), (1.9, 4.4, 1.5), 1.0, (0, 0), 0, always),
        Thing("vehicle.car", "", (-14, -15, 0.9), (1.9, 4.4, 1.5), 1.0, (2, 0), 9, (0, frames - 1)),
    ]


def write_nuscenes(
    root: Path,
    version: str = "v1.0-mini",
    scenes: tuple[str, ...] = ("scene-0061", "scene-0103", "scene-0916"),
    frames: int = 5,
    seed: int = 0,
) -> Written:
    """Write the tables to ``root/version`` and the lidar files to ``root/samples`` and ``root/sweeps``."""
    writer = _Writer(root, version, np.random.default_rng(seed))
    for number, name in enumerate(scenes):
        writer.scene(name, number, frames)
    writer.finish()
    return writer.written


def token(*parts: object) -> str:
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


class _Writer:
    def __init__(self, root: Path, version: str, random: np.random.Generator) -> None:
        self.random, self.written = random, Written(root, version)
        names = ("log", "map", "scene", "sample", "sample_data", "ego_pose", "sample_annotation", "instance")
        self.tables: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        self.tables["category"] = [{"token": token(n), "name": n, "description": ""} for n in CATEGORIES]
        self.tables["attribute"] = [{"token": token(n), "name": n, "description": ""} for n in ATTRIBUTES]
        self.tables["visibility"] = [{"token": "4", "level": "v80-100", "description": ""}]
        channels = (("LIDAR_TOP", "lidar"), ("CAM_FRONT", "camera"))
        self.tables["sensor"] = [{"token": token(c), "channel": c, "modality": m} for c, m in channels]
        self.tables["calibrated_sensor"] = [
            {
                "token": token("mounted", channel),
                "sensor_token": token(channel),
                "translation": MOUNT[1].tolist() if channel == "LIDAR_TOP" else [1.7, 0.0, 1.5],
                "rotation": _wxyz(MOUNT[0]) if channel == "LIDAR_TOP" else [0.5, -0.5, 0.5, -0.5],
                "camera_intrinsic": [] if channel == "LIDAR_TOP" else [[1266.4, 0, 816], [0, 1266.4, 491], [0, 0, 1]],
            }
            for channel, _ in channels
        ]
        for folder in ("samples/LIDAR_TOP", "sweeps/LIDAR_TOP", version):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def scene(self, name: str, number: int, frames: int) -> None:
        start = 1_532_402_927_647_951 + number * 10**10
        first = 0 if number == 0 else 12  # later scenes have sweeps before their first keyframe
        keys = [first + KEY_STEPS * i for i in range(frames)]
        self.tables["log"].append({"token": token(name, "log"), "logfile": name, "vehicle": "n015"})
        samples = [token(name, "sample", i) for i in range(frames)]
        self.tables["scene"].append(
            {
                "token": token(name),
                "log_token": token(name, "log"),
                "nbr_samples": frames,
                "first_sample_token": samples[0],
                "last_sample_token": samples[-1],
                "name": name,
                "description": 'A "made" scene, [with] {brackets}',
            }
        )
        objects = things(frames)
        for i in range(frames):
            self.tables["sample"].append(
                {
                    "token": samples[i],
                    "timestamp": start + keys[i] * STEP,
                    "prev": samples[i - 1] if i else "",
                    "next": samples[i + 1] if i + 1 < frames else "",
                    "scene_token": token(name),
                }
            )
        self._annotate(name, objects, samples)
        for step in range(keys[-1] + 1):
            self._record(name, objects, step, keys, samples, start)

    def _annotate(self, name: str, objects: list[Thing], samples: list[str]) -> None:
        for k, thing in enumerate(objects):
            labels = {i: token(name, "label", k, i) for i in thing.seen}
            self.tables["instance"].append(
                {
                    "token": token(name, "instance", k),
                    "category_token": token(thing.category),
                    "nbr_annotations": len(labels),
                    "first_annotation_token": labels[thing.seen[0]],
                    "last_annotation_token": labels[thing.seen[-1]],
                }
            )
            for place, i in enumerate(thing.seen):
                self.tables["sample_annotation"].append(
                    {
                        "token": labels[i],
                        "sample_token": samples[i],
                        "instance_token": token(name, "instance", k),
                        "visibility_token": "4",
                        "attribute_tokens": [token(thing.attribute)] if thing.attribute else [],
                        "translation": (thing.at(0.5 * i) + WORLD).tolist(),
                        "size": list(thing.size),
                        "rotation": _wxyz(Rotation.from_euler("z", thing.yaw)),
                        "prev": labels[thing.seen[place - 1]] if place else "",
                        "next": labels[thing.seen[place + 1]] if place + 1 < len(thing.seen) else "",
                        "num_lidar_pts": thing.points,
                        "num_radar_pts": thing.radar,
                    }
                )

    def _record(
        self, name: str, objects: list[Thing], step: int, keys: list[int], samples: list[str], start: int
    ) -> None:
        key = step in keys
        seconds = (step - keys[0]) * STEP * 1e-6
        body = Rotation.from_euler("zyx", [0.05 * seconds + 0.3, 0.01, -0.005])
        place = np.array([600 + 4 * seconds, 1600 + 0.4 * seconds, 0.0])
        turn, origin = body * MOUNT[0], body.apply(MOUNT[1]) + place
        frame = next((i for i, k in enumerate(keys) if k >= step), len(keys) - 1)
        cloud, labels = self._cloud(objects, frame, seconds, turn, origin)
        file = f"{'samples' if key else 'sweeps'}/LIDAR_TOP/{name}__LIDAR_TOP__{start + step * STEP}.pcd.bin"
        cloud.astype("<f4").tofile(self.written.root / file)
        if key:
            known = {"token": samples[frame], "file": file, "labels": labels, "turn": turn, "origin": origin}
            self.written.samples[f"{name}/{frame:03d}"] = known
        for channel in ("LIDAR_TOP", *(["CAM_FRONT"] if key else [])):
            own = token(name, channel, step)
            pose = {"token": own, "timestamp": start + step * STEP, "translation": place.tolist()}
            self.tables["ego_pose"].append({**pose, "rotation": _wxyz(body)})
            before = step if channel == "LIDAR_TOP" else 0
            self.tables["sample_data"].append(
                {
                    "token": own,
                    "sample_token": samples[frame],
                    "ego_pose_token": own,
                    "calibrated_sensor_token": token("mounted", channel),
                    "timestamp": start + step * STEP,
                    "fileformat": "pcd" if channel == "LIDAR_TOP" else "jpg",
                    "is_key_frame": key,
                    "height": 0,
                    "width": 0,
                    "filename": file if channel == "LIDAR_TOP" else file.replace("LIDAR_TOP", channel),
                    "prev": token(name, channel, step - 1) if before else "",
                    "next": token(name, channel, step + 1) if step < keys[-1] and channel == "LIDAR_TOP" else "",
                }
            )

    def _cloud(
        self, objects: list[Thing], frame: int, seconds: float, turn: Rotation, origin: np.ndarray
    ) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Points in the lidar frame, and the labels of the keyframe seen from the lidar at this moment."""
        ground = self.random.uniform([-40, -40, -2.9], [40, 40, -2.6], (200, 3))
        vehicle = self.random.uniform([-0.9, -0.9, -0.5], [0.9, 0.9, 0.2], (10, 3))
        blocks, labels = [ground, vehicle], []
        for thing in objects:
            if frame not in thing.seen:
                continue
            centre = thing.at(seconds) + WORLD
            width, length, height = thing.size
            yaw = Rotation.from_euler("z", thing.yaw)
            inside = self.random.uniform(-0.4, 0.4, (thing.points, 3)) * [length, width, height]
            blocks.append(turn.inv().apply(yaw.apply(inside) + centre - origin))
            ahead = turn.inv().apply(yaw.apply([1.0, 0, 0]))
            local = turn.inv().apply(centre - origin)
            box = [*local, length, width, height, np.arctan2(ahead[1], ahead[0])]
            speed = turn.inv().apply([*thing.velocity, 0.0])[:2]
            known = len(thing.seen) > 1 and thing.seen != (0, 4)
            labels.append({"thing": thing, "box": box, "velocity": speed if known else [np.nan, np.nan]})
        xyz = np.concatenate(blocks)
        extra = np.column_stack([self.random.integers(0, 255, len(xyz)), np.arange(len(xyz)) % 32])
        return np.column_stack([xyz, extra]), labels

    def finish(self) -> None:
        logs = [log["token"] for log in self.tables["log"]]
        self.tables["map"] = [{"token": token("map"), "log_tokens": logs, "category": "", "filename": ""}]
        for name, records in self.tables.items():
            (self.written.root / self.written.version / f"{name}.json").write_text(json.dumps(records, indent=0))


def _wxyz(rotation: Rotation) -> list[float]:
    x, y, z, w = rotation.as_quat()
    return [float(w), float(x), float(y), float(z)]
