"""The benchmark of detectors beside a made-up peer: what it writes, when it objects. Speed is not a test's matter."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "tools/benchmark"
SIBLINGS = ("common", "peers", "random_weights")

# A peer that answers with our own boxes, moved by a given distance, and with times that nobody measured.
PEER = """
import torch
from perception.pipeline import perceive
from perception.points import PointCloud

VERSIONS = {{"fake": "1.0"}}
calls = []

def build(name, model, threads):
    if name == "pointpillars":
        return None
    def run(points):
        calls.append((name, threads, points.shape))
        fields = {{field: points[:, 3 + i] for i, field in enumerate(model.config.point_fields)}}
        (found,) = perceive(model, [PointCloud(points[:, :3], fields)])
        return {{"voxelise": 0.004, "bev": 0.25, "own stage": 0.5}}, found.boxes.values.numpy() + {shift}
    return run
"""


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    specification = importlib.util.spec_from_file_location("benchmark_detectors", FOLDER / "detectors.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "benchmark_detectors", module)  # dataclasses look their module up
    threads = torch.get_num_threads()
    specification.loader.exec_module(module)
    yield module
    torch.set_num_threads(threads)
    for name in SIBLINGS:
        sys.modules.pop(name, None)


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """Two thousand points of a rough road ahead, as KITTI stores them."""
    path = tmp_path / "tiny.bin"
    road(from_x=2, to_x=50).tofile(path)
    return path


def road(from_x: float, to_x: float) -> np.ndarray:
    random = np.random.default_rng(3)
    return random.uniform([from_x, -20, -2, 0], [to_x, 20, 0.5, 1], (2000, 4)).astype(np.float32)


def write_peer(folder: Path, name: str, shift: float, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / f"{name}.py").write_text(PEER.format(shift=shift))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_table_and_file_agree(
    benchmark: ModuleType,
    cloud: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    peer = write_peer(tmp_path, "peer_that_agrees", 0.0, monkeypatch)
    out = tmp_path / "figures.json"
    command = ["--models", "pointpillars-small", "--cloud", str(cloud), "--repeats", "1", "--candidates", "50"]
    assert benchmark.main([*command, "--peer", peer, "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert figures["machine"]["cores"] >= 1
    assert {"cpu", "architecture", "system"} <= set(figures["machine"])
    assert figures["versions"]["torch"] == torch.__version__
    assert figures["date"].endswith("+00:00")
    assert (figures["threads"], figures["repeats"], figures["cloud"]) == (1, 1, "tiny.bin")
    assert figures["peer"] == {"name": peer, "versions": {"fake": "1.0"}}

    (model,) = figures["models"]
    assert (model["model"], model["weights"], model["points"]) == ("pointpillars-small", "random", 2000)
    assert model["same_boxes"]
    assert model["boxes"]["ours"] == model["boxes"]["peer"] == model["boxes"]["matched"] > 0
    rows = {row["name"]: row for row in model["rows"]}
    assert {"read", "points", "voxelise", "encoder", "scatter", "bev", "head", "results"} <= set(rows)
    assert list(rows)[-2:] == ["other", "frame"]
    assert rows["voxelise"]["peer"]["median_ms"] == pytest.approx(4.0)
    assert rows["bev"]["ratio"] == pytest.approx(250.0 / rows["bev"]["ours"]["median_ms"])
    assert (rows["own stage"]["ours"], rows["own stage"]["ratio"]) == (None, None)
    assert (rows["read"]["peer"], rows["read"]["ratio"]) == (None, None)
    inside = ("points", "voxelise", "encoder", "scatter", "bev", "head", "results", "other")
    assert rows["frame"]["ours"]["median_ms"] == pytest.approx(sum(rows[n]["ours"]["median_ms"] for n in inside))
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)
    assert "the same" in printed
    # One warm run and one timed run, both on what the model itself reads: geometry only.
    assert sys.modules[peer].calls == [("pointpillars-small", 1, (2000, 3))] * 2


def test_other_boxes_are_an_error(
    benchmark: ModuleType, cloud: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = write_peer(tmp_path, "peer_that_differs", 0.02, monkeypatch)
    command = ["--models", "pointpillars-small", "--cloud", str(cloud), "--repeats", "1", "--candidates", "50"]
    assert benchmark.main([*command, "--peer", peer]) == 1


def test_spread_over_repeats(benchmark: ModuleType) -> None:
    timing = benchmark.Timing.of([0.004, 0.001, 0.002, 0.003, 0.1])
    assert (timing.lower_ms, timing.median_ms, timing.upper_ms) == pytest.approx((2.0, 3.0, 4.0))


@pytest.mark.parametrize("shift", [0.0, 2 * np.pi])
def test_headings_match_whatever_their_turn(benchmark: ModuleType, shift: float) -> None:
    boxes = np.random.default_rng(0).uniform(-3, 3, (40, 7))
    turned = boxes[::-1] + np.array([0, 0, 0, 0, 0, 0, shift])
    assert benchmark.matched(boxes, turned) == 40
    assert not benchmark.same_boxes(boxes, turned[:39])
    assert benchmark.same_boxes(boxes[:0], boxes[:0])


def test_velocities_count_where_both_have_them(benchmark: ModuleType) -> None:
    boxes = np.random.default_rng(0).uniform(-3, 3, (40, 9))
    faster = boxes + np.array([0] * 7 + [0.1, 0])
    assert benchmark.matched(boxes, boxes) == benchmark.matched(boxes, boxes[:, :7]) == 40
    assert benchmark.matched(boxes, faster) == 0


def test_a_whole_stands_in_front_of_its_parts(benchmark: ModuleType) -> None:
    ours = {"voxelise": [1.0], "backbone.stem": [2.0, 3.0], "backbone.out": [4.0, 5.0], "roi.pool": [6.0]}
    wholes = benchmark._with_wholes(ours, {"backbone": [9.0]})
    assert list(wholes) == ["voxelise", "backbone", "backbone.stem", "backbone.out", "roi.pool"]
    assert wholes["backbone"] == [6.0, 8.0]


def test_by_default_what_the_cloud_serves(benchmark: ModuleType, cloud: Path) -> None:
    plain = benchmark.read_points(cloud)
    able = benchmark._able(plain)
    assert {"second", "pv-rcnn", "pointpillars-small"} <= set(able)
    assert not {"centerpoint", "dsvt-pillar", "focals-pv-rcnn-images"} & set(able)
    swept = benchmark.PointCloud(plain.xyz, {"intensity": plain.xyz[:, 0], "time": plain.xyz[:, 0]})
    assert "centerpoint" in benchmark._able(swept)


def test_random_weights_let_the_wanted_number_through(benchmark: ModuleType, cloud: Path) -> None:
    points = benchmark.read_points(cloud)
    model = benchmark.random_model("pointpillars-small", points, 50)
    with torch.inference_mode():
        scores = model(model.voxelise(model.points([points]))).scores[0].sigmoid().amax(1)
    assert not model.training
    assert 50 <= int((scores > model.config.selection.score_threshold).sum()) <= 55


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--peer", "no_such_peer"], "PYTHONPATH"),
        (["--peer", "json:build"], "no function 'build'"),
        (["--calib", "no_such_file.txt"], "no_such_file.txt"),
    ],
)
def test_what_cannot_be_done_is_said(
    benchmark: ModuleType, cloud: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(["--models", "pointpillars-small", "--cloud", str(cloud), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_cloud_out_of_range(benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "behind.bin"
    road(from_x=-50, to_x=-2).tofile(path)
    assert benchmark.main(["--models", "second", "--cloud", str(path)]) == 2
    assert "no point of the cloud is in the range" in capsys.readouterr().err


def test_the_camera_view_is_cut(
    benchmark: ModuleType, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = shared_data / "kitti_object/training", tmp_path / "figures.json"
    given = ["--cloud", str(folder / "velodyne/000002.bin"), "--calib", str(folder / "calib/000002.txt")]
    command = ["--models", "pointpillars-small", "--repeats", "1", "--out", str(out)]
    assert benchmark.main([*command, *given]) == 0
    (model,) = json.loads(out.read_text())["models"]
    assert model["points"] == 20_210
    assert model["same_boxes"] is None
    assert "camera view" in [row["name"] for row in model["rows"]]
