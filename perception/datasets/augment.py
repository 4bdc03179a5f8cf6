"""Augmentation of labelled recordings: each a function (sample, generator) -> sample, random only by the generator.

All act about the origin of the cloud's frame on points, boxes, velocities and keypoints together. Attributes that
describe the image (``bbox``, ``alpha``) and the calibration are passed on as they are: they still speak of the original
recording.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from perception.boxes import Boxes3D, wrap_angle
from perception.config import config
from perception.datasets.ground_truth_sampling import GroundTruthSamplingConfig, load_ground_truth_sampling
from perception.datasets.keypoint_attributes import with_moved_keypoints, with_sides_swapped
from perception.datasets.object_augment import FrustumDropout, ObjectNoise, PointDropout, PointJitter
from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.keypoints import WAYMO_SKELETON, Skeleton

Augmentation = Callable[[Sample, np.random.Generator], Sample]


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one sample in one epoch: a pure function of the three, whatever process asks for them."""
    if min(seed, epoch, index) < 0:
        raise PerceptionError(f"seed {seed}, epoch {epoch}, index {index}", "numbers that are not negative")
    # PCG64 by name: default_rng may become another generator in a later numpy.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(epoch, index))))


@config
class AugmentConfig:
    """What training does to each recording, in this order; the defaults are the usual recipe for KITTI.

    ``ground_truth_sampling`` None for none; ``object_rotation``, ``object_translation`` and ``object_scaling`` change
    each object by itself; ``flip_x`` and ``flip_y`` probabilities of mirroring along the x axis (y becomes -y) and
    along the y axis; ``rotation`` range of angles in radians; ``scaling`` range of factors; ``translation`` standard
    deviations along x, y, z in metres; ``frustum_dropout`` the probability of dropping points of one direction,
    ``point_dropout`` the largest share of all points dropped, ``jitter`` metres; ``point_range`` x, y, z low then
    high in metres: points, and boxes by their centres, outside are left out; ``shuffle`` the points, so that voxels
    which are full keep others each time. ``off_for_last`` epochs recordings are left as they are, but for range and
    order.
    """

    ground_truth_sampling: GroundTruthSamplingConfig | None = None
    object_rotation: tuple[float, float] = (0.0, 0.0)
    object_translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    object_scaling: tuple[float, float] = (1.0, 1.0)
    flip_x: float = 0.5
    flip_y: float = 0.0
    rotation: tuple[float, float] = (-math.pi / 4, math.pi / 4)
    scaling: tuple[float, float] = (0.95, 1.05)
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    frustum_dropout: float = 0.0
    point_dropout: float = 0.0
    jitter: float = 0.0
    point_range: tuple[float, float, float, float, float, float] | None = None
    shuffle: bool = True
    off_for_last: int = 0

    def __post_init__(self) -> None:
        for name in ("flip_x", "flip_y", "frustum_dropout", "point_dropout"):
            _check(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a probability from 0 to 1")
        for name in ("rotation", "scaling", "object_rotation", "object_scaling"):
            low, high = getattr(self, name)
            _check(-math.inf < low <= high < math.inf, name, (low, high), "a range: low, high")
        for name in ("scaling", "object_scaling"):
            _check(getattr(self, name)[0] > 0, name, getattr(self, name), "factors above 0")
        for name in ("translation", "object_translation"):
            _check(all(0 <= s < math.inf for s in getattr(self, name)), name, getattr(self, name), "deviations from 0")
        _check(0 <= self.jitter < math.inf, "jitter", self.jitter, "metres from 0")
        _check(self.off_for_last >= 0, "off_for_last", self.off_for_last, "a number of epochs")
        box = self.point_range
        _check(box is None or all(box[i] < box[i + 3] for i in range(3)), "point_range", box, "low x y z, high x y z")


@dataclass(frozen=True)
class Compose:
    """Several augmentations one after the other; none of them returns the sample unchanged."""

    steps: tuple[Augmentation, ...]

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        for step in self.steps:
            sample = step(sample, generator)
        return sample


@dataclass(frozen=True)
class Schedule:
    """Augmentation by epoch: ``whole``, without pasting from epoch ``pasting_ends``, ``plain`` from ``ends`` on."""

    whole: Augmentation
    without_pasting: Augmentation = Compose(())
    plain: Augmentation = Compose(())
    pasting_ends: float = math.inf
    ends: float = math.inf

    def at(self, epoch: int) -> Augmentation:
        if epoch >= self.ends:
            return self.plain
        return self.without_pasting if epoch >= self.pasting_ends else self.whole


def build_schedule(
    settings: AugmentConfig,
    epochs: int,
    classes: Sequence[str] | None = None,
    skeleton: Skeleton | None = WAYMO_SKELETON,
) -> Schedule:
    """What each of ``epochs`` epochs does: towards the end objects are no longer pasted, then nothing is changed.

    ``classes`` are the model's: sampling groups for others are an error. ``skeleton`` is that of labelled joints,
    None for a model that learns none.
    """
    pasting = settings.ground_truth_sampling
    return Schedule(
        build_augmentation(settings, classes, skeleton),
        build_augmentation(replace(settings, ground_truth_sampling=None), None, skeleton),
        Compose(_sampling_steps(settings)),
        epochs - pasting.off_for_last if pasting is not None else math.inf,
        epochs - settings.off_for_last,
    )


def build_augmentation(
    settings: AugmentConfig, classes: Sequence[str] | None = None, skeleton: Skeleton | None = WAYMO_SKELETON
) -> Compose:
    """The augmentation a configuration asks for; reads the ground-truth database, if it names one, once."""
    steps: list[Augmentation] = []
    if settings.ground_truth_sampling is not None:
        steps.append(load_ground_truth_sampling(settings.ground_truth_sampling, classes))
    noise = ObjectNoise(settings.object_rotation, settings.object_translation, settings.object_scaling)
    if noise != ObjectNoise():
        steps.append(noise)
    if settings.flip_x or settings.flip_y:
        steps.append(RandomFlip(settings.flip_x, settings.flip_y, skeleton))
    if settings.rotation != (0.0, 0.0):
        steps.append(RandomRotation(*settings.rotation))
    if settings.scaling != (1.0, 1.0):
        steps.append(RandomScaling(*settings.scaling))
    if any(settings.translation):
        steps.append(RandomTranslation(settings.translation))
    if settings.frustum_dropout:
        steps.append(FrustumDropout(settings.frustum_dropout))
    if settings.point_dropout:
        steps.append(PointDropout(settings.point_dropout))
    if settings.jitter:
        steps.append(PointJitter(settings.jitter))
    return Compose((*steps, *_sampling_steps(settings)))


def _sampling_steps(settings: AugmentConfig) -> tuple[Augmentation, ...]:
    """What even an unchanged recording goes through: its range, and the order of its points."""
    steps: list[Augmentation] = []
    if settings.point_range is not None:
        steps.append(RangeFilter(settings.point_range))
    if settings.shuffle:
        steps.append(shuffle_points)
    return tuple(steps)


@dataclass(frozen=True)
class RandomFlip:
    """Mirrors along the x axis (y to -y) and along the y axis (x to -x), each with its own probability.

    A mirrored person's left hand is a right one: the joints of ``skeleton`` that are symmetric change places.
    Without a skeleton joints are left out.
    """

    along_x: float = 0.5
    along_y: float = 0.0
    skeleton: Skeleton | None = WAYMO_SKELETON

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        # Both numbers are always drawn, so that a changed probability does not shift what follows.
        flip_x, flip_y = generator.random(2) < (self.along_x, self.along_y)
        if flip_x:
            sample = self._mirror(sample, np.diag([1.0, -1.0, 1.0]), 0.0)
        if flip_y:
            sample = self._mirror(sample, np.diag([-1.0, 1.0, 1.0]), math.pi)
        return sample

    def _mirror(self, sample: Sample, matrix: np.ndarray, turn: float) -> Sample:
        sample = _move(sample, matrix, heading=(-1.0, turn))
        if sample.objects is None:
            return sample
        return replace(sample, objects=with_sides_swapped(sample.objects, self.skeleton, sample.identifier))


@dataclass(frozen=True)
class RandomRotation:
    """Turns everything about the z axis by an angle (radians) drawn evenly from a range."""

    low: float = -math.pi / 4
    high: float = math.pi / 4

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        angle = generator.uniform(self.low, self.high)
        cos, sin = math.cos(angle), math.sin(angle)
        return _move(sample, np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]), heading=(1.0, angle))


