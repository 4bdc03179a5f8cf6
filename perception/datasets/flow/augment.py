"""Augmentation of pairs of scans: each a rigid change of both scans that flow and pose follow exactly, and jitter.

The published choice (Kim et al., DeltaFlow 2025) is mirror images, height from -0.5 to 2 m and jitter; SSF and DeFlow
train without any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perception.config import config
from perception.datasets.flow.pairs import FlowSample
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.scan_pair import ScanPair


@config
class FlowAugmentConfig:
    """What training does to each pair, nothing by default.

    ``flip_x`` and ``flip_y``: probabilities of mirroring along the x axis (y becomes -y) and along the y axis;
    ``rotation`` range of angles in radians about the vertical; ``height`` range in metres, applied with the probability
    ``height_share``; ``jitter`` metres of noise on each coordinate, cut at ``jitter_most``.
    """

    flip_x: float = 0.0
    flip_y: float = 0.0
    rotation: tuple[float, float] = (0.0, 0.0)
    height: tuple[float, float] = (0.0, 0.0)
    height_share: float = 0.5
    jitter: float = 0.0
    jitter_most: float = 0.05

    def __post_init__(self) -> None:
        shares = (self.flip_x, self.flip_y, self.height_share)
        if not all(0 <= share <= 1 for share in shares) or self.jitter < 0 or self.jitter_most <= 0:
            raise PerceptionError(
                f"flow_augment: probabilities {shares}, jitter {self.jitter}",
                "shares from 0 to 1, metres from 0",
            )
        for name in ("rotation", "height"):
            low, high = getattr(self, name)
            if not low <= high:
                raise PerceptionError(f"flow_augment.{name} = {(low, high)}", "a range: low, high")


@dataclass(frozen=True)
class FlowAugmentation:
    """One pair to another, random only by the generator."""

    settings: FlowAugmentConfig

    def at(self, epoch: int) -> FlowAugmentation:
        return self  # the same in every epoch

    def __call__(self, sample: FlowSample, generator: np.random.Generator) -> FlowSample:
        s = self.settings
        # All numbers are drawn whatever is switched off, so that one setting does not change what another one does.
        flips, turn, lift = generator.random(2), generator.uniform(*s.rotation), generator.uniform(*s.height)
        lifted = generator.random() < s.height_share
        change = np.eye(4)
        cos, sin = np.cos(turn), np.sin(turn)
        change[:2, :2] = np.array([[cos, -sin], [sin, cos]]) @ np.diag(
            [-1.0 if flips[1] < s.flip_y else 1.0, -1.0 if flips[0] < s.flip_x else 1.0]
        )
        change[2, 3] = lift if lifted else 0.0
        sample = changed(sample, change)
        return sample if not s.jitter else _jittered(sample, s, generator)


def changed(sample: FlowSample, change: np.ndarray) -> FlowSample:
    """The pair seen in another frame: ``change`` (4, 4), a rotation or mirror image and a translation, acts on both
    scans; the pose is ``change`` @ pose @ its inverse, flows are turned."""
    turn, pair = change[:3, :3], sample.pair
    first, second = (_changed_cloud(cloud, change) for cloud in (pair.first, pair.second))
    new = ScanPair(first, second, change @ pair.pose @ np.linalg.inv(change))
    labels = sample.labels
    if labels is not None:
        labels = replace(labels, flow=(labels.flow.astype(np.float64) @ turn.T).astype(np.float32))
    return replace(sample, pair=new, labels=labels)


def _changed_cloud(cloud: PointCloud, change: np.ndarray) -> PointCloud:
    turn = change[:3, :3]
    origin = turn @ cloud.origin + change[:3, 3] if cloud.origin.any() else cloud.origin
    shift = np.zeros(3) if cloud.origin.any() else change[:3, 3]
    return replace(cloud, xyz=(cloud.xyz.astype(np.float64) @ turn.T + shift).astype(np.float32), origin=origin)


def _jittered(sample: FlowSample, settings: FlowAugmentConfig, generator: np.random.Generator) -> FlowSample:
    clouds = []
    for cloud in (sample.pair.first, sample.pair.second):
        noise = settings.jitter * generator.standard_normal(cloud.xyz.shape)
        noise = np.clip(noise, -settings.jitter_most, settings.jitter_most)
        clouds.append(cloud.with_xyz(cloud.xyz + noise.astype(np.float32)))
    return replace(sample, pair=ScanPair(clouds[0], clouds[1], sample.pair.pose))
