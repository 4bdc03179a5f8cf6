"""From what a graph answers to results: thresholds, suppression and numbers, by the manifest's rules alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from perception.boxes import Boxes3D
from perception.export.manifest import Manifest
from perception.heads.centre_selection import Peaks, gather_peaks, suppress
from perception.heads.selection import survivors
from perception.results import Detections


@torch.inference_mode()
def detections_of(outputs: Mapping[str, Tensor], manifest: Manifest) -> Detections:
    """The results of one cloud, best first."""
    boxes, scores, labels = outputs["boxes"].float(), outputs["scores"].float(), outputs["labels"].long()
    if manifest.anchors is not None:
        rule = manifest.anchors
        kept = (scores > rule.score_threshold).nonzero()[:, 0]
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
        kept = survivors(boxes, scores, labels, rule)
        return Detections(Boxes3D(boxes[kept]), scores[kept], labels[kept], manifest.classes)
    assert manifest.centres is not None
    overlap = outputs.get("overlap")
    peaks: list[Peaks] = []
    for rows in torch.arange(len(scores)).chunk(manifest.tasks):
        rows = rows[scores[rows] > manifest.centres.score_threshold]
        seen = None if overlap is None else overlap[rows].float()
        peaks.append(gather_peaks(boxes[rows], scores[rows], labels[rows], seen, manifest.centres))
    return suppress(peaks, manifest.centres, manifest.classes)
