"""Two-stage detectors: Voxel R-CNN and PV-RCNN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.heads.roi.keypoint_head import WeightedKeypoints
from perception.heads.roi.proposals import Proposals
from perception.models.two_stage import TwoStageDetector, TwoStagePredictions
from perception.parity.checks import Check, Tolerance, close, equal, root_mean_square
from perception.parity.matching import matched
from perception.parity.probes.anchor import AnchorProbe, suppressed_as_stored
from perception.parity.stages import Stage
from perception.results import Detections

# Proposals that stand at a border of two cells, or of a radius, see other voxels after rounding.
PROPOSALS, REFINED, FEATURES, FINAL, END_TO_END = 0.99, 0.95, 0.999, 0.99, 0.9
ROI_OF_SPREAD = 1e-3


class TwoStageProbe(AnchorProbe):
    """Second stages answer with a jump where rounding moves a neighbour in or out, so shares of rows are compared.

    A proposal that is 1e-5 m off sees other voxels in a few of a hundred cases: the official model in float64 does. So
    final boxes are compared strictly from the stored proposals, and loosely from end to end.
    """

    own = frozenset(("pfe.before_fusion", "pfe.point_features", "point_head.point_cls_scores"))
    final_share = END_TO_END

    def voxels(self, voxels: Any) -> Any:
        return getattr(voxels, "hard", voxels)

    def stages(  # type: ignore[override]
        self, model: TwoStageDetector, predictions: TwoStagePredictions, stored: Mapping[str, np.ndarray]
    ) -> dict[str, Stage]:
        return super().stages(model, predictions.anchors, stored)

    def further(
        self, model: TwoStageDetector, predictions: TwoStagePredictions, stored: Mapping[str, np.ndarray]
    ) -> Iterator[Check]:
        """Our second stage on the stored proposals, row by row; then ours against the stored, as sets."""
        boxes, scores, labels = (torch.from_numpy(stored[f"roi.{key}"]) for key in ("rois", "roi_scores", "roi_labels"))
        sample = torch.arange(len(boxes)).repeat_interleave(boxes.shape[1])
        given = Proposals(boxes.flatten(0, 1), scores.flatten(), labels.flatten() - 1, sample, len(boxes))
        refined = model.roi(predictions.features, given)
        yield _most("second stage scores", refined.scores[:, None], stored, "roi.batch_cls_preds", REFINED)
        yield _most("second stage boxes", refined.boxes, stored, "roi.batch_box_preds", REFINED)
        yield from _compare_final(model.results(replace(predictions, refined=refined)), stored)
        assert predictions.refined is not None
        yield from _compare_proposals(predictions.refined.proposals, given)
        if isinstance(predictions.features, WeightedKeypoints):
            yield from _compare_keypoints(predictions.features, stored)

    def suppression(
        self,
        number: int,
        facts: Mapping[str, Any],
        stored: Mapping[str, np.ndarray],
        stages: Mapping[str, Stage],
    ) -> Iterator[Check]:
        """Calls of the first stage come first, one a sample, then the final ones."""
        samples = len(stored["roi.rois"])
        if number < samples:
            yield from self._candidates(number, facts, stored, stages)
            return
        call = f"nms{number}"
        yield suppressed_as_stored(call, facts, stored)
        index, sample = stored[f"{call}/cand_idx"], number - samples
        boxes = stored["roi.batch_box_preds"][sample][index]
        scores_stored = 1 / (1 + np.exp(-stored["roi.batch_cls_preds"][sample][index, 0].astype(np.float64)))
        # Both come from the file: they say that its final candidates are the refined boxes compared above.
        keys = (f"{call}/cand_boxes", f"{call}/cand_scores", f"{call}/cand_idx")
        yield close(f"{call} candidate boxes", boxes, stored[keys[0]], Tolerance(1e-3), 0, (keys[0], keys[2]))
        yield close(f"{call} candidate scores", scores_stored, stored[keys[1]], Tolerance(1e-4), 0, (keys[1],))

    def _candidates(
        self, number: int, facts: Mapping[str, Any], stored: Mapping[str, np.ndarray], stages: Mapping[str, Stage]
    ) -> Iterator[Check]:
        """As for a single stage, with logits in place of probabilities and no threshold."""
        call = f"nms{number}"
        yield suppressed_as_stored(call, facts, stored)
        index, n = stored[f"{call}/cand_idx"], facts["n_in"]
        rows = index + number * n
        boxes, logits = stages["head.batch_box_preds"].values, stages["head.batch_cls_preds"].values.max(1)
        stored_scores = stored[f"{call}/cand_scores"]
        angle = {6: 2 * np.pi}
        keys = (f"{call}/cand_boxes", f"{call}/cand_scores", f"{call}/cand_idx")
        yield close(f"{call} candidate boxes", boxes[rows], stored[keys[0]], Tolerance(1e-3), 0, (keys[0],), angle)
        yield close(f"{call} candidate scores", logits[rows], stored_scores, Tolerance(1e-3, 1e-4), 0, (keys[1],))
        others = np.delete(logits[number * n : (number + 1) * n], index)
        excess = max(float(others.max(initial=-np.inf) - stored_scores.min()), 0.0)
        yield Check(f"{call} candidates", excess <= 1e-3, excess, 1e-3, len(index), "none better left out", (keys[2],))


def _compare_keypoints(scene: WeightedKeypoints, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
    places = scene.keypoints.places
    ours = torch.cat([places.sample[:, None].float(), places.xyz], 1).numpy()
    yield equal("keypoints", ours, stored["pfe.point_coords"], ("pfe.point_coords",))
    features = (scene.keypoints.gathered, scene.keypoints.features, scene.logits.sigmoid()[:, None])
    for name, values in zip(("pfe.before_fusion", "pfe.point_features", "point_head.point_cls_scores"), features):
        whole = values.numpy().astype(np.float64)
        sampled, keys = whole[stored[f"{name}/rows"]], [f"{name}/rows", f"{name}/vals"]
        if f"{name}/chan" in stored:
            sampled = sampled[:, stored[f"{name}/chan"]]
            keys.append(f"{name}/chan")
        spread = root_mean_square(stored[f"{name}/std"])
        difference = np.abs(sampled - stored[f"{name}/vals"])
        wrong, allowed = float((difference > ROI_OF_SPREAD * spread).mean()), 1 - FEATURES
        note = f"{wrong:.2%} further off than {ROI_OF_SPREAD * spread:.1e}; largest {difference.max():.1e}"
        yield Check(f"{name} values", wrong <= allowed, wrong, allowed, sampled.size, note, tuple(keys))
        tolerance = Tolerance(of_spread=ROI_OF_SPREAD)
        yield close(f"{name} mean", whole.mean(0), stored[f"{name}/mean"], tolerance, spread, (f"{name}/mean",))
        yield close(f"{name} deviation", whole.std(0), stored[f"{name}/std"], tolerance, spread, (f"{name}/std",))


def _most(name: str, ours: Tensor, stored: Mapping[str, np.ndarray], key: str, share: float) -> Check:
    """Whether the share of proposals whose every value agrees is large enough."""
    theirs = stored[key].reshape(len(ours), -1)
    allowed = ROI_OF_SPREAD * root_mean_square(theirs.std(0))
    difference = np.abs(ours.numpy().astype(np.float64) - theirs)
    if theirs.shape[1] == 7:
        turned = difference[:, 6] % (2 * np.pi)
        difference[:, 6] = np.minimum(turned, 2 * np.pi - turned)
    wrong = float((difference > allowed).any(1).mean())
    note = f"{wrong:.1%} of {len(ours)} further off than {allowed:.1e}; median {np.median(difference.max(1)):.1e}"
    return Check(name, wrong <= 1 - share, wrong, 1 - share, theirs.size, note, (key,))


def _compare_final(results: list[Detections], stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
    for sample, result in enumerate(results):
        boxes, scores, labels = (stored[f"final{sample}/pred_{key}"] for key in ("boxes", "scores", "labels"))
        missing = 1 - float(matched(result, boxes, scores, labels).mean()) if len(boxes) else float(len(result) > 0)
        note = f"{len(result)} of {len(boxes)}"
        yield Check(f"final{sample} of stored proposals", missing <= 1 - FINAL, missing, 1 - FINAL, boxes.size, note)


def _compare_proposals(ours: Proposals, stored: Proposals) -> Iterator[Check]:
    """Each stored proposal needs one of ours, of its sample and class, within a millimetre."""
    difference = (ours.boxes[:, None] - stored.boxes).abs()
    turned = difference[..., 6] % (2 * torch.pi)
    difference[..., 6] = torch.minimum(turned, 2 * torch.pi - turned)
    twin = (difference < 1e-3).all(-1) & (ours.sample[:, None] == stored.sample)
    twin &= (ours.labels[:, None] == stored.labels) & ((ours.scores[:, None] - stored.scores).abs() < 1e-3)
    missing = 1 - float(twin.any(0).float().mean())
    note = f"{len(ours)} of {len(stored)}"
    keys = ("roi.rois", "roi.roi_scores", "roi.roi_labels")
    yield Check("proposals", missing <= 1 - PROPOSALS, missing, 1 - PROPOSALS, stored.boxes.numel(), note, keys)
