"""Boxes in each cloud, or in the last several sweeps."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from perception.errors import PerceptionError
from perception.models.detector import Detector
from perception.models.loading import load
from perception.results import Detections
from perception_ros.conversion.boxes_out import DETECTIONS, detections_message
from perception_ros.conversion.markers_out import MARKERS, box_markers
from perception_ros.conversion.messages import Messages
from perception_ros.conversion.placement import Placement
from perception_ros.core.motion import Motion
from perception_ros.core.settings import Settings
from perception_ros.core.shared_voxels import VoxelCache
from perception_ros.core.sweeps import TIME, SweepRing
from perception_ros.tasks.box_task import BoxTask
from perception_ros.tasks.task import Answer, Output, Scan


class DetectionTask(BoxTask):
    """A detector; with ``sweeps`` above 1, or for a model that reads ``time``, past sweeps come along."""

    name = "detection"
    outputs = (Output("detections", DETECTIONS, optional=True), Output("markers", MARKERS))

    def __init__(self, settings: Settings, motion: Motion | None = None) -> None:
        super().__init__(settings, motion)
        model = load(settings["model"], self.device)
        if not isinstance(model, Detector) or model.task != "detection":
            raise PerceptionError(
                f"{settings['model']} is a model for {model.task}", "a detector", "see `perception models`"
            )
        if model.reads_images:
            raise PerceptionError(f"{settings['model']} reads camera images", "a detector of lidar alone")
        self.model = model
        several = settings["sweeps"] > 1 or TIME in self.wanted
        self.ring = (
            SweepRing(settings["sweeps"], self.motion, settings["sweeps_age"], settings["near"]) if several else None
        )

    def process(self, scan: Scan, cache: VoxelCache) -> Answer:
        cloud = scan.cloud
        if self.ring is not None:
            cloud, cache = self.ring.push(cloud, scan.stamp), VoxelCache()  # no other head sees this cloud
            self.facts["sweeps without motion"] = str(self.ring.unplaced)
        return Answer(scan, self.seen(cloud, cache))

    def build(
        self, messages: Messages, answer: Answer, placement: Placement, topics: Collection[str]
    ) -> dict[str, Any]:
        found: Detections = answer.result
        built = {}
        if "detections" in topics:
            built["detections"] = detections_message(messages, found, placement)
        if "markers" in topics:
            lifetime, text = self.settings["marker_lifetime"], self.settings["marker_text"]
            built["markers"] = box_markers(messages, found, placement, lifetime, text)
        return built

    def reset(self) -> None:
        super().reset()
        if self.ring is not None:
            self.ring.reset()
