"""Augmentation of clouds of places: each change is random only by the generator, in the units of the clouds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from perception.config import config
from perception.datasets.places.sample import PlaceSample
from perception.errors import PerceptionError


@config
class PlaceAugmentConfig:
    """What training does to each cloud, in this order; nothing by default.

    ``jitter`` is the deviation of each coordinate, cut at ``jitter_most``; ``dropout`` the largest share of points
    that is lost; ``rotation`` radians about z, from minus to plus; ``translation`` the deviation of a move along x y z;
    ``block`` the probability of losing all points in an upright box of ``block_area`` (least, most) of the area that
    the cloud takes from above and of sides in the proportion ``block_sides``. ``lost`` = ``zero`` sets lost points to
    zero, as the published recipes do, ``removed`` leaves them out.

    ``flip_x`` and ``flip_y`` are probabilities of the whole batch's being mirrored (x, y becomes -x, -y), and
    ``turn`` radians, from minus to plus, by which it is turned as one: only so do pairs stay pairs.
    """

    jitter: float = 0.0
    jitter_most: float = 0.002
    dropout: float = 0.0
    rotation: float = 0.0
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    block: float = 0.0
    block_area: tuple[float, float] = (0.02, 0.33)
    block_sides: tuple[float, float] = (0.3, 3.3)
    lost: str = "removed"
    flip_x: float = 0.0
    flip_y: float = 0.0
    turn: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.dropout, self.block, self.flip_x, self.flip_y, *self.block_area)
        if not all(0 <= share <= 1 for share in shares) or self.lost not in ("zero", "removed"):
            raise PerceptionError(
                f"place_augment: shares {shares}, lost {self.lost!r}", "shares from 0 to 1; lost zero or removed"
            )
        lengths = (self.jitter, self.jitter_most, self.rotation, self.turn, *self.translation)
        if not all(0 <= length < math.inf for length in lengths):
            raise PerceptionError(f"place_augment: {lengths}", "deviations and angles from 0")
        for name in ("block_area", "block_sides"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise PerceptionError(f"place_augment.{name} = {(low, high)}", "a range above 0: low, high")


@dataclass(frozen=True)
class PlaceAugmentation:
    """One recording to another of the same place."""

    settings: PlaceAugmentConfig

    def at(self, epoch: int) -> PlaceAugmentation:
        return self  # the same in every epoch

    def __call__(self, sample: PlaceSample, generator: np.random.Generator) -> PlaceSample:
        s, xyz = self.settings, sample.cloud.xyz
        if s.jitter:
            xyz = xyz + np.clip(s.jitter * generator.standard_normal(xyz.shape), -s.jitter_most, s.jitter_most)
        kept = generator.random(len(xyz)) >= s.dropout * generator.random()
        turned = _turned(xyz, s.rotation * (2 * generator.random() - 1))
        turned = turned + np.array(s.translation) * generator.standard_normal(3)
        if generator.random() < s.block:
            kept &= ~_in_block(turned, s, generator)
        if not kept.any():
            kept[:] = True  # a cloud without points is of no place
        if s.lost == "zero":
            return replace(sample, cloud=sample.cloud.with_xyz(np.where(kept[:, None], turned, 0)))
        return replace(sample, cloud=sample.cloud.with_xyz(turned).select(kept))


def _turned(xyz: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.stack([cos * xyz[:, 0] - sin * xyz[:, 1], sin * xyz[:, 0] + cos * xyz[:, 1], xyz[:, 2]], 1)


def _in_block(xyz: np.ndarray, settings: PlaceAugmentConfig, generator: np.random.Generator) -> np.ndarray:
    low, high = xyz[:, :2].min(0), xyz[:, :2].max(0)
    area = float(np.prod(high - low)) * generator.uniform(*settings.block_area)
    sides = math.exp(generator.uniform(*np.log(settings.block_sides)))
    size = np.minimum(np.array([math.sqrt(area * sides), math.sqrt(area / sides)]), high - low)
    corner = low + (high - low - size) * generator.random(2)
    inside: np.ndarray = ((xyz[:, :2] >= corner) & (xyz[:, :2] <= corner + size)).all(1)
    return inside
