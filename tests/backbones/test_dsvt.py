"""DSVT's backbone against plain attention set by set, its two ways to place voxels, and what training reaches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.backbones.attention import Attention
from perception.backbones.dsvt import DSVTBackbone, DSVTBlock, SetAttention
from perception.backbones.dsvt_partition import DSVTStage, WindowPosition
from perception.sparse import SparseTensor, Windows
from perception.training.schedule import make_optimiser
from perception.training.settings import TrainingConfig

STAGES = (
    DSVTStage(1, 6, (4, 5, 5), (4, 10, 10), (0, 2, 2), (4, 1, 1)),
    DSVTStage(2, 5, (1, 5, 5), (1, 10, 10), (0, 2, 2)),
)


def voxels(number: int, channels: int = 16, batch: int = 2) -> SparseTensor:
    generator = torch.Generator().manual_seed(number)
    cells = torch.stack([torch.randint(0, n, (number,), generator=generator) for n in (batch, 4, 23, 31)], 1)
    cells = cells.unique(dim=0)
    return SparseTensor.of(torch.randn(len(cells), channels, generator=generator), cells, (4, 23, 31), batch)


def test_attention_is_that_of_torch() -> None:
    ours, torchs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(0, 0.5)
        torchs.in_proj_weight.copy_(ours.project.weight)
        torchs.in_proj_bias.copy_(ours.project.bias)
        torchs.out_proj.load_state_dict(ours.out.state_dict())
    query, key, value = torch.randn(3, 5, 16), torch.randn(3, 7, 16), torch.randn(3, 7, 16)
    unseen = torch.rand(3, 7) < 0.4
    unseen[:, 0] = False
    wanted, _ = torchs(query, key, value, key_padding_mask=unseen)
    torch.testing.assert_close(ours(query, key, value, ~unseen[:, None]), wanted)


def test_set_attention_is_attention_among_the_voxels_of_each_set() -> None:
    x = voxels(300)
    sets = STAGES[0].partitions(x.sites)[1]
    layer, position = SetAttention(16, 4, 32), torch.randn(len(x), 16)
    wanted = torch.empty_like(x.features)
    for slots, repeated in zip(sets.rows[1], sets.repeated[1]):
        rows = slots[~repeated]  # a voxel that stands in several slots counts once
        located = (x.features + position)[rows][None]
        wanted[rows] = layer.attention(located, located, x.features[rows][None])[0]
    found = layer._attend(x.features, position, sets, 1)
    torch.testing.assert_close(found, wanted)


def test_positions_of_cells_are_those_of_voxels() -> None:
    place = WindowPosition(8, (1, 12, 12)).eval()
    nn.init.normal_(place.norm.running_mean)  # type: ignore[arg-type]
    cell = torch.stack([torch.zeros(500), torch.randint(0, 12, (500,)), torch.randint(0, 12, (500,))], 1).long()
    nothing = torch.zeros(0, dtype=torch.int64)
    from_table = place(Windows(nothing, cell, nothing, nothing, (1, 12, 12)))
    directly = place.second(place.norm(place.first(cell[:, [2, 1]].float() - 6)).relu())
    torch.testing.assert_close(from_table, directly)


def test_positions_in_windows_higher_than_a_cell_have_three_coordinates() -> None:
    place = WindowPosition(8, (4, 12, 24)).eval()
    cell = torch.tensor([[3, 5, 20]])
    nothing = torch.zeros(0, dtype=torch.int64)
    found = place(Windows(nothing, cell, nothing, nothing, (4, 12, 24)))
    location = torch.tensor([[20 - 12.0, 5 - 6.0, 3 - 2.0]])
    torch.testing.assert_close(found, place.second(place.norm(place.first(location)).relu()))


def _seen(block: DSVTBlock, active: int) -> list[tuple[int, ...]]:
    """Sizes of the windows from which each layer of the block takes positions."""
    sizes: list[tuple[int, ...]] = []
    for position in block.positions:
        position.register_forward_pre_hook(lambda _m, given: sizes.append(given[0].size))
    x = voxels(100)
    block(x, STAGES[0].partitions(x.sites), active)
    return sizes


def test_published_positions_belong_to_the_layer_and_repaired_ones_to_the_partition() -> None:
    small, large = STAGES[0].window, STAGES[0].shifted_window
    assert _seen(DSVTBlock(16, 4, 32, STAGES[0], "layer"), 0) == [small, large]
    assert _seen(DSVTBlock(16, 4, 32, STAGES[0], "layer"), 1) == [small, large]
    assert _seen(DSVTBlock(16, 4, 32, STAGES[0], "partition"), 0) == [small, small]
    assert _seen(DSVTBlock(16, 4, 32, STAGES[0], "partition"), 1) == [large, large]


def test_partitions_alternate_through_the_stages() -> None:
    net = DSVTBackbone(16, STAGES, heads=4, feedforward=32)
    used: list[int] = []
    for stage in net.stages:
        for block in stage.blocks:
            block.register_forward_pre_hook(lambda _m, given: used.append(given[2]))
    net(voxels(200))
    assert used == [0, 1, 0]


def test_samples_of_a_batch_do_not_meet() -> None:
    net, both = DSVTBackbone(16, STAGES, heads=4, feedforward=32).eval(), voxels(400)
    together = net(both)
    for sample in range(2):
        own = both.coordinates[:, 0] == sample
        cells = both.coordinates[own].clone()
        cells[:, 0] = 0
        alone = net(SparseTensor.of(both.features[own], cells, (4, 23, 31), 1))
        torch.testing.assert_close(together.features[together.coordinates[:, 0] == sample], alone.features)


def test_no_voxels_and_one() -> None:
    net = DSVTBackbone(16, STAGES, heads=4, feedforward=32)
    for training in (True, False):
        net.train(training)
        x = voxels(50)
        none = SparseTensor.of(x.features[:0], x.coordinates[:0], (4, 23, 31), 2)
        assert net(none).features.shape == (0, 16)
        one = SparseTensor.of(x.features[:1], x.coordinates[:1], (4, 23, 31), 2)
        assert torch.isfinite(net(one).features).all()


def _step(net: nn.Module, x: SparseTensor) -> dict[str, Tensor]:
    optimiser = make_optimiser(net, TrainingConfig(learning_rate=1e-2, weight_decay=0.0))
    listed = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert listed == {id(p) for p in net.parameters()}
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    net(x).features.square().mul(torch.linspace(0, 1, 16)).mean().backward()
    optimiser.step()
    return before


def test_the_optimiser_reaches_every_parameter_projections_and_pool_positions_too() -> None:
    # The published recipe left the projections of attention and the positions in poolings as they were drawn.
    net = DSVTBackbone(16, STAGES, heads=4, feedforward=32)
    before = _step(net, voxels(400))
    same = [name for name, p in net.named_parameters() if torch.equal(p, before[name])]
    assert not same
    assert any("project.weight" in name for name in before)
    assert any("pool.position" in name for name in before)
    assert any("pool.attention.in_proj_weight" in name for name in before)
