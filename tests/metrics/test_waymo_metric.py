import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.geometry import iou_3d
from perception.metrics.waymo import CUTOFFS, average_precision, evaluate
from perception.metrics.waymo_matching import maximum_matching
from perception.results import Detections

NAMES = ("Vehicle", "Pedestrian", "Cyclist")
NEEDED = {"Vehicle": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}


def box(x, y=0.0, heading=0.0, length=4.0):
    return [x, y, 1.0, length, 2.0, 1.5, heading]


def objects(*boxes, name="Vehicle", points=None, difficulty=None):
    count = len(boxes)
    attributes = {"points": np.full(count, 20) if points is None else np.array(points)}
    attributes["difficulty"] = np.zeros(count, int) if difficulty is None else np.array(difficulty)
    return Objects(Boxes3D(torch.from_numpy(np.array(boxes, float).reshape(-1, 7))), np.full(count, name), attributes)


def found(*boxes, scores=None, label=0):
    values = torch.from_numpy(np.array(boxes, float).reshape(-1, 7))
    scores = torch.full((len(values),), 0.5) if scores is None else torch.tensor(scores, dtype=torch.float32)
    return Detections(Boxes3D(values), scores, torch.full((len(values),), label), NAMES)


def value(key, *frames, **more):
    return evaluate(frames, **more).values[key]


def test_perfect_detections():
    frame = (objects(box(10), box(40), box(60)), found(box(10), box(40), box(60)))
    report = evaluate([frame] * 3)
    for part in ("", "/0-30", "/30-50", "/50+"):
        for metric in ("L1/AP", "L1/APH", "L2/AP", "L2/APH"):
            assert report.values[f"Vehicle{part}/{metric}"] == pytest.approx(1)
    assert report.values["Cyclist/L2/AP"] == 0
    assert report.mean("L2/AP") == pytest.approx(1 / 3)
    assert report.objects["Vehicle/50+/L2"] == 3
    assert "mean" in report.table()


def test_nothing_at_all():
    report = evaluate([])
    assert set(report.values.values()) == {0.0}
    assert value("Vehicle/L1/AP", (objects(), found())) == 0
    assert value("Vehicle/L1/AP", (objects(box(10)), found())) == 0
    assert value("Vehicle/L1/AP", (objects(), found(box(10)))) == 0


def test_heading_weighs_precision():
    """Turned by a quarter: half the accuracy; by a half: none, though the box is the same."""
    square = 2.0
    for turn, share in ((0, 1), (math.pi / 2, 0.5), (-math.pi, 0), (2 * math.pi, 1)):
        frame = (objects(box(10, length=square)), found(box(10, heading=turn, length=square)))
        assert value("Vehicle/L1/AP", frame) == pytest.approx(1)
        assert value("Vehicle/L1/APH", frame) == pytest.approx(share)


def test_levels():
    """One hard object of two is missed: level 1 is perfect, level 2 is found by half. Found, it is a hit at both."""
    easy, hard = box(10), box(20)
    for marks in ({"points": [6, 5]}, {"difficulty": [1, 2], "points": [1, 99]}):
        truth = objects(easy, hard, **marks)
        assert value("Vehicle/L1/AP", (truth, found(easy))) == pytest.approx(1)
        assert value("Vehicle/L2/AP", (truth, found(easy))) == pytest.approx(0.5)
        assert evaluate([(truth, found())]).objects["Vehicle/L1"] == 1
        # The false one is no better than the hard one found: precision 2/3 instead of 1/2 at level 1 as well.
        both = found(easy, hard, box(80))
        assert value("Vehicle/L1/AP", (truth, both)) == pytest.approx(2 / 3)
    nobody = objects(easy, hard, points=[9, 0])
    assert value("Vehicle/L2/AP", (nobody, found(easy))) == pytest.approx(1)
    assert value("Vehicle/L2/AP", (nobody, found(easy, hard))) == pytest.approx(0.5)


