"""What holds for the Triton engine, in its interpreter or on a GPU; test_triton_engine.py runs this file as a whole.

Apart, because the environment decides between the two when Triton is first imported, and torch imports it early.
Shapes are small: the interpreter takes milliseconds for each tile.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from sites import random_sites
from test_engines import ONES, TABLES, TWOS, close, with_gradients
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse import ConvNormReLU, Sites, SparseConv, SparseTensor, SubmanifoldConv
from perception.sparse.engines import SETTING, reference, triton, triton_cache, triton_depthwise
from perception.sparse.engines.triton_blocks import Blocks, Loop, candidates, choose_blocks, default
from perception.sparse.engines.triton_tuning import tune, warmup
from perception.sparse.neighbours import coarsened_table, submanifold_table
from perception.sparse.table import NeighbourTable

DEVICE = torch.device("cpu" if triton.interpreted() else "cuda")
HALVES = (torch.float16, torch.bfloat16)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(triton_cache.FOLDER, str(tmp_path / "cache"))
    triton_cache._read_once.cache_clear()


def some_sites(rows: int = 60) -> Sites:
    sites = random_sites((6, 9, 8), rows)
    return Sites.of(sites.coordinates.to(DEVICE), sites.spatial_shape, sites.batch_size)


def randn(*size: int) -> Tensor:
    return torch.randn(*size).to(DEVICE)


def operands(table: NeighbourTable, inputs: int, outputs: int) -> tuple[Tensor, Tensor, NeighbourTable, Tensor]:
    weight = randn(outputs, len(table.rows), inputs)
    return randn(table.inputs, inputs), weight, table, randn(table.outputs, outputs)


def agrees(features: Tensor, weight: Tensor, table: NeighbourTable, direction: Tensor) -> None:
    wanted = with_gradients(reference.convolve, features, weight, table, direction)
    for ours, theirs in zip(with_gradients(triton.convolve, features, weight, table, direction), wanted, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (5, 17), (16, 32)])
def test_equals_reference(kind: str, inputs: int, outputs: int) -> None:
    agrees(*operands(TABLES[kind](some_sites()), inputs, outputs))


def test_many_blocks_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows, channels and splits than one tile holds, none of them a multiple of a tile."""
    monkeypatch.setattr(triton, "_ROWS_A_SPLIT", 33)
    table = submanifold_table(some_sites(160), (1, 1, 3), ONES)
    assert table.outputs > 128
    agrees(*operands(table, 70, 133))


def test_mirrored_reads_the_taps_backwards() -> None:
    """The short way to the gradient is that of the adjoint table, which serves where a table is no mirror."""
    sites = some_sites()
    mirrored = TABLES["wide"](sites)
    assert mirrored.mirrored
    features, weight, _, direction = operands(mirrored, 5, 7)
    general = NeighbourTable(mirrored.rows, mirrored.inputs)
    pairs = [with_gradients(triton.convolve, features, weight, table, direction) for table in (mirrored, general)]
    for ours, theirs in zip(*pairs, strict=True):
        close(ours, theirs)


def test_adjoint_of_the_other_dialect() -> None:
    table = coarsened_table(some_sites(), (2, 2, 2), TWOS, ONES)
    agrees(*operands(table.adjoint, 6, 5))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", ["submanifold", "strided"])
def test_halves_are_summed_in_float32(dtype: torch.dtype, kind: str) -> None:
    features, weight, table, direction = operands(TABLES[kind](some_sites()), 9, 20)
    given = [values.to(dtype) for values in (features, weight, direction)]
    exact = [values.double() for values in given]
    wanted = with_gradients(reference.convolve, exact[0], exact[1], table, exact[2])
    for ours, theirs in zip(with_gradients(triton.convolve, given[0], given[1], table, given[2]), wanted, strict=True):
        close(ours, theirs.to(dtype))


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("kind", TABLES)
def test_no_voxel_and_one(kind: str, rows: int) -> None:
    coordinates = torch.tensor([[1, 3, 4, 5]])[:rows].to(DEVICE)
    agrees(*operands(TABLES[kind](Sites.of(coordinates, (7, 9, 11), 2)), 5, 6))


def test_strides_in_memory_do_not_matter() -> None:
    table = TABLES["strided"](some_sites())
    features, weight = randn(8, table.inputs).T, randn(8, 27, 16).permute(2, 1, 0)
    assert not features.is_contiguous()
    agrees(features, weight, table, randn(16, table.outputs).T)
    agrees(features, weight, table, torch.ones((), device=DEVICE).expand(table.outputs, 16))


