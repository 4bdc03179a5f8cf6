"""Detection with camera images: a model that reads them, on a real frame."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from perception.cli import main
from perception.io.weights import Card, save_weights
from perception.models.catalogue import MODELS


@pytest.fixture(scope="module")
def image_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    entry = MODELS["focals-voxel-rcnn-images"]
    selection = replace(entry.defaults.selection, score_threshold=0.0)
    config = replace(entry.defaults, point_range=(0.0, -8.0, -3.0, 16.0, 8.0, 1.0), selection=selection)
    path = tmp_path_factory.mktemp("weights") / "images.safetensors"
    save_weights(path, "focals-voxel-rcnn-images", entry.make(config), Card())
    return path


def test_images_are_found_by_the_name_of_the_cloud(shared_data: Path, image_weights: Path, tmp_path: Path) -> None:
    root = shared_data / "kitti_object/training"
    arguments = ["detect", root / "velodyne/000002.bin", "--model", image_weights, "--out", tmp_path / "out"]
    more = ["--calib", root / "calib", "--images", root / "image_2"]
    assert main([str(a) for a in (*arguments, *more)]) == 0
    assert json.loads((tmp_path / "out/000002.json").read_text())["detections"]


def test_what_is_missing_is_said(
    shared_data: Path, image_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shared_data / "kitti_object/training"
    arguments = ["detect", root / "velodyne/000002.bin", "--model", image_weights, "--out", tmp_path / "out"]
    assert main([str(a) for a in arguments]) == 1
    assert "--images and --calib" in capsys.readouterr().err
    assert main([str(a) for a in (*arguments, "--images", root / "image_2")]) == 1
    assert "--images without --calib" in capsys.readouterr().err
    assert main([str(a) for a in (*arguments, "--images", tmp_path, "--calib", root / "calib")]) == 1
    assert "no image 000002" in capsys.readouterr().err
