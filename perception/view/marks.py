"""What every picture draws over the points: boxes with the name, score and colour of their class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects
from perception.points import PointCloud
from perception.results import Detections
from perception.view.colours import Theme, class_colour


@dataclass(frozen=True, eq=False)
class Mark:
    """One box to draw: corners (8, 3), centre (3,), its colour, text and whether it is a label beside detections."""

    corners: np.ndarray
    centre: np.ndarray
    name: str
    text: str
    colour: str
    truth: bool

    @property
    def front(self) -> np.ndarray:
        """Middle of the front edge at mid-height (3,)."""
        return self.corners[[0, 3, 4, 7]].mean(0)


def marks(detections: Detections | None, labels: Objects | None, look: Theme) -> list[Mark]:
    """Labels first, so that detections lie over them; labels alone are drawn in the colours of their classes."""
    found = (
        [] if labels is None else _marks(labels.boxes, list(map(str, labels.names)), None, look, detections is not None)
    )
    if detections is not None:
        scores = detections.scores.detach().cpu().tolist()
        found += _marks(detections.boxes, detections.names, scores, look, False)
    return found


def counts(found: list[Mark], truth: bool) -> str:
    """Numbers by class in words: "12 Car, 1 Cyclist"."""
    number = Counter(mark.name for mark in found if mark.truth == truth)
    return ", ".join(f"{n} {name}" for name, n in number.most_common())


def seen_from_origin(cloud: PointCloud) -> bool:
    """Whether the cloud surrounds, or starts at, the origin of its frame, as scans in a sensor's frame do."""
    if len(cloud) == 0 or np.any(cloud.origin):
        return not np.any(cloud.origin)
    low, high = np.percentile(cloud.xyz[:, :2], [1, 99], axis=0)
    return bool((low < 10).all() and (high > -10).all() and np.abs(cloud.xyz[:, :2]).max() < 1000)


def _marks(boxes: Boxes3D, names: list[str], scores: list[float] | None, look: Theme, truth: bool) -> list[Mark]:
    boxes = Boxes3D(boxes.values.detach().cpu().double())
    corners, centres = boxes.corners().numpy(), boxes.centre.numpy()
    found = []
    for i, name in enumerate(names):
        if not np.isfinite(corners[i]).all():
            continue
        text = name if scores is None else f"{name} {scores[i]:.2f}"
        colour = look.truth if truth else class_colour(name, look)
        found.append(Mark(corners[i], centres[i], name, text, colour, truth))
    return found
