"""The Waymo Open Dataset, v2 (Parquet), boxes and points in the vehicle's frame.

Sun et al., CVPR 2020; format as published with the v2 release. No range image of the release was at hand when this
was written: see docs/datasets.md for what it was held against.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.sample import Objects, Sample
from perception.datasets.waymo.labels import BOX_COLUMNS, JOINT_COLUMNS, box_objects, joint_attributes
from perception.datasets.waymo.range_image import (
    CHANNELS,
    POSE_CHANNELS,
    LaserCalibration,
    LaserPoints,
    image_of,
    points_of,
)
from perception.datasets.waymo.segment import (
    LASER,
    LASERS,
    LAYOUT,
    PIXEL_POSE,
    RETURNS,
    TOP,
    Component,
    range_image_columns,
    read_calibrations,
    read_stats,
    read_vehicle_poses,
)
from perception.errors import PerceptionError, nearest
from perception.points import PointCloud

SQUASHABLE = ("intensity", "elongation")


class WaymoSegment:
    """The frames of one segment as samples.

    Clouds hold ``intensity`` and ``elongation``, those named in ``squashed`` after tanh, as the published detectors
    take them (raw intensities reach thousands); ``laser`` (1 top, 2 front, 3 side left, 4 side right, 5 rear),
    ``echo`` (1 or 2, with ``second_return``) and ``no_label_zone``, whether the point lies where nobody labelled;
    ``drop_no_label_zones`` leaves those out. ``cloud.stamp`` is in seconds since 1970; ``cloud.metadata`` holds
    ``pose`` (4, 4) from the vehicle's frame to the world's, and time of day, location and weather where ``stats`` is
    there.

    Objects as ``box_objects`` tells; None for segments without lidar_box. With ``keypoints`` they have the attributes
    of ``joint_attributes`` too, from the component lidar_hkp.
    """

    def __init__(
        self,
        split: str | Path,
        name: str,
        second_return: bool = True,
        lasers: Iterable[int] = tuple(LASERS),
        squashed: Iterable[str] = SQUASHABLE,
        drop_no_label_zones: bool = False,
        signs: bool = False,
        labelled: bool = False,
        keypoints: bool = False,
    ) -> None:
        self.split, self.name = Path(split), name
        self.lasers, self.squashed = tuple(lasers), tuple(squashed)
        self.drop_no_label_zones, self.signs = drop_no_label_zones, signs
        if not self.lasers or set(self.lasers) - set(LASERS):
            raise PerceptionError(f"lasers {self.lasers}", f"some of {tuple(LASERS)}", "")
        if set(self.squashed) - set(SQUASHABLE):
            raise PerceptionError(f"squashed fields {self.squashed}", f"some of {SQUASHABLE}", "")
        self._returns = RETURNS if second_return else RETURNS[:1]
        images = [column for prefix in self._returns for column in range_image_columns(prefix)]
        self._lidar = Component(self.split, "lidar", name, (LASER, *images))
        self._pixels = Component(self.split, "lidar_pose", name, (LASER, *range_image_columns(PIXEL_POSE)))
        self._boxes = self._optional("lidar_box", BOX_COLUMNS)
        self._joints = Component(self.split, "lidar_hkp", name, JOINT_COLUMNS) if keypoints else None
        if labelled and self._boxes is None:
            raise PerceptionError(
                f"segment {name} has no lidar_box in {self.split}",
                "a labelled segment",
                "download lidar_box, or use the training or validation split",
            )

    @cached_property
    def stamps(self) -> tuple[int, ...]:
        """Stamps of the frames in microseconds, in order of time."""
        return tuple(sorted(self._lidar.by_stamp))

    @cached_property
    def calibrations(self) -> dict[int, LaserCalibration]:
        """Calibration of each laser by its number."""
        return read_calibrations(self.split, self.name)

    @cached_property
    def poses(self) -> dict[int, np.ndarray]:
        """Poses (4, 4) from the vehicle's frame to the world's by stamp."""
        return read_vehicle_poses(self.split, self.name)

    @cached_property
    def _stats(self) -> dict[int, object]:
        return dict(read_stats(self.split, self.name))

    def __len__(self) -> int:
        return len(self.stamps)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.identifier(index), self.cloud(index), self.objects(index), self.calibrations)

    def identifier(self, index: int) -> str:
        """``<segment>/<stamp in microseconds>``."""
        return f"{self.name}/{self.stamps[index]}"

    def pose(self, index: int) -> np.ndarray:
        """The vehicle's pose at a frame."""
        stamp = self.stamps[index]
        if stamp not in self.poses:
            raise PerceptionError(
                f"vehicle_pose of segment {self.name} has no frame {stamp}",
                "a pose of every frame",
                "download it again",
            )
        return self.poses[stamp]

    def objects(self, index: int) -> Objects | None:
        """The labelled objects of a frame, none where it has no rows."""
        if self._boxes is None:
            return None
        stamp = self.stamps[index]
        found = box_objects(self._boxes.at(stamp), self.pose(index), self.signs, f"{self._boxes.path}, frame {stamp}")
        if self._joints is None:
            return found
        rows = self._joints.at(stamp)
        joints = joint_attributes(rows, found.attributes["track"], f"{self._joints.path}, frame {stamp}")
        return Objects(found.boxes, found.names, {**found.attributes, **joints})

    def cloud(self, index: int) -> PointCloud:
        """The points of a frame: laser by laser, first returns before second ones."""
        stamp, pose = self.stamps[index], self.pose(index)
        pixels = self._pixel_poses(stamp)
        rows = {int(row[LASER]): row for row in self._lidar.at(stamp)}
        absent = [laser for laser in self.lasers if laser not in rows]
        if absent:
            raise PerceptionError(
                f"{self._lidar.path}, frame {stamp}: lasers {sorted(rows)}, without {absent[0]}",
                "all chosen lasers",
                "",
            )
        parts: list[LaserPoints] = []
        tags: list[tuple[int, int]] = []
        for laser in self.lasers:
            where = f"{self._lidar.path}, frame {stamp}, laser {LASERS[laser]}"
            if laser not in self.calibrations:
                raise PerceptionError(f"{where}: no row in lidar_calibration", "one of every laser", "")
            for echo, prefix in enumerate(self._returns, 1):
                values, shape = (rows[laser][name] for name in range_image_columns(prefix))
                image = image_of(values, shape, CHANNELS, where)
                parts.append(points_of(image, self.calibrations[laser], where, pixels.get(laser), pose))
                tags.append((laser, echo))
        return self._assemble(parts, tags, stamp, pose)

    def close(self) -> None:
        """Let go of open files and of what is decoded of them."""
        for component in (self._lidar, self._pixels, self._boxes, self._joints):
            if component is not None:
                component.close()

    def _pixel_poses(self, stamp: int) -> dict[int, np.ndarray]:
        where = f"{self._pixels.path}, frame {stamp}"
        values, shape = range_image_columns(PIXEL_POSE)
        found = {
            int(row[LASER]): image_of(row[values], row[shape], POSE_CHANNELS, where) for row in self._pixels.at(stamp)
        }
        if TOP in self.lasers and TOP not in found:
            raise PerceptionError(f"{where}: no poses of the top lidar's pixels", "one row a frame", "")
        return found

    def _assemble(
        self, parts: Sequence[LaserPoints], tags: Sequence[tuple[int, int]], stamp: int, pose: np.ndarray
    ) -> PointCloud:
        fields = {name: np.concatenate([getattr(p, name) for p in parts]) for name in (*SQUASHABLE, "no_label_zone")}
        fields |= {name: np.tanh(fields[name]) for name in self.squashed}
        counts = [len(p.xyz) for p in parts]
        fields |= {"laser": np.repeat(np.array([t[0] for t in tags], np.uint8), counts)}
        fields |= {"echo": np.repeat(np.array([t[1] for t in tags], np.uint8), counts)}
        cloud = PointCloud(
            np.concatenate([p.xyz for p in parts]).astype(np.float32),
            fields,
            frame="vehicle",
            stamp=stamp / 1e6,
            metadata={"format": "waymo", "pose": pose, **(self._stats.get(stamp) or {})},  # type: ignore[dict-item]
        )
        return cloud.select(~fields["no_label_zone"]) if self.drop_no_label_zones else cloud

    def _optional(self, name: str, columns: tuple[str, ...]) -> Component | None:
        there = (self.split / name / f"{self.name}.parquet").is_file()
        return Component(self.split, name, self.name, columns) if there else None


