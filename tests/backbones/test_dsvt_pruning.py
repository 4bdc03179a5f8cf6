"""Sets left out in use: which ones, what their voxels become, and that nothing changes where it is off."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from perception.backbones.dsvt import DSVTBackbone, DSVTBlock
from perception.backbones.dsvt_partition import DSVTStage
from perception.backbones.dsvt_pruning import only_sets, strongest_sets
from perception.errors import PerceptionError
from perception.models.catalogue import MODELS
from perception.sparse import SparseTensor

STAGE = DSVTStage(blocks=2, set_size=6, window=(1, 6, 6), shifted_window=(1, 12, 12), shift=(0, 3, 3))


def tensor(clouds: int = 2, seed: int = 0) -> SparseTensor:
    generator = torch.Generator().manual_seed(seed)
    cells = [(torch.rand(1, 24, 24, generator=generator) < 0.3).nonzero() for _ in range(clouds)]
    rows = [torch.nn.functional.pad(part, (1, 0), value=number) for number, part in enumerate(cells)]
    coordinates = torch.cat(rows).int()
    return SparseTensor.of(torch.randn(len(coordinates), 16, generator=generator), coordinates, (1, 24, 24), clouds)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 0.99])
def test_the_weakest_sets_of_each_cloud_go(share: float) -> None:
    x = tensor()
    sets, _ = STAGE.partitions(x.sites)
    sample = x.sites.coordinates[:, 0]
    for axis in range(2):
        stays = strongest_sets(x.features, sample, sets, axis, share)
        for cloud in range(2):
            mine = [n for n, rows in enumerate(sets.rows[axis]) if int(sample[rows[0]]) == cloud]
            strength = {n: float(x.features[sets.rows[axis][n]].norm(dim=1).mean()) for n in mine}
            number = max(len(mine) - int(share * len(mine)), 1)
            assert {n for n in mine if stays[n]} == set(sorted(mine, key=lambda n: -strength[n])[:number])
        kept, few = only_sets(sets, axis, stays)
        assert torch.equal(kept[few.rows[0]], sets.rows[axis][stays])
        assert torch.equal(few.rows[0].flatten()[few.slot[0]], torch.arange(len(kept)))


def test_voxels_of_kept_sets_are_as_ever_and_others_unchanged() -> None:
    torch.manual_seed(0)
    x = tensor()
    block = DSVTBlock(16, 2, 32, STAGE, "layer").eval()
    partitions = STAGE.partitions(x.sites)
    block.pruned = 0.5
    with torch.inference_mode():
        first = block.layers[0](x.features, block.positions[0](partitions[0].windows), partitions[0], 0)
        stays = strongest_sets(x.features, x.sites.coordinates[:, 0], partitions[0], 0, 0.5)
        rows, few = only_sets(partitions[0], 0, stays)
        alone = block.layers[0](x.features[rows], block.positions[0](partitions[0].windows)[rows], few, 0)
        torch.testing.assert_close(alone, first[rows])
        found = block(x, partitions, 0).features
    unchanged = (found == x.features).all(1)
    assert 0 < int(unchanged.sum()) < len(found) / 2
    assert torch.isfinite(found).all()


def test_off_in_training_and_by_default() -> None:
    x = tensor()
    torch.manual_seed(0)
    plain = DSVTBackbone(16, [STAGE], 2, 32)
    torch.manual_seed(0)
    pruned = DSVTBackbone(16, [STAGE], 2, 32, pruned=0.5)
    assert torch.equal(plain(x).features, pruned(x).features)
    with torch.inference_mode():
        whole, less = plain.eval()(x).features, pruned.eval()(x).features
        assert not torch.equal(whole, less)
        mine = x.sites.coordinates[:, 0] == 0
        alone = pruned(SparseTensor.of(x.features[mine], x.sites.coordinates[mine], (1, 24, 24), 1)).features
        torch.testing.assert_close(alone, less[mine])
    for share in (-0.1, 1.0):
        with pytest.raises(PerceptionError, match="share of sets"):
            DSVTBackbone(16, [STAGE], 2, 32, pruned=share)
    assert MODELS["dsvt-pillar"].defaults.pruned == 0  # type: ignore[attr-defined]


def test_no_voxels_and_one() -> None:
    backbone = DSVTBackbone(16, [STAGE], 2, 32, pruned=0.9).eval()
    for number in range(2):
        few = tensor(1)
        few = SparseTensor.of(few.features[:number], few.sites.coordinates[:number], (1, 24, 24), 1)
        assert backbone(few).features.shape == (number, 16)


def test_an_export_refuses() -> None:
    from perception.export.graphs.build import graphs_of

    chosen = MODELS["dsvt-pillar"]
    small = {"point_range": (0.0, -8.32, -2.0, 16.64, 8.32, 4.0), "channels": 32, "feedforward": 32, "pruned": 0.5}
    model = chosen.make(replace(chosen.defaults, **small)).eval()  # type: ignore[type-var]
    with pytest.raises(PerceptionError, match=r"pruned = 0\.5"):
        graphs_of(model)  # type: ignore[arg-type]
