"""Boxes as nuScenes' benchmark has them: in the global frame, with class, attribute and score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

CLASSES = (
    "car",
    "truck",
    "bus",
    "trailer",
    "construction_vehicle",
    "pedestrian",
    "motorcycle",
    "bicycle",
    "traffic_cone",
    "barrier",
)
# The categories that the detection benchmark knows; animals, wheelchairs, debris and others have no class.
CLASS_OF = {
    "movable_object.barrier": "barrier",
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.construction": "construction_vehicle",
    "vehicle.motorcycle": "motorcycle",
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "movable_object.trafficcone": "traffic_cone",
    "vehicle.trailer": "trailer",
    "vehicle.truck": "truck",
}
BICYCLE_RACK = "static_object.bicycle_rack"
ATTRIBUTES = (
    "pedestrian.moving",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "cycle.with_rider",
    "cycle.without_rider",
    "vehicle.moving",
    "vehicle.parked",
    "vehicle.stopped",
)
MOST_BOXES = 500  # of one keyframe in a submission


@dataclass(frozen=True, eq=False)
class NuscenesBoxes:
    """Labels or results of several keyframes, arrays of length N.

    ``frame`` index of the keyframe; ``names`` class; ``translation`` (N, 3) centre; ``size`` (N, 3) width length
    height; ``rotation`` (N, 4) quaternion w x y z; ``velocity`` (N, 2), NaN where unknown; ``attribute`` "" for none;
    ``score`` NaN in labels; ``points`` of lidar and radar in the box, -1 in results.
    """

    frame: np.ndarray
    names: np.ndarray
    translation: np.ndarray
    size: np.ndarray
    rotation: np.ndarray
    velocity: np.ndarray
    attribute: np.ndarray
    score: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, rows: np.ndarray) -> NuscenesBoxes:
        """The boxes of a boolean mask or an index array."""
        return NuscenesBoxes(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def empty(cls) -> NuscenesBoxes:
        numbers = {name: np.zeros((0, width)) for name, width in (("translation", 3), ("size", 3), ("rotation", 4))}
        return cls(
            np.zeros(0, np.int64),
            np.zeros(0, str),
            velocity=np.zeros((0, 2)),
            attribute=np.zeros(0, str),
            score=np.zeros(0),
            points=np.zeros(0, np.int64),
            **numbers,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[NuscenesBoxes]) -> NuscenesBoxes:
        """All boxes in order; frames keep their numbers."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in (cls.empty(), *parts)]) for f in fields(cls)})


@dataclass(frozen=True, eq=False)
class NuscenesTruth:
    """What results are held against: F keyframes by sample token, ``ego`` (F, 3) the vehicle's places, all labels of
    the benchmark's classes, and the bicycle racks (N boxes without a class)."""

    tokens: tuple[str, ...]
    ego: np.ndarray
    boxes: NuscenesBoxes
    racks: NuscenesBoxes

    @classmethod
    def concatenate(cls, parts: Sequence[NuscenesTruth]) -> NuscenesTruth:
        """Several data sets as one, frames numbered on."""
        first = np.cumsum([0, *(len(part.tokens) for part in parts)])
        return cls(
            tuple(token for part in parts for token in part.tokens),
            np.concatenate([np.zeros((0, 3)), *(part.ego for part in parts)]),
            *(
                NuscenesBoxes.concatenate(
                    [replace(getattr(p, name), frame=getattr(p, name).frame + n) for p, n in zip(parts, first)]
                )
                for name in ("boxes", "racks")
            ),
        )
