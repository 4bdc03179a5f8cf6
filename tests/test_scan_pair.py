"""Pairs of scans: poses, ego motion, origins, and what is left out of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.scan_pair import PairBatch, ScanPair

TURN = np.array([[0, -1, 0, 3.0], [1, 0, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]])


def test_the_pose_takes_points_to_the_second_scan() -> None:
    pair = ScanPair(PointCloud(np.array([[1.0, 2, 3]])), PointCloud(np.zeros((0, 3))), TURN)
    np.testing.assert_allclose(pair.moved(), [[1.0, 1, 3.5]])
    np.testing.assert_allclose(pair.ego_flow(), [[0.0, -1, 0.5]])


def test_without_a_pose_nothing_moves() -> None:
    pair = ScanPair(PointCloud(np.ones((2, 3))), PointCloud(np.zeros((1, 3))))
    assert not pair.ego_flow().any()


def test_origins_far_away_keep_their_precision() -> None:
    origin = np.array([500_000.0, 5_400_000.0, 300.0])
    first = PointCloud(np.array([[1.0, 2, 3]]), origin=origin)
    second = PointCloud(np.zeros((1, 3)), origin=origin + np.array([10.0, 0, 0]))
    pose = np.eye(4)
    pose[:3, 3] = [0.25, 0, 0]
    pair = ScanPair(first, second, pose)
    np.testing.assert_allclose(pair.moved(), [[-8.75, 2, 3]], atol=1e-8)
    np.testing.assert_allclose(pair.ego_flow(), [[0.25, 0, 0]], atol=1e-8)


@pytest.mark.parametrize(
    "pose",
    [np.eye(3), 2 * np.eye(4), np.diag([1.0, 1, -1, 1]), np.full((4, 4), np.nan), np.ones((4, 4))],
)
def test_what_is_no_rigid_motion_is_refused(pose: np.ndarray) -> None:
    with pytest.raises(PerceptionError, match="no rigid motion"):
        ScanPair(PointCloud(np.zeros((1, 3))), PointCloud(np.zeros((1, 3))), pose)


def test_a_batch_leaves_out_the_ground_and_points_that_are_not_finite() -> None:
    xyz = np.arange(15.0).reshape(5, 3)
    xyz[1, 2] = np.nan
    first = PointCloud(xyz, {"ground": np.array([False, False, True, False, False])})
    plain = PointCloud(np.arange(6.0).reshape(2, 3))
    batch = PairBatch.of([ScanPair(plain, first), ScanPair(first, plain, TURN), ScanPair(plain, plain)])
    assert batch.sizes == ((2, 5, 2), (5, 2, 2))
    assert batch.kept[0].tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert batch.kept[1].tolist() == [0, 3, 4, 5, 6, 7, 8]
    assert batch.first.sample.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert batch.batch_size == 3
    assert batch.ego_flow.shape == (9, 3)
    assert torch.isnan(batch.ego_flow[3]).any()
