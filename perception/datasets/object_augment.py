"""Augmentation of single objects, and of what the sensor saw of the whole: points dropped and shaken.

Zhou & Tuzel, VoxelNet, CVPR 2018, section 3.2 (perturbation of each object with a test for collisions);
Cheng et al., Improving 3D object detection through progressive population based augmentation, ECCV 2020 (frustums).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from perception.boxes import Boxes3D, wrap_angle
from perception.datasets.keypoint_attributes import KEYPOINTS
from perception.datasets.sample import Sample
from perception.geometry import bev_iou, box_of_points


@dataclass(frozen=True)
class ObjectNoise:
    """Turns, moves and scales every object with its points, each about its own centre.

    ``rotation`` range of angles in radians, ``translation`` standard deviations along x, y, z in metres, ``scaling``
    range of factors. A change that would make an object overlap another is drawn again, at most ``tries`` times, and
    left out then.
    """

    rotation: tuple[float, float] = (0.0, 0.0)
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scaling: tuple[float, float] = (1.0, 1.0)
    tries: int = 10

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        objects = sample.objects
        if objects is None or not len(objects):
            return sample
        before = objects.boxes.values.double().numpy()
        turns, moves, factors = self._draw(before, generator)
        member = box_of_points(torch.from_numpy(sample.cloud.xyz), objects.boxes.values.float()).numpy()
        xyz = _carried(sample.cloud.xyz, member, before, turns, moves, factors)
        values = before.copy()
        values[:, :3] += moves
        values[:, 3:6] *= factors[:, None]
        values[:, 6] += turns
        velocity = objects.boxes.velocity
        if velocity is not None:
            cos, sin = torch.from_numpy(np.cos(turns)), torch.from_numpy(np.sin(turns))
            x, y = velocity.double().unbind(1)
            velocity = torch.stack([x * cos - y * sin, x * sin + y * cos], 1).to(velocity.dtype)
        moved = torch.from_numpy(values)
        moved[:, 6] = wrap_angle(moved[:, 6])
        boxes = Boxes3D(moved.to(objects.boxes.values.dtype), velocity)
        attributes = dict(objects.attributes)
        if KEYPOINTS in attributes:
            joints = attributes[KEYPOINTS]
            owner = np.repeat(np.arange(len(joints)), joints.shape[1])
            carried = _carried(joints.reshape(-1, 3), owner, before, turns, moves, factors)
            attributes[KEYPOINTS] = carried.reshape(joints.shape)
        objects = replace(objects, boxes=boxes, attributes=attributes)
        return replace(sample, cloud=sample.cloud.with_xyz(xyz), objects=objects)

    def _draw(self, boxes: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = len(boxes)
        turns = generator.uniform(*self.rotation, (self.tries, count))
        factors = generator.uniform(*self.scaling, (self.tries, count))
        moves = generator.normal(size=(self.tries, count, 3)) * self.translation
        chosen = np.full(count, -1)
        standing = boxes.copy()
        for number in range(count):
            tried = np.repeat(boxes[number : number + 1], self.tries, 0)
            tried[:, :3] += moves[:, number]
            tried[:, 3:6] *= factors[:, number, None]
            tried[:, 6] += turns[:, number]
            others = np.delete(standing, number, 0)
            overlap = bev_iou(torch.from_numpy(tried), torch.from_numpy(others)).numpy()
            free = np.flatnonzero(~(overlap > 0).any(1)) if len(others) else np.arange(self.tries)
            if len(free):
                chosen[number] = free[0]
                standing[number] = tried[free[0]]
        pick, kept = np.maximum(chosen, 0), chosen >= 0
        columns = np.arange(count)
        return (
            np.where(kept, turns[pick, columns], 0.0),
            np.where(kept[:, None], moves[pick, columns], 0.0),
            np.where(kept, factors[pick, columns], 1.0),
        )


def _carried(
    xyz: np.ndarray, member: np.ndarray, boxes: np.ndarray, turns: np.ndarray, moves: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    """Points moved with the box they are a ``member`` of (-1: none)."""
    inside = np.flatnonzero(member >= 0)
    box = member[inside]
    local = xyz[inside].astype(np.float64) - boxes[box, :3]
    cos, sin = np.cos(turns[box]), np.sin(turns[box])
    turned = np.stack([local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos, local[:, 2]], 1)
    result = xyz.copy()
    result[inside] = turned * factors[box, None] + boxes[box, :3] + moves[box]
    return result


@dataclass(frozen=True)
class FrustumDropout:
    """Drops part of the points of a random frustum as seen from the sensor, with a probability.

    The frustum is ``width`` radians wide around a point drawn from the cloud, in azimuth and elevation; each of its
    points is dropped with a share drawn evenly from 0 to ``share``.
    """

    probability: float = 0.0
    share: float = 0.5
    width: float = math.pi / 8

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        happens, share = generator.random(2)
        xyz = sample.cloud.xyz
        if happens >= self.probability or not len(xyz):
            return sample
        azimuth = np.arctan2(xyz[:, 1], xyz[:, 0])
        elevation = np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1]))
        centre = generator.integers(len(xyz))
        away = np.abs((azimuth - azimuth[centre] + math.pi) % (2 * math.pi) - math.pi)
        inside = (away < self.width / 2) & (np.abs(elevation - elevation[centre]) < self.width / 2)
        dropped = inside & (generator.random(len(xyz)) < share * self.share)
        return replace(sample, cloud=sample.cloud.select(~dropped))


@dataclass(frozen=True)
class PointDropout:
    """Drops an even share of all points, drawn from 0 to ``share``: another sensor, rain, dark surfaces."""

    share: float = 0.0

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        share = generator.uniform(0, self.share)
        return replace(sample, cloud=sample.cloud.select(generator.random(len(sample.cloud)) >= share))


@dataclass(frozen=True)
class PointJitter:
    """Shakes every point by normal noise; ``deviation`` in metres, cut at three times that."""

    deviation: float = 0.0

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        noise = generator.normal(0, self.deviation, sample.cloud.xyz.shape)
        noise = noise.clip(-3 * self.deviation, 3 * self.deviation).astype(np.float32)
        return replace(sample, cloud=sample.cloud.with_xyz(sample.cloud.xyz + noise))
