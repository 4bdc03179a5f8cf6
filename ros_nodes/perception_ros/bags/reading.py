"""Bags as messages in order: .db3, .mcap or the folder around one, checked before they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.errors import PerceptionError, nearest
from perception_ros.bags.messages import typestore

CLOUD = "sensor_msgs/msg/PointCloud2"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = "tf2_msgs/msg/TFMessage"


@dataclass(frozen=True, eq=False)
class Recorded:
    """A message, its topic and type, and when it was recorded (ns)."""

    topic: str
    type: str
    time: int
    message: Any


class BagReader:
    """The messages of a bag. ``topics``: name -> type."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise PerceptionError(f"no bag {self.path}", "a folder with metadata.yaml, a .db3 or an .mcap file")
        self.store = typestore()
        from rosbags.highlevel import AnyReader

        try:
            self._reader = AnyReader([self._folder()], default_typestore=self.store)
            self._reader.open()
        except Exception as error:  # rosbags raises its own and those of its parts
            raise PerceptionError(
                f"{self.path} cannot be read as a bag: {error}", "a whole ROS 2 bag", "ros2 bag reindex may repair it"
            ) from None
        self.topics = {c.topic: c.msgtype for c in self._reader.connections}

    def _folder(self) -> Path:
        """rosbags opens folders, and newer ones files too; metadata stands beside a file."""
        beside = self.path.parent / "metadata.yaml"
        return self.path.parent if self.path.is_file() and beside.is_file() else self.path

    def cloud_topic(self, asked: str | None) -> str:
        """The topic of clouds: the one that is asked for, or the only one there is."""
        clouds = [topic for topic, kind in self.topics.items() if kind == CLOUD]
        if asked is not None:
            if asked not in clouds:
                hint = nearest(asked, clouds) if clouds else "the bag has no clouds"
                raise PerceptionError(f"no clouds on {asked!r} in {self.path}", f"a topic of {CLOUD}", hint)
            return asked
        if len(clouds) != 1:
            raise PerceptionError(
                f"{self.path} has {len(clouds)} topics of clouds: {', '.join(clouds) or 'none'}", "one", "name --topic"
            )
        return clouds[0]

    def messages(self, topics: set[str]) -> Iterator[Recorded]:
        """The messages of some topics in the order in which they were recorded."""
        chosen = [c for c in self._reader.connections if c.topic in topics]
        for connection, time, raw in self._reader.messages(connections=chosen) if chosen else ():
            try:
                message = self._reader.deserialize(raw, connection.msgtype)
            except Exception as error:
                raise PerceptionError(
                    f"a message of {connection.topic} in {self.path} is damaged: {error}", connection.msgtype
                ) from None
            yield Recorded(connection.topic, connection.msgtype, time, message)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