@dataclass(frozen=True)
class RandomScaling:
    """Multiplies everything, velocities included, by a factor drawn evenly from a range."""

    low: float = 0.95
    high: float = 1.05

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        factor = generator.uniform(self.low, self.high)
        return _move(sample, np.eye(3) * factor, size=factor)


@dataclass(frozen=True)
class RandomTranslation:
    """Moves everything by a normally distributed offset; ``deviation`` along x, y, z in metres."""

    deviation: tuple[float, float, float]

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        return _move(sample, np.eye(3), offset=generator.normal(size=3) * self.deviation)


@dataclass(frozen=True)
class RangeFilter:
    """Leaves out points, and boxes by their centres, outside x, y, z low to high (low included, high not)."""

    limits: tuple[float, float, float, float, float, float]

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        low, high = np.array(self.limits[:3]), np.array(self.limits[3:])
        objects = sample.objects
        if objects is not None:
            centre = objects.boxes.centre.numpy()
            objects = objects.select(np.all((centre >= low) & (centre < high), axis=1))
        xyz = sample.cloud.xyz
        return replace(sample, cloud=sample.cloud.select(np.all((xyz >= low) & (xyz < high), axis=1)), objects=objects)


def shuffle_points(sample: Sample, generator: np.random.Generator) -> Sample:
    """The same points in a random order."""
    return replace(sample, cloud=sample.cloud.select(generator.permutation(len(sample.cloud))))


