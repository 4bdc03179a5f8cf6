"""MPJPE, OKS and PEM of people's joints, as the Waymo Open pose estimation benchmark (2023) counts them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perception.datasets.keypoint_attributes import KEYPOINTS, VISIBLE
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.keypoints import WAYMO_SKELETON, Skeleton
from perception.metrics.keypoints_matching import (
    PENALTY,
    Matches,
    Poses,
    match_by_error,
    match_by_overlap,
    pose_errors,
)
from perception.results import Skeletons

OKS_LIMITS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
METRICS = ("mpjpe", "oks", "pem")
BANDS = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 75.0)
Matching = Literal["error", "overlap"]


@dataclass(frozen=True)
class DistanceBand:
    """Labelled people with a visible joint whose box stands ``near`` to ``far`` metres from the sensor: how many there
    are, how many were ``matched``, and the ``mpjpe`` of those in metres, NaN without any."""

    near: float
    far: float
    people: int
    matched: int
    mpjpe: float


@dataclass(frozen=True)
class KeypointReport:
    """``values``: of "mpjpe" (m), "oks" (average precision, 0 to 1) and "pem" (m), the figure of each group of joints;
    NaN where nothing was counted. ``people``: how many were "matched", "missed" and "false"."""

    values: Mapping[str, Mapping[str, float]]
    people: Mapping[str, int]
    bands: tuple[DistanceBand, ...] = ()

    def table(self) -> str:
        """One line a group of joints, then one a band of distance."""
        groups = list(self.values["mpjpe"])
        lines = [f"{'joints':<12}{'MPJPE m':>10}{'OKS AP':>10}{'PEM m':>10}"]
        lines += [f"{group:<12}" + "".join(f"{self.values[m][group]:>10.4f}" for m in METRICS) for group in groups]
        counted = ", ".join(f"{number} {name}" for name, number in self.people.items())
        lines += [f"people: {counted}", f"{'distance m':<12}{'people':>10}{'found':>10}{'MPJPE m':>10}"]
        lines += [
            f"{f'{band.near:g} to {band.far:g}':<12}{band.people:>10}{band.matched:>10}{band.mpjpe:>10.4f}"
            for band in self.bands
        ]
        return "\n".join(lines)


def evaluate(
    frames: Iterable[tuple[Objects, Skeletons]],
    skeleton: Skeleton = WAYMO_SKELETON,
    matching: Matching = "error",
    mirrored: bool = True,
) -> KeypointReport:
    """Figures over frames of labelled people (attributes ``keypoints``, ``keypoints_visible``) and those found.

    ``matching`` "error" is the benchmark's, "overlap" that of boxes, by which VoxelKP reports. Labelled people without
    a visible joint excuse what is matched to them. MPJPE and OKS are over matched people and joints that have a label
    and a prediction; PEM over all: 0.25 m for every visible joint on one side alone. ``mirrored`` as in
    ``match_by_error``.
    """
    pairs: list[_Pairs] = []
    for objects, people in frames:
        truth, found = labelled_poses(objects, skeleton), found_poses(people, skeleton)
        matches = match_by_overlap(truth, found) if matching == "overlap" else match_by_error(truth, found, mirrored)
        pairs.append(_paired(truth, found, matches))
    everything = _Pairs.concatenate(pairs, len(skeleton.joints))
    scales = np.array(skeleton.scales)
    values: dict[str, dict[str, float]] = {name: {} for name in METRICS}
    for group, joints in skeleton.groups.items():
        chosen = list(joints)
        values["mpjpe"][group] = _mpjpe(everything, chosen)
        values["oks"][group] = _oks(everything, chosen, scales[chosen])
        values["pem"][group] = _pem(everything, chosen)
    counts = {"matched": len(everything.truth), "missed": len(everything.missed), "false": len(everything.false)}
    return KeypointReport(values, counts, _bands(everything))


def labelled_poses(objects: Objects, skeleton: Skeleton = WAYMO_SKELETON) -> Poses:
    """The labelled people; without keypoint attributes none of their joints is there."""
    boxes = objects.boxes.values.double().numpy()
    shape = (len(boxes), len(skeleton.joints))
    joints = np.asarray(objects.attributes.get(KEYPOINTS, np.full((*shape, 3), np.nan)), float)
    visible = np.asarray(objects.attributes.get(VISIBLE, np.zeros(shape)), float)
    if joints.shape != (*shape, 3) or visible.shape != shape:
        raise PerceptionError(
            f"keypoints of shape {joints.shape}", f"{(*shape, 3)}, by the skeleton", "give the labels' skeleton"
        )
    there = np.isfinite(joints).all(2)
    return Poses(boxes, np.nan_to_num(joints), there, there & (np.nan_to_num(visible) > 0.5))


def found_poses(people: Skeletons, skeleton: Skeleton = WAYMO_SKELETON) -> Poses:
    """The people found, by the names of their joints."""
    absent = [name for name in skeleton.joints if name not in people.joint_names]
    if absent:
        raise PerceptionError(f"predictions without {absent[0]}", f"the joints {list(skeleton.joints)}")
    order = [people.joint_names.index(name) for name in skeleton.joints]
    visibility = people.visibility.double().cpu().numpy()[:, order]
    joints = people.keypoints.double().cpu().numpy()[:, order]
    return Poses(people.boxes.values.double().cpu().numpy(), joints, visibility > 0, visibility > 0.5)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Matched people that have visible labels, and ``seen`` joints (N, J) of those on one side alone; ``missed_at``:
    how far from the sensor those are that were missed, (N,) metres."""

    truth: Poses
    found: Poses
    missed: np.ndarray
    false: np.ndarray
    missed_at: np.ndarray

    @classmethod
    def concatenate(cls, parts: list[_Pairs], joints: int) -> _Pairs:
        nothing = np.zeros((0, joints), bool)
        empty = Poses(np.zeros((0, 7)), np.zeros((0, joints, 3)), nothing, nothing)
        parts = [cls(empty, empty, nothing, nothing, np.zeros(0)), *parts]

        def poses(side: str) -> Poses:
            each = [getattr(part, side) for part in parts]
            names = ("boxes", "joints", "there", "seen")
            return Poses(*(np.concatenate([getattr(one, name) for one in each]) for name in names))

        rest = (np.concatenate([getattr(part, name) for part in parts]) for name in ("missed", "false", "missed_at"))
        return cls(poses("truth"), poses("found"), *rest)


