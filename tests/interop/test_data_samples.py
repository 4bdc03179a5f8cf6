"""Results of mmdet3d and ours, with stand-ins for its classes; the real ones are met in ``with_mmdet3d``."""

from __future__ import annotations

import importlib
import math
import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.errors import PerceptionError
from perception.interop.data_samples import data_sample_of, detections_of, objects_of
from perception.interop.info_boxes import from_instances, to_instances
from perception.results import Detections

CLASSES = ("Pedestrian", "Cyclist", "Car")
CAR = [10.0, 2.0, -1.0, 4.0, 1.6, 1.5, 0.3]  # ours: centre, length width height, heading
BOTTOM = [10.0, 2.0, -1.75, 4.0, 1.6, 1.5, 0.3]
OLD = [10.0, 2.0, -1.75, 1.6, 4.0, 1.5, -0.3 - math.pi / 2]


class LiDARInstance3DBoxes:
    def __init__(self, rows: list[list[float]]) -> None:
        self.tensor = torch.tensor(rows).reshape(len(rows), -1)


class CameraInstance3DBoxes(LiDARInstance3DBoxes):
    pass


def new(boxes: Any, scores: list[float], labels: list[int]) -> SimpleNamespace:
    found = SimpleNamespace(bboxes_3d=boxes, scores_3d=torch.tensor(scores), labels_3d=torch.tensor(labels))
    return SimpleNamespace(pred_instances_3d=found)


def old(boxes: Any, scores: list[float], labels: list[int]) -> dict[str, Any]:
    return {"boxes_3d": boxes, "scores_3d": torch.tensor(scores), "labels_3d": torch.tensor(labels)}


def test_both_ages_give_the_same_box() -> None:
    for result in (
        new(LiDARInstance3DBoxes([BOTTOM]), [0.9], [2]),
        new(LiDARInstance3DBoxes([BOTTOM]), [0.9], [2]).pred_instances_3d,
        old(LiDARInstance3DBoxes([OLD]), [0.9], [2]),
        {"pts_bbox": old(LiDARInstance3DBoxes([OLD]), [0.9], [2])},
    ):
        found = detections_of(result, CLASSES)
        torch.testing.assert_close(found.boxes.values, torch.tensor([CAR]))
        assert found.names == ["Car"]


def test_best_first_and_velocities() -> None:
    rows = [[*BOTTOM, 1.0, 2.0], [*BOTTOM, 3.0, 4.0]]
    found = detections_of(new(LiDARInstance3DBoxes(rows), [0.2, 0.8], [0, 1]), CLASSES)
    assert found.names == ["Cyclist", "Pedestrian"]
    assert found.boxes.velocity is not None
    assert found.boxes.velocity.tolist() == [[3, 4], [1, 2]]


def test_old_boxes_that_do_not_tell_their_age() -> None:
    result = old(LiDARInstance3DBoxes([OLD]), [0.9], [0])  # a pedestrian is not longer than wide
    with pytest.raises(PerceptionError, match="pass convention"):
        detections_of(result, CLASSES)
    found = detections_of(result, CLASSES, "width_first")
    torch.testing.assert_close(found.boxes.values, torch.tensor([CAR]))


def test_nothing_found() -> None:
    empty = SimpleNamespace(tensor=torch.zeros(0, 7))
    assert len(detections_of(new(empty, [], []), CLASSES)) == 0
    assert len(detections_of(old(empty, [], []), CLASSES)) == 0


def test_rows_there_and_back() -> None:
    rows = np.random.default_rng(0).uniform(0.5, 4, (5, 9))
    boxes, velocity = from_instances(rows, "length_first")
    assert np.allclose(to_instances(boxes, velocity), rows)
    assert to_instances(boxes).shape == (5, 7)


def test_labels_of_a_training_pipeline() -> None:
    sample = SimpleNamespace(
        gt_instances_3d=SimpleNamespace(bboxes_3d=LiDARInstance3DBoxes([BOTTOM]), labels_3d=torch.tensor([2]))
    )
    found = objects_of(sample, CLASSES)
    assert found.names.tolist() == ["Car"]
    torch.testing.assert_close(found.boxes.values, torch.tensor([CAR]))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (new(CameraInstance3DBoxes([BOTTOM]), [0.9], [2]), "not in the lidar frame"),
        (new(LiDARInstance3DBoxes([BOTTOM]), [0.9], [3]), "the label 3"),
        (new(LiDARInstance3DBoxes([BOTTOM[:6]]), [0.9], [2]), r"shape \(1, 6\)"),
        (SimpleNamespace(), "without bboxes_3d"),
        ({"img_bbox": 1}, "without boxes_3d"),
    ],
)
def test_other_results_are_refused(result: Any, said: str) -> None:
    with pytest.raises(PerceptionError, match=said):
        detections_of(result, CLASSES)


without = pytest.mark.skipif(find_spec("mmengine") is not None, reason="mmdet3d's packages are installed here")


@without
def test_the_plug_in_names_the_extra() -> None:
    with pytest.raises(PerceptionError, match=r"lidar-perception\[mmdet3d\]"):
        importlib.import_module("perception.interop.mmdet3d")
    assert "perception.interop.mmdet3d" not in sys.modules


@without
def test_samples_name_the_extra() -> None:
    nothing = Detections(Boxes3D.empty(), torch.zeros(0), torch.zeros(0, dtype=torch.int64), CLASSES)
    with pytest.raises(PerceptionError, match=r"lidar-perception\[mmdet3d\]"):
        data_sample_of(nothing)
