"""Individual trees of a cloud: seconds a cloud, meant for maps and plots rather than for every scan."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from perception.errors import PerceptionError
from perception.models.loading import load
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.attributes import measure_trees
from perception.trees.classical import METHODS
from perception.trees.whole_cloud import segment_trees, thinned
from perception_ros.conversion.cloud_out import cloud_message
from perception_ros.conversion.markers_out import CYLINDER, MARKERS, ONE, TEXT, MarkerList
from perception_ros.conversion.messages import Messages
from perception_ros.conversion.placement import Placement
from perception_ros.core.motion import Motion
from perception_ros.core.settings import Settings
from perception_ros.core.shared_voxels import VoxelCache
from perception_ros.tasks.task import Answer, Output, Scan, Task


class TreeTask(Task):
    """A tree model or a classical method over whole clouds."""

    name = "trees"
    outputs = (Output("trees", "sensor_msgs/msg/PointCloud2"), Output("markers", MARKERS))

    def __init__(self, settings: Settings, motion: Motion | None = None) -> None:
        super().__init__(settings, motion)
        name = settings["model"]
        self.method: Any = name
        if name not in METHODS:
            self.model = self.method = load(name, self.device)
            if self.model.task != "trees":
                raise PerceptionError(f"{name} is a model for {self.model.task}", "a model of trees, or a method")

    @property
    def wanted(self) -> tuple[str, ...]:
        return ()

    def warm(self) -> None:
        return None  # seconds a cloud: what compilation adds to the first one does not matter

    def process(self, scan: Scan, cache: VoxelCache) -> Answer:
        cloud = PointCloud(scan.cloud.xyz, {}, scan.cloud.origin, frame=scan.cloud.frame)
        size = self.settings["thinning"]
        if not size or not len(cloud):
            found = segment_trees(self.method, cloud)
        else:
            chosen, cell = thinned(cloud.xyz, size)
            thin = segment_trees(self.method, cloud.select(chosen))
            found = TreeInstances(thin.tree_id[cell], thin.tree_score[cell], thin.semantic[cell])
        self.facts["trees"] = str(int(found.tree_id.max()) if len(cloud) else 0)
        return Answer(scan, found)

    def build(
        self, messages: Messages, answer: Answer, placement: Placement, topics: Collection[str]
    ) -> dict[str, Any]:
        found: TreeInstances = answer.result
        cloud, built = answer.scan.cloud, {}
        if "trees" in topics:
            fields = {
                "tree_id": found.tree_id.numpy().astype(np.int32),
                "tree_score": found.tree_score.numpy().astype(np.float32),
                "semantic": found.semantic.numpy().astype(np.uint8),
            }
            moved = PointCloud(placement.points(cloud.xyz), origin=cloud.origin)
            built["trees"] = cloud_message(messages, placement.header, moved, fields)
        if "markers" in topics:
            built["markers"] = self._markers(messages, cloud, found, placement)
        return built

    def _markers(self, messages: Messages, cloud: PointCloud, found: TreeInstances, placement: Placement) -> Any:
        array = MarkerList(messages, placement.header, self.settings["marker_lifetime"])
        turn = placement.turns(np.zeros(1))[0]
        for tree in measure_trees(cloud, found) if len(cloud) else []:
            middle = placement.points(np.array([tree.x, tree.y, tree.z + tree.height / 2]))
            top = placement.points(np.array([tree.x, tree.y, tree.z + tree.height + 0.5]))
            scale = (max(tree.crown_diameter, 0.1), max(tree.crown_diameter, 0.1), max(tree.height, 0.1))
            array.add("trees", CYLINDER, middle, turn, scale, (0.2, 0.7, 0.3, 0.25))
            array.add(
                "heights", TEXT, top, ONE, (0, 0, 1.0), (1, 1, 1, 0.9), text=f"{tree.tree_id}: {tree.height:.1f} m"
            )
        return array.message()