def _move(
    sample: Sample,
    matrix: np.ndarray,
    offset: np.ndarray | None = None,
    heading: tuple[float, float] = (1.0, 0.0),
    size: float = 1.0,
) -> Sample:
    """Points and centres p to matrix p + offset, headings h to heading[0] h + heading[1], sizes by a factor.

    In float64, rounded once: points on the faces of boxes then leave them as seldom as float32 allows.
    """
    offset = np.zeros(3) if offset is None else offset
    cloud = sample.cloud.with_xyz((sample.cloud.xyz @ matrix.T + offset).astype(np.float32))
    objects = sample.objects
    if objects is not None:
        boxes = objects.boxes
        turn = torch.from_numpy(matrix)
        values = boxes.values.double()
        moved = torch.cat(
            [
                values[:, :3] @ turn.T + torch.from_numpy(np.asarray(offset, np.float64)),
                values[:, 3:6] * size,
                wrap_angle(values[:, 6:] * heading[0] + heading[1]),
            ],
            dim=1,
        )
        velocity = boxes.velocity
        if velocity is not None:
            velocity = (velocity.double() @ turn[:2, :2].T).to(velocity.dtype)
        objects = replace(objects, boxes=Boxes3D(moved.to(boxes.values.dtype), velocity))
        objects = with_moved_keypoints(objects, matrix, offset)
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = matrix, offset
    view = sample.view.moved(transform) if sample.view is not None else None
    return replace(sample, cloud=cloud, objects=objects, view=view)


def _check(valid: bool, name: str, value: object, expected: str) -> None:
    if not valid:
        raise PerceptionError(f"augmentation: {name} = {value}", expected, f"correct {name}")
