"""All models by name: a plain dict. A new model adds its file and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perception.errors import PerceptionError, nearest
from perception.models.model import Model
from perception.models.pointpillars import SMALL, PointPillars, PointPillarsConfig
from perception.models.second import SECOND, SECONDConfig


@dataclass(frozen=True)
class Entry:
    """``make`` builds the model from ``config``; ``defaults`` is the configuration that a user's file changes.

    ``official`` names the published configuration that the defaults equal, by the family of its checkpoints
    (a module of ``perception.io.importers``).
    """

    make: Callable[[Any], Model]
    defaults: Any
    task: str
    summary: str
    official: Mapping[str, str] = field(default_factory=dict)


MODELS: dict[str, Entry] = {
    "second": Entry(
        SECOND,
        SECONDConfig(),
        "detection",
        "SECOND (2018): sparse voxels, anchors; KITTI classes",
        {"openpcdet": "kitti_models/second.yaml"},
    ),
    "pointpillars": Entry(
        PointPillars,
        PointPillarsConfig(),
        "detection",
        "PointPillars (CVPR 2019): pillars, anchors; KITTI classes",
        {"openpcdet": "kitti_models/pointpillar.yaml"},
    ),
    "pointpillars-small": Entry(
        PointPillars, SMALL, "detection", "PointPillars for CPUs: an eighth of the work, geometry only; KITTI classes"
    ),
}


def entry(name: str) -> Entry:
    """The catalogue's entry, or an error with the nearest name."""
    if name not in MODELS:
        raise PerceptionError(
            f"no model is called {name!r}", "a name that `perception models` lists", nearest(name, MODELS)
        )
    return MODELS[name]
