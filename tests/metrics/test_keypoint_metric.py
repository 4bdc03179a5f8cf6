"""MPJPE, OKS and PEM against loops over people and joints, and assignments against all permutations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.keypoints import WAYMO_SKELETON, Skeleton
from perception.metrics.keypoints import OKS_LIMITS, evaluate, found_poses, labelled_poses
from perception.metrics.keypoints_matching import Poses, joint_distances, match_by_error, match_by_overlap
from perception.results import Skeletons

JOINTS = 14
SCALES = WAYMO_SKELETON.scales


def labelled(boxes: np.ndarray, joints: np.ndarray, visible: np.ndarray) -> Objects:
    attributes = {"keypoints": joints.astype(np.float32), "keypoints_visible": visible}
    return Objects(
        Boxes3D(torch.from_numpy(boxes.astype(np.float32))), np.array(["Pedestrian"] * len(boxes)), attributes
    )


def found(boxes: np.ndarray, joints: np.ndarray, visibility: np.ndarray) -> Skeletons:
    tensors = [torch.from_numpy(values.astype(np.float32)) for values in (boxes, joints, visibility)]
    return Skeletons(Boxes3D(tensors[0]), torch.ones(len(boxes)), tensors[1], tensors[2], WAYMO_SKELETON.joints)


def scene(seed: int) -> tuple[Objects, Skeletons]:
    """A few people near each other, some without visible joints; predictions of most of them, and some of nobody."""
    generator = np.random.default_rng(seed)
    people, spare = generator.integers(0, 5), generator.integers(0, 3)
    boxes = generator.uniform([0, 0, 0.9, 0.5, 0.5, 1.8, -3], [3, 3, 0.9001, 1, 1, 1.8001, 3], (people, 7))
    joints = boxes[:, None, :3] + generator.uniform(-0.5, 0.5, (people, JOINTS, 3)) * [0.7, 0.7, 1.7]
    visible = generator.random((people, JOINTS)) < 0.7
    absent = generator.random((people, JOINTS)) < 0.2
    if people:
        visible[0] &= seed % 3 > 0
        absent[-1] |= seed % 4 == 0
    joints[absent], visible = np.nan, visible & ~absent
    kept = generator.random(people) < 0.8
    guess = np.nan_to_num(joints[kept], nan=1.0) + generator.normal(0, 0.08, (kept.sum(), JOINTS, 3))
    guess = np.concatenate([guess, generator.uniform(0, 3, (spare, JOINTS, 3))])
    guess_boxes = np.concatenate([boxes[kept], np.column_stack([guess[len(guess) - spare :, 0], np.ones((spare, 4))])])
    visibility = generator.choice([0.0, 0.3, 0.8, 1.0], (len(guess), JOINTS), p=[0.1, 0.1, 0.4, 0.4])
    return labelled(boxes, joints, visible), found(guess_boxes, guess, visibility)


def joint_error(truth: Poses, g: int, guess: Poses, p: int, j: int) -> float | None:
    if truth.seen[g, j] and guess.seen[p, j]:
        return min(math.dist(truth.joints[g, j], guess.joints[p, j]), 0.25)
    return 0.25 if truth.seen[g, j] or guess.seen[p, j] else None


def box_distance(box: np.ndarray, place: np.ndarray) -> float:
    x, y, z = place - box[:3]
    cos, sin = math.cos(box[6]), math.sin(box[6])  # against the heading, as the evaluator does
    local = (x * cos - y * sin, x * sin + y * cos, z)
    return math.hypot(*(max(abs(v) - s / 2, 0) for v, s in zip(local, box[3:6])))


def best_assignment(value: np.ndarray) -> list[tuple[int, int]]:
    """Of the largest sum, by all permutations."""
    rows, columns = value.shape
    if rows > columns:
        return [(r, c) for c, r in best_assignment(value.T)]
    options = [list(enumerate(chosen)) for chosen in itertools.permutations(range(columns), rows)]
    return max(options, key=lambda pairs: sum(value[r, c] for r, c in pairs))


def plain_matches(truth: Poses, guess: Poses) -> set[tuple[int, int]]:
    people, guesses = len(truth), len(guess)
    inside, candidate, cost = (
        np.zeros((people, guesses)),
        np.zeros((people, guesses), bool),
        np.full((people, guesses), 0.25),
    )
    for g, p in itertools.product(range(people), range(guesses)):
        near = any(
            truth.seen[k, j] and guess.seen[p, j] and math.dist(truth.joints[k, j], guess.joints[p, j]) < 0.25
            for k, j in itertools.product(range(people), range(JOINTS))
        )
        distances = [box_distance(truth.boxes[g], guess.joints[p, j]) for j in range(JOINTS) if guess.seen[p, j]]
        if not truth.seen[g].any() and not near:
            inside[g, p] = sum(d < 1e-5 for d in distances)
        candidate[g, p] = min(distances, default=math.inf) <= 0.25
    first = {(g, p) for g, p in best_assignment(inside) if inside[g, p] > 0}
    for g, p in itertools.product(range(people), range(guesses)):
        if candidate[g, p] and not any(g == a or p == b for a, b in first):
            errors = [joint_error(truth, g, guess, p, j) for j in range(JOINTS)]
            cost[g, p] = min(sum(e or 0.0 for e in errors) / JOINTS, 0.25)
    return first | {(g, p) for g, p in best_assignment(-cost) if cost[g, p] < 0.25}


def plain_figures(scenes: list[tuple[Objects, Skeletons]], joints: tuple[int, ...]) -> tuple[float, float, float]:
    position, pem, scores = [], [], []
    for objects, people in scenes:
        truth, guess = labelled_poses(objects), found_poses(people)
        matches = plain_matches(truth, guess)
        for g in range(len(truth)):
            if truth.seen[g].any() and not any(g == a for a, _ in matches):
                pem += [0.25 for j in joints if truth.seen[g, j]]
        for p in range(len(guess)):
            if not any(p == b for _, b in matches):
                pem += [0.25 for j in joints if guess.seen[p, j]]
        for g, p in matches:
            if not truth.seen[g].any():
                continue
            pem += [e for j in joints if (e := joint_error(truth, g, guess, p, j)) is not None]
            scale = float(np.cbrt(truth.boxes[g, 3:6].prod()))
            similar, outside = [], []
            for j in joints:
                apart = math.dist(truth.joints[g, j], guess.joints[p, j])
                if truth.there[g, j] and guess.there[p, j]:
                    position.append(apart)
                    similar.append(math.exp(-(apart**2) / (2 * (SCALES[j] * scale) ** 2)))
                beyond = np.abs(guess.joints[p, j] - truth.boxes[g, :3]) - 1.5 * truth.boxes[g, 3:6]
                outside.append(math.exp(-float((np.maximum(beyond, 0) ** 2).sum()) / (2 * (SCALES[j] * scale) ** 2)))
            if not truth.there[g, list(joints)].any():
                scores.append(np.mean(outside))
            else:
                scores.append(np.mean(similar) if similar else 0.0)
    oks = [np.mean([score > limit for score in scores]) for limit in OKS_LIMITS] if scores else [math.nan]
    return (
        float(np.mean(position)) if position else math.nan,
        float(np.mean(oks)),
        float(np.mean(pem)) if pem else math.nan,
    )


@pytest.mark.parametrize("seed", range(25))
def test_matching_against_all_permutations(seed: int) -> None:
    objects, people = scene(seed)
    truth, guess = labelled_poses(objects), found_poses(people)
    matches = match_by_error(truth, guess)
    assert set(zip(matches.truth.tolist(), matches.found.tolist())) == plain_matches(truth, guess)


def test_figures_against_loops() -> None:
    scenes = [scene(seed) for seed in range(25)]
    report = evaluate(scenes)
    groups = WAYMO_SKELETON.groups
    assert list(groups) == ["all", "head", "shoulders", "elbows", "wrists", "hips", "knees", "ankles"]
    assert groups["head"] == (0, 13)
    for group, joints in groups.items():
        wanted = plain_figures(scenes, joints)
        for metric, value in zip(("mpjpe", "oks", "pem"), wanted):
            assert report.values[metric][group] == pytest.approx(value, abs=1e-6), (metric, group)
    assert "wrists" in report.table()


def test_perfect_people_and_nobody() -> None:
    boxes = np.array([[0, 0, 1, 0.7, 0.6, 1.8, 0.3], [3, 0, 1, 0.7, 0.6, 1.8, 0.0]])
    joints = boxes[:, None, :3] + np.random.default_rng(0).uniform(-0.2, 0.2, (2, JOINTS, 3))
    perfect = evaluate([(labelled(boxes, joints, np.ones((2, JOINTS))), found(boxes, joints, np.ones((2, JOINTS))))])
    assert perfect.values["mpjpe"]["all"] < 1e-6
    assert perfect.values["oks"]["all"] == 1
    assert perfect.values["pem"]["all"] < 1e-6
    none = found(boxes[:0], joints[:0], np.zeros((0, JOINTS)))
    missed = evaluate([(labelled(boxes, joints, np.ones((2, JOINTS))), none)])
    assert missed.values["pem"]["all"] == 0.25
    assert math.isnan(missed.values["mpjpe"]["all"])
    assert missed.people == {"matched": 0, "missed": 2, "false": 0}
    empty = evaluate([])
    assert math.isnan(empty.values["pem"]["all"])


def test_people_without_labels_excuse_what_is_found_there() -> None:
    boxes = np.array([[0, 0, 1, 0.7, 0.6, 1.8, 0.0]])
    joints = boxes[:, None, :3] + np.random.default_rng(0).uniform(-0.2, 0.2, (1, JOINTS, 3))
    plain = Objects(Boxes3D(torch.from_numpy(boxes).float()), np.array(["Pedestrian"]))
    guess = found(boxes, joints, np.ones((1, JOINTS)))
    report = evaluate([(plain, guess)])
    assert report.people == {"matched": 0, "missed": 0, "false": 0}
    away = np.array([9.0, 0, 0, 0, 0, 0, 0])
    elsewhere = evaluate([(plain, found(boxes + away, joints + away[:3], np.ones((1, JOINTS))))])
    assert elsewhere.people["false"] == 1
    assert elsewhere.values["pem"]["all"] == 0.25


def test_visibility_that_is_not_known_counts_as_hidden() -> None:
    boxes = np.array([[0, 0, 1, 0.7, 0.6, 1.8, 0.0]])
    poses = labelled_poses(labelled(boxes, np.zeros((1, JOINTS, 3)), np.full((1, JOINTS), np.nan)))
    assert poses.there.all()
    assert not poses.seen.any()


def test_matching_of_boxes_wants_half_the_volume() -> None:
    seen = np.ones((3, JOINTS), bool)
    boxes = np.array([[0.0, 0, 0, 1, 1, 2, 0], [2, 0, 0, 1, 1, 2, 0], [4, 0, 0, 1, 1, 2, 0]])
    truth = Poses(boxes, np.zeros((3, JOINTS, 3)), seen, seen)
    moved = boxes[[2, 0, 1]] + [[0.1, 0, 0, 0, 0, 0, 0], [0.4, 0, 0, 0, 0, 0, 0], [0.2, 0, 0, 0, 0, 0, 0]]
    matches = match_by_overlap(truth, Poses(moved, truth.joints, seen, seen))
    assert sorted(zip(matches.truth.tolist(), matches.found.tolist())) == [(1, 2), (2, 0)]


def test_the_repaired_form_turns_boxes_with_their_heading() -> None:
    box = np.array([[0.0, 0, 0, 4, 1, 1, math.pi / 4]])
    along = np.array([[[1.2, 1.2, 0.0]]])
    guess = Poses(box, along, np.ones((1, 1), bool), np.ones((1, 1), bool))
    assert joint_distances(box, guess, mirrored=False)[0, 0, 0] == 0
    assert joint_distances(box, guess)[0, 0, 0] == pytest.approx(1.2 * math.sqrt(2) - 0.5)


def test_another_order_of_joints_is_sorted_out_by_name() -> None:
    boxes = np.array([[0, 0, 1, 0.7, 0.6, 1.8, 0.3]])
    people = found(boxes, np.zeros((1, JOINTS, 3)), np.ones((1, JOINTS)))
    with pytest.raises(PerceptionError, match="predictions without tail"):
        found_poses(people, Skeleton(("tail",), (), (), (1.0,), (1.0,)))


def test_bands_of_distance_hold_everybody_once() -> None:
    boxes = np.array([[5.0, 0, 0.9, 0.6, 0.6, 1.8, 0], [25, 0, 0.9, 0.6, 0.6, 1.8, 0], [28, 0, 0.9, 0.6, 0.6, 1.8, 0]])
    joints = np.repeat(boxes[:, None, :3], JOINTS, 1) + np.linspace(-0.3, 0.3, JOINTS)[None, :, None]
    truth = labelled(boxes, joints, np.ones((3, JOINTS), bool))
    guess = found(boxes[:2], joints[:2] + np.array([0.0, 0.04, 0.0]), np.ones((2, JOINTS)))
    bands = {band.near: band for band in evaluate([(truth, guess)]).bands}
    assert [(band.people, band.matched) for band in bands.values()] == [(1, 1), (0, 0), (2, 1), (0, 0), (0, 0), (0, 0)]
    assert bands[0.0].mpjpe == pytest.approx(0.04, abs=1e-6)
    assert bands[20.0].mpjpe == pytest.approx(0.04, abs=1e-6)
    assert math.isnan(bands[10.0].mpjpe)
