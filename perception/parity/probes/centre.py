"""Centre heads: CenterPoint, VoxelNeXt, and other backbones under the same head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from perception.geometry import nms_per_class
from perception.heads.centre_head import CentrePredictions
from perception.heads.sparse_centre_head import SparseCentrePredictions
from perception.models.centre_detector import CentreDetector
from perception.parity.checks import Check, equal, failed
from perception.parity.probes.anchor import suppressed_as_stored
from perception.parity.probes.base import Probe
from perception.parity.stages import Stage

BOX, SCORE = 1e-3, 1e-4


class CentreSuppression(Probe):
    def suppression(
        self,
        number: int,
        facts: Mapping[str, Any],
        stored: Mapping[str, np.ndarray],
        stages: Mapping[str, Stage],
    ) -> Iterator[Check]:
        call = f"nms{number}"
        if facts["kind"] == "per_class":
            yield _suppressed_per_class(call, facts, stored)
        else:
            yield suppressed_as_stored(call, facts, stored)
        yield _same_candidates(call, stages[f"candidates {number}"], stored)


class CentreProbe(CentreSuppression):
    def stages(
        self, model: CentreDetector, predictions: CentrePredictions, stored: Mapping[str, np.ndarray]
    ) -> dict[str, Stage]:
        found = {}
        for task, given in enumerate(predictions.tasks):
            maps = model.head.everywhere(given.shared, task)
            parts = [maps.values, maps.heatmap] if maps.overlap is None else [maps.values, maps.overlap, maps.heatmap]
            found[f"head.{task}"] = Stage(torch.cat(parts, 1).numpy())
        batch = len(predictions.tasks[0].heatmap)
        return found | candidates(model, predictions, batch)


class SparseCentreProbe(CentreSuppression):
    def stages(
        self, model: CentreDetector, predictions: SparseCentrePredictions, stored: Mapping[str, np.ndarray]
    ) -> dict[str, Stage]:
        found, coordinates = {}, predictions.features.coordinates.numpy()
        for task in range(len(predictions.tasks)):
            rows = model.head.everywhere(predictions.features, task)
            parts = [rows.values, rows.heatmap] if rows.overlap is None else [rows.values, rows.overlap, rows.heatmap]
            found[f"head.{task}"] = Stage(torch.cat(parts, 1).numpy(), coordinates)
        return found | candidates(model, predictions, predictions.features.sites.batch_size)

    def derived(self, model: CentreDetector, stages: Mapping[str, Stage]) -> dict[str, Stage]:
        """The official x_conv4 holds three levels at the scale of the finest; rows of one cell are added up."""
        coordinates, values = [], []
        for level, name in enumerate(("module.conv4", "module.conv5", "module.conv6")):
            cells = stages[name].coordinates
            assert cells is not None
            coordinates.append(cells * np.array([1, *[2**level] * (cells.shape[1] - 1)]))
            values.append(stages[name].values)
        merged, group = np.unique(np.concatenate(coordinates), axis=0, return_inverse=True)
        rows = np.concatenate(values)
        total = np.zeros((len(merged), rows.shape[1]), rows.dtype)
        np.add.at(total, group.ravel(), rows)
        return {"x_conv4": Stage(total, merged, stages["module.conv4"].spatial_shape)}


def candidates(model: CentreDetector, predictions: Any, batch: int) -> dict[str, Stage]:
    """What suppression gets in the order of the official calls, task by task and in each sample by sample: rows of
    box, score and label."""
    found: dict[str, Stage] = {}
    each = [model.head.peaks(predictions, sample, model.config.selection) for sample in range(batch)]
    for task in range(len(each[0])):
        for peaks in (sample[task] for sample in each):
            rows = torch.cat([peaks.boxes, peaks.scores[:, None], peaks.labels[:, None].float()], 1)
            found[f"candidates {len(found)}"] = Stage(rows.numpy())
    return found


def _same_candidates(call: str, ours: Stage, stored: Mapping[str, np.ndarray]) -> Check:
    """Whether every stored candidate has its own twin among ours. One may lack that scores like the last: rounding
    decides who is the last."""
    boxes, scores = stored[f"{call}/cand_boxes"], stored[f"{call}/cand_scores"]
    keys = tuple(f"{call}/{name}" for name in ("cand_boxes", "cand_scores", "cand_labels", "cand_idx"))
    keys = tuple(key for key in keys if key in stored)
    if not len(boxes):
        return Check(f"{call} candidates", not len(ours.values), float(len(ours.values)), 0.0, 0, "none stored", keys)
    difference = np.abs(ours.values[:, None, : boxes.shape[1]] - boxes[None])
    turned = difference[..., 6] % (2 * np.pi)
    difference[..., 6] = np.minimum(turned, 2 * np.pi - turned)
    score_difference = np.abs(ours.values[:, None, boxes.shape[1]] - scores[None])
    twin = (difference <= BOX * np.maximum(1, np.abs(boxes[None]))).all(-1) & (score_difference <= SCORE)
    if f"{call}/cand_labels" in stored:
        twin &= ours.values[:, None, -1] == stored[f"{call}/cand_labels"][None]
    at_the_edge = scores - scores.min() <= SCORE
    surplus = max(abs(len(ours.values) - len(boxes)) - int(at_the_edge.sum()), 0)
    missing = int((~twin.any(0) & ~at_the_edge).sum()) + surplus
    return Check(f"{call} candidates", missing == 0, float(missing), 0.0, boxes.size + scores.size, "with a twin", keys)


def _suppressed_per_class(call: str, facts: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> Check:
    boxes, scores, labels = (torch.from_numpy(stored[f"{call}/cand_{name}"]) for name in ("boxes", "scores", "labels"))
    kept = stored[f"{call}/keep_idx"]
    if len(set(facts["post"])) != 1 or min(facts["pre"]) < len(boxes):
        return failed(f"{call} kept", "caps that differ from class to class are not compared")
    ours = nms_per_class(boxes[:, :7].contiguous(), scores, labels.long(), facts["thresh"], facts["post"][0]).numpy()
    if facts["exact_score_ties"]:
        ours, kept = np.sort(ours), np.sort(kept)
    return equal(f"{call} kept", ours, kept, (f"{call}/keep_idx",), f"{len(kept)} boxes")
