"""Messages by their ROS name, made from rclpy's classes or from rosbags', whichever is there."""

from __future__ import annotations

import array
import importlib
from typing import Any, Protocol

import numpy as np

from perception.errors import PerceptionError


class Messages(Protocol):
    """Makes messages; ``type_name`` is like "sensor_msgs/msg/PointCloud2".

    Fields that are not given have their default.
    """

    def has(self, name: str) -> bool:
        """Whether the message's package is there."""
        ...

    def make(self, type_name: str, /, **fields: Any) -> Any: ...

    def data(self, values: np.ndarray) -> Any:
        """The bytes of an array as a uint8[] field."""
        ...


class RosMessages:
    """Messages of the ROS installation."""

    def __init__(self) -> None:
        self._types: dict[str, Any] = {}

    def has(self, name: str) -> bool:
        try:
            self.type(name)
        except PerceptionError:
            return False
        return True

    def type(self, name: str) -> Any:
        """The message's class; PerceptionError where its package is not installed."""
        if name not in self._types:
            self._types[name] = self._found(name)
        return self._types[name]

    def _found(self, name: str) -> Any:
        package, _, kind = name.split("/")
        try:
            return getattr(importlib.import_module(f"{package}.msg"), kind)
        except (ImportError, AttributeError) as error:
            raise PerceptionError(
                f"the messages {name} cannot be loaded: {error}",
                f"the ROS package {package}",
                f"apt install ros-$ROS_DISTRO-{package.replace('_', '-')}",
            ) from None

    def make(self, type_name: str, /, **fields: Any) -> Any:
        message = self.type(type_name)()
        for field, value in fields.items():
            setattr(message, field, value)
        return message

    def data(self, values: np.ndarray) -> array.array[int]:
        # rclpy checks other sequences value by value: 400 ms for one cloud.
        buffer = array.array("B")
        buffer.frombytes(memoryview(np.ascontiguousarray(values).reshape(-1)).cast("B"))
        return buffer
