"""A database of objects cut out of recordings, for pasting into others: one .npz file without pickles.

Yan, Mao, Li, "SECOND: Sparsely Embedded Convolutional Detection", Sensors 2018, section 3.3.1.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy

from perception.boxes import Boxes3D
from perception.datasets.keypoint_attributes import KEYPOINTS, VISIBLE, joined_joints, relative_joints
from perception.datasets.sample import Dataset
from perception.errors import PerceptionError
from perception.geometry import points_in_boxes
from perception.io.files import write_atomically
from perception.points import PointCloud

_FORMAT = "lidar-perception ground truth 1"
_REBUILD = "build the database again (tools/cut_objects.py, tools/prepare_kitti.py, tools/prepare_nuscenes.py)"


@dataclass(frozen=True, eq=False)
class GroundTruthDatabase:
    """K objects with all their points.

    ``boxes`` (K, 7) float32 where they were seen, ``velocity`` (K, 2) or None; ``names``, ``difficulty`` and
    ``identifiers`` (the recording) (K,). ``points`` (M, 3) float32 are relative to the centres of their boxes but not
    turned; object k owns rows ``offsets[k]`` to ``offsets[k + 1]`` of them and of every array in ``fields``.
    ``keypoints`` (K, J, 3) relative to the centres likewise, NaN where not labelled, and ``keypoints_visible`` (K, J),
    or None.
    """

    points: np.ndarray
    fields: Mapping[str, np.ndarray]
    offsets: np.ndarray
    boxes: np.ndarray
    names: np.ndarray
    difficulty: np.ndarray
    identifiers: np.ndarray
    velocity: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    keypoints_visible: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def point_counts(self) -> np.ndarray:
        """Number of points (K,) of each object."""
        return np.diff(self.offsets)

    def rows(self, objects: np.ndarray) -> np.ndarray:
        """Rows of ``points`` of several objects, one object after the other."""
        counts = self.point_counts[objects]
        ends = np.cumsum(counts)
        return np.arange(counts.sum()) + np.repeat(self.offsets[objects] - (ends - counts), counts)

    def points_of(self, objects: np.ndarray) -> PointCloud:
        """The points of several objects, at the places where they were seen."""
        rows = self.rows(objects)
        centre = np.repeat(self.boxes[objects, :3], self.point_counts[objects], axis=0)
        return PointCloud(self.points[rows] + centre, {name: values[rows] for name, values in self.fields.items()})

    def boxes_of(self, objects: np.ndarray) -> Boxes3D:
        """The boxes of several objects, where they were seen."""
        velocity = None if self.velocity is None else torch.from_numpy(self.velocity[objects])
        return Boxes3D(torch.from_numpy(self.boxes[objects]), velocity)

    def joints_of(self, objects: np.ndarray) -> dict[str, np.ndarray]:
        """The keypoint attributes of several objects, where they were seen; empty without keypoints."""
        if self.keypoints is None or self.keypoints_visible is None:
            return {}
        placed = self.keypoints[objects] + self.boxes[objects, None, :3]
        return {KEYPOINTS: placed, VISIBLE: self.keypoints_visible[objects]}


def build_database(
    dataset: Dataset,
    path: str | Path,
    classes: Collection[str] | None = None,
    on_sample: Callable[[int], None] | None = None,
) -> GroundTruthDatabase:
    """Cut all objects with at least one point out of ``dataset`` and write them to ``path`` (.npz).

    ``classes`` restricts the names; objects without the attribute ``difficulty`` get 0. ``on_sample`` is told each
    sample's number when it is done. Raises PerceptionError for recordings without labels or nothing to cut.
    """
    crops: list[_Crops] = []
    for number in range(len(dataset)):
        crops.append(_cut(dataset, number, classes))
        if on_sample is not None:
            on_sample(number)
    if not sum(len(crop.names) for crop in crops):
        raise PerceptionError(
            f"no objects of {sorted(classes) if classes else 'any class'} with points in {len(crops)} recordings",
            "a labelled data set",
            "check the class names and the split",
        )
    fields = set.intersection(*(set(crop.cloud.fields) for crop in crops))
    velocities = [crop.boxes.velocity for crop in crops if crop.boxes.velocity is not None]
    counts = np.concatenate([crop.counts for crop in crops])
    database = GroundTruthDatabase(
        points=np.concatenate([crop.cloud.xyz for crop in crops]),
        fields={name: np.concatenate([crop.cloud.fields[name] for crop in crops]) for name in sorted(fields)},
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=torch.cat([crop.boxes.values for crop in crops]).numpy().astype(np.float32),
        names=np.concatenate([crop.names for crop in crops]).astype(str),
        difficulty=np.concatenate([crop.difficulty for crop in crops]).astype(np.int64),
        identifiers=np.concatenate([np.full(len(crop.names), crop.identifier) for crop in crops]).astype(str),
        velocity=torch.cat(velocities).numpy().astype(np.float32) if len(velocities) == len(crops) else None,
        **joined_joints(
            [len(crop.names) for crop in crops],
            [crop.keypoints for crop in crops],
            [crop.visible for crop in crops],
        ),
    )
    save_database(database, path)
    return database


def save_database(database: GroundTruthDatabase, path: str | Path) -> None:
    """Write to one uncompressed .npz file, whole or not at all."""
    arrays = {f"field.{name}": values for name, values in database.fields.items()}
    for name in ("points", "offsets", "boxes", "names", "difficulty", "identifiers"):
        arrays[name] = getattr(database, name)
    if database.velocity is not None:
        arrays["velocity"] = database.velocity
    if database.keypoints is not None and database.keypoints_visible is not None:
        arrays |= {KEYPOINTS: database.keypoints, VISIBLE: database.keypoints_visible}
    with write_atomically(path, "wb") as handle:
        np.savez(handle, format=np.array(_FORMAT), **arrays)  # type: ignore[arg-type]


def read_database(path: str | Path) -> GroundTruthDatabase:
    """A database that ``build_database`` wrote; anything else is a PerceptionError, before memory is taken for it."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {entry.filename.removesuffix(".npy"): _read_array(archive, entry) for entry in archive.infolist()}
    except FileNotFoundError:
        raise PerceptionError(f"no file {path}", "a ground-truth database (.npz)", _REBUILD) from None
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise PerceptionError(
            f"{path} cannot be read: {' '.join(str(error).split())[:200]}", "a ground-truth database (.npz)", _REBUILD
        ) from None
    if str(arrays.pop("format", "")) != _FORMAT:
        raise PerceptionError(f"{path} is not marked {_FORMAT!r}", "a ground-truth database of this version", _REBUILD)
    fields = {key.removeprefix("field."): arrays.pop(key) for key in sorted(arrays) if key.startswith("field.")}
    try:
        database = GroundTruthDatabase(fields=fields, **arrays)
    except TypeError as error:
        raise PerceptionError(f"{path}: {error}", "the arrays of a ground-truth database", _REBUILD) from None
    _validate(database, path)
    return database


