"""Detections -> vision_msgs/Detection3DArray."""

from __future__ import annotations

from typing import Any

from perception.results import Detections
from perception_ros.conversion.messages import Messages
from perception_ros.conversion.placement import Placement, pose_message

DETECTIONS = "vision_msgs/msg/Detection3DArray"


def detections_message(messages: Messages, found: Detections, placement: Placement) -> Any:
    """One Detection3D a box, best first: its class as ``class_id``, its score, its pose also in the hypothesis."""
    make, values = messages.make, found.boxes.values.double().numpy()
    places, turns = placement.points(values[:, :3]), placement.turns(values[:, 6])
    listed = []
    for row, (name, score) in enumerate(zip(found.names, found.scores.tolist())):
        pose = pose_message(messages, places[row], turns[row])
        length, width, height = (float(v) for v in values[row, 3:6])
        size = make("geometry_msgs/msg/Vector3", x=length, y=width, z=height)
        hypothesis = make("vision_msgs/msg/ObjectHypothesis", class_id=name, score=float(score))
        placed = make("geometry_msgs/msg/PoseWithCovariance", pose=pose)
        result = make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=placed)
        box = make("vision_msgs/msg/BoundingBox3D", center=pose, size=size)
        listed.append(
            make("vision_msgs/msg/Detection3D", header=placement.header, results=[result], bbox=box, id=str(row))
        )
    return make(DETECTIONS, header=placement.header, detections=listed)
