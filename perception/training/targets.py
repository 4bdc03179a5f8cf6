"""From labelled objects to the boxes and class indices that a model's loss takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.geometry import points_in_boxes
from perception.points import PointCloud


@dataclass(frozen=True)
class Targets:
    """What a model can learn: its ``classes``, the ``point_range`` (x y z minimum, then maximum) it sees.

    ``renamed`` maps labels to classes first; boxes with fewer than ``minimum_points`` points are left out.
    ``velocity``: boxes are followed by velocities, NaN where the labels do not know them.
    """

    classes: tuple[str, ...]
    point_range: Sequence[float]
    renamed: Mapping[str, str]
    minimum_points: int = 0
    velocity: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.renamed.values()) - set(self.classes))
        if unknown:
            raise PerceptionError(
                f"classes: labels are renamed to {unknown}", f"classes of the model: {list(self.classes)}"
            )

    def __call__(self, cloud: PointCloud, objects: Objects | None, identifier: str) -> tuple[Tensor, Tensor]:
        """Boxes (N, 7), or (N, 9) with velocities, float32 and class indices (N,) int64 of the objects to learn.

        Raises PerceptionError naming frame and row where a box is not finite or has no size.
        """
        return self.rows(cloud, objects, identifier)[1:]

    def rows(self, cloud: PointCloud, objects: Objects | None, identifier: str) -> tuple[Tensor, Tensor, Tensor]:
        """The rows (N,) int64 of the objects to learn, then what calling answers."""
        if objects is None:
            raise PerceptionError(
                f"frame {identifier} has no labels", "labelled recordings for training", "choose a labelled split"
            )
        boxes = objects.boxes.values.float()
        _check(boxes, objects.names, identifier)
        names = [self.renamed.get(str(name), str(name)) for name in objects.names]
        labels = torch.tensor([self.classes.index(n) if n in self.classes else -1 for n in names], dtype=torch.int64)
        low, high = boxes.new_tensor(self.point_range[:3]), boxes.new_tensor(self.point_range[3:])
        if self.velocity:
            known = objects.boxes.velocity
            speeds = boxes.new_full((len(boxes), 2), torch.nan) if known is None else known.float()
            # Half a velocity teaches as little as none, and infinite ones are no more than a way to say unknown.
            known_rows = torch.isfinite(speeds).all(1, keepdim=True)
            boxes = torch.cat([boxes, torch.where(known_rows, speeds, torch.nan)], 1)
        kept = (labels >= 0) & ((boxes[:, :3] >= low) & (boxes[:, :3] < high)).all(1)
        rows = kept.nonzero()[:, 0]
        boxes, labels = boxes[rows], labels[rows]
        if self.minimum_points > 0 and len(boxes):
            enough = points_in_boxes(torch.from_numpy(cloud.xyz), boxes[:, :7]).sum(0) >= self.minimum_points
            rows, boxes, labels = rows[enough], boxes[enough], labels[enough]
        return rows, boxes, labels


def _check(boxes: Tensor, names: np.ndarray, identifier: str) -> None:
    wrong = ~torch.isfinite(boxes).all(1) | (boxes[:, 3:6] <= 0).any(1)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise PerceptionError(
            f"frame {identifier}, object {row} ({names[row]}): box {[round(v, 3) for v in boxes[row].tolist()]}",
            "finite numbers and sizes above 0",
            "correct or remove this label",
        )
