"""Single-shot anchor heads: SECOND and PointPillars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from perception.geometry import nms
from perception.heads.anchor_head import AnchorPredictions
from perception.models.detector import AnchorDetector
from perception.parity.checks import Check, Tolerance, close, equal, failed
from perception.parity.probes.base import Probe
from perception.parity.stages import Stage


class AnchorProbe(Probe):
    def stages(
        self, model: AnchorDetector, predictions: AnchorPredictions, stored: Mapping[str, np.ndarray]
    ) -> dict[str, Stage]:
        boxes = model.head.decode(predictions)
        shape = predictions.anchors.shape[:2]
        return {
            "head.cls_preds": _as_map(predictions.scores, shape),
            "head.box_preds": _as_map(predictions.residuals, shape),
            "head.dir_cls_preds": _as_map(predictions.directions, shape),
            "head.batch_cls_preds": Stage(predictions.scores.flatten(0, 1).numpy()),
            "head.batch_box_preds": Stage(boxes.flatten(0, 1).numpy()),
        }

    def suppression(
        self,
        number: int,
        facts: Mapping[str, Any],
        stored: Mapping[str, np.ndarray],
        stages: Mapping[str, Stage],
    ) -> Iterator[Check]:
        call = f"nms{number}"
        boxes, scores = stored[f"{call}/cand_boxes"], stored[f"{call}/cand_scores"]
        index = stored[f"{call}/cand_idx"]
        yield suppressed_as_stored(call, facts, stored)

        rows = index + number * facts["n_in"]
        all_boxes = stages["head.batch_box_preds"].values
        all_scores = 1 / (1 + np.exp(-stages["head.batch_cls_preds"].values.max(1).astype(np.float64)))
        angle = {6: 2 * np.pi}
        keys = (f"{call}/cand_boxes",)
        yield close(f"{call} candidate boxes", all_boxes[rows], boxes, Tolerance(1e-3), 0, keys, angle)
        yield close(f"{call} candidate scores", all_scores[rows], scores, Tolerance(1e-4), 0, (f"{call}/cand_scores",))
        # The stored candidates are our best ones too: none of ours that is left out scores clearly above the last.
        sample = np.delete(all_scores[number * facts["n_in"] : (number + 1) * facts["n_in"]], index)
        limit = scores.min() if len(scores) == facts["pre"] else facts["score_thresh"]
        excess = max(float(sample.max(initial=0.0) - limit), 0.0)
        keys = (f"{call}/cand_idx",)
        yield Check(f"{call} candidates", excess <= 1e-4, excess, 1e-4, len(index), "none better left out", keys)


def _as_map(values: torch.Tensor, shape: torch.Size) -> Stage:
    """(B, H * W * A, C) as the map (B, A * C, H, W) that the convolution gave."""
    return Stage(values.reshape(len(values), *shape, -1).permute(0, 3, 1, 2).numpy())


def suppressed_as_stored(call: str, facts: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> Check:
    """Whether our suppression keeps, of the stored candidates of a class-agnostic call, the rows kept officially."""
    boxes, scores = stored[f"{call}/cand_boxes"], stored[f"{call}/cand_scores"]
    index, kept = stored[f"{call}/cand_idx"], stored[f"{call}/keep_idx"]
    if facts["kind"] != "agnostic":
        return failed(call, f"unknown kind of suppression {facts['kind']!r}")
    flat = torch.from_numpy(boxes[:, :7].copy())
    ours = index[nms(flat, torch.from_numpy(scores), facts["thresh"], facts["post"]).numpy()]
    if facts["exact_score_ties"]:
        ours, kept = np.sort(ours), np.sort(kept)
    return equal(f"{call} kept", ours, kept, (f"{call}/keep_idx",), f"{len(kept)} boxes")
