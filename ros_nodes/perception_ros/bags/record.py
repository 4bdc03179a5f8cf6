"""Bags of public recordings: clouds with the sensor's motion as odometry and on /tf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.datasets.argoverse2.dataset import Argoverse2Log
from perception.datasets.kitti.raw import KittiRawDrive
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception_ros.bags.messages import BagMessages
from perception_ros.bags.reading import CLOUD, ODOMETRY, TRANSFORMS
from perception_ros.bags.writing import BagWriter
from perception_ros.conversion.cloud_out import cloud_message
from perception_ros.conversion.placement import header, pose_message
from perception_ros.core.poses import quaternion_of

PERIOD = 100_000_000  # ns between scans that have no stamp


@dataclass(frozen=True, eq=False)
class Shot:
    """A scan, its stamp (ns), and the sensor's pose (4, 4) where it is known."""

    cloud: PointCloud
    stamp: int
    pose: np.ndarray | None


def kitti_shots(folder: str | Path) -> Iterator[Shot]:
    """The whole scans of a KITTI raw drive."""
    drive = KittiRawDrive(folder, camera_view=False)
    for index in range(len(drive)):
        stamp = drive.stamp(index)
        nanoseconds = index * PERIOD if stamp is None else round(stamp * 1e9)
        yield Shot(drive.cloud(index), nanoseconds, drive.pose(index) if drive.has_pose(index) else None)


def argoverse_shots(folder: str | Path) -> Iterator[Shot]:
    """The sweeps of an Argoverse 2 log, in the frame of the vehicle."""
    log = Argoverse2Log(folder)
    for index, stamp in enumerate(log.stamps):
        yield Shot(log.cloud(index), int(stamp), log.pose(stamp))


SOURCES = {"kitti": kitti_shots, "argoverse2": argoverse_shots}


def record(
    source: str,
    folder: str | Path,
    out: str | Path,
    topic: str = "/points",
    frame: str = "lidar",
    fixed: str = "odom",
    storage: str = "mcap",
    limit: int | None = None,
) -> int:
    """Write a bag of a recording; how many clouds it has. Poses are relative to the first, so that they stay small."""
    if source not in SOURCES:
        raise PerceptionError(f"no source {source!r}", f"one of {', '.join(SOURCES)}")
    messages, number, first = BagMessages(), 0, None
    with BagWriter(out, messages, storage) as writer:
        for shot in SOURCES[source](folder):
            if limit is not None and number >= limit:
                break
            about = header(messages, shot.stamp, frame)
            if shot.pose is not None:
                first = np.linalg.inv(shot.pose) if first is None else first
                _write_motion(writer, messages, shot.stamp, fixed, frame, first @ shot.pose)
            writer.write(topic, CLOUD, shot.stamp, cloud_message(messages, about, shot.cloud))
            number += 1
    return number


def _write_motion(
    writer: BagWriter, messages: BagMessages, stamp: int, fixed: str, frame: str, pose: np.ndarray
) -> None:
    make, about = messages.make, header(messages, stamp, fixed)
    placed = pose_message(messages, pose[:3, 3], quaternion_of(pose[:3, :3]))
    with_covariance = make("geometry_msgs/msg/PoseWithCovariance", pose=placed)
    odometry = make(ODOMETRY, header=about, child_frame_id=frame, pose=with_covariance)
    writer.write("/odometry", ODOMETRY, stamp, odometry)
    place, turn = placed.position, placed.orientation
    move = make("geometry_msgs/msg/Vector3", x=place.x, y=place.y, z=place.z)
    transform = make("geometry_msgs/msg/Transform", translation=move, rotation=turn)
    stamped = make("geometry_msgs/msg/TransformStamped", header=about, child_frame_id=frame, transform=transform)
    writer.write("/tf", TRANSFORMS, stamp, make(TRANSFORMS, transforms=[stamped]))
