"""VoxelKP's blocks against plain loops over samples, voxels and windows."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.backbones.box_attention import BoxAttention, windows_of
from perception.backbones.selective import HybridStage, SelectiveKernel, depths
from perception.backbones.sparse_voxelkp import SparseVoxelKP, merge_centred
from perception.sparse import Sites, SparseTensor


def scattered(count: int, channels: int, shape: tuple[int, ...] = (4, 20, 20), batch: int = 3) -> SparseTensor:
    """Voxels in samples 0 and 2 of three."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.stack([torch.randint(n, (count,), generator=generator) for n in shape], 1)
    sample = torch.randint(2, (count, 1), generator=generator) * 2
    coordinates = torch.unique(torch.cat([sample, cells], 1), dim=0)
    features = torch.randn((len(coordinates), channels), generator=generator)
    return SparseTensor.of(features, coordinates, shape, batch)


def test_a_selective_kernel_weighs_its_branches_by_sample() -> None:
    layer, x = SelectiveKernel(16), scattered(300, 16)
    for norm in (layer.near.norm, layer.wide.norm, layer.squeeze_norm):
        torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
        torch.nn.init.normal_(norm.running_mean)
    layer.eval()
    near, wide, wanted = layer.near(x).features, layer.wide(x).features, torch.empty_like(x.features)
    for sample in (0, 2):
        rows = x.coordinates[:, 0] == sample
        mean = (near + wide)[rows].mean(0, keepdim=True)
        squeezed = layer.squeeze_norm(layer.squeeze(mean)).relu()
        a, b = layer.excite_near(squeezed).exp(), layer.excite_wide(squeezed).exp()
        wanted[rows] = near[rows] * a / (a + b) + wide[rows] * b / (a + b)
    torch.testing.assert_close(layer(x).features, wanted, atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x).features, wanted, atol=1e-4, rtol=1e-4)


def test_an_empty_sample_changes_no_statistics() -> None:
    layer, x = SelectiveKernel(16).train(), scattered(300, 16)
    between = layer(x).features
    packed = x.coordinates.clone()
    packed[:, 0] //= 2
    alone = layer(SparseTensor.of(x.features, packed, x.sites.spatial_shape, 2)).features
    torch.testing.assert_close(between, alone)


def attention_by_window(block: BoxAttention, x: SparseTensor, size: int) -> Tensor:
    normed = block.attention_norm(x.features)
    query, key, value = (layer(normed) for layer in (block.query, block.key, block.value))
    moved = x.coordinates[:, 1:] - x.coordinates[:, 1:].amin(0)
    boxes = torch.cat([x.coordinates[:, :1], moved // size], 1).tolist()
    width = x.channels // block.heads
    found = torch.zeros_like(x.features)
    for row, box in enumerate(boxes):
        mates = [other for other, theirs in enumerate(boxes) if theirs == box]
        for head in range(block.heads):
            part = slice(head * width, (head + 1) * width)
            weights = (key[mates, part] @ query[row, part] / width**0.5).softmax(0)
            found[row, part] = weights @ value[mates, part]
    features = x.features + block.out(found)
    return features + block.feed(block.feed_norm(features))


def test_attention_stays_in_boxes_that_begin_at_the_lowest_voxel() -> None:
    block, x = BoxAttention(16, 4), scattered(250, 16, (5, 17, 17))
    found = block(x, windows_of(x.sites, 6, "lowest in batch"))
    torch.testing.assert_close(found.features, attention_by_window(block, x, 6), atol=1e-5, rtol=1e-5)


def test_levels_meet_at_the_middle_of_their_cells() -> None:
    def level(cells: list[list[int]], shape: tuple[int, int], value: float) -> SparseTensor:
        coordinates = torch.tensor([[0, 0, *cell] for cell in cells])
        return SparseTensor.of(torch.full((len(cells), 1), value), coordinates, (1, *shape), 1)

    fine, middle = level([[3, 5], [0, 0]], (9, 9), 1.0), level([[1, 2], [4, 4]], (5, 5), 10.0)
    merged = merge_centred([fine, middle, level([[0, 0]], (3, 3), 100.0)])
    rows = {tuple(c): v for c, v in zip(merged.coordinates[:, 1:].tolist(), merged.features[:, 0].tolist())}
    # 2 c + 1 with the weight 2, 4 c + 2 with the weight 3; the last coarse cell sticks out and counts at the border.
    assert rows == {(3, 5): 1.0 + 20.0, (0, 0): 1.0, (8, 8): 20.0, (2, 2): 300.0}


def test_a_hybrid_stage_adds_its_pointwise_layers() -> None:
    stage, x = HybridStage(16, 1).eval(), scattered(100, 16)
    found = stage(x).features - stage.blocks[0](x).features
    torch.testing.assert_close(found, stage.pointwise(x.features), atol=1e-5, rtol=1e-5)


def test_heights_follow_the_grid() -> None:
    assert depths(61, (5, 5, 3, 3, 3)) == [31, 16, 8, 4, 2]
    backbone = SparseVoxelKP(3, 33, 16, (4, 8, 8, 8, 8, 8), window=4)
    x = scattered(400, 3, (33, 40, 40))
    ground = backbone.eval()(x)
    assert ground.sites.spatial_shape == (5, 5)
    empty = SparseTensor(torch.zeros(0, 3), Sites.of(torch.zeros((0, 4), dtype=torch.int32), (33, 40, 40), 2))
    assert len(backbone(empty)) == 0
