"""Pooling from voxels and from points against the published modules written out, slot by slot."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from roi_scenes import GRID, points, stage
from torch import Tensor, nn

from perception.heads.roi.aggregation import Ball, BallFeatures
from perception.heads.roi.ball_query import ball_query
from perception.heads.roi.voxel_pool import PoolScale, VoxelPool, voxel_centres
from perception.heads.roi.voxel_query import voxel_query
from perception.points import PointBatch
from perception.sparse import SparseTensor


def normed(norm: nn.BatchNorm1d, values: Tensor) -> Tensor:
    """Batch normalisation of (..., C) over all but the last axis, with the layer's own statistics."""
    flat = F.batch_norm(
        values.flatten(0, -2),
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        norm.training,
        norm.momentum or 0.1,
        norm.eps,
    )
    return flat.view_as(values)


def slotted_voxel_pool(pool: VoxelPool, volume: SparseTensor, places: Tensor, sample: Tensor) -> Tensor:
    centres, scale = voxel_centres(volume, GRID), pool.scale
    cells = pool._cells(volume, places, sample)
    near = voxel_query(volume.sites, centres, places, cells, scale.reach, scale.radius, scale.neighbours)
    filled = near.counts[:, None, None] > 0
    features = normed(pool.inner_norm, pool.inner(volume.features))[near.rows] * filled
    offsets = (centres[near.rows] - places[:, None]) * filled
    values = (features + normed(pool.position_norm, pool.position(offsets))).relu().amax(1)
    return normed(pool.outer_norm, pool.outer(values)).relu()


def slotted_ball(ball: BallFeatures, cloud: PointBatch, queries: PointBatch) -> Tensor:
    near = ball_query(cloud, queries, ball.ball.radius, ball.ball.neighbours)
    offset = cloud.xyz[near.rows] - queries.xyz[:, None]
    values = torch.cat([offset, cloud.values[:, 3:][near.rows]], -1) * (near.counts[:, None, None] > 0)
    values = normed(ball.first_norm, ball.first(values)).relu()
    return normed(ball.second_norm, ball.second(values)).relu().amax(1)


def roughen(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            nn.init.normal_(part.running_mean, 0, 0.3)  # type: ignore[arg-type]
            nn.init.uniform_(part.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)


def compare(ours: nn.Module, theirs: nn.Module, inputs: tuple[Tensor, Tensor], outputs: tuple[Tensor, Tensor]) -> None:
    """Outputs, gradients and running statistics."""
    torch.testing.assert_close(outputs[0], outputs[1], atol=2e-4, rtol=2e-4)
    weight = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, atol=5e-4, rtol=1e-3)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad, atol=2e-3, rtol=2e-3)
    for name, buffer in ours.named_buffers():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(buffer, theirs.get_buffer(name), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_voxel_pool_equals_the_published_module(training: bool) -> None:
    volume = stage(1500, stride=2)
    places = torch.rand(120, 3) * torch.tensor([9.0, 10.0, 2.0]) + torch.tensor([0.0, -5.0, -1.0])
    sample = torch.arange(2).repeat_interleave(60)
    pool = VoxelPool(5, PoolScale(2, 0.5, channels=6), GRID)
    roughen(pool)
    other = copy.deepcopy(pool)
    pool.train(training)
    other.train(training)
    inputs = volume.features.clone().requires_grad_(), volume.features.clone().requires_grad_()
    ours = pool(volume.with_features(inputs[0]), places, sample)
    theirs = slotted_voxel_pool(other, volume.with_features(inputs[1]), places, sample)
    assert (ours > 0).any()
    compare(pool, other, inputs, (ours, theirs))


@pytest.mark.parametrize("training", [True, False])
def test_ball_equals_the_published_module(training: bool) -> None:
    cloud, queries = points([300, 200], features=4), points([40, 40])
    ball = BallFeatures(4, Ball(0.8, 6, (7, 5)))
    roughen(ball)
    other = copy.deepcopy(ball)
    ball.train(training)
    other.train(training)
    inputs = cloud.values.clone().requires_grad_(), cloud.values.clone().requires_grad_()
    ours = ball(PointBatch(inputs[0], cloud.sample, 2), queries)
    theirs = slotted_ball(other, PointBatch(inputs[1], cloud.sample, 2), queries)
    compare(ball, other, inputs, (ours, theirs))
    if not training:
        with torch.no_grad():
            torch.testing.assert_close(ball(cloud, queries), theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [0, 1])
def test_no_points_and_one(count: int, training: bool) -> None:
    ball = BallFeatures(4, Ball(0.8, 6, (7, 5))).train(training)
    found = ball(points([count, 0], features=4), points([3, 2]))
    assert found.shape == (5, 5)
    assert torch.isfinite(found).all()
    assert ball(points([count], features=4), points([0])).shape == (0, 5)
    pool = VoxelPool(5, PoolScale(2, 0.5, channels=6), GRID).train(training)
    found = pool(stage(count), torch.rand(4, 3), torch.zeros(4, dtype=torch.int64))
    assert found.shape == (4, 6)
    assert torch.isfinite(found).all()
