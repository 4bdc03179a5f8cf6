"""Losses of joints against values by hand and by loops."""

from __future__ import annotations

import math

import torch

from perception.keypoints import WAYMO_SKELETON
from perception.losses.keypoints import bone_loss, joint_loss, visibility_levels, visibility_loss

NAN = math.nan


def test_joints_against_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, target = (torch.randn((4, 14, 3), generator=generator) * 0.3 for _ in range(2))
    target[0, 3] = NAN
    target[2] = NAN
    weights = WAYMO_SKELETON.weights
    axes = [0.0, 0.0, 0.0]
    for person in range(4):
        for joint in range(14):
            for axis in range(3):
                error = abs(float(predicted[person, joint, axis] - target[person, joint, axis]))
                if not math.isnan(error):
                    cost = 0.5 * error**2 / 0.1 if error < 0.1 else error - 0.05
                    axes[axis] += weights[joint] * cost / 4
    found = joint_loss(predicted, target, torch.tensor(weights))
    assert math.isclose(float(found), sum(axes) / 3, rel_tol=1e-5)


def test_wrists_and_ankles_weigh_three_times() -> None:
    heavy = [name for name, weight in zip(WAYMO_SKELETON.joints, WAYMO_SKELETON.weights) if weight == 3]
    assert heavy == ["left_wrist", "right_wrist", "left_ankle", "right_ankle"]
    assert [WAYMO_SKELETON.joints.index(name) for name in heavy] == [5, 6, 11, 12]


def test_bones_have_thirteen_lengths_of_labelled_ends() -> None:
    assert len(WAYMO_SKELETON.bones) == 13
    target = torch.tensor([[[0.0, 0, 0], [3, 4, 0], [3, 4, 2]], [[0.0, 0, 0], [1, 0, 0], [NAN, NAN, NAN]]])
    predicted = torch.tensor([[[0.0, 0, 0], [0, 4, 0], [0, 4, 3]], [[0.0, 0, 0], [0, 0, 2], [9, 9, 9]]])
    found = bone_loss(predicted, target, [(0, 1), (1, 2)])
    assert math.isclose(float(found), (1 + 1 + 1) / 3, rel_tol=1e-5)


def test_a_bone_without_length_has_a_gradient() -> None:
    predicted = torch.zeros((1, 2, 3), requires_grad=True)
    bone_loss(predicted, torch.tensor([[[0.0, 0, 0], [1, 0, 0]]]), [(0, 1)]).backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()


def test_levels_of_visibility() -> None:
    positions = torch.tensor([[[0.0, 0, 0], [0, 0, 0], [NAN, 0, 0], [0, 0, 0], [NAN, 0, 0]]])
    levels = visibility_levels(positions, torch.tensor([[1.0, 0.0, 1.0, NAN, NAN]]))
    assert levels[0, :3].tolist() == [2.0, 1.0, 0.0]
    assert levels[0, 3].isnan()
    assert levels[0, 4] == 0
    predicted = torch.tensor([[1.5, 1.0, 1.0, 7.0, 0.0]])
    assert math.isclose(float(visibility_loss(predicted, levels)), (0.5 + 0 + 1 + 0 + 0) / 5, rel_tol=1e-6)


def test_nobody_costs_nothing() -> None:
    none = torch.zeros((0, 14, 3))
    assert joint_loss(none, none, torch.ones(14)) == 0
    assert bone_loss(none, none, WAYMO_SKELETON.bone_ends) == 0
    assert visibility_loss(none[..., 0], none[..., 0]) == 0
