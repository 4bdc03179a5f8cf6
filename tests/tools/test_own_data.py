"""The way of someone with data of their own: check, cut out objects, train, evaluate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from perception.io.writers import write_points
from perception.simulate.dataset import StreetDataset

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six streets as PLY files with labels.json."""
    labels: dict[str, list[dict[str, Any]]] = {}
    (tmp_path / "own").mkdir()
    for number, sample in enumerate(StreetDataset(6, 11)[i] for i in range(6)):
        name = f"{number}.ply"
        write_points(tmp_path / "own" / name, sample.cloud)
        assert sample.objects is not None
        labels[name] = [
            {"class": "auto" if kind == "Car" else str(kind), "centre": row[:3], "size": row[3:6], "heading": row[6]}
            for kind, row in zip(sample.objects.names, sample.objects.boxes.values.tolist())
        ]
    (tmp_path / "own" / "labels.json").write_text(json.dumps(labels))
    return tmp_path / "own"


@pytest.fixture
def tiny_experiment() -> dict[str, Any]:
    return {
        "model": "pointpillars-small",
        "overrides": {
            "point_range": [0.0, -12.8, -3.0, 25.6, 12.8, 1.0],
            "voxel_size": [0.4, 0.4, 4.0],
            "encoder_channels": 8,
            "layers": [0, 0, 0],
            "filters": [8, 8, 8],
            "up_filters": [8, 8, 8],
        },
        "training": {"epochs": 2, "batch_size": 2, "workers": 0, "threads": 1},
    }


def run(name: str, *arguments: object, code: int = 0) -> str:
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_labels_to_a_table_of_figures(data: Path, tiny_experiment: dict[str, Any], tmp_path: Path) -> None:
    config, out = tmp_path / "own.yaml", tmp_path / "run"
    experiment = {**tiny_experiment, "data": {"train": [{"name": "folder", "options": {"root": str(data)}}]}}
    config.write_text(yaml.safe_dump(experiment))
    text = run("check_data", config)
    assert "labels of no class of the model are left out" in text
    assert "auto (" in text

    experiment["classes"] = {"auto": "Car"}
    objects = data / "objects.npz"
    assert "auto" in run("cut_objects", f"folder:{data}", "--every", 2, "--out", objects)
    config.write_text(yaml.safe_dump(experiment))
    assert "error" not in run("check_data", config)
    run("train", config, "--out", out)
    weights = out / "final.safetensors"
    text = run("evaluate", weights, "--data", f"folder:{data}", "--split", "val.txt", code=2)
    assert "val.txt cannot be read" in text
    (data / "val.txt").write_text("4\n5\n")
    text = run("evaluate", weights, "--data", f"folder:{data}", "--split", "val.txt", "--out", tmp_path / "figures")
    assert "2 of these frames were trained on" in text
    assert "3d at IoU 0.5" in text
    assert json.loads((tmp_path / "figures/evaluation.json").read_text())["frames"] == 2


def test_training_stops_at_useless_labels(data: Path, tiny_experiment: dict[str, Any], tmp_path: Path) -> None:
    labels = json.loads((data / "labels.json").read_text())
    for boxes in labels.values():
        for box in boxes:
            box["size"] = [box["size"][1], box["size"][0], box["size"][2]]
    (data / "labels.json").write_text(json.dumps(labels))
    config = tmp_path / "own.yaml"
    experiment = {**tiny_experiment, "data": {"train": [{"name": "folder", "options": {"root": str(data)}}]}}
    config.write_text(yaml.safe_dump({**experiment, "classes": {"auto": "Car"}}))
    text = run("train", config, "--out", tmp_path / "run", code=2)
    assert "length and width are swapped" in text
    assert "make training useless" in text
    assert not (tmp_path / "run").exists()
    run("train", config, "--out", tmp_path / "run", "--no-check")
