"""Which predicted person is which labelled one: the matchings of the Waymo Open pose estimation benchmark (2023).

Facts from its published evaluator, keypoint_metrics.py of the waymo-open-dataset package.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from perception.geometry import iou_3d

PENALTY = 0.25
"""Metres: what a joint costs that is on one side only, and how far from a box a joint may be to be a candidate."""
INSIDE = 1e-5
MINIMUM_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class Poses:
    """N people: ``boxes`` (N, 7), ``joints`` (N, J, 3) finite, ``there`` (N, J) labelled or predicted at all, and
    ``seen`` (N, J) visible, both bool."""

    boxes: np.ndarray
    joints: np.ndarray
    there: np.ndarray
    seen: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Matches:
    """Rows of the same person in ``truth`` and ``found``, both (M,)."""

    truth: np.ndarray
    found: np.ndarray


def match_by_error(truth: Poses, found: Poses, mirrored: bool = True) -> Matches:
    """The benchmark's own matching, in two steps.

    First predictions that lie in boxes of people without a visible joint, and near no visible labelled joint, are
    given to those boxes, as many joints inside as possible. Then the rest is assigned so that the mean error is least,
    among pairs where a predicted visible joint is within 0.25 m of the box; pairs not better than the penalty are no
    match. ``mirrored``: the evaluator turns boxes against their heading when it looks for candidates; False for the
    repaired form.
    """
    distance = joint_distances(truth.boxes, found, mirrored)
    candidate = np.asarray(distance.min(2, initial=np.inf) <= PENALTY)
    apart = np.linalg.norm(truth.joints[:, None] - found.joints[None], axis=-1)
    near = ((apart < PENALTY) & truth.seen[:, None] & found.seen[None]).any(2)
    unseen = np.logical_not(np.any(truth.seen, axis=1))
    inside = np.where(unseen[:, None] & ~near.any(0), (distance < INSIDE).sum(2), 0)
    first = _assigned(-inside.astype(float), 0.0)
    candidate[first.truth] = False
    candidate[:, first.found] = False
    mean = pose_errors(apart, truth.seen[:, None], found.seen[None])[0].mean(2)
    second = _assigned(np.where(candidate, np.minimum(mean, PENALTY), PENALTY), PENALTY)
    return Matches(np.concatenate([second.truth, first.truth]), np.concatenate([second.found, first.found]))


def match_by_overlap(truth: Poses, found: Poses) -> Matches:
    """Largest sum of 3D IoU over pairs that reach 0.5: the evaluator's matcher of boxes, by which VoxelKP reports."""
    overlap = iou_3d(torch.from_numpy(truth.boxes), torch.from_numpy(found.boxes)).numpy()
    # The evaluator matches on whole millionths.
    return _assigned(-np.where(overlap >= MINIMUM_OVERLAP, np.round(overlap * 1e6), 0), 0.0)


def joint_distances(boxes: np.ndarray, found: Poses, mirrored: bool = True) -> np.ndarray:
    """How far each visible joint is from each box, 0 inside: (N, M, J) metres; infinite for joints not visible."""
    heading = boxes[:, 6] if mirrored else -boxes[:, 6]
    cos, sin = np.cos(heading)[:, None, None], np.sin(heading)[:, None, None]
    moved = found.joints[None] - boxes[:, None, None, :3]
    x, y = moved[..., 0] * cos - moved[..., 1] * sin, moved[..., 0] * sin + moved[..., 1] * cos
    local = np.abs(np.stack([x, y, moved[..., 2]], -1)) - boxes[:, None, None, 3:6] / 2
    distance = np.linalg.norm(np.maximum(local, 0), axis=-1)
    return np.where(found.seen[None], distance, np.inf)


def pose_errors(apart: np.ndarray, truth_seen: np.ndarray, found_seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Error of each joint in PEM, and whether it counts: ``apart`` in metres, at most the penalty, where both sides
    see it, the penalty where one does, nothing where neither does."""
    both, counted = truth_seen & found_seen, truth_seen | found_seen
    error = np.where(both, np.minimum(apart, PENALTY), PENALTY)
    return np.where(counted, error, 0.0), np.broadcast_to(counted, error.shape)


def _assigned(cost: np.ndarray, limit: float) -> Matches:
    """Pairs of the cheapest assignment that cost less than ``limit``."""
    rows, columns = linear_sum_assignment(cost)
    kept = cost[rows, columns] < limit
    return Matches(rows[kept], columns[kept])
