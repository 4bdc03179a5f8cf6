"""`perception keypoints`: people and joints as JSON, pictures, and clear errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.cli import main
from perception.heads.centre_selection import CentreSelection
from perception.io.weights import Card, save_weights
from perception.keypoints import WAYMO_SKELETON
from perception.models.catalogue import MODELS
from perception.models.loading import shipped_weights


@pytest.fixture(scope="module")
def people_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    entry = MODELS["voxelkp-small"]
    rule = CentreSelection(score_threshold=0.0, peaks=6)
    look = replace(entry.defaults.refiner, score_threshold=0.0, apart=0.0)
    config = replace(entry.defaults, point_range=(0.0, -8.0, -3.0, 16.0, 8.0, 3.0), selection=rule, refiner=look)
    path = tmp_path_factory.mktemp("weights") / "people.safetensors"
    save_weights(path, "voxelkp-small", entry.make(config), Card(trained_on="nothing", licence="Apache-2.0"))
    return path


def keypoints(*arguments: object) -> int:
    return main(["keypoints", *map(str, arguments)])


def test_people_and_their_joints_by_name(people_weights: Path, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert keypoints(scan, "--model", people_weights, "--out", out, "--picture") == 0
    content = json.loads((out / "scan.json").read_text())
    assert content["points"] == 500
    assert 0 < len(content["people"]) <= 6
    person = content["people"][0]
    assert set(person) == {"class", "score", "centre", "size", "heading", "points", "joints"}
    assert tuple(person["joints"]) == WAYMO_SKELETON.joints
    assert set(person["joints"]["nose"]) == {"position", "visibility"}
    assert sorted(p.name for p in out.iterdir()) == ["scan.json", "scan.png", "scan_above.png"]


def test_a_bad_file_does_not_cost_the_others(
    people_weights: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.pcd"
    broken.write_text("no cloud")
    out = tmp_path / "out"
    assert keypoints(broken, scan, "--model", people_weights, "--out", out, "--batch", 2, "--score", 0.99) == 1
    assert "1 of 2 clouds done" in capsys.readouterr().out
    assert json.loads((out / "scan.json").read_text())["people"] == []


def test_an_empty_cloud(people_weights: Path, tmp_path: Path) -> None:
    np.zeros((0, 4), "<f4").tofile(tmp_path / "empty.bin")
    np.save(tmp_path / "empty.npy", np.zeros((0, 3), np.float32))
    out = tmp_path / "out"
    assert keypoints(tmp_path / "empty.npy", "--model", people_weights, "--out", out, "--picture") == 0
    assert json.loads((out / "empty.json").read_text())["people"] == []


def test_without_shipped_weights_the_error_says_how_to_get_some(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.commands.keypoints_command.shipped_weights", lambda: {})
    assert keypoints(scan, "--out", tmp_path / "out") == 1
    assert "perception import FILE --model voxelkp" in capsys.readouterr().err


def test_models_of_other_tasks_are_refused_both_ways(
    people_weights: Path, weights: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keypoints(scan, "--model", weights, "--out", tmp_path / "out") == 1
    assert "is a model for detection" in capsys.readouterr().err
    assert main(["detect", str(scan), "--model", str(people_weights), "--out", str(tmp_path / "out")]) == 1
    assert "is a model for keypoints" in capsys.readouterr().err
    assert shipped_weights() is not None
