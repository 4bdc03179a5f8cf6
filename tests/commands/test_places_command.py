"""`perception places` as its user meets it: build, add, query, evaluate, and every bad input one clear error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.cli import main
from perception.io.weights import Card, save_weights
from perception.io.writers import write_points
from perception.models.catalogue import MODELS
from perception.points import PointCloud
from perception.simulate.loops.dataset import LoopDataset

pytest.importorskip("usearch")
LENGTH, SPACING = 160.0, 16.0


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated loop: lap one in ``ahead``, the other way round in ``back``, poses beside them."""
    root = tmp_path_factory.mktemp("drive")
    loops = LoopDataset(1, 2, LENGTH, SPACING, sensors=("hdl32",), split="test")
    half = len(loops) // 2
    for name, rows in (("ahead", range(half)), ("back", range(half, len(loops)))):
        (root / name).mkdir()
        lines = []
        for number, row in enumerate(rows):
            x, y, heading = loops.pose(row)
            cos, sin = np.cos(heading), np.sin(heading)
            lines.append(f"{cos} {-sin} 0 {x} {sin} {cos} 0 {y} 0 0 1 0")
            cloud = loops[row].cloud
            write_points(root / name / f"{name}_{number:03d}.ply", PointCloud(cloud.xyz))
        (root / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    entry = MODELS["minkloc3dv2-small"]
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, "minkloc3dv2-small", entry.make(entry.defaults), Card("nothing", "Apache-2.0"))
    return path


def built(drive: Path, out: Path, *options: str) -> Path:
    command = ["places", "build", str(drive / "ahead"), "--poses", str(drive / "ahead.txt"), "--out", str(out)]
    assert main([*command, *(options or ("--method", "scan-context"))]) == 0
    return out


def test_a_map_answers_with_the_place(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    town = built(drive, tmp_path / "town.places")
    assert "10 places (ahead 10), by scan-context" in capsys.readouterr().out
    scan = str(drive / "ahead" / "ahead_004.ply")
    assert main(["places", "query", scan, "--map", str(town), "-k", "3", "--out", str(tmp_path / "a.json")]) == 0
    (answer,) = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["answers"]
    assert answer["places"][0]["place"] == 4
    assert len(answer["places"]) == 3
    assert answer["places"][0]["distance"] == pytest.approx(0, abs=1e-5)


def test_the_pose_after_registration(drive: Path, tmp_path: Path) -> None:
    pytest.importorskip("small_gicp")
    town = built(drive, tmp_path / "town.places")
    scan = drive / "ahead" / "ahead_004.ply"
    from perception.io.clouds import read_points

    cloud = read_points(scan)
    turned = tmp_path / "turned.ply"
    write_points(turned, PointCloud(cloud.xyz[:, [1, 0, 2]] * np.array([-1, 1, 1], np.float32)))
    out = tmp_path / "a.json"
    assert main(["places", "query", str(turned), "--map", str(town), "--register", "--out", str(out)]) == 0
    registered = json.loads(out.read_text(encoding="utf-8"))["answers"][0]["registered"]
    assert registered["turn"] == pytest.approx(-np.pi / 2, abs=0.02)
    assert np.linalg.norm(np.array(registered["motion"])[:3, 3]) < 0.2


def test_models_and_scans_added_later(drive: Path, weights: Path, tmp_path: Path) -> None:
    town = built(drive, tmp_path / "town.places", "--model", str(weights))
    more = ["places", "add", str(drive / "back"), "--poses", str(drive / "back.txt"), "--map", str(town)]
    assert main([*more, "--drive", "tuesday"]) == 0
    from perception.places.map_file import load_map

    found = load_map(town)
    assert (len(found), found.drive_names) == (20, ("ahead", "tuesday"))
    assert main(more) == 1  # the same scans again
    assert len(load_map(town)) == 20


def test_evaluations(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    town = built(drive, tmp_path / "town.places")
    common = ["--map", str(town), "--radius", "10"]
    asked = ["places", "evaluate", str(drive / "back"), "--poses", str(drive / "back.txt"), *common]
    assert main([*asked, "--out", str(tmp_path / "a.json"), "--picture", str(tmp_path / "a.png")]) == 0
    figures = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert figures["evaluated"] == 10
    assert 0 <= figures["recall@1"] <= figures["recall@5"] <= figures["recall@10"] <= 100
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert main([*asked, "--official"]) == 0
    more = ["places", "add", str(drive / "back"), "--poses", str(drive / "back.txt"), "--map", str(town)]
    assert main(more) == 0
    capsys.readouterr()
    assert main(["places", "evaluate", *common, "--gap", "20"]) == 0
    assert "max F1" in capsys.readouterr().out


def test_evaluation_of_a_data_set(drive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (drive / "poses.txt").write_text((drive / "ahead.txt").read_text(encoding="utf-8"), encoding="utf-8")
    # A way there and back in one run: the loop closes at its end.
    code = main(["places", "evaluate", "--data", f"scans_with_poses:{drive}", "--method", "scan-context"])
    assert code == 1  # 20 scans below the root, 10 poses
    assert "10 poses for 20 scans" in capsys.readouterr().err


def error_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    capsys.readouterr()
    assert main(list(command)) == 1
    return capsys.readouterr().err


def test_bad_input(drive: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    town = built(drive, tmp_path / "town.places")
    scan = str(drive / "ahead" / "ahead_000.ply")
    assert "no map" in error_of(capsys, "places", "query", scan, "--map", str(tmp_path / "none.places"))
    cut = tmp_path / "cut.places"
    cut.write_bytes(town.read_bytes()[:5000])
    assert "cut short" in error_of(capsys, "places", "query", scan, "--map", str(cut))
    other = error_of(capsys, "places", "query", scan, "--map", str(town), "--model", str(weights))
    assert "the map was built by scan-context" in other
    few = tmp_path / "few.txt"
    few.write_text("1 0 0 0 0 1 0 0 0 0 1 0\n", encoding="utf-8")
    ahead = str(drive / "ahead")
    out = ("--out", str(tmp_path / "new.places"))
    assert "1 poses for 10 scans" in error_of(capsys, "places", "build", ahead, "--poses", str(few), *out)
    assert not (tmp_path / "new.places").exists()
    assert "1 or more" in error_of(capsys, "places", "query", scan, "--map", str(town), "-k", "0")
    assert "needs one of" in error_of(capsys, "places", "evaluate")


def test_bad_scans_do_not_cost_the_others(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    town = built(drive, tmp_path / "town.places")
    rng = np.random.default_rng(0)
    write_points(tmp_path / "ten.ply", PointCloud(rng.uniform(-5, 5, (10, 3))))
    write_points(tmp_path / "far.ply", PointCloud(rng.uniform(-5, 5, (500, 3)) + 1e6))
    names = [str(tmp_path / "ten.ply"), str(tmp_path / "far.ply"), str(drive / "ahead" / "ahead_002.ply")]
    capsys.readouterr()
    assert main(["places", "query", *names, "--map", str(town)]) == 1
    printed = capsys.readouterr()
    assert "cloud 0 of 1 has 10 points" in printed.err
    assert "scan in the frame of its sensor" in printed.err
    assert "ahead_002.ply:" in printed.out


def test_detect_refuses_models_of_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, "detect", "a.bin", "--model", "hotformerloc-oxford", "--out", str(tmp_path))
    assert "hotformerloc-oxford is a model for places" in message
    assert "`perception places` is the command for it" in message
