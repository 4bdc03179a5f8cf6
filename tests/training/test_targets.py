from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.training.targets import Targets

CAR = [10.0, 0.0, -1.0, 4.0, 2.0, 1.5, 0.3]
CLOUD = PointCloud(np.array([[10.0, 0.1, -1.0], [10.5, 0.0, -1.2], [30.0, 0.0, 0.0]], np.float32))
TARGETS = Targets(("Car", "Pedestrian"), (0.0, -40.0, -3.0, 70.0, 40.0, 1.0), {"Van": "Car"})


def _objects(*rows: tuple[str, list[float]]) -> Objects:
    return Objects(Boxes3D(torch.tensor([box for _, box in rows])), np.array([name for name, _ in rows]))


def test_classes_are_indexed_renamed_and_others_left_out() -> None:
    objects = _objects(("Pedestrian", CAR), ("Van", CAR), ("Tram", CAR), ("Car", CAR))
    boxes, labels = TARGETS(CLOUD, objects, "000001")
    assert labels.tolist() == [1, 0, 0]
    assert boxes.shape == (3, 7)


def test_boxes_outside_the_range_are_left_out() -> None:
    behind = [-1.0, *CAR[1:]]
    boxes, _ = TARGETS(CLOUD, _objects(("Car", behind), ("Car", CAR)), "000001")
    torch.testing.assert_close(boxes, torch.tensor([CAR]))


def test_boxes_with_too_few_points_are_left_out() -> None:
    targets = Targets(TARGETS.classes, TARGETS.point_range, {}, minimum_points=2)
    far = [30.0, *CAR[1:]]
    boxes, _ = targets(CLOUD, _objects(("Car", CAR), ("Car", far)), "000001")
    assert len(boxes) == 1


@pytest.mark.parametrize("column", [0, 3, 6])
def test_broken_boxes_name_frame_and_row(column: int) -> None:
    broken = list(CAR)
    broken[column] = 0.0 if column == 3 else float("nan")
    with pytest.raises(PerceptionError, match=r"000001, object 1 \(Car\)"):
        TARGETS(CLOUD, _objects(("Car", CAR), ("Car", broken)), "000001")


def test_no_labels_and_impossible_renaming_are_errors() -> None:
    with pytest.raises(PerceptionError, match="000007 has no labels"):
        TARGETS(CLOUD, None, "000007")
    with pytest.raises(PerceptionError, match="Lorry"):
        Targets(("Car",), TARGETS.point_range, {"Truck": "Lorry"})


def test_velocities_follow_the_boxes_and_unknown_ones_are_nan() -> None:
    targets = Targets(("Car",), TARGETS.point_range, {}, minimum_points=1, velocity=True)
    boxes = torch.tensor([CAR, [-1.0, *CAR[1:]], CAR])
    speeds = torch.tensor([[3.0, -1.0], [0.0, 0.0], [torch.nan, 2.0]])
    known = Objects(Boxes3D(boxes, speeds), np.array(["Car"] * 3))
    found, _ = targets(CLOUD, known, "000001")
    torch.testing.assert_close(found[:, :7], boxes[[0, 2]])
    assert found[0, 7:].tolist() == [3, -1]
    assert found[1, 7:].isnan().all()
    without, _ = targets(CLOUD, _objects(("Car", CAR)), "000001")
    assert without.shape == (1, 9)
    assert without[0, 7:].isnan().all()
    assert TARGETS(CLOUD, known, "000001")[0].shape == (2, 7)
