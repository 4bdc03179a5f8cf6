"""The motion of every point from one scan to the next."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from perception.points import PointCloud
from perception.results import SceneFlow
from perception.scan_pair import ScanPair
from perception.scene_flow.ego_motion import estimate_ego_motion
from perception.scene_flow.ground import with_estimated_ground
from perception.scene_flow.methods import default_method, flow_method
from perception_ros.conversion.cloud_out import cloud_message
from perception_ros.conversion.messages import Messages
from perception_ros.conversion.placement import Placement
from perception_ros.core.motion import Motion
from perception_ros.core.poses import SECOND
from perception_ros.core.poses import motion as motion_between
from perception_ros.core.settings import Settings
from perception_ros.core.shared_voxels import VoxelCache
from perception_ros.tasks.task import Answer, Output, Scan, Task


class FlowTask(Task):
    """A flow model or a method without learning. The answer is of the scan before the newest, to the newest's time."""

    name = "flow"
    outputs = (Output("flow", "sensor_msgs/msg/PointCloud2"),)

    def __init__(self, settings: Settings, motion: Motion | None = None) -> None:
        super().__init__(settings, motion)
        self.method = flow_method(settings["model"] or default_method(), self.device)
        self._before: tuple[Scan, PointCloud, np.ndarray | None] | None = None
        self._step: np.ndarray | None = None

    def warm(self) -> None:
        generator = np.random.default_rng(0)
        xyz = (generator.random((2000, 3)) * [60, 60, 3] - [30, 30, 1.8]).astype(np.float32)
        self.method(ScanPair(PointCloud(xyz), PointCloud(xyz)))

    def process(self, scan: Scan, cache: VoxelCache) -> Answer | None:
        estimated = self.settings["motion"] == "estimate"
        pose = None if estimated else self.motion.pose(scan.cloud.frame, scan.stamp)
        cloud = with_estimated_ground(scan.cloud)
        before, self._before = self._before, (scan, cloud, pose)
        if before is None or not 0 < scan.stamp - before[0].stamp <= self.settings["longest_gap"] * SECOND:
            self._step = None
            return None
        first, first_cloud, first_pose = before
        if not len(first_cloud) or not len(cloud):
            step = np.eye(4)
        elif estimated:
            step = estimate_ego_motion(first_cloud, cloud, self._step)
            self._step = step
        elif pose is None or first_pose is None:
            self.facts["pairs without motion"] = str(int(self.facts.get("pairs without motion", 0)) + 1)
            return None
        else:
            step = motion_between(first_pose, pose)
        self.facts["sensor moved (m)"] = f"{np.linalg.norm(step[:3, 3]):.3f}"
        return Answer(first, self.method(ScanPair(first_cloud, cloud, step)))

    def build(
        self, messages: Messages, answer: Answer, placement: Placement, topics: Collection[str]
    ) -> dict[str, Any]:
        if "flow" not in topics:
            return {}
        found: SceneFlow = answer.result
        cloud, flow = answer.scan.cloud, found.flow.double().numpy()
        if placement.pose is not None:
            flow = flow @ placement.pose[:3, :3].T
        fields: dict[str, np.ndarray] = {f"flow_{axis}": flow[:, i].astype(np.float32) for i, axis in enumerate("xyz")}
        fields["moving"] = found.moving.numpy()
        moved = PointCloud(placement.points(cloud.xyz), origin=cloud.origin)
        return {"flow": cloud_message(messages, placement.header, moved, fields)}

    def reset(self) -> None:
        super().reset()
        self._before = self._step = None
