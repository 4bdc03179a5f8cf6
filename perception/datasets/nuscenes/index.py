"""What the tables of nuScenes say, as arrays: samples of scenes, lidar sweeps with their poses, and labelled boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.nuscenes.geometry import pose_matrices
from perception.datasets.nuscenes.tables import Table, dangling, read_table
from perception.errors import PerceptionError

CHANNEL = "LIDAR_TOP"
LONGEST_GAP = 1.5  # seconds to the neighbouring label from which a velocity is still told


@dataclass(frozen=True, eq=False)
class NuscenesIndex:
    """One version of the data set; arrays whose names begin alike belong together.

    ``sample_*`` (N,) in the order of the table, ``sample_number`` within the scene, ``sample_sweep`` the keyframe's
    sweep; ``sweep_*`` (M,): ``sweep_previous`` is -1 for the first of a scene, ``sweep_pose`` (M, 7) translation and
    quaternion of the ego in the global frame, ``sensor_pose`` likewise of the lidars. ``box_*`` (B,) are ordered by
    sample, sample s having rows ``first_box[s]`` to ``first_box[s + 1]``; ``box_velocity`` (B, 3) global, NaN where
    unknown; ``box_attribute`` -1 for none. Times are microseconds.
    """

    scene_name: np.ndarray
    sample_token: np.ndarray
    sample_scene: np.ndarray
    sample_number: np.ndarray
    sample_sweep: np.ndarray
    sweep_file: np.ndarray
    sweep_time: np.ndarray
    sweep_previous: np.ndarray
    sweep_pose: np.ndarray
    sweep_sensor: np.ndarray
    sensor_pose: np.ndarray
    first_box: np.ndarray
    box_translation: np.ndarray
    box_size: np.ndarray
    box_rotation: np.ndarray
    box_velocity: np.ndarray
    box_lidar_points: np.ndarray
    box_radar_points: np.ndarray
    box_category: np.ndarray
    box_attribute: np.ndarray
    box_instance: np.ndarray
    category_name: np.ndarray
    attribute_name: np.ndarray
    instance_token: np.ndarray

    def ego_to_global(self, sweep: int) -> np.ndarray:
        """(4, 4) where the vehicle was when ``sweep`` was recorded."""
        return pose_matrices(self.sweep_pose[sweep, :3], self.sweep_pose[sweep, 3:])

    def lidar_to_ego(self, sweep: int) -> np.ndarray:
        """(4, 4) where the lidar of ``sweep`` sits on the vehicle."""
        pose = self.sensor_pose[self.sweep_sensor[sweep]]
        return pose_matrices(pose[:3], pose[3:])

    def boxes_of(self, sample: int) -> slice:
        return slice(int(self.first_box[sample]), int(self.first_box[sample + 1]))


def build_index(folder: Path) -> NuscenesIndex:
    """Read the tables in ``folder``; PerceptionError names a table that is missing and a token that leads nowhere."""
    scenes = read_table(folder, "scene", texts=("name",))
    samples = read_table(folder, "sample", {"timestamp": 0}, ("scene_token",))
    return NuscenesIndex(
        scene_name=np.array(scenes.texts["name"], str),
        **_samples(samples, scenes),
        **_sweeps(folder, samples),
        **_boxes(folder, samples),
    )


def _samples(samples: Table, scenes: Table) -> dict[str, np.ndarray]:
    if not len(samples):
        raise PerceptionError(f"{samples.path} is empty", "one record for each keyframe", "unpack the tables again")
    scene = samples.link("scene_token", scenes)
    order = np.lexsort([samples.numbers["timestamp"], scene])
    number = np.empty(len(samples), np.int64)
    first = np.searchsorted(scene[order], np.arange(len(scenes)))
    number[order] = np.arange(len(samples)) - first[scene[order]]
    return {"sample_token": np.array(list(samples.rows), np.bytes_), "sample_scene": scene, "sample_number": number}


def _sweeps(folder: Path, samples: Table) -> dict[str, np.ndarray]:
    sensors = read_table(folder, "sensor", texts=("channel",))
    mounted = read_table(folder, "calibrated_sensor", {"translation": 3, "rotation": 4}, ("sensor_token",))
    is_lidar = np.array(sensors.texts["channel"])[mounted.link("sensor_token", sensors)] == CHANNEL
    key_frames: list[bool] = []

    def of_the_lidar(record: dict[str, Any]) -> bool:
        row = mounted.rows.get(record["calibrated_sensor_token"])
        if row is None:
            token = str(record["calibrated_sensor_token"])
            raise dangling(folder / "sample_data.json", "calibrated_sensor_token", token, mounted.path)
        if is_lidar[row]:
            key_frames.append(bool(record["is_key_frame"]))
        return bool(is_lidar[row])

    links = ("sample_token", "ego_pose_token", "calibrated_sensor_token", "filename", "prev")
    sweeps = read_table(folder, "sample_data", {"timestamp": 0}, links, of_the_lidar)
    wanted = set(sweeps.texts["ego_pose_token"])
    poses = read_table(
        folder, "ego_pose", {"translation": 3, "rotation": 4}, keep=lambda record: record["token"] in wanted
    )
    own = sweeps.link("ego_pose_token", poses)
    keys = np.flatnonzero(key_frames)
    key_sweep = np.full(len(samples), -1)
    key_sweep[sweeps.link("sample_token", samples)[keys]] = keys
    if (key_sweep < 0).any():
        token = list(samples.rows)[int(key_sweep.argmin())]
        raise PerceptionError(
            f"{sweeps.path}: sample {token} has no keyframe of {CHANNEL}",
            "one for every sample",
            "use the published tables, of a version with lidar",
        )
    return {
        "sample_sweep": key_sweep,
        "sweep_file": np.array(sweeps.texts["filename"], str),
        "sweep_time": sweeps.numbers["timestamp"].astype(np.int64),
        "sweep_previous": sweeps.link("prev", sweeps, optional=True),
        "sweep_pose": _pose_rows(poses)[own],
        "sweep_sensor": sweeps.link("calibrated_sensor_token", mounted),
        "sensor_pose": _pose_rows(mounted),
    }


def _boxes(folder: Path, samples: Table) -> dict[str, np.ndarray]:
    categories = read_table(folder, "category", texts=("name",))
    attributes = read_table(folder, "attribute", texts=("name",))
    instances = read_table(folder, "instance", texts=("category_token",))
    labels = read_table(
        folder,
        "sample_annotation",
        {"translation": 3, "size": 3, "rotation": 4, "num_lidar_pts": 0, "num_radar_pts": 0},
        ("sample_token", "instance_token", "attribute_tokens", "prev", "next"),
    )
    sample, instance = labels.link("sample_token", samples), labels.link("instance_token", instances)
    numbers = labels.numbers
    order = np.argsort(sample, kind="stable")
    columns = {
        "box_translation": numbers["translation"],
        "box_size": numbers["size"],
        "box_rotation": numbers["rotation"],
        "box_velocity": velocities(
            numbers["translation"],
            samples.numbers["timestamp"][sample],
            labels.link("prev", labels, optional=True),
            labels.link("next", labels, optional=True),
        ),
        "box_lidar_points": numbers["num_lidar_pts"].astype(np.int64),
        "box_radar_points": numbers["num_radar_pts"].astype(np.int64),
        "box_category": instances.link("category_token", categories)[instance],
        "box_attribute": labels.link("attribute_tokens", attributes, optional=True),
        "box_instance": instance,
    }
    return {
        "first_box": np.searchsorted(sample[order], np.arange(len(samples) + 1)),
        **{name: values[order] for name, values in columns.items()},
        "category_name": np.array(categories.texts["name"], str),
        "attribute_name": np.array(attributes.texts["name"], str),
        "instance_token": np.array(list(instances.rows), np.bytes_),
    }


def velocities(translation: np.ndarray, time: np.ndarray, previous: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Velocity (B, 3) in m/s from the labels before and after, or from one of them and the label itself.

    ``time`` (B,) microseconds; ``previous`` and ``following`` rows, -1 for none. NaN for single labels and where the
    labels are more than 1.5 s apart (3 s with both), as the development kit has it.
    """
    rows = np.arange(len(time))
    before, after = np.where(previous >= 0, previous, rows), np.where(following >= 0, following, rows)
    passed = 1e-6 * time[after] - 1e-6 * time[before]
    both = (previous >= 0) & (following >= 0)
    known = (before != after) & (passed > 0) & (passed <= np.where(both, 2 * LONGEST_GAP, LONGEST_GAP))
    moved = translation[after] - translation[before]
    return np.asarray(np.where(known[:, None], moved / np.where(known, passed, 1)[:, None], np.nan))


def _pose_rows(table: Table) -> np.ndarray:
    return np.concatenate([table.numbers["translation"], table.numbers["rotation"]], axis=1)