def test_curve_by_hand():
    """Hit at 0.9, false at 0.5, hit at 0.3, of two objects: (recall, precision) (1/2, 1), (1, 2/3).

    From recall 1 down to 1/2 in steps of 0.05 at 2/3, then up to 1 at 1/2 over the last step, then 1.
    """
    frame = (objects(box(10), box(20)), found(box(10), box(80), box(20), scores=[0.9, 0.5, 0.3]))
    expected = 0.5 + 0.45 * 2 / 3 + 0.05 * (1 + 2 / 3) / 2
    assert value("Vehicle/L1/AP", frame) == pytest.approx(expected)
    assert average_precision(np.array([1, 2 / 3]), np.array([0.5, 1])) == pytest.approx(expected)
    assert average_precision(np.array([0.3]), np.array([0.02])) == pytest.approx(0.02 * 0.3)
    assert average_precision(np.zeros(0), np.zeros(0)) == 0


def test_matching_knows_no_scores():
    """The better-scored of two on one object lies worse: above its score it is the hit, below both the other one is."""
    close, off = box(10.1, heading=0.0), box(10.4, heading=math.pi)
    frame = (objects(box(10)), found(off, close, scores=[0.9, 0.4]))
    curve_high, curve_low = (1.0, 0.0), (0.5, 0.5)  # precision and precision by heading at either cut-off
    assert value("Vehicle/L1/AP", frame) == pytest.approx(max(curve_high[0], curve_low[0]))
    assert value("Vehicle/L1/APH", frame) == pytest.approx(max(curve_high[1], curve_low[1]))


def test_the_largest_sum_wins():
    """Two objects and two detections, one of which fits both: pairing each is worth more than the single best."""
    truth = objects(box(10), box(10.8))
    both = found(box(10.3), box(9.4))
    overlaps = iou_3d(both.boxes.values, truth.boxes.values)
    assert (overlaps > 0.7).tolist() == [[True, True], [True, False]]
    assert overlaps[0, 0] > overlaps[0, 1]
    assert value("Vehicle/L1/AP", (truth, both)) == pytest.approx(1)


def test_ranges_are_matched_apart():
    """An object at 29.9 m and its detection at 30.1 m: found over all, but in no range."""
    frame = (objects(box(29.9)), found(box(30.1)))
    report = evaluate([frame])
    assert report.values["Vehicle/L1/AP"] == pytest.approx(1)
    assert report.values["Vehicle/0-30/L1/AP"] == report.values["Vehicle/30-50/L1/AP"] == 0


def test_least_overlaps_and_classes():
    truth, shifted = box(10), box(11)  # IoU 3/5
    assert value("Vehicle/L1/AP", (objects(truth), found(shifted))) == 0
    assert value("Pedestrian/L1/AP", (objects(truth, name="Pedestrian"), found(shifted, label=1))) == pytest.approx(1)
    assert value("Pedestrian/L1/AP", (objects(truth, name="Pedestrian"), found(shifted))) == 0
    thin = [10, 0, 1, 4, 0.009, 1.5, 0]
    assert value("Vehicle/L1/AP", (objects(thin), found(thin))) == 0


def test_no_label_zones_excuse():
    frame = (objects(box(10)), found(box(10), box(50), scores=[0.5, 0.9]))
    masks = [np.array([False, True])]
    assert value("Vehicle/L1/AP", frame) == pytest.approx(0.5)
    assert value("Vehicle/L1/AP", frame, in_no_label_zone=masks) == pytest.approx(1)
    assert value("Vehicle/L1/AP", frame, in_no_label_zone=[np.array([True, True])]) == pytest.approx(1)
    with pytest.raises(PerceptionError, match="1 masks for 2 frames"):
        evaluate([frame, frame], in_no_label_zone=masks)


def test_wrong_input_is_explained():
    with pytest.raises(PerceptionError, match="did you mean 'Vehicle'"):
        evaluate([], ["Vehicles"])
    bare = Objects(Boxes3D.empty(), np.zeros(0, str), {"points": np.zeros(0, int)})
    with pytest.raises(PerceptionError, match="difficulty"):
        evaluate([(bare, found())])


def test_maximum_matching_is_the_best():
    rng = np.random.Generator(np.random.PCG64(0))
    for size in (1, 2, 3, 5, 9, 20):
        for _ in range(20):
            weight = rng.integers(0, 1_000_000, (size, size)) * (rng.random((size, size)) < 0.5)
            column = maximum_matching(weight)
            assert sorted(column) == list(range(size))
            best = linear_sum_assignment(weight, maximize=True)
            assert weight[np.arange(size), column].sum() == weight[best].sum()


