"""AOTInductor packages, lower precision, and exported folders in the command line and the ROS node's task."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import numpy as np
import torch
from small_models import build, cloud, clouds

from perception.cli import main
from perception.export.feeds import feed_of
from perception.export.manifest import read_manifest
from perception.export.onnx_file import read_onnx
from perception.export.write import Order, export_model
from perception.models.loading import load
from perception.pipeline import perceive

NODES = Path(__file__).resolve().parents[2] / "ros_nodes"
SAMPLE = Path(__file__).resolve().parents[2] / "perception" / "samples" / "street_000.bin"
LOAD_ALONE = """
import sys
import torch
from torch._inductor import aoti_load_package
package = aoti_load_package(sys.argv[1])
arrays = torch.load(sys.argv[2], weights_only=True)
torch.save([t.clone() for t in package(*arrays)], sys.argv[3])
assert not any(name.split(".")[0] == "perception" for name in sys.modules)
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["pointpillars-small", "second", "centerpoint-small"])
def test_a_package_runs_without_this_library(name: str, tmp_path: Path) -> None:
    model, header = build(name)
    manifest = export_model(model, header, tmp_path / "out", Order(target="aoti", clouds=clouds()))
    assert manifest.check is not None
    assert manifest.check.unmatched == 0
    feed = feed_of(model.points([cloud(900, seed=7)]), manifest)
    arrays = [feed.arrays[spec.name] for spec in manifest.segments[0].inputs]
    torch.save(arrays, tmp_path / "in.pt")
    files = [str(tmp_path / "out" / "network.pt2"), str(tmp_path / "in.pt"), str(tmp_path / "out.pt")]
    subprocess.run([sys.executable, "-c", LOAD_ALONE, *files], check=True, cwd=tmp_path)
    names = [spec.name for spec in manifest.segments[0].outputs]
    alone = dict(zip(names, torch.load(tmp_path / "out.pt", weights_only=True), strict=True))
    exported = load(tmp_path / "out")
    with torch.inference_mode():
        (here,) = exported(exported.voxelise(exported.points([cloud(900, seed=7)])))
    assert {"boxes", "scores"} <= set(names)
    for output in names:
        torch.testing.assert_close(alone[output], here[output])


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precision_of_the_shipped_model(precision: str, tmp_path: Path) -> None:
    arguments = ["export", "pointpillars-small", "--precision", precision, "--out", str(tmp_path / "out")]
    assert main([*arguments, "--clouds", str(SAMPLE)]) == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.precision == precision
    assert manifest.check is not None
    assert manifest.check.boxes > 5
    kinds = {node.op_type for node in read_onnx(tmp_path / "out" / "network.onnx").graph.node}
    assert {"fp16": "Cast", "int8": "QuantizeLinear"}[precision] in kinds
    (size,) = (segment.bytes for segment in manifest.segments)
    assert size < 10e6  # 11.8 MB in fp32, 8.9 MB of them anchors


def test_detect_takes_an_exported_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "exported"
    assert main(["export", "pointpillars-small", "--out", str(folder), "--clouds", str(SAMPLE)]) == 0
    assert "run it: perception detect" in capsys.readouterr().out
    rows = {}
    for name, model in (("torch", "pointpillars-small"), ("onnx", str(folder)), ("json", str(folder / "export.json"))):
        assert main(["detect", str(SAMPLE), "--model", model, "--out", str(tmp_path / name)]) == 0
        rows[name] = json.loads((tmp_path / name / "street_000.json").read_text())["detections"]
    assert len(rows["torch"]) > 5
    for name in ("onnx", "json"):
        assert len(rows[name]) == len(rows["torch"])
        for ours, theirs in zip(rows[name], rows["torch"]):
            np.testing.assert_allclose(ours["score"], theirs["score"], atol=1e-3)
    assert main(["keypoints", str(SAMPLE), "--model", str(folder), "--out", str(tmp_path / "k")]) == 1


def test_the_ros_task_takes_an_exported_folder(tmp_path: Path) -> None:
    sys.path.insert(0, str(NODES))
    from perception_ros.core.shared_voxels import VoxelCache, clipped_of, perceive_shared, voxel_groups
    from perception_ros.tasks.box_task import random_cloud

    model, header = build("second")
    export_model(model, header, tmp_path / "out", Order(clouds=[cloud(2000)]))
    exported = load(tmp_path / "out")
    for points in (0, 2000):
        perceive_shared(exported, 0, random_cloud(exported, points), VoxelCache())
    (wanted,) = perceive(model, [cloud(1500)])
    found, voxels = perceive_shared(exported, 0, cloud(1500), VoxelCache())
    assert len(found) == len(wanted)  # type: ignore[arg-type]
    assert clipped_of(voxels) == 0
    assert voxel_groups([model, exported]) == [0, 1]