def _paired(truth: Poses, found: Poses, matches: Matches) -> _Pairs:
    counted = np.any(truth.seen[matches.truth], axis=1)
    lonely, spare = np.asarray(truth.seen.any(1)), np.asarray(found.seen.any(1))
    lonely[matches.truth] = False
    spare[matches.found] = False
    return _Pairs(
        _rows(truth, matches.truth[counted]),
        _rows(found, matches.found[counted]),
        truth.seen[lonely],
        found.seen[spare],
        _distance(truth.boxes[lonely]),
    )


def _distance(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(np.hypot(boxes[:, 0], boxes[:, 1]))


def _bands(pairs: _Pairs) -> tuple[DistanceBand, ...]:
    apart, both = _apart(pairs, list(range(pairs.truth.joints.shape[1])))
    at, found = _distance(pairs.truth.boxes), []
    for near, far in itertools.pairwise(BANDS):
        rows = (at >= near) & (at < far)
        chosen = both & rows[:, None]
        missed = int(((pairs.missed_at >= near) & (pairs.missed_at < far)).sum())
        error = float(apart[chosen].mean()) if chosen.any() else float("nan")
        found.append(DistanceBand(near, far, int(rows.sum()) + missed, int(rows.sum()), error))
    return tuple(found)


def _rows(poses: Poses, rows: np.ndarray) -> Poses:
    return Poses(poses.boxes[rows], poses.joints[rows], poses.there[rows], poses.seen[rows])


def _mpjpe(pairs: _Pairs, joints: list[int]) -> float:
    apart, both = _apart(pairs, joints)
    return float(apart[both].mean()) if both.any() else float("nan")


def _oks(pairs: _Pairs, joints: list[int], scales: np.ndarray) -> float:
    """Mean over the limits 0.50, 0.55 .. 0.95 of the share of people whose similarity is above.

    A person without a label in the group is judged by how far its joints are outside three times its box, unturned.
    """
    if not len(pairs.truth):
        return float("nan")
    boxes = pairs.truth.boxes
    scale = scales * np.cbrt(boxes[:, 3:6].prod(1))[:, None]
    apart, both = _apart(pairs, joints)
    outside = np.abs(pairs.found.joints[:, joints] - boxes[:, None, :3]) - 1.5 * boxes[:, None, 3:6]
    outside = np.linalg.norm(np.maximum(outside, 0), axis=-1)
    labelled = np.asarray(pairs.truth.there[:, joints].any(1))
    similarity = np.exp(-(np.where(labelled[:, None], apart, outside) ** 2) / (2 * scale**2))
    score = np.where(labelled, (similarity * both).sum(1) / np.maximum(both.sum(1), 1), similarity.mean(1))
    return float(np.mean([(score > limit).mean() for limit in OKS_LIMITS]))


def _pem(pairs: _Pairs, joints: list[int]) -> float:
    apart, _ = _apart(pairs, joints)
    error, counted = pose_errors(apart, pairs.truth.seen[:, joints], pairs.found.seen[:, joints])
    alone = int(pairs.missed[:, joints].sum() + pairs.false[:, joints].sum())
    total = int(counted.sum()) + alone
    return float((error.sum() + PENALTY * alone) / total) if total else float("nan")


def _apart(pairs: _Pairs, joints: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Metres between the joints of matched people, and where both sides have one: both (N, J)."""
    apart = np.linalg.norm(pairs.truth.joints[:, joints] - pairs.found.joints[:, joints], axis=-1)
    return apart, pairs.truth.there[:, joints] & pairs.found.there[:, joints]
