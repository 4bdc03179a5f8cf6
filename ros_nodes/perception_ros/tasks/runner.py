"""One cloud through all heads of a node: converted once, voxelised once, and only for who listens."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perception.models.model import Model
from perception_ros.conversion.cloud_in import CloudOptions, cloud_of
from perception_ros.conversion.messages import Messages
from perception_ros.conversion.placement import Placement
from perception_ros.conversion.stamps import nanoseconds_of
from perception_ros.core.clock import StampWatch
from perception_ros.core.frames import FrameTree
from perception_ros.core.shared_voxels import VoxelCache, voxel_groups
from perception_ros.tasks.task import Answer, Scan, Task


@dataclass(frozen=True)
class Target:
    """The frame that results are told in; empty for the cloud's own. ``wait`` seconds for its transform."""

    frame: str = ""
    wait: float = 0.0


class Runner:
    """The heads of a node. ``points``, ``dropped`` and ``voxelised`` are of the newest cloud."""

    def __init__(
        self,
        tasks: Sequence[Task],
        options: CloudOptions,
        frames: FrameTree | None = None,
        target: Target | None = None,
    ) -> None:
        self.tasks, self.options, self.frames, self.target = tuple(tasks), options, frames, target or Target()
        self.wanted = tuple(dict.fromkeys(name for task in tasks for name in task.wanted))
        self.clock = StampWatch()
        self.points = self.dropped = self.voxelised = 0
        with_models = [task for task in tasks if isinstance(task.model, Model)]
        for task, group in zip(with_models, voxel_groups([task.model for task in with_models if task.model])):
            task.group = group

    def warm(self) -> None:
        for task in self.tasks:
            task.warm()

    def read(self, message: Any) -> Scan:
        """A PointCloud2 as a scan. A stamp that jumps makes every head forget the past."""
        cloud = cloud_of(message, self.options, self.wanted)
        stamp = nanoseconds_of(message.header.stamp)
        if self.clock.jumped(stamp):
            for task in self.tasks:
                task.reset()
        self.points, self.dropped = len(cloud), cloud.dropped
        return Scan(cloud, stamp, message.header)

    def process(self, scan: Scan, heads: Collection[str]) -> dict[str, Answer]:
        """The answers of the named heads that have one."""
        cache, found = VoxelCache(), {}
        for task in self.tasks:
            if task.name in heads:
                answer = task.process(scan, cache)
                if answer is not None:
                    found[task.name] = answer
        self.voxelised = cache.made
        return found

    def build(
        self, messages: Messages, answers: Mapping[str, Answer], topics: Mapping[str, Collection[str]]
    ) -> dict[tuple[str, str], Any]:
        """The messages by head and topic, of the ``topics`` of each head."""
        built = {}
        for task in self.tasks:
            answer, asked = answers.get(task.name), topics.get(task.name, ())
            if answer is not None and asked:
                placement = self.placement(messages, answer)
                for topic, message in task.build(messages, answer, placement, asked).items():
                    built[task.name, topic] = message
        return built

    def placement(self, messages: Messages, answer: Answer) -> Placement:
        """The cloud's own header, or the target frame's. PerceptionError where tf does not know the frames."""
        header, frame = answer.scan.header, self.target.frame
        if not frame or frame == header.frame_id or self.frames is None:
            return Placement(header)
        pose = self.frames.lookup(frame, header.frame_id, answer.scan.stamp, self.target.wait)
        return Placement(messages.make("std_msgs/msg/Header", stamp=header.stamp, frame_id=frame), pose)

    def facts(self) -> dict[str, str]:
        """What the heads tell about the newest cloud; names are those of the heads where there are several."""
        several = len(self.tasks) > 1
        return {
            (f"{task.name}: {name}" if several else name): value
            for task in self.tasks
            for name, value in task.facts.items()
        }

    def close(self) -> None:
        for task in self.tasks:
            task.close()
