"""TensorRT as far as it can be checked without the library: arguments, shapes, cache, the parser's rules."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

import torch
from onnx import TensorProto, helper, numpy_helper
from small_models import SMALL, build, clouds

from perception.errors import PerceptionError
from perception.export.description import describe
from perception.export.feeds import feed_of
from perception.export.graphs.build import graphs_of
from perception.export.graphs.network import run_graph
from perception.export.growth import grown_feed
from perception.export.manifest import Limits, TensorSpec
from perception.export.onnx_file import read_onnx, traced, write_onnx
from perception.export.tensorrt import build as building
from perception.export.tensorrt.cache import EngineKey, find, keep
from perception.export.tensorrt.parser_rules import check, problems
from perception.export.tensorrt.profiles import profile_of
from perception.export.write import TENSORRT_TOPK, Order

SPECS = (
    TensorSpec("points", "float32", ("rows0", 5, 4), ""),
    TensorSpec("table0", "int32", ("rows1", 27), ""),
    TensorSpec("owner", "int64", ("points",), ""),
)


def test_profiles_span_the_limits() -> None:
    profile = profile_of(SPECS, Limits(points=1000, voxels=400))
    assert profile.shapes["points"] == ((2, 5, 4), (100, 5, 4), (400, 5, 4))
    assert profile.shapes["table0"] == ((2, 27), (200, 27), (800, 27))
    assert profile.shapes["owner"] == ((2,), (250,), (1000,))
    assert profile.text(2) == "points:400x5x4,table0:800x27,owner:1000"


@pytest.mark.parametrize(("precision", "flags"), [("fp32", ["--noTF32"]), ("fp16", ["--fp16"]), ("int8", ["--int8"])])
def test_arguments_of_trtexec(precision: str, flags: list[str]) -> None:
    profile = profile_of(SPECS, Limits(1000, 400))
    made = building.trtexec_arguments("trtexec", Path("a.onnx"), Path("a.plan"), profile, precision)
    assert made[:3] == ["trtexec", "--onnx=a.onnx", "--saveEngine=a.plan"]
    assert "--minShapes=points:2x5x4,table0:2x27,owner:2" in made
    assert set(flags) <= set(made)
    with pytest.raises(PerceptionError):
        building.trtexec_arguments("trtexec", Path("a.onnx"), Path("a.plan"), profile, "int4")


@pytest.mark.parametrize(
    ("text", "version"),
    [("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b31]", "10.3.0"), ("[TensorRT v8502]", "8.5.0")],
)
def test_version_from_trtexecs_greeting(text: str, version: str) -> None:
    assert building.parse_version(text) == version


def test_cache_tells_machines_and_graphs_apart(tmp_path: Path) -> None:
    onnx = tmp_path / "a.onnx"
    onnx.write_bytes(b"graph")
    profile = profile_of(SPECS, Limits(1000, 400))
    key = EngineKey.of(onnx, "Orin (nvgpu)", "10.3.0", "fp16", profile)
    path = keep(key, b"engine", tmp_path / "cache")
    assert path.name.startswith("orin-nvgpu_trt10.3.0_fp16_")
    assert find(key, tmp_path / "cache") == path
    onnx.write_bytes(b"another graph")
    others = [
        replace(key, gpu="NVIDIA H100"),
        replace(key, tensorrt="10.4.0"),
        replace(key, precision="fp32"),
        EngineKey.of(onnx, "Orin (nvgpu)", "10.3.0", "fp16", profile),
        replace(key, profile="other"),
    ]
    assert all(find(other, tmp_path / "cache") is None for other in others)
    path.write_bytes(b"engin")
    assert find(key, tmp_path / "cache") is None
    with pytest.raises(PerceptionError, match="empty engine"):
        keep(key, b"", tmp_path / "cache")


def test_trtexec_is_run_and_its_failure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for trtexec: it writes its own arguments as the engine."""
    tool = tmp_path / "trtexec"
    tool.write_text('#!/bin/sh\nfor a in "$@"; do case $a in --saveEngine=*) echo "$@" > "${a#*=}";; esac; done\n')
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(building, "machine", lambda: ("Test GPU", "10.3.0"))
    profile = profile_of(SPECS, Limits(1000, 400))
    onnx = tmp_path / "network.onnx"
    small_graph(onnx)
    path = building.build_engine(onnx, profile, "fp16", tmp_path / "cache")
    assert path.name == "network.plan"
    assert "--fp16" in path.read_text()
    assert not onnx.exists()
    small_graph(onnx)
    tool.write_text("#!/bin/sh\necho 'no such layer' >&2\nexit 1\n")
    assert building.build_engine(onnx, profile, "fp16", tmp_path / "cache").exists()  # from the cache
    small_graph(onnx)
    with pytest.raises(PerceptionError, match="no such layer"):
        building.build_engine(onnx, profile, "fp32", tmp_path / "cache")


def small_graph(path: Path, op: str = "Relu", opset: int = 18, **attributes: object) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    node = helper.make_node(op, ["x"], ["y"], name="part/node", **attributes)
    made = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", opset)])
    path.write_bytes(made.SerializeToString())


def test_without_a_gpu_or_the_library_the_error_says_what_to_do(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    small_graph(tmp_path / "a.onnx")
    with pytest.raises(PerceptionError, match="no CUDA device"):
        building.build_engine(tmp_path / "a.onnx", profile_of(SPECS, Limits(10, 10)), "fp32", tmp_path)


def test_parser_rules_find_what_the_parser_refuses(tmp_path: Path) -> None:
    count = numpy_helper.from_array(torch.tensor([4096]).numpy(), "k")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [9000])
    nodes = [
        helper.make_node("TopK", ["x", "k"], ["v", "i"], name="output/TopK"),
        helper.make_node("ScatterND", ["x", "i", "v"], ["y"], name="sum", reduction="add"),
        helper.make_node("ConvInteger", ["y", "y"], ["z"], name="conv"),
    ]
    graph = helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)], [count])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    found = " ".join(problems(made))
    for text in ("opset 23", "TopK of 4096", "reduction 'add'", "ConvInteger"):
        assert text in found
    with pytest.raises(PerceptionError, match="output/TopK"):
        check(made)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_nothing_is_known_against_our_graphs(name: str, tmp_path: Path) -> None:
    model, header = build(name)
    graphs = graphs_of(model, TENSORRT_TOPK - 1)
    manifest = describe(model, header, graphs, Order(target="engine"))
    feed = feed_of(model.points(clouds()[:1]), manifest)
    arrays = feed.arrays
    for number, graph in enumerate(graphs.parts):
        write_onnx(graph, traced(graph, arrays), tmp_path / "a.onnx")
        assert problems(read_onnx(tmp_path / "a.onnx")) == []
        if number < len(graphs.parts) - 1:
            arrays = grown_feed(feed, manifest, number, *run_graph(graph, arrays))
