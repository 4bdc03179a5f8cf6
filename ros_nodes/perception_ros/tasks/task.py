"""What every node does with a cloud: the one interface between ROS or a bag and a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from perception.commands.scan_jobs import device_of
from perception.io.poses import pose_of
from perception.models.model import Model
from perception.points import PointCloud
from perception_ros.conversion.cloud_in import CloudOptions
from perception_ros.conversion.messages import Messages
from perception_ros.conversion.placement import Placement
from perception_ros.core.motion import Motion, NoMotion
from perception_ros.core.settings import Settings
from perception_ros.core.shared_voxels import VoxelCache


@dataclass(frozen=True)
class Output:
    """A topic (below the node's name) and its message; ``optional``: left out where the package is not installed."""

    topic: str
    type: str
    optional: bool = False


@dataclass(frozen=True, eq=False)
class Scan:
    """A cloud, its stamp in whole nanoseconds and the header that it came with."""

    cloud: PointCloud
    stamp: int
    header: Any


@dataclass(frozen=True, eq=False)
class Answer:
    """``result`` of ``scan``, whose header the messages get; the newest scan but for flow, which is the one before."""

    scan: Scan
    result: Any


class Task(ABC):
    """One head of a node. ``settings`` are its own; ``motion`` tells where the sensor was.

    Making one loads the model: PerceptionError says what is wrong with it. ``group`` is given by who runs several tasks
    on one cloud: models of the same group share voxels.
    """

    name: ClassVar[str]
    outputs: ClassVar[tuple[Output, ...]]
    model: Model | None = None
    group: int = 0

    def __init__(self, settings: Settings, motion: Motion | None = None) -> None:
        self.settings = settings
        self.motion = motion or NoMotion()
        if settings["threads"]:
            torch.set_num_threads(settings["threads"])
        self.facts: dict[str, str] = {}

    @property
    def device(self) -> torch.device:
        return device_of(self.settings["device"])

    @property
    def wanted(self) -> tuple[str, ...]:
        """Fields of points that the model reads."""
        return tuple(getattr(self.model.config, "point_fields", ())) if self.model is not None else ()

    @abstractmethod
    def warm(self) -> None:
        """Run once, so that the first cloud does not wait for compilation."""

    @abstractmethod
    def process(self, scan: Scan, cache: VoxelCache) -> Answer | None:
        """The answer to a scan; None where there is none yet. PerceptionError for a scan that it cannot work on."""

    @abstractmethod
    def build(
        self, messages: Messages, answer: Answer, placement: Placement, topics: Collection[str]
    ) -> dict[str, Any]:
        """The messages of those topics."""

    def reset(self) -> None:
        """The clock jumped: what is kept of earlier scans is of another time."""
        self.motion.reset()

    def close(self) -> None:  # noqa: B027 (most heads have nothing to save)
        """The node is cleaned up."""


def cloud_options(settings: Settings) -> CloudOptions:
    """What the settings say about reading clouds."""
    names = ("intensity_field", "intensity_scale", "intensity_when_absent", "drop_no_returns")
    return CloudOptions(*(settings[name] for name in names))


def mounting_of(settings: Settings) -> np.ndarray:
    """The sensor's pose (4, 4) that the parameter ``mounting`` has."""
    numbers = settings["mounting"]
    return pose_of(np.array(numbers), "mounting") if numbers else np.eye(4)
