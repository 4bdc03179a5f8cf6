from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.metrics.overlap import OverlapFrame, evaluate_overlap


def boxes(places: list[tuple[float, float]], shift: float = 0.0) -> Boxes3D:
    rows = [[x + shift, y, 0.0, 4.0, 2.0, 1.5, 0.0] for x, y in places]
    return Boxes3D(torch.tensor(rows, dtype=torch.float64).reshape(-1, 7))


def frame(
    places: list[tuple[float, float]],
    found: list[tuple[float, float]],
    scores: list[float],
    shift: float = 0.0,
    counted: list[bool] | None = None,
) -> OverlapFrame:
    return OverlapFrame(
        boxes(places),
        np.array(["Car"] * len(places), str),
        np.array([True] * len(places) if counted is None else counted, bool),
        boxes(found, shift),
        np.array(["Car"] * len(found), str),
        np.array(scores),
    )


PLACES = [(10.0, 0.0), (20.0, 5.0), (40.0, -3.0), (60.0, 8.0)]


def test_perfect_boxes_reach_one_and_nothing_reaches_zero() -> None:
    report = evaluate_overlap([frame(PLACES, PLACES, [0.9, 0.8, 0.7, 0.6])], ["Car", "Tram"])
    for measure, overlap in itertools.product(("bev", "3d"), (0.5, 0.7)):
        assert report.precision["Car", measure, overlap, "all"] == 1
        assert report.precision["Car", measure, overlap, "50+ m"] == 1
    assert report.objects["Car", "0-30 m"] == 2
    assert np.isnan(report.precision["Tram", "3d", 0.5, "all"])
    nothing = evaluate_overlap([frame(PLACES, [], [])], ["Car"])
    assert nothing.precision["Car", "3d", 0.5, "all"] == 0
    assert "Car" in report.table()


def test_overlap_decides() -> None:
    # Shifted by 0.9 m of 4: IoU (4 - 0.9) / (4 + 0.9) = 0.63.
    report = evaluate_overlap([frame(PLACES, PLACES, [0.9, 0.8, 0.7, 0.6], shift=0.9)], ["Car"])
    assert report.recall["Car", "bev", 0.5, "all"] == 1
    assert report.recall["Car", "bev", 0.7, "all"] == 0


def test_a_precision_by_hand() -> None:
    # By score: right, wrong, right, a second box on the first object (wrong), right.
    found = [(10.0, 0.0), (10.0, 20.0), (20.0, 5.0), (10.1, 0.0), (40.0, -3.0)]
    report = evaluate_overlap([frame(PLACES, found, [0.9, 0.8, 0.7, 0.6, 0.5])], ["Car"])
    # Recalls 1/4, 2/4, 3/4 with the best precision at or beyond: 1, 2/3, 3/5; nothing beyond 3/4.
    expected = (10 * 1 + 10 * 2 / 3 + 10 * 3 / 5) / 40
    assert report.precision["Car", "3d", 0.7, "all"] == pytest.approx(expected)
    assert report.recall["Car", "3d", 0.7, "all"] == 0.75


def test_objects_that_do_not_count_excuse_detections_of_them() -> None:
    hidden = frame(PLACES, PLACES, [0.9, 0.8, 0.7, 0.6], counted=[True, False, True, True])
    report = evaluate_overlap([hidden], ["Car"])
    assert report.objects["Car", "all"] == 3
    assert report.precision["Car", "3d", 0.7, "all"] == 1


def test_scores_rank_over_all_frames() -> None:
    first = frame([(10.0, 0.0)], [(10.0, 0.0)], [0.3])
    second = frame([], [(10.0, 0.0)], [0.9])
    report = evaluate_overlap([first, second], ["Car"])
    assert report.precision["Car", "3d", 0.7, "all"] == pytest.approx(0.5)
