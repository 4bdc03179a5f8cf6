"""What detectors with centre heads share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from perception.models.detector import Detector
from perception.results import Detections

NUSCENES_TASKS = (
    ("car",),
    ("truck", "construction_vehicle"),
    ("bus", "trailer"),
    ("barrier",),
    ("motorcycle", "bicycle"),
    ("pedestrian", "traffic_cone"),
)
WAYMO_TASKS = (("Vehicle", "Pedestrian", "Cyclist"),)


class CentreDetector(Detector):
    """A model whose classes are grouped into tasks and whose head answers with centres."""

    head: Any

    def loss(self, predictions: Any, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Of (N, 7) boxes, or (N, 9) with velocities; velocities that are not known (NaN) cost nothing."""
        answer: dict[str, Tensor] = self.head.loss(predictions, boxes, labels, self.config.loss)
        return answer

    def results(self, predictions: Any) -> list[Detections]:
        """Peaks, their boxes and what suppression leaves of them, for each sample."""
        answer: list[Detections] = self.head.results(predictions, self.config.selection)
        return answer