class Waymo:
    """Several segments as one data set, in the order of their names, then of time.

    ``root`` is the folder of the splits (training, validation, testing) or one split's; ``segments`` chooses by name.
    ``options`` are those of ``WaymoSegment``. Each process keeps the files of one segment open at a time.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "training",
        segments: Iterable[str] | None = None,
        **options: Any,
    ) -> None:
        folder = Path(root) / split if (Path(root) / split).is_dir() else Path(root)
        known = sorted(path.stem for path in (folder / "lidar").glob("*.parquet"))
        wanted = known if segments is None else list(segments)
        absent = [name for name in wanted if name not in known]
        if absent or not wanted:
            raise PerceptionError(
                f"{folder} has no segment {absent[0]!r}" if absent else f"{folder} has no segments in lidar/",
                f"the published layout: {LAYOUT}",
                nearest(absent[0], known) if absent and known else "pass the folder that holds training/",
            )
        self.segments = tuple(WaymoSegment(folder, name, **options) for name in wanted)
        self._current: WaymoSegment | None = None

    @cached_property
    def _ends(self) -> np.ndarray:
        ends = np.cumsum([len(segment) for segment in self.segments])
        for segment in self.segments:
            segment.close()
        return ends

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        number = int(np.searchsorted(self._ends, index, side="right"))
        segment = self.segments[number]
        if self._current is not None and self._current is not segment:
            self._current.close()
        self._current = segment
        return segment[index - int(self._ends[number]) + len(segment)]

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Names of all frames, their points unread."""
        return tuple(segment.identifier(i) for segment in self.segments for i in range(len(segment)))
