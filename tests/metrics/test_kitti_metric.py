"""The KITTI metric on made cases whose answer can be counted by hand, and the lines it reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perception.datasets.kitti.labels import KittiObjects, format_label_lines, parse_label_lines
from perception.errors import PerceptionError
from perception.metrics.kitti import ceiling, evaluate

CAR = "Car 0.00 0 0.10 {left} 100.0 {right} 180.0 1.5 1.6 4.0 {x} 1.7 {z} 0.20"


def cars(*places: tuple[float, float], scores: list[float] | None = None) -> KittiObjects:
    lines = []
    for i, (x, z) in enumerate(places):
        line = CAR.format(left=100 + 10 * x, right=180 + 10 * x, x=x, z=z)
        lines.append(f"{line} {scores[i]}" if scores else line)
    return parse_label_lines(lines, "test")


def test_perfect_detections_reach_the_ceiling() -> None:
    labels = [cars((x, 10.0), (x + 20, 20.0)) for x in range(30)]
    found = [replace(frame, score=np.linspace(0.5, 1, len(frame))) for frame in labels]
    report = evaluate(list(zip(labels, found)), ["Car"])
    assert report.objects == {"Car/easy": 60, "Car/moderate": 60, "Car/hard": 60}
    top = ceiling(labels, ["Car"])
    for key, value in report.values.items():
        assert value == pytest.approx(top.values[key])
    assert top.values["Car_3d/moderate"] == pytest.approx(100)


def test_half_found_is_half_the_area() -> None:
    labels = [cars((0, 10.0), (30, 20.0)) for _ in range(20)]
    found = [cars((0, 10.0), scores=[0.9]) for _ in range(20)]
    report = evaluate(list(zip(labels, found)), ["Car"])
    # 20 of 40 labels are found: the evaluator counts its first hit as recall 0, so the steps reach 19 / 40.
    assert report.values["Car_3d/moderate_R40"] == pytest.approx(100 * 19 / 40)
    assert report.values["Car_3d/moderate"] == pytest.approx(100 * 5 / 11)


def test_opposite_heading_costs_orientation_alone() -> None:
    labels = [cars((0, 10.0)) for _ in range(41)]
    found = [replace(frame, score=np.array([0.9]), alpha=frame.alpha + np.pi) for frame in labels]
    report = evaluate(list(zip(labels, found)), ["Car"])
    assert report.values["Car_image/easy_R40"] == pytest.approx(100)
    assert report.values["Car_aos/easy_R40"] == pytest.approx(0)


def test_vans_small_boxes_and_dont_care_are_tolerated() -> None:
    text = [
        CAR.format(left=100, right=180, x=0, z=10),
        CAR.format(left=400, right=480, x=30, z=10).replace("Car", "Van"),
        "DontCare -1 -1 -10 700 90 900 200 -1 -1 -1 -1000 -1000 -1000 -10",
    ]
    labels = parse_label_lines(text, "test")
    extra = parse_label_lines([CAR.format(left=750, right=830, x=60, z=10) + " 0.99"], "test")
    found = labels.select(np.array([0, 1]))
    found = replace(found, names=np.array(["Car", "Car"]), score=np.array([0.9, 0.95]))
    both = KittiObjects(**{key: np.concatenate([getattr(found, key), getattr(extra, key)]) for key in vars(found)})
    image = evaluate([(labels, both)] * 41, ["Car"]).values
    assert image["Car_image/easy_R40"] == pytest.approx(100)  # neither the van nor the DontCare region is a mistake
    assert image["Car_3d/easy_R40"] < 60  # DontCare has no place in space, so there the extra box is one


def test_no_frames_no_objects_no_detections() -> None:
    nothing = parse_label_lines("", "test")
    for frames in ([], [(nothing, nothing)], [(cars((0, 10.0)), nothing)], [(nothing, cars((0, 10.0), scores=[0.5]))]):
        assert set(evaluate(frames).values.values()) == {0.0}


@pytest.mark.parametrize(
    ("evaluated", "labelled", "reached"),
    [("Pedestrian", "Person_sitting", 100), ("Pedestrian", "Cyclist", 50), ("Car", "Van", 100), ("Car", "Truck", 50)],
)
def test_only_the_like_class_is_tolerated(evaluated: str, labelled: str, reached: float) -> None:
    """Every frame has one object that is found, and one detection of higher score on an object of the other class."""
    text = [CAR.format(left=100 + x, right=180 + x, x=x, z=10) for x in (0, 200)]
    labels = [line.replace("Car", name) for line, name in zip(text, (evaluated, labelled))]
    found = [f"{line.replace('Car', evaluated)} {score}" for line, score in zip(text, (0.8, 0.9))]
    frame = parse_label_lines(labels, "test"), parse_label_lines(found, "test")
    values = evaluate([frame] * 41, [evaluated]).values
    for metric in ("image", "bev", "3d"):
        assert values[f"{evaluated}_{metric}/hard_R40"] == pytest.approx(reached)


def test_a_detector_without_orientation_gets_none() -> None:
    labels = [cars((0, 10.0)) for _ in range(41)]
    found = [replace(frame, score=np.array([0.9]), alpha=np.array([-10.0])) for frame in labels]
    report = evaluate(list(zip(labels, found)), ["Car"])
    assert not any("aos" in key for key in report.values)
    assert "aos" not in report.table()
    assert "3d   AP:100.0000" in report.table()


def test_unknown_classes_and_missing_scores_are_refused() -> None:
    labels, found = cars((0, 10.0)), cars((0, 10.0), scores=[0.5])
    with pytest.raises(PerceptionError, match="Cyclist"):
        evaluate([(labels, found)], ["Cyclists"])
    with pytest.raises(PerceptionError, match="without a score in frame 1 of 2"):
        evaluate([(labels, found), (found, labels)])


def test_what_could_not_be_read_again_is_not_written() -> None:
    found = cars((0, 10.0), scores=[0.5])
    with pytest.raises(PerceptionError, match="Person sitting"):
        format_label_lines(replace(found, names=np.array(["Person sitting"])))
    with pytest.raises(PerceptionError, match="not finite"):
        format_label_lines(replace(found, location=np.full((1, 3), np.inf)))


@pytest.mark.parametrize("occlusion", ["1e300", "0.5", "-1000"])
def test_occlusion_is_a_small_whole_number(occlusion: str) -> None:
    line = CAR.format(left=100, right=180, x=0, z=10)
    assert parse_label_lines(line.replace("0.00 0", "0.00 -1"), "test").occluded.tolist() == [-1]
    with pytest.raises(PerceptionError, match="line 1: occlusion"):
        parse_label_lines(line.replace("0.00 0", f"0.00 {occlusion}"), "test")


def test_lines_round_trip() -> None:
    labels = cars((0, 10.0), (3.25, 20.5))
    again = parse_label_lines(format_label_lines(labels), "again")
    for key in vars(labels):
        assert np.array_equal(getattr(labels, key), getattr(again, key), equal_nan=key == "score")
    scored = cars((0, 10.0), scores=[0.25])
    assert parse_label_lines(format_label_lines(scored), "again").score.tolist() == [0.25]


@pytest.mark.parametrize("line", ["Car 1 2 3", "garbage", CAR.format(left="x", right=1, x=0, z=1), "Car" + " nan" * 14])
def test_garbage_names_file_and_line(line: str) -> None:
    good = CAR.format(left=100, right=180, x=0, z=10)
    with pytest.raises(PerceptionError, match=r"000001.txt, line 2"):
        parse_label_lines([good, line], "000001.txt")