def crowded_frames(rng, count):
    frames = []
    for _ in range(count):
        names = rng.choice(NAMES, 14)
        boxes = np.column_stack(
            [rng.uniform(-60, 60, (14, 2)), np.ones(14), rng.uniform(2, 4, (14, 3)), rng.normal(size=14)]
        )
        boxes[:6, :2] = boxes[0, :2] + rng.normal(0, 0.5, (6, 2))
        boxes[:6, 3:] = boxes[0, 3:]
        names[:6] = names[0]
        truth = objects(*boxes)
        truth = Objects(
            truth.boxes, names, {"points": rng.integers(0, 12, 14), "difficulty": rng.choice([0, 0, 1, 2], 14)}
        )
        rows = rng.integers(0, 14, 30)
        guess = boxes[rows] + rng.normal(0, 0.15, (30, 7))
        labels = np.array([NAMES.index(n) for n in names[rows]])
        labels[::9] = rng.integers(0, 3, len(labels[::9]))
        guess[::7, 6] += math.pi
        detections = found(*guess, scores=rng.random(30).round(2))
        detections = Detections(detections.boxes, detections.scores, torch.from_numpy(labels), NAMES)
        frames.append((truth, detections))
    return frames


def plain(frames, zones, name, low, high):
    """(precision, precision by heading, recall) at each cut-off and level, by loops over frames and cut-offs."""
    curves = {"L1": [], "L2": []}
    for cutoff in CUTOFFS:
        hits = heading = false = 0
        missed = {"L1": 0, "L2": 0}
        for (truth, guess), zone in zip(frames, zones):
            where = truth.boxes.values[:, :3].norm(dim=1).numpy()
            kept = (truth.names == name) & (truth.attributes["points"] > 0) & (low <= where) & (where < high)
            t, level = truth.boxes.values[torch.from_numpy(kept)], truth.attributes["difficulty"][kept]
            level = np.where(level > 0, level, np.where(truth.attributes["points"][kept] <= 5, 2, 1))
            away = guess.boxes.values[:, :3].norm(dim=1).numpy()
            chosen = (np.array(guess.names) == name) & (low <= away) & (away < high) & (guess.scores.numpy() >= cutoff)
            g, excused = guess.boxes.values[torch.from_numpy(chosen)], zone[chosen]
            overlap = iou_3d(g, t).numpy()
            overlap = np.where(overlap >= NEEDED[name], overlap, 0)
            pairs = [(i, j) for i, j in zip(*linear_sum_assignment(overlap, maximize=True)) if overlap[i, j] > 0]
            hits += len(pairs)
            for i, j in pairs:
                turn = abs(math.remainder(float(g[i, 6] - t[j, 6]), 2 * math.pi))
                heading += 1 - turn / math.pi
            false += sum(not excused[i] for i in range(len(g)) if i not in {p[0] for p in pairs})
            for j in {*range(len(t))} - {p[1] for p in pairs}:
                missed["L2"] += 1
                missed["L1"] += level[j] == 1
        for key, lost in missed.items():
            recall = hits / (hits + lost) if hits + lost else 0.0
            shares = [part / (hits + false) if hits + false else 0.0 for part in (hits, heading)]
            curves[key].append([1.0 if recall == 0 else share for share in shares] + [recall])
    return {key: np.array(rows).T for key, rows in curves.items()}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_plain_definition_agrees(seed):
    rng = np.random.Generator(np.random.PCG64(seed))
    frames = crowded_frames(rng, 4)
    zones = [rng.random(30) < 0.2 for _ in frames]
    report = evaluate(frames, in_no_label_zone=zones)
    for name in NAMES:
        for part, (low, high) in {"": (0, 1e9), "/0-30": (0, 30), "/30-50": (30, 50), "/50+": (50, 1e9)}.items():
            for level, (precision, weighted, recall) in plain(frames, zones, name, low, high).items():
                key = f"{name}{part}/{level}"
                assert report.values[f"{key}/AP"] == pytest.approx(average_precision(precision, recall), abs=1e-9)
                assert report.values[f"{key}/APH"] == pytest.approx(average_precision(weighted, recall), abs=1e-9)
    assert 0.1 < report.values["Vehicle/L2/AP"] < 0.9
