"""Voxels of two scans, SSF's encoder and head, and the compiled joins of its U-Net."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.backbones.joining import add_folded, join, plain_add_folded, plain_join
from perception.backbones.part_unet import PartUNet
from perception.backbones.union_pillars import UnionEncoder, union_voxelise
from perception.backbones.voxel_encoders import voxel_centres
from perception.heads.flow_heads import GRUFlowHead, VoxelFlowHead, official_offsets
from perception.points import PointCloud
from perception.scan_pair import PairBatch, ScanPair
from perception.sparse import Sites, SparseTensor, VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -3.0, 4.0, 4.0, 3.0), (0.5, 0.5, 6.0))


def pairs() -> PairBatch:
    generator = np.random.default_rng(0)
    scans = [PointCloud(generator.uniform(-4.5, 4.5, (count, 3)) * [1, 1, 0.5]) for count in (200, 150, 90, 0)]
    return PairBatch.of([ScanPair(*scans[:2]), ScanPair(*scans[2:])])


def test_union_holds_the_cells_of_both_scans_in_order() -> None:
    given = pairs()
    voxels = union_voxelise(given, GRID)
    cells = set()
    for batch, scan in ((given.first, voxels.first), (given.second, voxels.second)):
        kept = batch.xyz.numpy()
        inside = ((kept >= -4) & (kept < 4))[:, :2].all(1) & (np.abs(kept[:, 2]) < 3)
        assert np.array_equal(scan.rows.numpy(), np.flatnonzero(inside))
        places = np.floor((kept[inside, :2] + 4) / 0.5).astype(int)
        rows = [(int(b), 0, int(y), int(x)) for b, (x, y) in zip(batch.sample[scan.rows], places)]
        cells |= set(rows)
        assert [tuple(row) for row in voxels.coordinates[scan.voxel].tolist()] == rows
        assert scan.offset.abs()[:, :2].max() <= 0.25 + 1e-5
    assert [tuple(row) for row in voxels.coordinates.tolist()] == sorted(cells)


def test_encoder_equals_a_loop_over_voxels_and_made_up_points_reach_only_the_statistics() -> None:
    torch.manual_seed(0)
    encoder, voxels = UnionEncoder(GRID, 8).eval(), union_voxelise(pairs(), GRID)
    with torch.no_grad():
        features = encoder(voxels)
    centres = voxel_centres(voxels.coordinates, GRID, torch.float32)
    for side, scan in enumerate((voxels.first, voxels.second)):
        for voxel in range(0, len(centres), 7):
            points = scan.points[scan.voxel == voxel]
            found = features[voxel, 8 * side : 8 * side + 8]
            if not len(points):
                assert not found.any()
                continue
            values = torch.cat([points, points - points.mean(0), points - centres[voxel]], 1)
            with torch.enable_grad():
                hidden = encoder.layers[0](values)
                both = torch.cat([hidden, hidden.max(0).values.expand_as(hidden)], 1)
                wanted = encoder.layers[1](both).max(0).values
            torch.testing.assert_close(found, wanted.detach(), atol=1e-5, rtol=1e-5)
    trained = UnionEncoder(GRID, 8).train()
    trained(voxels)
    first = trained.layers[0]
    lonely = [len(centres) - len(scan.voxel.unique()) for scan in (voxels.first, voxels.second)]
    rows = [len(scan.points) + missing for scan, missing in zip((voxels.first, voxels.second), lonely)]
    assert min(lonely) > 0
    empty = torch.ones(len(centres), dtype=torch.bool).index_fill(0, voxels.second.voxel, False)
    made_up = torch.cat([centres[empty], torch.zeros(int(empty.sum()), 6)], 1)
    second = voxels.second
    mean = torch.stack([second.points[second.voxel == v].mean(0) for v in second.voxel.tolist()])
    real = torch.cat([second.points, second.points - mean, second.offset], 1)
    values = first.linear(torch.cat([made_up, real]))
    assert len(values) == rows[1]
    # The running mean is an average over both scans' passes, the second one with a hundredth of the weight.
    before = UnionEncoder(GRID, 8).train()
    before.load_state_dict(trained.state_dict())
    expected = 0.99 * first.norm.running_mean + 0.01 * values.detach().mean(0)  # type: ignore[operator]
    before.scan(second, voxels.coordinates)
    torch.testing.assert_close(before.layers[0].norm.running_mean, expected)


def test_official_look_up_takes_offsets_by_the_number_of_the_voxel() -> None:
    offset = torch.arange(9.0).reshape(3, 3)
    voxel = torch.tensor([2, 0, 4])
    wanted = torch.stack([offset[2], offset[0], torch.zeros(3)])  # voxel 4: fewer points than voxels
    assert torch.equal(official_offsets(offset, voxel, 5), wanted)


def test_under_the_official_look_up_flow_is_constant_in_a_voxel() -> None:
    torch.manual_seed(0)
    features, voxel, offset = torch.randn(6, 16), torch.tensor([1, 1, 4, 4, 4]), torch.randn(5, 3)
    heads = [VoxelFlowHead(16, 8, lookup) for lookup in ("official_voxel_row", "point")]  # type: ignore[arg-type]
    heads[1].load_state_dict(heads[0].state_dict())
    official, repaired = (head(features, voxel, offset) for head in heads)
    assert torch.equal(official[0], official[1])
    assert torch.equal(official[2], official[4])
    assert not torch.allclose(repaired[0], repaired[1])
    joined = torch.cat([features[voxel], heads[1].offset(offset)], 1)
    plain = heads[1].mlp.out(torch.nn.functional.gelu(heads[1].mlp.hidden(joined)))
    torch.testing.assert_close(repaired, plain)


def test_recurrent_head_equals_its_equations() -> None:
    torch.manual_seed(0)
    head = GRUFlowHead(10, 6, iterations=3)
    features, voxel, offset = torch.randn(4, 10), torch.tensor([0, 3, 3]), torch.randn(3, 3)
    state, given = features[voxel], head.offset(offset)
    for _ in range(3):
        both = torch.cat([state, given], 1)
        update, reset = head.update(both).sigmoid(), head.reset(both).sigmoid()
        proposed = head.candidate(torch.cat([reset * state, given], 1)).tanh()
        state = (1 - update) * state + update * proposed
    torch.testing.assert_close(head(features, voxel, offset), head.mlp(torch.cat([state, given], 1)))


@pytest.mark.parametrize("rows", [0, 1, 700])
def test_joins_equal_their_plain_forms(rows: int) -> None:
    torch.manual_seed(0)
    below, level, branch, merged = (torch.randn(rows, 24) for _ in range(4))
    with torch.no_grad():
        joined = join(below, level, branch)
        assert torch.equal(joined, plain_join(below, level, branch))
        wanted = plain_add_folded(merged, joined)
        assert torch.equal(add_folded(merged.clone(), joined), wanted)
    if rows:
        branch[0, 0] = torch.nan
        with torch.no_grad():
            assert torch.isnan(join(below, level, branch)[0, 24])


def test_unet_in_use_equals_its_differentiable_form() -> None:
    torch.manual_seed(0)
    net = PartUNet(8, 8, ((16,), (16, 16), (32, 32))).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            torch.nn.init.normal_(module.bias, 0, 0.2)
    cells = torch.rand(1, 24, 24) < 0.3
    coordinates = torch.cat([torch.zeros(int(cells.sum()), 1, dtype=torch.int64), cells.nonzero()], 1)
    x = SparseTensor(torch.randn(len(coordinates), 8), Sites.of(coordinates, (1, 24, 24), 1))
    plain = net(x).features
    with torch.no_grad():
        torch.testing.assert_close(net(x).features, plain, atol=1e-5, rtol=1e-4)
