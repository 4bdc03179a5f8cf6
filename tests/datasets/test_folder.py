from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.catalogue import make_dataset
from perception.errors import PerceptionError
from perception.geometry import points_in_boxes
from perception.io.detections import detections_to_plain, write_json
from perception.io.writers import write_points
from perception.points import PointCloud
from perception.results import Detections

CAR = {"class": "Car", "centre": [500_010.0, 4_000_002.0, 51.0], "size": [4, 2, 1.5], "heading": 0.3}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two clouds in UTM coordinates, the car of the first filled with points."""
    local = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3)) * [4, 2, 1.5]
    turned = np.stack(
        [local[:, 0] * np.cos(0.3) - local[:, 1] * np.sin(0.3), local[:, 0] * np.sin(0.3) + local[:, 1] * np.cos(0.3)],
        1,
    )
    xyz = np.column_stack([turned, local[:, 2]]) + CAR["centre"]
    origin = np.array([500_000.0, 4_000_000.0, 50.0])
    for name in ("first.las", "second.las"):
        write_points(tmp_path / name, PointCloud((xyz - origin).astype(np.float32), origin=origin))
    return tmp_path


def labels(root: Path, content: Any) -> Path:
    (root / "labels.json").write_text(json.dumps(content))
    return root


def test_boxes_in_file_coordinates_hold_their_points(root: Path) -> None:
    dataset = make_dataset("folder", {"root": str(labels(root, {"first.las": [CAR], "second.las": []}))}, "test")
    assert len(dataset) == 2
    sample = dataset[0]
    assert sample.identifier == "first.las"
    assert sample.objects is not None
    assert sample.objects.names.tolist() == ["Car"]
    inside = points_in_boxes(torch.from_numpy(sample.cloud.xyz), sample.objects.boxes.values).sum()
    assert inside > 195
    assert len(dataset[1].objects or []) == 0


def test_results_of_detection_are_labels(root: Path) -> None:
    cloud = make_dataset("folder", {"root": str(labels(root, {"first.las": [CAR]}))}, "test")[0].cloud
    (root / "labels.json").unlink()
    box = torch.tensor([[1.0, 2, 0.5, 4, 2, 1.5, 0.3]])
    found = Detections(Boxes3D(box), torch.tensor([0.9]), torch.tensor([0]), ("Car",))
    write_json(root / "first.json", detections_to_plain(found, cloud, {"model": "any"}))
    dataset = make_dataset("folder", {"root": str(root)}, "test")
    assert len(dataset) == 1
    sample = dataset[0]
    assert sample.objects is not None
    torch.testing.assert_close(sample.objects.boxes.values, box, atol=2e-3, rtol=0)


def test_velocities_and_tracks(root: Path) -> None:
    moving = {**CAR, "velocity": [3.0, -1.0], "track": 7}
    sample = make_dataset("folder", {"root": str(labels(root, {"first.las": [moving, CAR]}))}, "test")[0]
    assert sample.objects is not None
    assert sample.objects.boxes.velocity is not None
    assert sample.objects.boxes.velocity[0].tolist() == [3.0, -1.0]
    assert sample.objects.boxes.velocity[1].isnan().all(), "an object without a velocity has an unknown one"
    assert sample.objects.attributes["track"].tolist() == ["7", ""]


def test_a_split_names_frames_with_or_without_suffix(root: Path) -> None:
    labels(root, {"first.las": [CAR], "second.las": []})
    (root / "val.txt").write_text("# held out\nsecond\n\n")
    assert len(make_dataset("folder", {"root": str(root), "split": "val.txt"}, "test")) == 1
    (root / "val.txt").write_text("secnd.las\n")
    with pytest.raises(PerceptionError, match=r"did you mean 'second\.las'"):
        make_dataset("folder", {"root": str(root), "split": "val.txt"}, "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"third.las": []}, "clouds that do not exist, first 'third.las'"),
        ([CAR], "no mapping of lists"),
        ({"first.las": [{**CAR, "centr": 1}]}, "did you mean 'centre'"),
        ({"first.las": [{"class": "Car"}]}, "object 0 has no 'centre'"),
        ({"first.las": [{**CAR, "size": [1, 2]}]}, "size = .* 3 numbers"),
        ({"first.las": [{**CAR, "heading": "north"}]}, "heading = .*a number"),
        ({"first.las": ["car"]}, "object 0 is 'car'"),
        ({}, "no labelled clouds"),
    ],
)
def test_wrong_labels_are_named(root: Path, content: Any, message: str) -> None:
    with pytest.raises(PerceptionError) as caught:
        make_dataset("folder", {"root": str(labels(root, content))}, "test")[0]
    assert re.search(message, str(caught.value).replace("\n", " "))


def test_missing_and_broken_files(root: Path) -> None:
    with pytest.raises(PerceptionError, match="no labelled clouds"):
        make_dataset("folder", {"root": str(root)}, "test")
    with pytest.raises(PerceptionError, match="no folder"):
        make_dataset("folder", {"root": str(root / "nowhere")}, "test")
    (root / "labels.json").write_text("{not json")
    with pytest.raises(PerceptionError, match="cannot be read"):
        make_dataset("folder", {"root": str(root)}, "test")