@dataclass(frozen=True, eq=False)
class _Crops:
    """The objects of one recording and their points, relative to the boxes' centres."""

    identifier: str
    cloud: PointCloud
    counts: np.ndarray
    boxes: Boxes3D
    names: np.ndarray
    difficulty: np.ndarray
    keypoints: np.ndarray | None
    visible: np.ndarray | None


def _cut(dataset: Dataset, number: int, classes: Collection[str] | None) -> _Crops:
    sample = dataset[number]
    if sample.objects is None:
        raise PerceptionError(f"{sample.identifier} has no labels", "a labelled data set", "use a labelled split")
    objects = sample.objects if classes is None else sample.objects.select(np.isin(sample.objects.names, list(classes)))
    inside = points_in_boxes(torch.from_numpy(sample.cloud.xyz), objects.boxes.values).numpy()
    filled = np.flatnonzero(np.any(inside, axis=0))
    objects, inside = objects.select(filled), inside[:, filled]
    owner, rows = np.nonzero(inside.T)
    cloud = sample.cloud.select(rows)
    centre = objects.boxes.centre.numpy().astype(np.float32)
    difficulty = objects.attributes.get("difficulty", np.zeros(len(objects), np.int64))
    return _Crops(
        sample.identifier,
        cloud.with_xyz(cloud.xyz - centre[owner]),
        np.bincount(owner, minlength=len(objects)),
        objects.boxes,
        objects.names,
        difficulty,
        *relative_joints(objects, centre),
    )


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """One array, after its header's claim is held against the bytes that are there."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{entry.filename[:60]} is compressed")
    with archive.open(entry) as handle:
        if npy.read_magic(handle) != (1, 0):
            raise ValueError(f"{entry.filename[:60]} has an unknown version")
        shape, fortran, dtype = npy.read_array_header_1_0(handle)
        if dtype.hasobject or fortran:
            raise ValueError(f"{entry.filename[:60]} holds {dtype}")
        content = handle.read()
    count = 1
    for length in shape:
        count *= int(length)
    if count * dtype.itemsize != len(content) or min(shape, default=0) < 0:
        raise ValueError(f"{entry.filename[:60]} claims {shape} of {dtype} in {len(content):,} bytes")
    return np.frombuffer(content, dtype=dtype, count=count).reshape(shape) if count else np.zeros(shape, dtype)


def _validate(database: GroundTruthDatabase, path: Path) -> None:
    count, offsets = len(database), database.offsets
    velocity = database.velocity
    valid = (
        database.boxes.shape == (count, 7)
        and database.points.ndim == 2
        and database.points.shape[1] == 3
        and offsets.shape == (count + 1,)
        and np.issubdtype(offsets.dtype, np.integer)
        and offsets[0] == 0
        and offsets[-1] == len(database.points)
        and (np.diff(offsets) >= 0).all()
        and database.difficulty.shape == database.identifiers.shape == (count,)
        and all(len(values) == len(database.points) for values in database.fields.values())
        and (velocity is None or velocity.shape == (count, 2))
        and _joints_fit(database)
        and np.isfinite(database.boxes).all()
        and np.isfinite(database.points).all()
    )
    if not valid:
        raise PerceptionError(f"{path}: its arrays do not fit together", "a whole ground-truth database", _REBUILD)


def _joints_fit(database: GroundTruthDatabase) -> bool:
    keypoints, visible = database.keypoints, database.keypoints_visible
    if keypoints is None or visible is None:
        return keypoints is None and visible is None
    shape = keypoints.shape
    return len(shape) == 3 and shape[::2] == (len(database), 3) and visible.shape == shape[:2]
