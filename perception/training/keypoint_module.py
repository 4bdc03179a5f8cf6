"""Training of models of human keypoints: a detector's, whose loss also takes the joints of every box."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.datasets.keypoint_attributes import KEYPOINTS, VISIBLE
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.keypoints import KeypointTargets
from perception.training.data import Batch
from perception.training.module import DetectionTraining


class KeypointTraining(DetectionTraining):
    """Joints come from the objects' attributes ``keypoints`` and ``keypoints_visible``; see ``joints_of``."""

    def losses_of(self, model: Any, predictions: Any, batch: Batch) -> dict[str, Tensor]:
        boxes, labels, keypoints = [], [], []
        for cloud, objects, identifier in zip(batch.clouds, batch.objects, batch.identifiers):
            rows, box, label = self.targets.rows(cloud, objects, identifier)
            assert objects is not None  # the line above says so to the user
            boxes.append(box.to(self.device))
            labels.append(label.to(self.device))
            joints = len(model.skeleton.joints)
            keypoints.append(joints_of(objects, joints, identifier).select(rows).to(self.device))
        found: dict[str, Tensor] = model.loss(predictions, boxes, labels, keypoints)
        return found


def joints_of(objects: Objects, joints: int, identifier: str) -> KeypointTargets:
    """The joints of all objects: NaN where the recording has none. A joint whose visibility is missing is unknown.

    Raises PerceptionError naming the frame where the labels are of another skeleton.
    """
    if KEYPOINTS not in objects.attributes:
        return KeypointTargets.unknown(len(objects), joints)
    positions = np.asarray(objects.attributes[KEYPOINTS], np.float32)
    if positions.shape[1:] != (joints, 3):
        raise PerceptionError(
            f"frame {identifier}: keypoints of shape {positions.shape}",
            f"({len(objects)}, {joints}, 3), the joints of the model's skeleton",
            "give the model the skeleton of the labels (overrides: skeleton)",
        )
    visible = np.asarray(objects.attributes.get(VISIBLE, np.full(positions.shape[:2], np.nan)), np.float32)
    return KeypointTargets(torch.from_numpy(positions), torch.from_numpy(visible))
