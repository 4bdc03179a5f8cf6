"""VoxelKP's files: heads of joints, and the joints of the final people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from perception.heads.keypoint_head import KeypointPredictions
from perception.losses.keypoints import SEEN
from perception.models.voxelkp import VoxelKP
from perception.parity.checks import Check
from perception.parity.matching import twins
from perception.parity.probes.centre import CentreSuppression
from perception.parity.stages import Stage
from perception.results import Skeletons

JOINT, LEVEL = 0.01, 0.01


class KeypointProbe(CentreSuppression):
    """The files name the data set's classes, of which the published model makes one."""

    def classes(self, meta: Mapping[str, Any]) -> tuple[str, ...]:
        return ("Human",)

    def stages(
        self, model: VoxelKP, predictions: KeypointPredictions, stored: Mapping[str, np.ndarray]
    ) -> dict[str, Stage]:
        x = predictions.features
        head = torch.cat([model.head.everywhere(x), predictions.heatmap], 1)
        found = {"head.0": Stage(head.numpy(), x.coordinates.numpy())}
        for sample in range(x.sites.batch_size):
            (peaks,) = model.head.peaks(predictions, sample, model.config.selection)
            rows = torch.cat([peaks.boxes[:, :7], peaks.scores[:, None], peaks.labels[:, None].float()], 1)
            found[f"candidates {sample}"] = Stage(rows.numpy())
        return found

    def final(self, sample: int, result: Skeletons, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
        """Joints of the stored people whose box has a twin among ours; raw levels of visibility, not clamped."""
        name = f"final{sample}"
        keys = (f"{name}/pred_kps", f"{name}/pred_kps_vis")
        boxes, scores, labels = (stored[f"{name}/pred_{part}"] for part in ("boxes", "scores", "labels"))
        ours = twins(result.detections, boxes, scores, labels)
        found = ours >= 0
        levels = np.clip(stored[keys[1]] / SEEN, 0, 1)
        for key, mine, theirs, limit in (
            (keys[0], result.keypoints.numpy(), stored[keys[0]], JOINT),
            (keys[1], result.visibility.numpy(), levels, LEVEL),
        ):
            difference = float(np.abs(mine[ours[found]] - theirs[found]).max(initial=0.0))
            holds = difference <= limit and found.any() == (len(boxes) > 0)
            note = f"of {int(found.sum())} people"
            yield Check(key, holds, difference, limit, theirs.size, note, (key,))
