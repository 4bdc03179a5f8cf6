"""Folders, clouds and orders that an export or its runner must refuse, each with a reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx
import torch
from onnx import TensorProto, helper
from small_models import build, cloud
from torch import Tensor, nn

from perception.cli import main
from perception.errors import PerceptionError
from perception.export import compare, write
from perception.export.graphs.network import Graph, GraphModule
from perception.export.manifest import TensorSpec
from perception.export.onnx_file import check_operators, traced, write_onnx
from perception.export.runner import LimitWarning
from perception.export.write import Order, export_model
from perception.models.loading import load
from perception.pipeline import perceive
from perception.points import PointCloud


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "pointpillars"
    model, header = build("pointpillars")
    export_model(model, header, folder, Order(points=2000, voxels=500, clouds=[cloud(400)]))
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def test_more_points_and_voxels_than_allowed_are_counted(exported: Path) -> None:
    detector = load(exported)
    with pytest.warns(LimitWarning) as heard:
        voxels = detector.voxelise(detector.points([cloud(6000)]))
    (text,) = [str(one.message) for one in heard]
    inside = int(np.sum(np.abs(cloud(6000).xyz[:, 1]) < 10.24))
    assert f"{inside - 2000:,} of {inside:,} points in range left out" in text
    assert "voxels left out" in text
    assert "takes 500" in text
    assert len(voxels.feeds[0].arrays["points"]) == 500
    assert voxels.clipped == inside - 2000


def test_of_too_many_dynamic_voxels_the_fullest_stay(tmp_path: Path) -> None:
    model, header = build("pointpillars-small")
    export_model(model, header, tmp_path / "out", Order(voxels=50, clouds=[cloud(40)]))
    dense = np.repeat(np.array([[4.1, 0.1, -1]]), 30, 0)
    mixed = PointCloud(np.concatenate([cloud(400).xyz, dense]))
    detector = load(tmp_path / "out")
    with pytest.warns(LimitWarning, match="those with the fewest points"):
        voxels = detector.voxelise(detector.points([mixed]))
    arrays = voxels.feeds[0].arrays
    assert len(arrays["coordinates"]) == 50
    assert int(arrays["owner"].bincount().max()) >= 30
    assert int(arrays["owner"].max()) < 50


def test_a_cloud_of_another_layout(exported: Path) -> None:
    with pytest.raises(PerceptionError, match="without \\['intensity'\\]"):
        perceive(load(exported), [PointCloud(cloud(10).xyz)])


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.999])
def test_a_file_cut_short(copy: Path, keep: float) -> None:
    path = copy / "network.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(PerceptionError, match="cut short"):
        load(copy)


def test_a_file_with_one_byte_changed_or_gone(copy: Path) -> None:
    path = copy / "network.onnx"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(PerceptionError, match="checksum"):
        load(copy)
    path.unlink()
    with pytest.raises(PerceptionError, match="no file"):
        load(copy)


FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "format": lambda v: v.update(format="lidar-perception-export/9"),
    "unknown key": lambda v: v.update(surprise=1),
    "no classes": lambda v: v.update(classes=[]),
    "no files": lambda v: v.update(segments=[]),
    "a file elsewhere": lambda v: v["segments"][0].update(file="../network.onnx"),
    "an absolute file": lambda v: v["segments"][0].update(file="/etc/hostname"),
    "no selection": lambda v: v.update(anchors=None),
    "limits": lambda v: v.update(limits={"points": -1, "voxels": 10}),
    "a shape": lambda v: v["voxels"].update(shape="big"),
    "a range": lambda v: v["voxels"].update(point_range=[0, 0, 0, -1, 1, 1]),
    "slots": lambda v: v["voxels"].update(max_points=-3),
    "more slots than any": lambda v: v["voxels"].update(max_points=10**9),
    "input names": lambda v: v["segments"][0]["inputs"][0].update(name="pixels"),
    "output names": lambda v: v["segments"][0]["outputs"][0].update(name="answers"),
    "a grid that the network has not": lambda v: v["voxels"].update(shape=[1, 7, 7]),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_forged_manifests(copy: Path, kind: str) -> None:
    path = copy / "export.json"
    values = json.loads(path.read_text())
    FORGERIES[kind](values)
    path.write_text(json.dumps(values))
    with pytest.raises(PerceptionError):
        perceive(load(copy), [cloud(400)])


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": 1}'])
def test_manifests_that_are_none(copy: Path, text: str) -> None:
    (copy / "export.json").write_text(text)
    with pytest.raises(PerceptionError):
        load(copy)


def test_an_opset_too_old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["export", "pointpillars-small", "--opset", "11", "--out", str(out)]) == 1
    assert "opset 11" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Relu", ["x"], ["x2"])
    end = helper.make_tensor_value_info("x2", TensorProto.FLOAT, [1])
    old = helper.make_model(helper.make_graph([node], "g", [value], [end]), opset_imports=[helper.make_opsetid("", 11)])
    with pytest.raises(PerceptionError, match="a graph of opset 11"):
        check_operators(old)


def test_operators_outside_the_standard_are_named() -> None:
    node = helper.make_node("FusedConv", ["x"], ["y"], name="bev/blocks.0", domain="com.microsoft")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    made = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(PerceptionError, match=r"com\.microsoft::FusedConv in bev/blocks\.0"):
        check_operators(made)


class Odd(GraphModule):
    """A graph with an operator that ONNX lacks."""

    def __init__(self) -> None:
        super().__init__(["x"])
        self.deep = nn.Sequential(nn.Identity(), Hypotenuse())

    def run(self, given: Any) -> tuple[Tensor, ...]:
        return (self.deep(given["x"]),)


class Hypotenuse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.hypot(x, x)


def test_an_operator_that_cannot_be_translated_is_named_with_its_part(tmp_path: Path) -> None:
    spec, end = TensorSpec("x", "float32", ("rows0", 3), ""), TensorSpec("y", "float32", ("rows0", 3), "")
    graph = Graph(Odd(), (spec,), (end,))
    with pytest.raises(PerceptionError, match=r"hypot.* in deep\.1"):
        write_onnx(graph, traced(graph, {"x": torch.ones(4, 3)}), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_boxes_beyond_the_tolerance_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, header = build("pointpillars")
    monkeypatch.setitem(write.TOLERANCES, "fp32", compare.Tolerance(0.0, -1.0, 0.0))
    with pytest.raises(PerceptionError, match="have no partner"):
        export_model(model, header, tmp_path / "out", Order(clouds=[cloud(400)]))
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_export_survives_a_failure_and_is_replaced_by_a_success(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Path(shutil.copytree(exported, tmp_path / "out"))
    before = (target / "export.json").read_text()
    model, header = build("pointpillars")
    with monkeypatch.context() as patch:
        patch.setitem(write.TOLERANCES, "fp32", compare.Tolerance(0.0, -1.0, 0.0))
        with pytest.raises(PerceptionError):
            export_model(model, header, target, Order(clouds=[cloud(400)]))
    assert (target / "export.json").read_text() == before
    export_model(model, header, target, Order(points=777, clouds=[cloud(400)]))
    assert json.loads((target / "export.json").read_text())["limits"]["points"] == 777
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("kept")
    model, header = build("pointpillars")
    with pytest.raises(PerceptionError, match="no exported folder"):
        export_model(model, header, tmp_path / "out", Order(clouds=[cloud(400)]))
    assert (tmp_path / "out" / "precious.txt").read_text() == "kept"


def test_a_file_that_is_no_onnx_under_a_fitting_checksum(copy: Path) -> None:
    import hashlib

    path = copy / "network.onnx"
    path.write_bytes(b"not a graph")
    values = json.loads((copy / "export.json").read_text())
    values["segments"][0] |= {"bytes": 11, "sha256": hashlib.sha256(b"not a graph").hexdigest()}
    (copy / "export.json").write_text(json.dumps(values))
    with pytest.raises(PerceptionError):
        load(copy)


@pytest.mark.parametrize(
    "order",
    [Order(points=1), Order(voxels=0), Order(target="aoti", precision="int8"), Order("onnx", opset=99)],
)
def test_orders_that_make_no_sense(order: Order, tmp_path: Path) -> None:
    model, header = build("pointpillars")
    with pytest.raises(PerceptionError):
        export_model(model, header, tmp_path / "out", order)
    assert list(tmp_path.iterdir()) == []


def test_onnx_is_importable() -> None:
    assert onnx.defs.onnx_opset_version() >= 18
