"""nuScenes' metric against answers of the development kit (commit of its public repository, detection_cvpr_2019)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes_made import made

from perception.datasets.nuscenes.records import NuscenesBoxes, NuscenesTruth
from perception.errors import PerceptionError
from perception.metrics.nuscenes import CLASSES, evaluate, perfect_results
from perception.metrics.nuscenes_filter import in_question
from perception.metrics.nuscenes_matching import match, match_reference

STORED = json.loads((Path(__file__).parents[1] / "golden" / "nuscenes_metric.json").read_text())


def one(name: str = "car", place: tuple[float, float] = (10, 0), **changes: Any) -> NuscenesBoxes:
    """A box 10 m ahead of the vehicle, in frame 0."""
    values: dict[str, Any] = {
        "frame": np.zeros(1, np.int64),
        "names": np.array([name]),
        "translation": np.array([[*place, 0.0]]),
        "size": np.array([[2.0, 4.0, 1.5]]),
        "rotation": np.array([[1.0, 0, 0, 0]]),
        "velocity": np.zeros((1, 2)),
        "attribute": np.array([""]),
        "score": np.ones(1),
        "points": np.array([5]),
    }
    return NuscenesBoxes(**{**values, **{key: np.array(value) for key, value in changes.items()}})


def truth_of(*boxes: NuscenesBoxes, racks: NuscenesBoxes | None = None) -> NuscenesTruth:
    none = NuscenesBoxes.empty() if racks is None else racks
    return NuscenesTruth(("token",), np.zeros((1, 3)), NuscenesBoxes.concatenate(boxes), none)


@pytest.mark.parametrize("key", STORED)
def test_figures_are_those_of_the_development_kit(key: str) -> None:
    truth, found = made(*(int(number) for number in key.split()))
    ours, official = evaluate(truth, found).as_dict(), STORED[key]
    assert ours["objects"] == official["objects"]
    assert ours["mean_average_precision"] == pytest.approx(official["mean_average_precision"], abs=1e-9)
    assert ours["detection_score"] == pytest.approx(official["detection_score"], abs=1e-9)
    assert ours["mean_errors"] == pytest.approx(official["mean_errors"], abs=1e-9)
    for name in CLASSES:
        assert ours["average_precision"][name] == pytest.approx(official["average_precision"][name], abs=1e-9)
        for kind, value in official["errors"][name].items():
            expected = None if value is None else pytest.approx(value, abs=1e-9)
            assert ours["errors"][name][kind] == expected, (name, kind)


def test_matching_is_that_of_its_plain_form() -> None:
    random = np.random.default_rng(3)
    frame = np.repeat(np.arange(20), 15)
    label_frame = np.sort(random.integers(0, 20, 80))
    first = np.searchsorted(label_frame, np.arange(21))
    centre, label = random.random((300, 2)) * 8, np.round(random.random((80, 2)) * 8)
    for limit in (0.5, 2.0, 4.0):
        expected = match_reference(frame, centre, first, label, limit)
        assert np.array_equal(match(frame, centre, first, label, limit), expected)
        assert (expected >= 0).sum() > 10


def test_one_object_found_exactly() -> None:
    report = evaluate(truth_of(one(attribute=["vehicle.parked"])), one(attribute=["vehicle.parked"]))
    assert report.class_precision["car"] == pytest.approx(1.0)
    assert report.mean_precision == pytest.approx(0.1)  # nine classes have no objects
    assert set(report.errors["car"].values()) == {0.0}
    assert report.errors["bus"]["translation"] == 1.0
    assert report.mean_errors["translation"] == pytest.approx(0.9)
    assert report.mean_errors["velocity"] == pytest.approx(7 / 8)


def test_errors_of_one_pair() -> None:
    turned = [[np.cos(0.1), 0, 0, np.sin(0.1)]]
    found = one(place=(10.9, 1.2), size=[[2.0, 2.0, 1.5]], rotation=turned, velocity=[[3.0, 4.0]])
    report = evaluate(truth_of(one(attribute=["vehicle.parked"])), found)
    expected = {"translation": 1.5, "scale": 0.5, "orientation": 0.2, "velocity": 5.0, "attribute": 1.0}
    assert report.errors["car"] == pytest.approx(expected)
    assert list(report.precision["car"].values()) == pytest.approx([0, 0, 1, 1], abs=1e-12)


def test_a_barrier_has_no_front_and_a_cone_no_heading() -> None:
    back = [[0.0, 0, 0, 1.0]]
    report = evaluate(truth_of(one("barrier")), one("barrier", rotation=back))
    assert report.errors["barrier"]["orientation"] == pytest.approx(0.0, abs=1e-12)
    assert np.isnan([report.errors["barrier"][kind] for kind in ("velocity", "attribute")]).all()
    report = evaluate(truth_of(one("traffic_cone")), one("traffic_cone", rotation=back))
    assert np.isnan([report.errors["traffic_cone"][k] for k in ("orientation", "velocity", "attribute")]).all()
    assert evaluate(truth_of(one()), one(rotation=back)).errors["car"]["orientation"] == pytest.approx(np.pi)


def test_unknown_velocities_and_attributes_of_labels_are_passed_over() -> None:
    labels = truth_of(one(), one(place=(20, 0), velocity=[[np.nan, np.nan]], attribute=["vehicle.parked"]))
    found = NuscenesBoxes.concatenate([one(velocity=[[1.0, 0]]), one(place=(20, 0), score=[0.5])])
    report = evaluate(labels, found)
    assert report.errors["car"]["velocity"] == pytest.approx(1.0)
    assert 0 < report.errors["car"]["attribute"] <= 1.0


def test_what_is_far_empty_or_in_a_rack_is_not_in_question() -> None:
    boxes = NuscenesBoxes.concatenate(
        [
            one(place=(49.9, 0)),
            one(place=(50, 0)),
            one("barrier", place=(29.9, 0)),
            one("barrier", place=(30.1, 0)),
            one(points=[0]),
            one("bicycle", place=(10, 2.9)),
            one("bicycle", place=(10, 3.1)),
            one(place=(10, 2.9)),
        ]
    )
    quarter = np.sqrt(0.5)
    rack = one(place=(10, 0), size=[[2.0, 6.0, 2.0]], rotation=[[quarter, 0, 0, quarter]])
    kept = in_question(boxes, np.zeros((1, 3)), rack)
    assert kept.tolist() == [True, False, True, False, False, False, True, True]


def test_perfect_results_and_none() -> None:
    truth, _ = made(30, 40, 0, 5)
    report = evaluate(truth, perfect_results(truth))
    assert report.mean_precision == pytest.approx(1.0)
    assert report.score == pytest.approx(1.0)
    nothing = evaluate(truth, NuscenesBoxes.empty())
    assert (nothing.mean_precision, nothing.score) == (0.0, 0.0)
    assert "NDS: 1.0000" in report.table()
    assert report.table().count("\n") == len(CLASSES) + 8


def test_bad_input() -> None:
    with pytest.raises(PerceptionError, match="did you mean 'car'"):
        evaluate(truth_of(one()), one("cars"))
    with pytest.raises(PerceptionError, match="not finite"):
        evaluate(truth_of(one()), one(score=[np.nan]))
    with pytest.raises(PerceptionError, match="frame 3"):
        evaluate(truth_of(one()), one(frame=[3]))
    with pytest.raises(PerceptionError, match="no keyframes"):
        evaluate(replace(truth_of(), tokens=()), NuscenesBoxes.empty())
