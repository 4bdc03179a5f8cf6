"""Bodies of pedestrians and cyclists, built from ellipsoids inside their box.

Local frame: the box stands on z = 0, its centre above the origin, facing +x.
"""

from __future__ import annotations

import numpy as np

from perception.simulate.shapes import Ellipsoid, Material, Pose, Shape, extruded, limb
from perception.simulate.street.vehicles import wheel


def pedestrian(rng: np.random.Generator) -> tuple[tuple[float, float, float], tuple[Shape, ...]]:
    """Size and parts of a person walking or standing."""
    height = 1.5 + 0.4 * rng.random() if rng.random() < 0.9 else 1.1 + 0.3 * rng.random()
    unit = height / 1.75
    stride = (0.05 + 0.3 * rng.random()) * unit * (1 if rng.random() < 0.5 else -1)
    broad = (0.21 + 0.04 * rng.random()) * unit
    swing = 0.8 * stride
    cloth, skin = Material(0.1 + 0.5 * rng.random()), Material(0.45)
    trousers = Material(0.1 + 0.3 * rng.random())
    parts: list[Shape] = [
        Ellipsoid(np.array([0, 0, 1.17 * unit]), np.array([0.14 * unit, broad, 0.36 * unit]), cloth),
        Ellipsoid(np.array([0, 0, 0.93 * unit]), np.array([0.14 * unit, 0.19 * unit, 0.18 * unit]), trousers),
        Ellipsoid(np.array([0.02, 0, height - 0.13 * unit]), np.array([0.1, 0.085, 0.13]) * unit, skin),
    ]
    for side in (-1, 1):
        foot = side * stride
        hip, ankle = (0.0, side * 0.1 * unit, 1.0 * unit), (foot, side * 0.11 * unit, 0.0)
        parts.append(limb(hip, ankle, 0.095 * unit, trousers))
        parts.append(
            limb((foot - 0.08, side * 0.11 * unit, 0.04), (foot + 0.18, side * 0.11 * unit, 0.04), 0.05, trousers)
        )
        shoulder, hand = (0.0, side * broad, 1.45 * unit), (-side * swing, side * (broad + 0.04), 0.8 * unit)
        parts.append(limb(shoulder, hand, 0.055 * unit, cloth))
    length = max(0.45, 2 * abs(stride) + 0.3)
    if rng.random() < 0.2:
        bag = np.array([-0.2 * unit, 0, 1.25 * unit])
        parts.append(Ellipsoid(bag, np.array([0.12, 0.16, 0.24]) * unit, cloth))
        length = max(length, 0.66 * unit)
    return (length, 2 * broad + 0.16 * unit, height), tuple(parts)


def cyclist(rng: np.random.Generator) -> tuple[tuple[float, float, float], tuple[Shape, ...]]:
    """Size and parts of a person on a bicycle."""
    height = 1.62 + 0.22 * rng.random()
    length = 1.6 + 0.25 * rng.random()
    hub = length / 2 - 0.34
    cloth, skin = Material(0.1 + 0.5 * rng.random()), Material(0.45)
    metal = Material(0.35)
    spokes = Material(0.2, 0.35, 0.05)
    lean = 0.12 + 0.22 * rng.random()
    seat, neck = np.array([-0.18, 0, 0.95]), np.array([-0.18 + lean, 0, height - 0.28])
    parts: list[Shape] = [
        wheel(0.34, 0.04, spokes).placed(Pose(-hub)),
        wheel(0.34, 0.04, spokes).placed(Pose(hub)),
        limb((-hub, 0, 0.34), (0.0, 0, 0.3), 0.025, metal),
        limb((0.0, 0, 0.3), tuple(seat), 0.03, metal),
        limb((-0.1, 0, 0.8), (hub - 0.15, 0, 0.85), 0.03, metal),
        limb((hub, 0, 0.34), (hub - 0.2, 0, 1.02), 0.03, metal),
        limb(tuple(seat - [0, 0, 0.05]), tuple(neck + np.array([0.03, 0, 0.06])), 0.17, cloth),
        Ellipsoid(neck + np.array([0.06, 0, 0.14]), np.array([0.11, 0.085, 0.14]), skin),
        extruded(np.array([[-0.03, 1.0], [0.03, 1.0], [0.03, 1.04], [-0.03, 1.04]]), 0.5, metal).placed(
            Pose(hub - 0.22)
        ),
    ]
    raised = 0.16 * (2 * rng.random() - 1)
    for side in (-1, 1):
        knee, pedal = (0.16, side * 0.12, 0.72 + side * raised), (side * raised, side * 0.12, 0.28 + side * raised)
        parts.append(limb((-0.15, side * 0.1, 0.95), knee, 0.08, cloth))
        parts.append(limb(knee, pedal, 0.06, cloth))
        parts.append(
            limb(tuple(neck + np.array([0, side * 0.18, -0.04])), (hub - 0.22, side * 0.22, 1.04), 0.05, cloth)
        )
    return (length, 0.58, height), tuple(parts)
