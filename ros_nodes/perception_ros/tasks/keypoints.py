"""People and their joints in each cloud."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from perception.errors import PerceptionError
from perception.models.loading import load
from perception.models.voxelkp import VoxelKP
from perception.points import PointCloud
from perception.results import Skeletons
from perception_ros.conversion.cloud_out import cloud_message
from perception_ros.conversion.markers_out import MARKERS, skeleton_markers
from perception_ros.conversion.messages import Messages
from perception_ros.conversion.placement import Placement
from perception_ros.core.motion import Motion
from perception_ros.core.settings import Settings
from perception_ros.core.shared_voxels import VoxelCache
from perception_ros.tasks.box_task import BoxTask
from perception_ros.tasks.task import Answer, Output, Scan


class KeypointTask(BoxTask):
    """A model of skeletons. Joints also go out as a cloud: x y z, visibility, score, joint and person."""

    name = "keypoints"
    outputs = (Output("keypoints", "sensor_msgs/msg/PointCloud2"), Output("markers", MARKERS))

    def __init__(self, settings: Settings, motion: Motion | None = None) -> None:
        super().__init__(settings, motion)
        model = load(settings["model"], self.device)
        if not isinstance(model, VoxelKP):
            raise PerceptionError(
                f"{settings['model']} is a model for {model.task}", "a model of keypoints", "`perception models`"
            )
        self.model = model

    def process(self, scan: Scan, cache: VoxelCache) -> Answer:
        return Answer(scan, self.seen(scan.cloud, cache))

    def build(
        self, messages: Messages, answer: Answer, placement: Placement, topics: Collection[str]
    ) -> dict[str, Any]:
        found: Skeletons = answer.result
        built = {}
        if "keypoints" in topics:
            cloud = joints_cloud(found)
            moved = cloud.with_xyz(placement.points(cloud.xyz).astype(np.float32))
            built["keypoints"] = cloud_message(messages, placement.header, moved)
        if "markers" in topics:
            visible, lifetime = self.settings["joint_visibility"], self.settings["marker_lifetime"]
            built["markers"] = skeleton_markers(messages, found, placement, visible, lifetime)
        return built


def joints_cloud(found: Skeletons) -> PointCloud:
    """One point a joint, person by person, joints in the model's order."""
    people, joints = found.visibility.shape if len(found) else (0, len(found.joint_names))
    return PointCloud(
        found.keypoints.float().numpy().reshape(-1, 3),
        {
            "visibility": found.visibility.float().numpy().reshape(-1),
            "score": np.repeat(found.scores.float().numpy(), joints),
            "joint": np.tile(np.arange(joints, dtype=np.uint8), people),
            "person": np.repeat(np.arange(people, dtype=np.uint16), joints),
        },
    )
