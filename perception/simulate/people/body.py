"""Bodies of people: flesh and clothes about a skeleton, as solids inside their box, with the fourteen joints.

Local frame: the box stands on z = 0, its centre above the origin; the person faces +x. Girths are of our choosing,
circumferences of a European adult divided by 2 pi.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.simulate.people.capsule import Capsule
from perception.simulate.people.postures import Action
from perception.simulate.people.skeleton import (
    ANKLE,
    ELBOW,
    HEAD,
    HIP,
    KNEE,
    SHOULDER,
    WRIST,
    BodySize,
    Skeleton,
    pose_skeleton,
)
from perception.simulate.shapes import Ellipsoid, Material, Pose, Shape, cuboid

# of each joint, how far below the surface it lies, as a share of the stature
DEPTHS = np.array(
    [0.01, *(0.035, 0.035), *(0.026,) * 2, *(0.02,) * 2, *(0.065,) * 2, *(0.033,) * 2, *(0.025,) * 2, 0.055]
)


@dataclass(frozen=True)
class Outfit:
    """``thickness`` of the clothes in metres; ``style`` "plain", "skirt" or "coat"; ``backpack``, ``hat``; reflectances
    in [0, 1] of the upper and lower clothes."""

    thickness: float
    style: str = "plain"
    backpack: bool = False
    hat: bool = False
    upper: float = 0.35
    lower: float = 0.25


@dataclass(frozen=True, eq=False)
class Body:
    """``size`` length, width, height of the box in metres; ``parts`` the solids of the person and what they carry;
    ``joints`` (14, 3) in Waymo's order and ``depths`` (14,) metres they lie below the surface; ``props`` what stands
    beside the person and is not of their box; ``speed`` in m/s."""

    size: tuple[float, float, float]
    parts: tuple[Shape, ...]
    joints: np.ndarray
    depths: np.ndarray
    props: tuple[Shape, ...]
    speed: float


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """Clothes of any season."""
    u = rng.random(6)
    style = "coat" if u[0] < 0.25 else ("skirt" if u[0] < 0.42 else "plain")
    thickness = 0.004 + 0.022 * u[1] + (0.012 if style == "coat" else 0)
    return Outfit(thickness, style, u[2] < 0.22, u[3] < 0.2, 0.06 + 0.6 * u[4], 0.06 + 0.4 * u[5])


def body(size: BodySize, action: Action, outfit: Outfit) -> Body:
    """The solids of a person."""
    skeleton = pose_skeleton(size, action.posture)
    parts = [*_trunk(skeleton, size, outfit), *_head(skeleton, size, outfit), *_limbs(skeleton, size, outfit)]
    parts += _clothes(skeleton, size, outfit, sitting=action.posture.seat is not None)
    parts += _carried(skeleton, action.prop, size.stature)
    corners = np.concatenate([part.corners() for part in parts])
    low, high = corners.min(0), corners.max(0)
    middle = (low + high) / 2
    shift = Pose(-middle[0], -middle[1], 0.0)
    extent = high - low
    depths = DEPTHS * size.stature * np.sqrt(size.build) + outfit.thickness
    return Body(
        (float(extent[0]), float(extent[1]), float(high[2])),
        tuple(part.placed(shift) for part in parts),
        shift.apply(skeleton.joints),
        depths,
        tuple(part.placed(shift) for part in _props(skeleton, action.prop, action.posture.seat)),
        action.speed,
    )


def _trunk(s: Skeleton, size: BodySize, outfit: Outfit) -> list[Shape]:
    h, girth, t = size.stature, size.build, outfit.thickness
    upper, lower = Material(outfit.upper), Material(outfit.lower)
    neck, hips = s.joints[SHOULDER : SHOULDER + 2].mean(0), s.joints[HIP : HIP + 2].mean(0)
    up = s.trunk[:, 2]
    chest = np.array([0.062 * h * girth**0.7, 0.098 * h * size.shoulders * girth**0.4, 0.165 * h]) + t
    belly = np.array([0.060 * h * girth**1.4, 0.086 * h * girth**0.9, 0.15 * h]) + t
    return [
        Ellipsoid(neck - 0.115 * h * up, chest, upper, s.trunk),
        Ellipsoid(hips + 0.085 * h * up + 0.01 * h * s.trunk[:, 0], belly, upper, s.trunk),
        Capsule(s.joints[HIP], s.joints[HIP + 1], (0.058 * h * girth**0.8 + t,) * 2, lower),
        Capsule(s.joints[SHOULDER] - 0.012 * h * up, s.joints[SHOULDER + 1] - 0.012 * h * up,
                (0.032 * h * girth**0.5 + t,) * 2, upper),
    ]  # fmt: skip


def _head(s: Skeleton, size: BodySize, outfit: Outfit) -> list[Shape]:
    h, skin = size.stature, Material(0.5)
    head, neck = s.joints[HEAD], s.joints[SHOULDER : SHOULDER + 2].mean(0)
    side = np.cross(s.trunk[:, 2], s.face)
    side /= np.linalg.norm(side)
    axes = np.stack([s.face, side, np.cross(s.face, side)], -1)
    # heads of children are larger for their stature (Drillis and Contini hold for adults)
    larger = 1 + 0.35 * np.clip((1.6 - h) / 0.6, 0, 1)
    radii = np.array([0.056, 0.044, 0.068]) * h * larger
    parts: list[Shape] = [
        Ellipsoid(head, radii, skin, axes),
        Capsule(neck, head - 0.03 * h * s.trunk[:, 2], (0.033 * h, 0.032 * h), skin),
        Capsule(s.joints[0] - 0.012 * h * s.face, s.joints[0], (0.009 * h, 0.006 * h), skin),
    ]
    if outfit.hat:
        parts.append(Ellipsoid(head + 0.03 * h * axes[:, 2], radii * [1.15, 1.15, 0.75], Material(outfit.lower), axes))
    return parts


def _limbs(s: Skeleton, size: BodySize, outfit: Outfit) -> list[Shape]:
    h, t, thick = size.stature, outfit.thickness, size.build**0.6
    upper, lower, skin, shoe = (Material(r) for r in (outfit.upper, outfit.lower, 0.5, 0.15))
    parts: list[Shape] = []
    for side in (0, 1):
        shoulder, elbow, wrist, hip, knee, ankle = (
            s.joints[j + side] for j in (SHOULDER, ELBOW, WRIST, HIP, KNEE, ANKLE)
        )
        parts.append(Capsule(shoulder, elbow, (0.029 * h * thick + t, 0.024 * h * thick + t), upper))
        parts.append(Capsule(elbow, wrist, (0.024 * h * thick + t, 0.016 * h * thick + 0.6 * t), upper))
        parts.append(Capsule(wrist, s.hands[side], (0.018 * h, 0.020 * h), skin))
        parts.append(Capsule(hip, knee, (0.050 * h * thick + t, 0.033 * h * thick + t), lower))
        parts.append(Capsule(knee, ankle, (0.034 * h * thick + t, 0.022 * h * thick + t), lower))
        heel = ankle + np.array([-0.02 * h, 0, -0.017 * h])
        parts.append(Capsule(heel, s.toes[side], (0.022 * h, 0.015 * h), shoe))
    return parts


def _clothes(s: Skeleton, size: BodySize, outfit: Outfit, sitting: bool) -> list[Shape]:
    h, girth, t = size.stature, size.build, outfit.thickness
    hips, knees = s.joints[HIP : HIP + 2].mean(0), s.joints[KNEE : KNEE + 2].mean(0)
    parts: list[Shape] = []
    if outfit.style != "plain" and not sitting:
        share = 0.95 if outfit.style == "skirt" else 0.75
        hem = hips + share * (knees - hips)
        wide = max(0.075 * h, float(np.linalg.norm(s.joints[KNEE] - s.joints[KNEE + 1])) * share / 2) + 0.03 * h
        cloth = Material(outfit.lower if outfit.style == "skirt" else outfit.upper)
        parts.append(Capsule(hips, hem, (0.075 * h * girth**0.8 + t, min(wide, 0.17 * h)), cloth))
    if outfit.backpack:
        neck = s.joints[SHOULDER : SHOULDER + 2].mean(0)
        place = neck - 0.14 * h * s.trunk[:, 2] - (0.062 * h * girth**0.7 + t + 0.05 * h) * s.trunk[:, 0]
        parts.append(Ellipsoid(place, np.array([0.075, 0.085, 0.14]) * h, Material(outfit.lower), s.trunk))
    return parts


def _carried(s: Skeleton, prop: str, h: float) -> list[Shape]:
    """What hangs from the lower hand, or is held before the belly."""
    if prop == "bag":
        hand = s.hands[int(s.hands[1, 2] < s.hands[0, 2])]
        centre = hand - np.array([0, 0, 0.02 * h + 0.17])
        return [Ellipsoid(centre, np.array([0.19, 0.06, 0.17]), Material(0.3))]
    if prop == "box":
        middle = s.hands.mean(0) + np.array([0.06, 0, 0.02])
        return [cuboid((0.3, 0.36, 0.26), Material(0.45), Pose(middle[0], middle[1], middle[2] - 0.1))]
    return []


def _props(s: Skeleton, prop: str, seat: float | None) -> list[Shape]:
    """A pram before the hands, a bench below the hips."""
    if prop == "pram":
        x, y = s.hands[:, 0].max() + 0.1, s.hands[:, 1].mean()
        grip = s.hands.mean(0)
        basket = cuboid((0.75, 0.42, 0.34), Material(0.2), Pose(x + 0.35, y, 0.5))
        hood = Ellipsoid(np.array([x + 0.12, y, 0.9]), np.array([0.26, 0.23, 0.22]), Material(0.2))
        frame = [
            Capsule(grip, np.array([x + 0.6, y + side, 0.3]), (0.015, 0.015), Material(0.4)) for side in (-0.2, 0.2)
        ]
        wheels = [
            Capsule(np.array([x + along, y + side - 0.015, 0.13]), np.array([x + along, y + side + 0.015, 0.13]),
                    (0.12, 0.12), Material(0.1))
            for along in (0.1, 0.65) for side in (-0.24, 0.24)
        ]  # fmt: skip
        return [basket, hood, *frame, *wheels]
    if prop == "seat" and seat is not None:
        hips = s.joints[HIP : HIP + 2].mean(0)
        low = seat - 0.16
        return [
            cuboid((0.42, 1.5, 0.05), Material(0.35), Pose(hips[0] + 0.05, 0.0, low)),
            cuboid((0.05, 1.5, 0.35), Material(0.35), Pose(hips[0] - 0.22, 0.0, low + 0.15)),
            *(cuboid((0.4, 0.06, low), Material(0.35), Pose(hips[0] + 0.05, y, 0)) for y in (-0.65, 0.65)),
        ]
    return []
