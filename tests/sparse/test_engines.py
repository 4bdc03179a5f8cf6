"""Every engine against the reference: values, gradients, precisions, threads, empty and odd inputs."""

from __future__ import annotations

import gc
import multiprocessing
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from sites import random_sites, random_tensor
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse import (
    ConvNormReLU,
    DepthwiseConv,
    InverseConv,
    Sites,
    SparseConv,
    SubmanifoldConv,
)
from perception.sparse.engines import SETTING, choose, cpu, cpu_depthwise, reference
from perception.sparse.neighbours import coarsened_table, strided_table, submanifold_table, transposed_table
from perception.sparse.table import NeighbourTable
from perception.threads import run_shares

ONES, TWOS = (1, 1, 1), (2, 2, 2)
TABLES: dict[str, Callable[[Sites], NeighbourTable]] = {
    "submanifold": lambda sites: submanifold_table(sites, (3, 3, 3), ONES),
    "wide": lambda sites: submanifold_table(sites, (1, 5, 3), (1, 2, 1)),
    "single": lambda sites: submanifold_table(sites, ONES, ONES),
    "strided": lambda sites: strided_table(sites, (3, 3, 3), TWOS, ONES, ONES),
    "inverse": lambda sites: strided_table(sites, (3, 3, 3), TWOS, ONES, ONES).adjoint,
    "transposed": lambda sites: transposed_table(sites, TWOS, TWOS, (0, 0, 0), ONES, (0, 0, 0)),
    "coarsened": lambda sites: coarsened_table(sites, (3, 3, 3), TWOS, ONES),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


@pytest.fixture
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def with_gradients(
    engine: Callable[..., Tensor], features: Tensor, weight: Tensor, table: NeighbourTable, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    features, weight = features.detach().requires_grad_(), weight.detach().requires_grad_()
    output = engine(features, weight, table)
    output.backward(direction)
    assert features.grad is not None
    assert weight.grad is not None
    return output.detach(), features.grad, weight.grad


def close(ours: Tensor, wanted: Tensor) -> None:
    assert ours.dtype == wanted.dtype
    scale = float(wanted.double().abs().max()) if wanted.numel() else 1.0
    tolerance = TOLERANCE[ours.dtype]
    torch.testing.assert_close(ours.double(), wanted.double(), rtol=tolerance, atol=tolerance * max(scale, 1e-3))


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (4, 16), (16, 32), (5, 48), (33, 7), (13, 20), (64, 64)])
def test_cpu_equals_reference(kind: str, inputs: int, outputs: int) -> None:
    sites = random_sites((6, 30, 25), 700)
    table = TABLES[kind](sites)
    features, weight = torch.randn(table.inputs, inputs), torch.randn(outputs, len(table.rows), inputs)
    direction = torch.randn(table.outputs, outputs)
    wanted = with_gradients(reference.convolve, features, weight, table, direction)
    for ours, theirs in zip(with_gradients(cpu.convolve, features, weight, table, direction), wanted):
        close(ours, theirs)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["submanifold", "strided"])
def test_precisions(dtype: torch.dtype, kind: str) -> None:
    """Sums are in float32: the error is that of one rounding of the result, not one for each tap."""
    table = TABLES[kind](random_sites((6, 20, 25), 600))
    features, weight = torch.randn(table.inputs, 24).to(dtype), torch.randn(40, 27, 24).to(dtype)
    direction = torch.randn(table.outputs, 40).to(dtype)
    wanted = with_gradients(reference.convolve, features.double(), weight.double(), table, direction.double())
    for engine in (cpu.convolve, reference.convolve):
        for ours, theirs in zip(with_gradients(engine, features, weight, table, direction), wanted):
            close(ours, theirs.to(dtype))


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("kind", TABLES)
def test_no_voxel_and_one(kind: str, rows: int) -> None:
    sites = Sites.of(torch.tensor([[1, 3, 4, 5]])[:rows], (7, 9, 11), 2)
    table = TABLES[kind](sites)
    features, weight = torch.randn(table.inputs, 5), torch.randn(6, len(table.rows), 5)
    direction = torch.randn(table.outputs, 6)
    wanted = with_gradients(reference.convolve, features, weight, table, direction)
    for ours, theirs in zip(with_gradients(cpu.convolve, features, weight, table, direction), wanted):
        close(ours, theirs)


def test_strides_in_memory_do_not_matter() -> None:
    table = TABLES["strided"](random_sites((6, 20, 25), 300))
    features, weight = torch.randn(8, table.inputs).T, torch.randn(8, 27, 16).permute(2, 1, 0)
    direction = torch.randn(16, table.outputs).T
    assert not features.is_contiguous()
    wanted = with_gradients(reference.convolve, features, weight, table, direction)
    for ours, theirs in zip(with_gradients(cpu.convolve, features, weight, table, direction), wanted):
        close(ours, theirs)
    expanded = torch.ones(()).expand(table.outputs, 16)  # the gradient of a sum has no memory of its own
    assert len(with_gradients(cpu.convolve, features, weight, table, expanded)) == 3