@pytest.mark.parametrize("kind", ["submanifold", "strided"])
def test_two_runs_give_the_same_bits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "_ROWS_A_SPLIT", 16)
    features, weight, table, direction = operands(TABLES[kind](some_sites()), 12, 20)
    first, second = (with_gradients(triton.convolve, features, weight, table, direction) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_only_the_gradients_asked_for() -> None:
    features, weight, table, _ = operands(TABLES["strided"](some_sites()), 3, 4)
    triton.convolve(features, weight.requires_grad_(), table).sum().backward()
    assert weight.grad is not None
    assert features.grad is None


@pytest.mark.parametrize("kind", ["submanifold", "strided"])
@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_fused(kind: str, rectify: bool, dtype: torch.dtype) -> None:
    features, weight, table, _ = operands(TABLES[kind](some_sites()), 6, 19)
    features, scale, shift = features.to(dtype), randn(19), randn(19)
    fused = triton.convolve_fused(features, weight, table, scale, shift, rectify)
    wanted = reference.convolve(features.double(), weight.to(dtype).double(), table) * scale + shift
    close(fused, (wanted.relu() if rectify else wanted).to(dtype))


def test_layers_by_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    sites = some_sites()
    x = SparseTensor(randn(len(sites), 6), sites)
    for conv in (SubmanifoldConv(6, 10, 3, bias=True, mirrored=True), SparseConv(6, 10, 3, 2, 1)):
        block = ConvNormReLU(conv, 10).to(DEVICE).eval()
        monkeypatch.setenv(SETTING, "reference")
        wanted = block(x).features.detach()
        monkeypatch.setenv(SETTING, "triton")
        with torch.inference_mode():
            torch.testing.assert_close(block(x).features, wanted, rtol=1e-4, atol=1e-5)
            with torch.autocast(DEVICE.type, torch.bfloat16):
                low = block(x).features
        assert low.dtype == torch.bfloat16
        torch.testing.assert_close(low.float(), wanted, rtol=0.04, atol=0.04)


def test_values_that_are_no_numbers_are_not_hidden() -> None:
    """They reach the rows and weights that read them, through ReLU too, and no others."""
    features, weight, table, _ = operands(TABLES["single"](some_sites()), 4, 16)
    features[3, 1] = float("nan")
    output = triton.convolve_fused(features, weight, table, randn(16), randn(16), True)
    assert bool(output[3].isnan().all())
    assert int(output.isnan().any(1).sum()) == 1

    features, weight, table, direction = operands(TABLES["submanifold"](some_sites()), 4, 16)
    direction[0] = float("nan")
    ours, wanted = (with_gradients(e.convolve, features, weight, table, direction)[2] for e in (triton, reference))
    assert torch.equal(ours.isnan(), wanted.isnan())
    assert 0 < int(ours.isnan().sum()) < ours.numel()


def test_refusals() -> None:
    features, weight, table, _ = operands(TABLES["strided"](some_sites()), 4, 5)
    with pytest.raises(PerceptionError, match="float64"):
        triton.convolve(features.double(), weight.double(), table)
    for wrong in ((features[1:], weight), (features, weight[:, 1:]), (features[:, 1:], weight)):
        with pytest.raises(PerceptionError, match="as many channels"):
            triton.convolve(*wrong, table)
    with pytest.raises(PerceptionError, match="one device"):
        triton.convolve(features, weight.to("meta"), table)


def test_tuning_keeps_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    table = submanifold_table(some_sites(20), (1, 1, 3), ONES)
    tried = candidates("product", 4, 8, torch.float32)
    times = iter([*range(len(tried) - 1, -1, -1), *range(1000)])  # the last one wins, then the first ones
    found = tune(table, [(4, 8)], torch.float32, measure=lambda run: (run(), float(next(times)))[1])
    device = table.rows.device
    assert len(found) == 3
    assert choose_blocks("product", 4, 8, torch.float32, "ieee", device) == tried[-1] != tried[0]
    assert choose_blocks("outer", 4, 8, torch.float32, "ieee", device) == default("outer", 4, 8, torch.float32)
    agrees(*operands(table, 4, 8))
    path = triton_cache.cache_file(device)
    assert list(path.parent.iterdir()) == [path]
    for broken in ("{", "[]", '{"product 4x8 float32 ieee": [3, 16, 16, 4, 2]}', '{"a": [true, 16, 16, 4, 2]}'):
        path.write_text(broken)
        triton_cache._read_once.cache_clear()
        with pytest.warns(UserWarning, match="left out"):
            assert isinstance(choose_blocks("product", 4, 8, torch.float32, "ieee", device), Blocks)


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(triton_cache.FOLDER, str(tmp_path / "file"))
    with pytest.raises(PerceptionError, match=triton_cache.FOLDER):
        triton_cache.save(DEVICE, {})


def test_warmup_and_tiles_of_all_widths() -> None:
    warmup([(3, 8)], torch.float16, DEVICE, taps=(3,))
    warmup([(3, 8)], torch.float32, DEVICE, taps=(1,), training=False)
    loops: tuple[Loop, ...] = ("product", "outer")
    for loop, width, dtype in itertools.product(loops, (1, 16, 24, 200, 1024), triton.DTYPES):
        tried = candidates(loop, width, width, dtype)
        assert tried[0] == default(loop, width, width, dtype)
        assert tried[0].shared(loop, dtype) <= 48 * 1024
        assert 8 <= len(tried) == len(set(tried))


@pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a GPU: Triton's interpreter knows no TF32")
def test_tf32_only_where_torch_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weight, table, _ = operands(TABLES["submanifold"](some_sites()), 64, 64)
    exact = reference.convolve(features.double(), weight.double(), table)
    errors = []
    for allowed in (False, True):
        monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", allowed)
        errors.append(float((triton.convolve(features, weight, table) - exact).abs().max() / exact.abs().max()))
    assert errors[0] < 1e-6
    assert errors[1] < 2e-3


@pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a GPU with 12 GB of memory")
def test_more_elements_than_an_int32_can_number() -> None:
    rows, channels = 2**31 // 64 + 1000, 64
    if torch.cuda.get_device_properties(0).total_memory < 12e9:
        pytest.skip("the GPU has less than 12 GB of memory")
    features = torch.zeros((rows, channels), dtype=torch.float16, device=DEVICE)
    features[-1] = 1
    table = NeighbourTable(torch.arange(rows, dtype=torch.int32, device=DEVICE)[None], rows, mirrored=True)
    weight = torch.ones((channels, 1, channels), dtype=torch.float16, device=DEVICE)
    output = triton.convolve(features, weight, table)
    assert bool((output[-1] == channels).all())
    assert not bool(output[:1000].any())


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("channels", [1, 5, 16, 130])
def test_depthwise_equals_reference(kind: str, channels: int) -> None:
    table = TABLES[kind](some_sites())
    features, weight = randn(table.inputs, channels), randn(channels, len(table.rows))
    direction = randn(table.outputs, channels)
    wanted = with_gradients(reference.convolve_depthwise, features, weight, table, direction)
    ours = with_gradients(triton_depthwise.convolve_depthwise, features, weight, table, direction)
    for mine, theirs in zip(ours, wanted, strict=True):
        close(mine, theirs)


def test_depthwise_sums_several_splits_the_same_at_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_depthwise, "ROWS_A_SPLIT", 40)
    table = TABLES["submanifold"](some_sites(160))
    given = randn(table.inputs, 7), randn(7, len(table.rows)), table, randn(table.outputs, 7)
    runs = [with_gradients(triton_depthwise.convolve_depthwise, *given) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    for mine, theirs in zip(runs[0], with_gradients(reference.convolve_depthwise, *given), strict=True):
        close(mine, theirs)


@pytest.mark.parametrize("dtype", HALVES)
def test_depthwise_halves_are_summed_in_float32(dtype: torch.dtype) -> None:
    table = TABLES["submanifold"](some_sites())
    given = randn(table.inputs, 9).to(dtype), randn(9, len(table.rows)).to(dtype)
    direction = randn(table.outputs, 9).to(dtype)
    exact = reference.convolve_depthwise, given[0].double(), given[1].double(), table, direction.double()
    ours = with_gradients(triton_depthwise.convolve_depthwise, *given, table, direction)
    for mine, theirs in zip(ours, with_gradients(*exact), strict=True):
        close(mine, theirs.to(dtype))


@pytest.mark.parametrize("rows", [0, 1])
def test_depthwise_of_no_voxel_and_one(rows: int) -> None:
    table = submanifold_table(Sites.of(torch.tensor([[1, 3, 4, 5]])[:rows].to(DEVICE), (7, 9, 11), 2), (3, 3, 3), ONES)
    given = randn(rows, 4), randn(4, 27), table, randn(rows, 4)
    ours = with_gradients(triton_depthwise.convolve_depthwise, *given)
    for mine, theirs in zip(ours, with_gradients(reference.convolve_depthwise, *given), strict=True):
        close(mine, theirs)
    with pytest.raises(PerceptionError, match="as many channels"):
        triton_depthwise.convolve_depthwise(given[0], randn(5, 27), table)
