"""Where a cloud was recorded: the nearest places of a map, which can grow while the sensor moves."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from perception.places.describe import make_describer
from perception.points import PointCloud
from perception_ros.conversion.markers_out import MARKERS, ONE, SPHERE, TEXT, MarkerList
from perception_ros.conversion.messages import Messages
from perception_ros.conversion.placement import Placement, header, pose_message
from perception_ros.core.motion import Motion
from perception_ros.core.place_map import GrowingMap, PlaceMatch
from perception_ros.core.poses import SECOND, quaternion_of
from perception_ros.core.settings import Settings
from perception_ros.core.shared_voxels import VoxelCache
from perception_ros.tasks.task import Answer, Output, Scan, Task


class PlaceTask(Task):
    """A place model, or Scan Context. Markers and poses are in the map's frame, whatever frame the cloud has."""

    name = "places"
    outputs = (Output("pose", "geometry_msgs/msg/PoseStamped"), Output("markers", MARKERS))

    def __init__(self, settings: Settings, motion: Motion | None = None) -> None:
        super().__init__(settings, motion)
        self.describe = make_describer(settings["model"] or None, self.device)
        self.map = GrowingMap(self.describe, settings["map"] or None)
        self._last: np.ndarray | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        return ()

    def warm(self) -> None:
        xyz = np.random.default_rng(0).uniform(-20, 20, (2000, 3))
        self.describe([PointCloud(xyz.astype(np.float32))])

    def process(self, scan: Scan, cache: VoxelCache) -> Answer:
        (vector,) = self.describe([scan.cloud])
        before = scan.stamp - int(self.settings["recent"] * SECOND)
        limit = self.settings["distance_threshold"]
        found = [m for m in self.map.find(vector, self.settings["matches"], before) if m.distance <= limit]
        if self.settings["extend"]:
            self._extend(scan, vector)
        self.facts["places in the map"] = str(len(self.map))
        return Answer(scan, found)

    def _extend(self, scan: Scan, vector: np.ndarray) -> None:
        pose = self.motion.pose(scan.cloud.frame, scan.stamp)
        if pose is None:
            self.facts["scans without a pose"] = str(int(self.facts.get("scans without a pose", 0)) + 1)
            return
        moved = np.inf if self._last is None else np.linalg.norm(pose[:3, 3] - self._last[:3, 3])
        if moved >= self.settings["spacing"]:
            self.map.add(vector, pose, scan.stamp)
            self._last = pose

    def build(
        self, messages: Messages, answer: Answer, placement: Placement, topics: Collection[str]
    ) -> dict[str, Any]:
        found: list[PlaceMatch] = answer.result
        about = header(messages, answer.scan.stamp, self.settings["fixed_frame"])
        built = {}
        if "pose" in topics and found:
            pose = _pose(messages, found[0])
            built["pose"] = messages.make("geometry_msgs/msg/PoseStamped", header=about, pose=pose)
        if "markers" in topics:
            array = MarkerList(messages, about)
            for rank, match in enumerate(found):
                place = match.pose[:3, 3]
                shade = (0.2, 0.9, 0.3, 0.8) if rank == 0 else (0.9, 0.8, 0.2, 0.5)
                array.add("places", SPHERE, place, ONE, (1, 1, 1), shade)
                text = f"{match.number}: {match.distance:.3f}"
                array.add("distances", TEXT, place + np.array([0, 0, 1.2]), ONE, (0, 0, 0.8), (1, 1, 1, 0.9), text=text)
            built["markers"] = array.message()
        return built

    def reset(self) -> None:
        super().reset()
        self._last = None

    def close(self) -> None:
        if self.settings["save_map"]:
            self.map.save(self.settings["save_map"])


def _pose(messages: Messages, match: PlaceMatch) -> Any:
    return pose_message(messages, match.pose[:3, 3], quaternion_of(match.pose[:3, :3]))