@pytest.mark.parametrize("kind", ["submanifold", "strided", "inverse", "coarsened"])
@pytest.mark.parametrize("engine", [cpu.convolve, cpu_depthwise.convolve_depthwise])
def test_the_same_bits_for_any_number_of_threads(kind: str, engine: object, restored_threads: None) -> None:
    sites = random_sites((12, 70, 80), 6000)
    depthwise = engine is cpu_depthwise.convolve_depthwise
    weight = torch.randn(48, 27) if depthwise else torch.randn(48, 27, 48)
    first: tuple[Tensor, ...] = ()
    features = torch.randn(TABLES[kind](sites).inputs, 48)
    direction = torch.randn(TABLES[kind](sites).outputs, 48)
    for run in range(100 if kind == "submanifold" else 9):
        torch.set_num_threads((1, 2, 8)[run % 3])
        fresh = Sites.of(sites.coordinates, sites.spatial_shape, sites.batch_size)
        answer = with_gradients(engine, features, weight, TABLES[kind](fresh), direction)  # type: ignore[arg-type]
        first = first or answer
        assert all(torch.equal(a, b) for a, b in zip(answer, first))


def test_gradcheck() -> None:
    for kind in ("submanifold", "strided"):
        table = TABLES[kind](random_sites((4, 5, 6), 15))
        features = torch.randn(table.inputs, 3, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(2, 27, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda f, w, t=table: cpu.convolve(f, w, t), (features, weight))
        depthwise = torch.randn(3, 27, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda f, w, t=table: cpu_depthwise.convolve_depthwise(f, w, t), (features, depthwise)
        )


@pytest.mark.parametrize("kind", ["submanifold", "strided"])
@pytest.mark.parametrize("channels", [1, 7, 32])
def test_depthwise_equals_reference(kind: str, channels: int) -> None:
    table = TABLES[kind](random_sites((6, 30, 25), 700))
    features, weight = torch.randn(table.inputs, channels), torch.randn(channels, 27)
    direction = torch.randn(table.outputs, channels)
    wanted = with_gradients(reference.convolve_depthwise, features, weight, table, direction)
    for ours, theirs in zip(
        with_gradients(cpu_depthwise.convolve_depthwise, features, weight, table, direction), wanted
    ):
        close(ours, theirs)
    diagonal = torch.diag_embed(weight.T).permute(1, 0, 2)
    close(wanted[0], reference.convolve(features, diagonal, table))


def test_depthwise_layer() -> None:
    x = random_tensor((6, 9, 8), 60, 6)
    layer = DepthwiseConv(6, 3, bias=True)
    dense = torch.nn.functional.conv3d(x.dense(), layer.weight[:, None], layer.bias, padding=1, groups=6)
    at_sites = dense.movedim(1, -1)[tuple(x.coordinates.long().unbind(1))]
    torch.testing.assert_close(layer(x).features, at_sites)
    with pytest.raises(PerceptionError, match="6 channels"):
        DepthwiseConv(5, 3)(x)


@pytest.mark.parametrize("conv", [SubmanifoldConv(8, 24, 3, bias=True), SparseConv(8, 24, 3, 2, 1)])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("rectify", [True, False])
def test_fused_equals_separate(
    conv: SubmanifoldConv | SparseConv, engine: str, rectify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, engine)
    block = ConvNormReLU(conv, 24, rectify=rectify).eval()
    with torch.no_grad():
        for values in (block.norm.running_mean, block.norm.weight, block.norm.bias):
            assert values is not None
            values.normal_()
        assert block.norm.running_var is not None
        block.norm.running_var.uniform_(0.5, 1.5)
    x = random_tensor((6, 20, 25), 400, 8)
    separate = block(x)
    assert separate.features.requires_grad
    with torch.inference_mode():
        fused = block(x)
    assert torch.equal(fused.coordinates, separate.coordinates)
    torch.testing.assert_close(fused.features, separate.features.detach(), rtol=1e-4, atol=1e-5)


def test_values_that_are_no_numbers_are_not_hidden() -> None:
    block = ConvNormReLU(SubmanifoldConv(4, 16, 1), 16).eval()
    x = random_tensor((6, 20, 25), 40, 4)
    x.features[3, 1] = float("nan")
    with torch.inference_mode():
        output = block(x).features
    assert bool(output[3].isnan().all())
    assert int(output.isnan().any(1).sum()) == 1


def test_autocast_rounds_to_its_precision() -> None:
    layer, x = SubmanifoldConv(16, 16, 3), random_tensor((6, 20, 25), 400, 16)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x).features
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), layer(x).features, rtol=0.02, atol=0.02)
    low.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


