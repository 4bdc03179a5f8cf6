"""Octree attention against loops over nodes: windows, scores, relay tokens, what tokens know, the input's octree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from perception.backbones.hotformer import Gathering, RelayBlock, RelayTokens, distribution
from perception.backbones.octformer import DropPath, OctreeDown, OctreeStem, WindowAttention
from perception.backbones.octree_bias import position_bias
from perception.backbones.octree_input import cylindrical, inside_unit, into_unit_cube, octree_cloud
from perception.backbones.octree_windows import Extent, OctreeWindows, dilated, octree_windows
from perception.errors import PerceptionError
from perception.points import PointBatch
from perception.sparse.octree import Level


def batch(counts: list[int], seed: int = 0) -> PointBatch:
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(sum(counts), 3, generator=generator) * 2 - 1
    return PointBatch(xyz, torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)), len(counts))


def level(counts: list[int], depth: int = 4) -> Level:
    return octree_cloud(batch(counts), depth, 1).octree.at(depth - 1)


def members(one: Level, size: int, dilation: int, extent: Extent, spread: bool) -> list[list[int]]:
    """Nodes of each window, -1 for empty slots, by loops."""
    sample = one.sites.coordinates[:, 0].tolist()
    runs = [list(range(len(sample)))]
    if extent == "cloud":
        runs = [[row for row, s in enumerate(sample) if s == number] for number in range(one.sites.batch_size)]
    found = []
    for run in runs:
        block = size * dilation
        filled = run + [-1] * (math.ceil(len(run) / block) * block - len(run))
        for start in range(0, len(filled), block):
            part = filled[start : start + block]
            if spread:
                found += [part[offset::dilation] for offset in range(dilation)]
            else:
                found += [part[step : step + size] for step in range(0, block, size)]
    return found


@pytest.mark.parametrize("extent", ["batch", "cloud"])
@pytest.mark.parametrize(("counts", "size", "dilation"), [([90], 8, 4), ([70, 3, 40], 8, 2), ([5], 16, 1)])
def test_windows_equal_loops(extent: Extent, counts: list[int], size: int, dilation: int) -> None:
    one = level(counts)
    plain = octree_windows(one, size, dilation, extent)
    for spread, windows in enumerate((plain, dilated(plain, dilation))):
        wanted = members(one, size, dilation, extent, bool(spread))
        rows = torch.where(windows.rows == len(one), -1, windows.rows)
        assert rows.tolist() == wanted
        assert windows.rows.flatten()[windows.slot].tolist() == list(range(len(one)))
        sample = [*one.sites.coordinates[:, 0].tolist(), len(counts)]
        assert windows.samples.tolist() == [[sample[row] for row in window] for window in wanted]
        assert windows.owners.tolist() == [min(sample[row] for row in window) for window in wanted]


def attention_by_loops(layer: WindowAttention, values: Tensor, windows: OctreeWindows, one: Level) -> Tensor:
    """Each node, then each token, by itself, over the nodes of its window that are of its cloud, and the token."""
    nodes, heads = len(one), layer.heads
    projected = layer.project(values).unflatten(1, (3, heads, -1))
    samples, places = one.sites.coordinates[:, 0].tolist(), one.sites.coordinates[:, 1:].flip(1)
    rows_of_table = 2 * layer.bound + 1
    out = torch.zeros(nodes + (len(windows) if windows.with_tokens else 0), values.shape[1])
    for number, window in enumerate(windows.rows.tolist()):
        inside = [row for row in window if row < nodes]
        owner = min((samples[row] for row in inside), default=-1)
        everyone = [*inside, nodes + number] if windows.with_tokens and inside else inside
        kind = {row: samples[row] for row in inside} | {nodes + number: owner}
        for row in everyone:
            seen = [other for other in everyone if kind[other] == kind[row]]
            for head in range(heads):
                scores = projected[seen, 1, head] @ projected[row, 0, head] / math.sqrt(projected.shape[-1])
                for position, other in enumerate(seen):
                    if max(row, other) >= nodes:
                        continue
                    apart = (places[row] - places[other]).clamp(-layer.bound, layer.bound).tolist()
                    for axis, distance in enumerate(apart):
                        scores[position] += layer.table[axis * rows_of_table + layer.bound + distance, head]
                width = projected.shape[-1]
                out[row, head * width : (head + 1) * width] = scores.softmax(0) @ projected[seen, 2, head]
    return layer.out(out)


@pytest.mark.parametrize("extent", ["batch", "cloud"])
@pytest.mark.parametrize(("spread", "with_tokens"), [(False, False), (True, False), (False, True)])
@torch.no_grad()
def test_attention_equals_loops(extent: Extent, spread: bool, with_tokens: bool) -> None:
    one = level([50, 4, 30])
    windows = octree_windows(one, 4, 2, extent, with_tokens)
    windows = dilated(windows, 2) if spread else windows
    layer = WindowAttention(8, 2, 4, 2 if spread else 1)
    torch.nn.init.normal_(layer.table)
    rows = len(one) + with_tokens * len(windows)
    values = torch.randn(rows + 1, 8)
    found, wanted = layer(values, windows), attention_by_loops(layer, values, windows, one)
    real = torch.ones(rows, dtype=torch.bool)
    if with_tokens:  # tokens of windows without nodes look at empty slots alone
        real[len(one) :] = windows.owners < 3
    torch.testing.assert_close(found[real], wanted[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("counts", [[200, 4, 30], [3], [1, 1, 1]])
@pytest.mark.parametrize("with_tokens", [False, True])
@torch.no_grad()
def test_compiled_bias_equals_the_plain_one(counts: list[int], with_tokens: bool) -> None:
    plain = octree_windows(level(counts, 7), 8, 4, "batch", with_tokens)
    for windows in (plain, dilated(plain, 4)):
        layer = WindowAttention(16, 4, 8)
        torch.nn.init.normal_(layer.table)
        torch.testing.assert_close(position_bias(windows, layer.table), layer.bias(windows), atol=1e-4, rtol=1e-6)


@torch.no_grad()
def test_relay_tokens_look_at_those_of_their_cloud() -> None:
    owners = torch.tensor([0, 0, 2, 3, 0, 2, 3, 2])  # cloud 1 has none; 3 are those of windows without nodes
    tokens, block = torch.randn(8, 16), RelayBlock(16, 4, 0.0).eval()
    found = block(tokens, owners, Gathering.of(owners, 4), 3)
    for owner in (0, 2, 3):
        own = owners == owner
        alone = block(tokens[own], owners[own], Gathering.of(torch.zeros(int(own.sum()), dtype=torch.int64), 1), 1)
        torch.testing.assert_close(found[own], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_tokens_begin_as_means_of_their_owners_nodes() -> None:
    one = level([50, 4, 30])
    windows = octree_windows(one, 8, 2, "batch", True)
    features, layer = torch.randn(len(one), 6), RelayTokens(6, distribution=True)
    found = layer(features, one.sites, one.depth, windows)
    assert layer.distribution is not None
    samples = one.sites.coordinates[:, 0].tolist()
    for number, window in enumerate(windows.rows.tolist()):
        inside = [row for row in window if row < len(one)]
        own = [row for row in inside if samples[row] == samples[inside[0]]]
        mean = features[own].mean(0) if own else torch.zeros(6)
        facts = torch.zeros(9)
        if own:
            corners = one.sites.coordinates[own, 1:].flip(1).double() * 2 / 2**one.depth - 1
            facts[:3] = corners.mean(0)
            if len(own) > 1:
                facts[3:] = torch.from_numpy(np.cov(corners.numpy().T)[np.triu_indices(3)])
        wanted = mean + layer.distribution(facts[None])[0]
        torch.testing.assert_close(found[number], wanted, atol=1e-5, rtol=1e-5)


def test_distribution_of_one_point_has_no_spread() -> None:
    found = distribution(torch.tensor([[0.5, 0.25, -1.0]]), torch.tensor([1]), 3)
    assert found[1].tolist() == [0.5, 0.25, -1.0] + [0.0] * 6
    assert not found[[0, 2]].any()


def test_drop_path_leaves_whole_clouds_out() -> None:
    layer, samples = DropPath(0.25).train(), torch.tensor([0, 0, 1, 2, 3])
    values = torch.ones(5, 2)
    torch.manual_seed(0)
    found = torch.stack([layer(values, samples, 3) for _ in range(4000)])
    assert found.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 3], found[:, 4])  # past the last cloud: with the last
    torch.testing.assert_close(found.mean(0), values, atol=0.05, rtol=0)
    assert torch.equal(layer.eval()(values, samples, 3), values)
    with pytest.raises(PerceptionError, match="drop rate"):
        DropPath(1.0)


@pytest.mark.parametrize("border", ["wrap", "clamp"])
def test_octree_of_points_equals_a_loop(border: str) -> None:
    points = batch([60, 30])
    xyz = points.xyz.clone()
    xyz[3, 0] = xyz[70, 2] = 1.0
    cloud = octree_cloud(PointBatch(xyz, points.sample, 2), 3, 1, border)  # type: ignore[arg-type]
    cells: dict[tuple[int, ...], list[Tensor]] = {}
    for point, sample in zip(xyz, points.sample.tolist()):
        cell = [int((value + 1) * 4) for value in point.tolist()]
        cell = [c % 8 if border == "wrap" else min(c, 7) for c in cell]
        cells.setdefault((sample, *cell), []).append(point)
    leaves = cloud.octree.at(3).sites.coordinates.tolist()
    assert len(leaves) == len(cells)
    for (sample, z, y, x), feature in zip(leaves, cloud.features):
        wanted = torch.stack(cells[sample, x, y, z]).mean(0)
        torch.testing.assert_close(feature, wanted, atol=1e-5, rtol=1e-5)


def test_unit_cube_and_cylinder() -> None:
    points = PointBatch(torch.tensor([[0.0, 0, 0], [8, 2, 4], [1, 1, 1]]), torch.tensor([0, 0, 1]), 2)
    cube = into_unit_cube(points).xyz
    torch.testing.assert_close(cube, torch.tensor([[-1.0, -0.25, -0.5], [1, 0.25, 0.5], [0, 0, 0]]))
    assert len(inside_unit(PointBatch(cube, points.sample, 2), "cylindrical").values) == 1
    turned = cylindrical(PointBatch(torch.tensor([[0.0, 0.5, 0.3], [-1, 0, 0]]), torch.zeros(2, dtype=torch.int64), 1))
    torch.testing.assert_close(turned.xyz, torch.tensor([[0.0, 0.5, 0.3], [1, 1, 0]]))


@torch.no_grad()
def test_stem_and_halving_equal_dense_convolution() -> None:
    """Layer norm takes the channels of a node alone, so dense grids with empty cells set to zero give the same."""
    cloud = octree_cloud(batch([200]), 4, 1)
    leaves, parents = cloud.octree.at(4).sites, cloud.octree.at(3).sites
    down = OctreeDown(3, 5, bias=True, rectify=True)
    dense = torch.zeros(1, 3, 16, 16, 16)
    z, y, x = leaves.coordinates[:, 1:].long().unbind(1)
    dense[0, :, z, y, x] = cloud.features.T
    wanted = torch.nn.functional.conv3d(dense, down.conv.weight.permute(0, 4, 1, 2, 3), down.conv.bias, stride=2)
    z, y, x = parents.coordinates[:, 1:].long().unbind(1)
    wanted = down.norm(wanted[0, :, z, y, x].T).relu()
    torch.testing.assert_close(down(cloud.features, cloud.octree, 4), wanted, atol=1e-5, rtol=1e-5)
    assert OctreeStem(3, 16)(cloud.features, cloud.octree, 4).shape == (len(cloud.octree.at(2)), 16)
