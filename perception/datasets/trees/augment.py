"""From a labelled plot to what a step of training sees: a crop about a point of a drawn class, sparsified, turned.

Recipe: Wielgosz et al. (Remote Sensing of Environment 2024), sections 2.3 and 2.4: classes balanced by the root of
their share, copies of lower density, noise, turns, stretching and mirror images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from perception.config import config
from perception.datasets.sample import Sample
from perception.datasets.trees.labels import FOOT, SEMANTIC, TREE_ID, UNCLASSIFIED, tree_truth
from perception.datasets.trees.sparsify import sparsified
from perception.errors import PerceptionError
from perception.losses.trees import TREE
from perception.models.tree_model import HEIGHT
from perception.points import PointCloud
from perception.trees.feet import tree_feet

TRIES = 20
"""Centres drawn until a crop has a tree."""


@config
class TreeAugmentConfig:
    """What training sees of each plot; the defaults are SegmentAnyTree's recipe.

    ``shape``: an upright cylinder of ``radius`` metres, or a square of twice that side to side; what lies within
    ``margin`` of its edge is seen but not learned. ``sparse_share`` of the crops are thinned at random to a density
    drawn evenly over the logarithm from ``densities``, points a square metre; those that have fewer stay.
    ``rotation`` range of angles in radians, ``scaling`` of factors drawn for each axis, ``flip`` the probability of a
    mirror image, ``jitter`` metres of noise on each coordinate, ``height_shift`` range of metres added to the height
    in the file, which on a slope tells little. ``most_points`` in a crop, None for all.
    """

    shape: Literal["cylinder", "square"] = "cylinder"
    radius: float = 8.0
    margin: float = 0.0
    sparse_share: float = 0.5
    densities: tuple[float, float] = (10.0, 1000.0)
    rotation: tuple[float, float] = (-math.pi, math.pi)
    scaling: tuple[float, float] = (0.9, 1.1)
    flip: float = 0.5
    jitter: float = 0.01
    height_shift: tuple[float, float] = (0.0, 0.0)
    most_points: int | None = None

    def __post_init__(self) -> None:
        for name in ("sparse_share", "flip"):
            _check(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a share from 0 to 1")
        for name in ("densities", "scaling"):
            low, high = getattr(self, name)
            _check(0 < low <= high < math.inf, name, (low, high), "a range above 0: low, high")
        for name in ("rotation", "height_shift"):
            low, high = getattr(self, name)
            _check(-math.inf < low <= high < math.inf, name, (low, high), "a range: low, high")
        _check(0 < self.radius < math.inf, "radius", self.radius, "metres above 0")
        _check(0 <= self.margin < self.radius, "margin", self.margin, "metres from 0 to below the radius")
        _check(0 <= self.jitter < math.inf, "jitter", self.jitter, "metres from 0")
        _check(self.most_points is None or self.most_points > 0, "most_points", self.most_points, "above 0, or none")

    def plain(self) -> TreeAugmentConfig:
        """Crops as they are, for validation."""
        return replace(self, sparse_share=0.0, rotation=(0, 0), scaling=(1, 1), flip=0, jitter=0, height_shift=(0, 0))


@dataclass(frozen=True)
class TreeAugmentation:
    """One plot to one crop, random only by the generator; ``feet``: where trees stand is told too."""

    settings: TreeAugmentConfig
    feet: bool = False

    def at(self, epoch: int) -> TreeAugmentation:
        return self  # the same in every epoch

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        s = self.settings
        # All numbers are drawn whatever is switched off, so that one setting does not change what another one does.
        turn, scale = generator.uniform(*s.rotation), generator.uniform(*s.scaling, 3)
        mirrored, lift = generator.random() < s.flip, generator.uniform(*s.height_shift)
        sparse, density = generator.random() < s.sparse_share, np.exp(generator.uniform(*np.log(s.densities)))
        cloud = _with_height(sample.cloud)
        if self.feet:
            cloud = with_feet(cloud)
        cloud = crop(cloud, s, generator, sample.identifier)
        if sparse:
            cloud = cloud.select(sparsified(cloud.xyz, float(density), generator))
        if s.most_points is not None and len(cloud) > s.most_points:
            cloud = cloud.select(np.sort(generator.choice(len(cloud), s.most_points, replace=False)))
        cos, sin = np.cos(turn), np.sin(turn)
        change = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag(scale * [-1 if mirrored else 1, 1, 1])
        return replace(sample, cloud=_changed(cloud, change, lift, s.jitter, generator), objects=None)


def crop(cloud: PointCloud, settings: TreeAugmentConfig, generator: np.random.Generator, identifier: str) -> PointCloud:
    """The points about a drawn one, in a frame with its place along x and y in the middle.

    The class of the middle is drawn with the root of its rarity, then one of its points; again, if no tree is near.
    """
    truth = tree_truth(cloud, identifier)
    semantic = truth.semantic.numpy()
    rows = [np.flatnonzero(semantic == value) for value in (0, TREE)]
    rows = [known for known in rows if len(known)]
    if not rows:
        raise PerceptionError(f"plot {identifier}: no point of a known class", "points of trees", "leave the plot out")
    edges = np.cumsum(class_chances([len(known) for known in rows]))
    for _ in range(TRIES):
        known = rows[min(int(np.searchsorted(edges, generator.random())), len(rows) - 1)]
        middle = cloud.xyz[known[int(generator.random() * len(known))], :2]
        away = _away(cloud.xyz[:, :2] - middle, settings.shape)
        chosen = np.flatnonzero(away <= settings.radius)
        if (semantic[chosen] == TREE).any():
            break
    part = cloud.select(chosen)
    shift = np.array([*middle, 0], np.float32)
    fields = dict(part.fields)
    if FOOT in fields:
        fields[FOOT] = fields[FOOT] - shift
    if settings.margin:
        seen_only = away[chosen] > settings.radius - settings.margin
        fields[SEMANTIC] = np.where(seen_only, UNCLASSIFIED, fields[SEMANTIC]).astype(np.uint8)
    return replace(part, xyz=part.xyz - shift, fields=fields, origin=part.origin + shift)


def class_chances(counts: Sequence[int]) -> np.ndarray:
    """How often the middle of a crop is of each class with so many points: by the root of mean over count."""
    weights = np.sqrt(np.mean(counts) / np.asarray(counts, np.float64))
    chances: np.ndarray = weights / weights.sum()
    return chances


def with_feet(cloud: PointCloud) -> PointCloud:
    """Each point and where its tree stands, from the whole plot: a crop can leave it out."""
    feet = tree_feet(cloud.xyz, cloud.fields[TREE_ID])
    return replace(cloud, fields={**cloud.fields, FOOT: feet.astype(np.float32)})


def _away(xy: np.ndarray, shape: str) -> np.ndarray:
    away: np.ndarray = np.abs(xy).max(1) if shape == "square" else np.hypot(xy[:, 0], xy[:, 1])
    return away


def _changed(
    cloud: PointCloud, change: np.ndarray, lift: float, jitter: float, generator: np.random.Generator
) -> PointCloud:
    fields = dict(cloud.fields)
    fields[HEIGHT] = (fields[HEIGHT] * change[2, 2] + lift).astype(np.float32)
    if FOOT in fields:
        fields[FOOT] = (fields[FOOT].astype(np.float64) @ change.T).astype(np.float32)
    xyz = cloud.xyz.astype(np.float64) @ change.T
    if jitter:
        xyz += jitter * generator.standard_normal(xyz.shape)
    return replace(cloud, xyz=xyz.astype(np.float32), fields=fields)


def _with_height(cloud: PointCloud) -> PointCloud:
    if HEIGHT in cloud.fields:
        return cloud
    z = cloud.xyz[:, 2]
    return replace(cloud, fields={**cloud.fields, HEIGHT: z - z.min() if len(z) else z})


def _check(fine: bool, name: str, value: object, wanted: str) -> None:
    if not fine:
        raise PerceptionError(f"tree_augment.{name} = {value}", wanted)