def test_torch_compile_leaves_the_engine_alone() -> None:
    block = ConvNormReLU(SubmanifoldConv(8, 16, 3), 16).eval()
    x = random_tensor((6, 20, 25), 300, 8)
    compiled = torch.compile(block, backend="aot_eager")
    torch.testing.assert_close(compiled(x).features, block(x).features)
    compiled(x).features.sum().backward()


def test_tables_are_freed_with_their_sites() -> None:
    """By counting references alone: a cycle would keep megabytes until the collector comes by."""
    x = random_tensor((6, 20, 25), 300, 8)
    down, up, same = SparseConv(8, 8, 3, 2, 1), InverseConv(8, 8, 3), SubmanifoldConv(8, 8, 3)
    gc.disable()
    try:
        middle = down(same(x))
        up(middle, down, x.sites).features.sum().backward()
        alive = [weakref.ref(table) for sites in (x.sites, middle.sites) for table in sites.tables.values()]
        assert len(alive) == 2
        del x, middle
        assert [reference() for reference in alive] == [None, None]
    finally:
        gc.enable()


def test_minkowski_dialect_with_its_inverse() -> None:
    """Outputs only where a coarse cell holds an input; values those of the dense convolution there."""
    x = random_tensor((9, 14, 11), 120, 5, torch.float64)
    down = SparseConv(5, 6, 3, 2, dialect="minkowski").double()
    output = down(x)
    wanted = {(b, z // 2, y // 2, c // 2) for b, z, y, c in x.coordinates.tolist()}
    assert set(map(tuple, output.coordinates.tolist())) == wanted
    assert output.sites.stride == (2, 2, 2)
    dense = torch.nn.functional.conv3d(x.dense(), down.weight.movedim(-1, 1), stride=2, padding=1)
    torch.testing.assert_close(output.features, dense.movedim(1, -1)[tuple(output.coordinates.long().unbind(1))])
    up = InverseConv(6, 4, 3).double()
    back = up(output, down, x.sites)
    assert back.sites is x.sites
    dense = torch.nn.functional.conv_transpose3d(
        output.dense(), up.weight.movedim(-1, 0), stride=2, padding=1, output_padding=1
    )
    torch.testing.assert_close(back.features, dense.movedim(1, -1)[tuple(x.coordinates.long().unbind(1))])


def test_mirrored_kernel_is_the_transposed_convolution_of_stride_one() -> None:
    x = random_tensor((9, 14, 11), 120, 5, torch.float64)
    layer = SubmanifoldConv(5, 6, (3, 1, 5), mirrored=True).double()
    dense = torch.nn.functional.conv_transpose3d(x.dense(), layer.weight.movedim(-1, 0), padding=(1, 0, 2))
    at_sites = dense.movedim(1, -1)[tuple(x.coordinates.long().unbind(1))]
    torch.testing.assert_close(layer(x).features, at_sites)


def test_minkowski_dialect_has_no_padding() -> None:
    with pytest.raises(PerceptionError, match="centred"):
        SparseConv(1, 1, 3, 2, 1, dialect="minkowski")


def test_the_setting_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    x, layer = random_tensor((6, 20, 25), 30, 4), SubmanifoldConv(4, 4, 3)
    monkeypatch.setenv(SETTING, "refrence")
    with pytest.raises(PerceptionError, match="reference"):
        layer(x)
    monkeypatch.setenv(SETTING, "cpu")
    with pytest.raises(PerceptionError, match="for that device"):
        choose(x.features.to("meta"))


def _in_a_child(queue: object) -> None:
    torch.set_num_threads(1)  # as data loaders do: OpenMP's own threads hang after a fork
    layer, x = SubmanifoldConv(32, 32, 3), random_tensor((12, 70, 80), 600, 32)
    total = float(layer(x).features.sum())
    found: list[int] = []
    run_shares(found.append, [(1,), (2,), (3,)])  # the pool is made anew
    queue.put((total, sorted(found)))  # type: ignore[attr-defined]


def test_works_in_a_forked_process(restored_threads: None) -> None:
    """Data loaders fork: threads of the parent's pool do not exist in the child."""
    torch.set_num_threads(2)
    SubmanifoldConv(32, 32, 3)(random_tensor((12, 70, 80), 6000, 32))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_in_a_child, args=(queue,), daemon=True)
    process.start()
    try:
        total, found = queue.get(timeout=60)
        assert total == total
        assert found == [1, 2, 3]
    finally:
        process.kill()
