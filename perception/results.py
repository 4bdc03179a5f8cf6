"""What the models answer: one frozen dataclass for each of the five tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from perception.boxes import Boxes3D


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects in one cloud, best first: ``scores`` (N,) in [0, 1], ``labels`` (N,) int64 indices into ``classes``."""

    boxes: Boxes3D
    scores: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        return [self.classes[i] for i in self.labels.tolist()]

    def select(self, rows: Tensor) -> Detections:
        """The detections of a boolean mask or an index tensor."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows], self.classes)

    def cpu(self) -> Detections:
        return Detections(self.boxes.to("cpu"), self.scores.cpu(), self.labels.cpu(), self.classes)

    @classmethod
    def empty(cls, classes: tuple[str, ...], velocity: bool = False) -> Detections:
        return cls(Boxes3D.empty(velocity), torch.zeros(0), torch.zeros(0, dtype=torch.int64), classes)


@dataclass(frozen=True, eq=False)
class Skeletons:
    """People with joints in one cloud, best first: ``keypoints`` (N, K, 3) metres, one name a joint.

    ``visibility`` (N, K) in [0, 1]: above 0.5 the sensor saw the joint, half is one that is there but hidden.
    ``class_name`` is what the boxes hold, ``bones`` pairs of joints to draw a line between.
    """

    boxes: Boxes3D
    scores: Tensor
    keypoints: Tensor
    visibility: Tensor
    joint_names: tuple[str, ...]
    class_name: str = "Human"
    bones: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def detections(self) -> Detections:
        """The people's boxes alone."""
        labels = torch.zeros(len(self), dtype=torch.int64, device=self.scores.device)
        return Detections(self.boxes, self.scores, labels, (self.class_name,))

    def select(self, rows: Tensor) -> Skeletons:
        """The people of a boolean mask or an index tensor."""
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            keypoints=self.keypoints[rows],
            visibility=self.visibility[rows],
        )

    def cpu(self) -> Skeletons:
        return replace(
            self,
            boxes=self.boxes.to("cpu"),
            scores=self.scores.cpu(),
            keypoints=self.keypoints.cpu(),
            visibility=self.visibility.cpu(),
        )


@dataclass(frozen=True, eq=False)
class TreeInstances:
    """Tree of each point: ``tree_id`` (N,) int32, 0 for none; ``tree_score`` (N,) float32; ``semantic`` (N,) uint8."""

    tree_id: Tensor
    tree_score: Tensor
    semantic: Tensor


@dataclass(frozen=True, eq=False)
class PlaceDescriptor:
    """A vector (D,) float32: near, in euclidean distance, for clouds of one place. Most models give unit vectors."""

    descriptor: Tensor


@dataclass(frozen=True, eq=False)
class SceneFlow:
    """Motion of each point of the first cloud to the second scan's time.

    ``flow`` (N, 3) metres including the sensor's own motion, ``moving`` (N,) bool for points that move in the world.
    """

    flow: Tensor
    moving: Tensor


Result = Detections | Skeletons | TreeInstances | PlaceDescriptor | SceneFlow
