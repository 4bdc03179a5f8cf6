"""Odometry and tf as a node hears them, subscribed to only where something asks for them."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from perception.errors import PerceptionError
from perception_ros.conversion.messages import RosMessages
from perception_ros.core.frames import FrameTree
from perception_ros.core.motion import FrameMotion, Motion, NoMotion, OdometryMotion
from perception_ros.core.settings import Settings
from perception_ros.tasks.task import mounting_of

TRANSFORMS = "tf2_msgs/msg/TFMessage"


class MotionInputs:
    """What a node's heads share: one tree of frames, one subscription a topic, made when they are first needed."""

    def __init__(self, node: Node, messages: RosMessages) -> None:
        self._node, self._messages = node, messages
        self._frames: FrameTree | None = None
        self._odometry: list[OdometryMotion] = []
        self._subscriptions: list[Any] = []

    def motion(self, settings: Settings) -> Motion:
        """The source that the parameter ``motion`` names. Raises PerceptionError where its messages are missing."""
        kind = settings.get("motion", "none")
        if kind == "tf":
            return FrameMotion(self.frames(), settings["fixed_frame"], settings["transform_wait"])
        if kind == "odometry":
            source = OdometryMotion(mounting_of(settings))
            if not self._odometry:
                self._subscribe("nav_msgs/msg/Odometry", "odometry", QoSProfile(depth=50), self._hear_odometry)
            self._odometry.append(source)
            return source
        return NoMotion()

    def frames(self) -> FrameTree:
        """The tree of frames, fed by /tf and /tf_static."""
        if self._frames is None:
            if not self._messages.has(TRANSFORMS):
                self._messages.type(TRANSFORMS)  # the error that says how to install it
            self._frames = FrameTree()
            fixed = QoSProfile(
                depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
            )
            self._subscribe(TRANSFORMS, "/tf", QoSProfile(depth=100), lambda m: self._hear_frames(m, False))
            self._subscribe(TRANSFORMS, "/tf_static", fixed, lambda m: self._hear_frames(m, True))
        return self._frames

    def close(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._odometry.clear()
        self._frames = None

    def _subscribe(self, type_name: str, topic: str, profile: QoSProfile, hear: Any) -> None:
        kind = self._messages.type(type_name)
        self._subscriptions.append(self._node.create_subscription(kind, topic, hear, profile))

    def _hear_odometry(self, message: Any) -> None:
        for source in self._odometry:
            self._guarded(source.add_message, message)

    def _hear_frames(self, message: Any, fixed: bool) -> None:
        if self._frames is not None:
            self._guarded(self._frames.add_message, message, fixed)

    def _guarded(self, hear: Any, *arguments: Any) -> None:
        try:
            hear(*arguments)
        except PerceptionError as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=5.0)
