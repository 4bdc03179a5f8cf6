"""Each usual mistake of labels, made on purpose in generated streets, is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects, Sample
from perception.simulate.dataset import StreetDataset
from perception.training.data_check import DataReport, check_data

CLASSES = ("Car", "Pedestrian", "Cyclist")
RANGE = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
FRAMES = 6


STREETS = tuple(StreetDataset(FRAMES, 0)[i] for i in range(FRAMES))


class Changed:
    """Streets whose boxes (N, 7) are passed through a function."""

    def __init__(self, change: Callable[[np.ndarray], np.ndarray], velocity: float | None = None) -> None:
        self.change, self.velocity = change, velocity

    def __len__(self) -> int:
        return FRAMES

    def __getitem__(self, index: int) -> Sample:
        sample = STREETS[index]
        assert sample.objects is not None
        values = self.change(sample.objects.boxes.values.double().numpy().copy())
        heading = torch.from_numpy(values[:, 6])
        ahead = torch.stack([heading.cos(), heading.sin()], 1)
        boxes = Boxes3D(torch.from_numpy(values), None if self.velocity is None else ahead * self.velocity)
        names = sample.objects.names[: len(values)]
        return replace(sample, objects=Objects(boxes, names))


def camera(boxes: np.ndarray) -> np.ndarray:
    x, y, z, length, width, height, heading = boxes.T
    return np.stack([-y, height / 2 - z, x, length, width, height, -heading - math.pi / 2], 1)


def shifted(**changes: float) -> Callable[[np.ndarray], np.ndarray]:
    columns = {"x": 0, "y": 1, "z": 2, "heading": 6}

    def change(boxes: np.ndarray) -> np.ndarray:
        for name, value in changes.items():
            boxes[:, columns[name]] += value
        return boxes

    return change


def bottom(boxes: np.ndarray) -> np.ndarray:
    boxes[:, 2] -= boxes[:, 5] / 2
    return boxes


def column(source: list[int]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda boxes: boxes[:, source]


def scaled(index: int, factor: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(boxes: np.ndarray) -> np.ndarray:
        boxes[:, index] *= factor
        return boxes

    return change


def look(change: Callable[[np.ndarray], np.ndarray], velocity: float | None = None) -> DataReport:
    return check_data(Changed(change, velocity), CLASSES, RANGE)


def said(report: DataReport) -> str:
    return "; ".join(f"{finding.level} {finding.what}" for finding in report.findings)


def test_good_labels_pass() -> None:
    report = look(lambda boxes: boxes, velocity=5.0)
    assert report.usable
    assert "error" not in said(report)
    assert report.frames == FRAMES
    assert report.objects["Car"] > 10
    assert 3 < report.median_size["Car"][0] < 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (bottom, "if z is that of their bottoms"),
        (column([0, 1, 2, 4, 3, 5, 6]), "if length and width are swapped"),
        (shifted(heading=math.pi / 2), "if length and width are swapped, or headings"),
        (camera, "in a camera's frame"),
        (shifted(x=500.0), "no box holds a point"),
        (scaled(3, -1.0), "not finite or have no size"),
        (scaled(0, math.nan), "not finite or have no size"),
    ],
)
def test_mistakes_that_make_training_useless(change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    report = look(change)
    assert not report.usable
    assert message in said(report)


def test_headings_against_the_motion_are_found() -> None:
    assert "move backwards" in said(look(lambda boxes: boxes, velocity=-5.0))


def test_labels_that_are_there_twice() -> None:
    sample = STREETS[0]
    assert sample.objects is not None
    both = Objects(
        Boxes3D.concatenate([sample.objects.boxes] * 2), np.concatenate([sample.objects.names, sample.objects.names])
    )
    assert "overlaps another box" in said(check_data([replace(sample, objects=both)], CLASSES, RANGE))  # type: ignore[arg-type]


def test_classes_that_are_missing_or_named_otherwise() -> None:
    data = Changed(lambda boxes: boxes)
    assert "no label of Tram" in said(check_data(data, (*CLASSES, "Tram"), RANGE))
    report = check_data(data, ("Vehicle",), RANGE)
    assert not report.usable
    assert "no label is of a class of the model; labels: Car" in said(report)
    assert check_data(data, ("Vehicle",), RANGE, {"Car": "Vehicle"}).usable


def test_a_range_that_cuts_boxes() -> None:
    data = Changed(lambda boxes: boxes)
    assert "centre outside the model's range" in said(check_data(data, CLASSES, (0.0, -40, -3, 12.0, 40, 1)))
    assert "cuts" in said(check_data(data, CLASSES, (0.0, -40, -1.2, 70.4, 40, 1)))
    assert "of the points lie in the model's range" in said(check_data(data, CLASSES, (50.0, -40, -3, 70.4, 40, 1)))


def test_frames_are_spread_over_the_data_set() -> None:
    seen: list[int] = []

    class Counting(Changed):
        def __getitem__(self, index: int) -> Sample:
            seen.append(index)
            return super().__getitem__(index)

    report = check_data(Counting(lambda boxes: boxes), CLASSES, RANGE, maximum=3)
    assert report.frames == 3
    assert seen == [0, 2, 5]
