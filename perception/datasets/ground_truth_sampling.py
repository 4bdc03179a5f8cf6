"""Ground-truth sampling: paste objects of other recordings where they collide with nothing.

Yan, Mao, Li, "SECOND: Sparsely Embedded Convolutional Detection", Sensors 2018, section 3.3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.config import config
from perception.datasets.ground_truth_database import GroundTruthDatabase, read_database
from perception.datasets.keypoint_attributes import KEYPOINTS
from perception.datasets.kitti.calibration import KittiCalibration
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError, nearest
from perception.geometry import bev_iou, points_in_boxes
from perception.points import PointCloud


@config
class GroundTruthSamplingConfig:
    """Where pasted objects come from and how many; the defaults are the usual recipe for KITTI.

    ``groups``: for each class how many objects a scene should have (or get, without ``fill_up``); ``min_points`` that a
    pasted object must have; ``exclude_difficulties`` never pasted (-1: harder than hard); ``road_plane``: stand pasted
    objects on the recording's road plane where its calibration has one; ``off_for_last`` epochs nothing is pasted, so
    that training ends on scenes as they are.
    """

    database: str
    groups: dict[str, int] = field(default_factory=lambda: {"Car": 15, "Pedestrian": 10, "Cyclist": 10})
    min_points: int = 5
    exclude_difficulties: tuple[int, ...] = (-1,)
    fill_up: bool = True
    road_plane: bool = True
    off_for_last: int = 0

    def __post_init__(self) -> None:
        if self.off_for_last < 0:
            raise PerceptionError(f"ground-truth sampling: off_for_last = {self.off_for_last}", "a number of epochs")
        if min(self.groups.values(), default=0) < 0 or not self.groups:
            raise PerceptionError(f"ground-truth sampling: groups = {self.groups}", "a count from 0 up for each class")


@dataclass(frozen=True, eq=False)
class GroundTruthSampling:
    """The augmentation; ``pools`` holds for each class the numbers of the database's objects to choose from."""

    database: GroundTruthDatabase
    pools: Mapping[str, np.ndarray]
    settings: GroundTruthSamplingConfig

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        if sample.objects is None:
            return sample
        chosen = self._draw(sample.objects.names, generator)
        chosen = chosen[without_collision(sample.objects.boxes, self.database.boxes_of(chosen))]
        if not len(chosen):
            return sample
        boxes, pasted = self.database.boxes_of(chosen), self.database.points_of(chosen)
        attributes = {"difficulty": self.database.difficulty[chosen], **self.database.joints_of(chosen)}
        if self.settings.road_plane:
            placed = boxes.centre
            boxes, pasted = _on_the_road(boxes, pasted, self.database.point_counts[chosen], sample.calibration)
            if KEYPOINTS in attributes:
                attributes[KEYPOINTS] = attributes[KEYPOINTS] + (boxes.centre - placed).numpy()[:, None]
        objects = Objects(boxes, self.database.names[chosen], attributes)
        return replace(sample, cloud=_paste(sample.cloud, boxes, pasted), objects=_append(sample.objects, objects))

    def _draw(self, present: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        drawn = [np.zeros(0, np.int64)]
        for name, count in self.settings.groups.items():
            pool = self.pools[name]
            wanted = count - int((present == name).sum()) if self.settings.fill_up else count
            drawn.append(generator.choice(pool, size=min(max(wanted, 0), len(pool)), replace=False))
        return np.concatenate(drawn)


def load_ground_truth_sampling(
    settings: GroundTruthSamplingConfig, classes: Sequence[str] | None = None
) -> GroundTruthSampling:
    """Read the database and sort its objects into pools; a group that is no class of the model is an error."""
    for name in settings.groups:
        if classes is not None and name not in classes:
            raise PerceptionError(
                f"ground-truth sampling of {name!r}",
                f"classes of the model: {', '.join(classes)}",
                nearest(name, classes),
            )
    return make_ground_truth_sampling(read_database(settings.database), settings)


def make_ground_truth_sampling(
    database: GroundTruthDatabase, settings: GroundTruthSamplingConfig
) -> GroundTruthSampling:
    """As ``load_ground_truth_sampling``, from a database in memory."""
    usable = (database.point_counts >= settings.min_points) & ~np.isin(
        database.difficulty, np.array(settings.exclude_difficulties, dtype=np.int64)
    )
    pools = {name: np.flatnonzero(usable & (database.names == name)) for name in settings.groups}
    if not any(len(pool) for pool in pools.values()):
        raise PerceptionError(
            f"no usable object of {', '.join(settings.groups)} among {len(database)} in the database",
            f"objects with {settings.min_points} points and a difficulty other than {settings.exclude_difficulties}",
            f"classes in the database: {', '.join(sorted(set(database.names.tolist())))}",
        )
    return GroundTruthSampling(database, pools, settings)


def without_collision(existing: Boxes3D, candidates: Boxes3D) -> np.ndarray:
    """Numbers of the candidates that can be pasted: none overlaps, seen from above, an existing or an earlier one."""
    if not len(candidates):
        return np.zeros(0, np.int64)
    both = torch.cat([existing.values.to(candidates.values.dtype), candidates.values])
    overlaps = (bev_iou(candidates.values, both) > 0).numpy()
    taken = np.concatenate([np.ones(len(existing), bool), np.zeros(len(candidates), bool)])
    for number in range(len(candidates)):
        taken[len(existing) + number] = not (overlaps[number] & taken).any()
    return np.flatnonzero(taken[len(existing) :])


def _on_the_road(
    boxes: Boxes3D, pasted: PointCloud, counts: np.ndarray, calibration: object
) -> tuple[Boxes3D, PointCloud]:
    """Moved up or down until the bottoms of the boxes touch the recording's road plane, if it is known."""
    if not isinstance(calibration, KittiCalibration) or calibration.road_plane is None:
        return boxes, pasted
    values = boxes.values.clone()
    centre = calibration.to_rectified(values[:, :3].numpy())
    a, b, c, d = calibration.road_plane
    centre[:, 1] = -(a * centre[:, 0] + c * centre[:, 2] + d) / b
    road = torch.from_numpy(calibration.to_lidar(centre)[:, 2]).to(values.dtype)
    rise = road + values[:, 5] / 2 - values[:, 2]
    values[:, 2] += rise
    xyz = pasted.xyz.copy()
    xyz[:, 2] += np.repeat(rise.numpy(), counts)
    return Boxes3D(values, boxes.velocity), pasted.with_xyz(xyz)


def _paste(cloud: PointCloud, boxes: Boxes3D, pasted: PointCloud) -> PointCloud:
    """The cloud without its points inside the boxes, then the objects' points."""
    absent = sorted(set(cloud.fields) - set(pasted.fields))
    if absent:
        raise PerceptionError(
            f"objects of the database lack the point fields {absent}",
            f"the fields of the recording: {sorted(cloud.fields)}",
            "build the database from the same data set",
        )
    free = ~points_in_boxes(torch.from_numpy(cloud.xyz), boxes.values).any(1).numpy()
    kept = cloud.select(free)
    fields = {
        name: np.concatenate([values, pasted.fields[name].astype(values.dtype)]) for name, values in kept.fields.items()
    }
    return replace(kept, xyz=np.concatenate([kept.xyz, pasted.xyz]), fields=fields)


def _append(objects: Objects, pasted: Objects) -> Objects:
    """Both, with all attributes of the first; what is not known of the pasted is NaN, -1 or empty."""
    attributes = {}
    for name, values in objects.attributes.items():
        unknown = np.nan if values.dtype.kind == "f" else -1 if values.dtype.kind == "i" else values.dtype.type()
        fill = np.full((len(pasted), *values.shape[1:]), unknown, dtype=values.dtype)
        attributes[name] = np.concatenate([values, pasted.attributes.get(name, fill).astype(values.dtype)])
    boxes = pasted.boxes
    if objects.boxes.velocity is not None and boxes.velocity is None:
        raise PerceptionError(
            "objects of the database have no velocity", "velocities as in the recording", "build it from the same data"
        )
    velocity = boxes.velocity if objects.boxes.velocity is not None else None
    added = Boxes3D(boxes.values.to(objects.boxes.values.dtype), velocity)
    return Objects(
        Boxes3D.concatenate([objects.boxes, added]),
        np.concatenate([objects.names.astype(str), pasted.names.astype(str)]),
        attributes,
    )
