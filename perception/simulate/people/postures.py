"""Postures of people in streets: standing, walking at any phase, running, and what they do with their hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from perception.simulate.people.skeleton import Arm, BodySize, Leg, Posture


@dataclass(frozen=True)
class Action:
    """What a person does: the name of a posture, where its phase lies in [0, 1) (a walk's step, the height of a
    waving arm), and what it holds: "", "pram", "bag", "seat"."""

    posture: Posture
    prop: str = ""
    speed: float = 0.0


Draw = Callable[[BodySize, float, np.random.Generator], Action]


def draw_action(name: str, size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    """A posture of ``ACTIONS`` by name at a ``phase`` in [0, 1), with the small differences between people."""
    action = ACTIONS[name](size, phase, rng)
    posture = action.posture
    u = 2 * rng.random(5) - 1
    posture = replace(
        posture,
        lean=posture.lean + 3 * u[0],
        side_lean=posture.side_lean + 2.5 * u[1],
        look=posture.look + 40 * u[2] * abs(u[2]),
        nod=posture.nod + 8 + 14 * u[3],
        arms=(_shaken(posture.arms[0], rng), _shaken(posture.arms[1], rng)),
    )
    return replace(action, posture=posture)


def _shaken(arm: Arm, rng: np.random.Generator) -> Arm:
    u = 2 * rng.random(4) - 1
    return Arm(
        arm.raise_forward + 6 * u[0], arm.raise_side + 4 * abs(u[1]), max(arm.bend + 8 * u[2], 2), arm.turn + 12 * u[3]
    )


def _standing(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    """Weight on both legs or on one; arms hanging, on the hips or folded."""
    wide, relaxed = 2 + 6 * rng.random(), 14 * rng.random()
    legs = (Leg(0, wide, 3), Leg(relaxed / 2, wide, relaxed + 2))
    arms = (Arm(), Arm())
    if phase > 0.85:
        arms = (Arm(20, 8, 105, 65), Arm(22, 8, 100, 65))
    elif phase > 0.7:
        arms = (Arm(-15, 42, 75, 90), Arm(-15, 42, 75, 90))
    return Action(Posture(arms, legs if rng.random() < 0.5 else legs[::-1]))


def gait(phase: float, stride: float, running: bool) -> tuple[tuple[Leg, Leg], tuple[float, float]]:
    """Both legs and the swing of both arms in degrees at a phase of the gait cycle, left heel strike at 0."""
    legs, swings = [], []
    for offset in (0.0, 0.5):
        p = 2 * np.pi * ((phase + offset) % 1.0)
        share = (phase + offset) % 1.0
        if running:
            swing, load = np.exp(-((share - 0.62) ** 2) / 0.02), np.exp(-((share - 0.13) ** 2) / 0.008)
            hip, knee = 15 + 35 * np.cos(p), 18 + 20 * load + 80 * swing
        else:
            # two flexions of the knee: a small one under load, a large one in swing about 72 % of the cycle
            swing, load = np.exp(-((share - 0.72) ** 2) / 0.016), np.exp(-((share - 0.15) ** 2) / 0.008)
            hip, knee = 8 + 24 * np.cos(p), 4 + 14 * load + 58 * swing
        legs.append(Leg(stride * hip, 2.0, 2 + max(stride, 0.5) * knee))
        swings.append(-(32 if running else 22) * stride * np.cos(p) + 2)
    return (legs[0], legs[1]), (swings[0], swings[1])


def _walking(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    stride = 0.6 + 0.6 * rng.random()
    legs, swings = gait(phase, stride, False)
    bend = 12 + 20 * rng.random()
    arms = (Arm(swings[0], 6, bend, 12), Arm(swings[1], 6, bend, 12))
    if rng.random() < 0.15:  # hands in the pockets
        arms = (Arm(-12, 14, 38, 35), Arm(-12, 14, 38, 35))
    return Action(Posture(arms, legs, lean=3 + 3 * stride), speed=1.35 * stride * size.stature / 1.72)


def _running(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    stride = 0.75 + 0.4 * rng.random()
    legs, swings = gait(phase, stride, True)
    arms = (Arm(1.1 * swings[0] - 5, 10, 92, 25), Arm(1.1 * swings[1] - 5, 10, 92, 25))
    return Action(Posture(arms, legs, lean=9 + 5 * rng.random()), speed=3.2 * stride)


def _with_arm(action: Action, arm: Arm, rng: np.random.Generator) -> Action:
    """The action with the left or right arm replaced."""
    left, right = action.posture.arms
    arms = (arm, right) if rng.random() < 0.5 else (left, arm)
    return replace(action, posture=replace(action.posture, arms=arms))


def _calm(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    """Standing or walking, as most do who use their hands."""
    return (_standing(size, 0.3, rng)) if rng.random() < 0.5 else _walking(size, phase, rng)


def _waving(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    arm = Arm(10 + 50 * rng.random(), 65 + 70 * phase, 70 - 50 * phase + 30 * rng.random(), -80)
    return _with_arm(_standing(size, 0.3, rng), arm, rng)


def _phoning(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    """To the ear, or held before the chest and read."""
    if phase < 0.6:
        return _with_arm(_calm(size, phase, rng), Arm(55, 38, 138, 22), rng)
    action = _with_arm(_calm(size, phase, rng), Arm(28, 8, 88, 25), rng)
    return replace(action, posture=replace(action.posture, nod=25.0))


def _carrying(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    """A bag hanging from a hand, or a box before the belly."""
    if phase < 0.6:
        return replace(_with_arm(_calm(size, phase / 0.6, rng), Arm(2, 8, 6, 5), rng), prop="bag")
    action = _calm(size, phase, rng)
    arms = (Arm(18, 6, 78, 18), Arm(18, 6, 78, 18))
    return replace(action, posture=replace(action.posture, arms=arms, lean=-3.0), prop="box")


def _sitting(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    seat = 0.27 * size.stature + 0.04 * rng.random()
    spread = 4 + 10 * rng.random()
    bend = 80 + 20 * phase
    legs = (Leg(86, spread, bend), Leg(86 + 6 * rng.random(), spread, bend + 8 * rng.random()))
    arms = (Arm(28, 8, 55 + 25 * rng.random(), 25), Arm(28, 8, 55 + 25 * rng.random(), 25))
    return Action(Posture(arms, legs, lean=-8 + 28 * rng.random(), seat=seat), prop="seat")


def _pushing(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    walk = _walking(size, phase, rng)
    arms = (Arm(34, 6, 45, 5), Arm(34, 6, 45, 5))
    return replace(walk, posture=replace(walk.posture, arms=arms, lean=8.0), prop="pram")


def _pointing(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    arm = Arm(60 + 45 * phase, 10 + 45 * rng.random(), 8, 0)
    return _with_arm(_standing(size, 0.3, rng), arm, rng)


def _stooping(size: BodySize, phase: float, rng: np.random.Generator) -> Action:
    """Reaching for something low, knees bent."""
    knee = 10 + 55 * phase
    legs = (Leg(30 + knee / 2, 4, knee), Leg(30 + knee / 2, 5, knee))
    arms = (Arm(60 + 25 * rng.random(), 6, 12, 5), Arm(35 + 25 * rng.random(), 8, 30, 10))
    return Action(Posture(arms, legs, lean=48 + 20 * rng.random()))


ACTIONS: Mapping[str, Draw] = {
    "standing": _standing,
    "walking": _walking,
    "running": _running,
    "waving": _waving,
    "phoning": _phoning,
    "carrying": _carrying,
    "sitting": _sitting,
    "pushing": _pushing,
    "pointing": _pointing,
    "stooping": _stooping,
}
