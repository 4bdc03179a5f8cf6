"""Human figures as joints: sizes of the body, postures as angles, and the fourteen joints that follow from them.

Lengths of segments as shares of the stature: Drillis and Contini 1966, as printed in Winter, "Biomechanics and Motor
Control of Human Movement", figure 4.1. Swing of hips, knees and arms in walking: Winter 1991 and Perry 1992, rounded;
running: Novacheck 1998. Stature of adults: NCD-RisC 2016 (European means 1.78 and 1.65 m, one sigma about 7 cm).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from perception.datasets.waymo.labels import JOINTS

NAMES = tuple(JOINTS)
NOSE, HEAD = NAMES.index("nose"), NAMES.index("head_centre")
SHOULDER, ELBOW, WRIST, HIP, KNEE, ANKLE = (
    NAMES.index(f"left_{part}") for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
)
"""Joints on the left; the one on the right comes next."""


@dataclass(frozen=True)
class BodySize:
    """``stature`` in metres; ``build`` is girth over that of a slender adult (0.85 to 1.5); ``shoulders`` and ``legs``
    multiply the mean proportions."""

    stature: float
    build: float = 1.0
    shoulders: float = 1.0
    legs: float = 1.0


@dataclass(frozen=True)
class Arm:
    """Degrees: ``raise_forward`` of the upper arm from hanging (180 straight up), ``raise_side`` away from the body,
    ``bend`` of the elbow, ``turn`` of the forearm's bending plane inwards (90 across the chest)."""

    raise_forward: float = 0.0
    raise_side: float = 6.0
    bend: float = 12.0
    turn: float = 10.0


@dataclass(frozen=True)
class Leg:
    """Degrees: ``raise_forward`` of the thigh, ``raise_side``, ``bend`` of the knee."""

    raise_forward: float = 0.0
    raise_side: float = 2.0
    bend: float = 3.0


@dataclass(frozen=True)
class Posture:
    """Angles in degrees; ``lean`` of the trunk forwards, ``side_lean`` to the left, ``look`` of the head to the left,
    ``nod`` downwards; ``seat`` height of the hips in metres when sitting, else None. Left comes first."""

    arms: tuple[Arm, Arm] = field(default_factory=lambda: (Arm(), Arm()))
    legs: tuple[Leg, Leg] = field(default_factory=lambda: (Leg(), Leg()))
    lean: float = 2.0
    side_lean: float = 0.0
    look: float = 0.0
    nod: float = 0.0
    seat: float | None = None


@dataclass(frozen=True, eq=False)
class Skeleton:
    """``joints`` (14, 3) metres in Waymo's order, in a frame that stands on z = 0, x ahead and y left; ``hands``,
    ``toes`` (2, 3) left and right; ``crown`` (3,) the top of the head; ``trunk`` (3, 3) the trunk's axes as columns;
    ``face`` (3,) where the head looks."""

    joints: np.ndarray
    hands: np.ndarray
    toes: np.ndarray
    crown: np.ndarray
    trunk: np.ndarray
    face: np.ndarray


def pose_skeleton(size: BodySize, posture: Posture) -> Skeleton:
    """Joints of a body in a posture, its lowest foot on the ground, or its hips at the height of the seat."""
    h = size.stature
    trunk = _about_y(np.radians(posture.lean)) @ _about_x(-np.radians(posture.side_lean))
    joints = np.zeros((14, 3))
    hip_half, shoulder_half = 0.055 * h, 0.108 * h * size.shoulders
    torso = 0.288 * h
    neck = trunk @ np.array([0.0, 0, torso])
    hands, toes = np.zeros((2, 3)), np.zeros((2, 3))
    for side, sign in enumerate((1, -1)):
        joints[SHOULDER + side] = neck + trunk @ np.array([0, sign * shoulder_half, 0])
        joints[HIP + side] = [0, sign * hip_half, 0]
        hands[side] = _pose_arm(joints, side, sign, posture.arms[side], trunk, h)
        toes[side] = _pose_leg(joints, side, sign, posture.legs[side], h, size.legs)
    turn = trunk @ _about_z(np.radians(posture.look)) @ _about_y(np.radians(posture.nod))
    head = neck + trunk @ np.array([0.012 * h, 0, 0.055 * h]) + turn @ np.array([0.012 * h, 0, 0.060 * h])
    joints[HEAD] = head
    joints[NOSE] = head + turn @ np.array([0.062 * h, 0, -0.008 * h])
    crown = head + turn @ np.array([0, 0, 0.067 * h])
    # soles are some centimetres below the ankles and toes
    lowest = min(joints[ANKLE : ANKLE + 2, 2].min() - 0.039 * h, toes[:, 2].min() - 0.015 * h)
    lift = np.array([0, 0, -lowest if posture.seat is None else posture.seat])
    return Skeleton(joints + lift, hands + lift, toes + lift, crown + lift, trunk, turn @ np.array([1.0, 0, 0]))


def _pose_arm(joints: np.ndarray, side: int, sign: int, arm: Arm, trunk: np.ndarray, h: float) -> np.ndarray:
    """Sets elbow and wrist; gives the middle of the hand."""
    upper = trunk @ _about_x(sign * np.radians(arm.raise_side)) @ _about_y(-np.radians(arm.raise_forward))
    fore = upper @ _about_z(-sign * np.radians(arm.turn)) @ _about_y(-np.radians(arm.bend))
    down = np.array([0, 0, -1.0])
    joints[ELBOW + side] = joints[SHOULDER + side] + 0.186 * h * (upper @ down)
    joints[WRIST + side] = joints[ELBOW + side] + 0.146 * h * (fore @ down)
    hand: np.ndarray = joints[WRIST + side] + 0.054 * h * (fore @ down)
    return hand


def _pose_leg(joints: np.ndarray, side: int, sign: int, leg: Leg, h: float, longer: float) -> np.ndarray:
    """Sets knee and ankle; gives the tip of the foot."""
    thigh = _about_x(sign * np.radians(leg.raise_side)) @ _about_y(-np.radians(leg.raise_forward))
    shank = thigh @ _about_y(np.radians(leg.bend))
    down = np.array([0, 0, -1.0])
    joints[KNEE + side] = joints[HIP + side] + 0.245 * h * longer * (thigh @ down)
    joints[ANKLE + side] = joints[KNEE + side] + 0.246 * h * longer * (shank @ down)
    # the foot stays nearly level, but a leg stretched behind stands on its toes
    pitch = np.clip(np.arctan2(shank[0, 2], shank[2, 2]), -0.2, 1.1) * 0.7
    ahead = np.array([np.cos(pitch), 0.12 * sign, -np.sin(pitch)])
    tip: np.ndarray = joints[ANKLE + side] + 0.112 * h * ahead + np.array([0, 0, -0.024 * h * np.cos(pitch)])
    return tip


def _about_x(a: float) -> np.ndarray:
    return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])


def _about_y(a: float) -> np.ndarray:
    return np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])


def _about_z(a: float) -> np.ndarray:
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
