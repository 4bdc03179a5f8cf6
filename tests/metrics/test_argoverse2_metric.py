import math
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.datasets.argoverse2.labels import CATEGORIES
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.metrics.argoverse2 import evaluate
from perception.results import Detections

CLASSES = ("PEDESTRIAN", "Bus")


def box(x, y=0.0, z=0.0, length=4.0, width=2.0, height=1.5, heading=0.0):
    return [x, y, z, length, width, height, heading]


def objects(*boxes, name="PEDESTRIAN", points=5):
    values = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 7)
    return Objects(Boxes3D(values), np.full(len(values), name), {"points": np.full(len(values), points)})


def found(*boxes, scores=None, label=0):
    values = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 7)
    scores = torch.linspace(0.9, 0.1, len(values)) if scores is None else torch.tensor(scores)
    return Detections(Boxes3D(values), scores, torch.full((len(values),), label), CLASSES)


def scores_of(*frames, name="PEDESTRIAN", **more):
    return evaluate(frames, **more).categories[name]


def test_stored_answers_of_the_public_evaluator():
    """Answers of av2-api's evaluate (without region of interest) on 12 made sweeps, unrounded."""
    stored = np.load(Path(__file__).parents[1] / "golden" / "argoverse2_metric.npz")
    names = np.array(CATEGORIES)
    truths = np.split(np.arange(len(stored["truth"])), np.cumsum(stored["truth_count"])[:-1])
    founds = np.split(np.arange(len(stored["found"])), np.cumsum(stored["found_count"])[:-1])
    frames = []
    for t, f in zip(truths, founds):
        labels = torch.from_numpy(stored["found_category"][f].astype(np.int64))
        truth = Objects(
            Boxes3D(torch.from_numpy(stored["truth"][t])),
            names[stored["truth_category"][t]],
            {"points": stored["points"][t].astype(np.int64)},
        )
        detections = Detections(
            Boxes3D(torch.from_numpy(stored["found"][f])), torch.from_numpy(stored["score"][f]), labels, CATEGORIES
        )
        frames.append((truth, detections))
    report = evaluate(frames)
    for name, expected in zip(CATEGORIES, stored["official"]):
        s = report.categories[name]
        assert [s.ap, s.ate, s.ase, s.aoe, s.cds] == pytest.approx(expected, abs=1e-9)
    means = [report.mean(name) for name in ("ap", "ate", "ase", "aoe", "cds")]
    assert means == pytest.approx(stored["official_mean"], abs=1e-9)
    assert "AVERAGE_METRICS" in report.table()


def test_perfect_and_absent():
    report = evaluate([(objects(box(10), box(20)), found(box(10), box(20)))])
    perfect = report.categories["PEDESTRIAN"]
    assert (perfect.ap, perfect.ate, perfect.ase, perfect.aoe, perfect.cds) == pytest.approx((1, 0, 0, 0, 1))
    missing = report.categories["DOG"]
    assert (missing.ap, missing.ate, missing.ase, missing.aoe, missing.cds) == (0, 2, 1, math.pi, 0)
    assert report.mean("ap") == pytest.approx(1 / len(CATEGORIES))


def test_errors_by_hand():
    """1 m off, twice as long, turned by 3/2 pi: found at 2 and 4 m only; 1 m is not less than 1 m."""
    s = scores_of((objects(box(10)), found(box(10, 1, length=8, heading=1.5 * math.pi))))
    assert s.precision == pytest.approx((0, 0, 1, 1))
    assert (s.ate, s.ase, s.aoe) == pytest.approx((1, 0.5, math.pi / 2))
    assert s.cds == pytest.approx(0.5 * (0.5 + 0.5 + 0.5) / 3)


def test_precision_by_hand():
    """One of two objects found second: precision 1/2 up to recall 1/2, so 51 of 101 recalls."""
    s = scores_of((objects(box(10), box(60)), found(box(90), box(10))))
    assert s.precision == pytest.approx((51 / 101 / 2,) * 4)


def test_the_best_scored_of_an_object_decides_even_if_far():
    """The better one is 3 m off: it takes the object, and the exact one after it is false at every distance."""
    s = scores_of((objects(box(10)), found(box(13), box(10))))
    assert s.precision == pytest.approx((0, 0, 0, 100.5 / 101))  # at recall 1 itself the last precision counts, 1/2


def test_what_is_left_out():
    near, far = box(100, 100), box(120, 95)  # 141 m and 153 m
    assert scores_of((objects(near, far), found(near, far))).objects == 1
    assert scores_of((objects(near, points=0), found(near))).objects == 0
    # 100 of a category count: with 99 before it the second object is found at precision 2/100, with 100 it is not.
    truth, crowd = objects(box(50, 50), box(10)), [box(50, 50 + 0.01 * i) for i in range(100)]
    hundred = found(*crowd, box(10), scores=[0.9] * 100 + [0.5])
    without = scores_of((truth, hundred)).ap
    assert scores_of((truth, hundred.select(torch.arange(1, 101)))).ap > without + 0.005
    beyond = found(*[box(200)] * 100, box(10), scores=[0.9] * 100 + [0.5])
    assert scores_of((objects(box(10)), beyond)).ap == pytest.approx(1)


def test_classes_match_whatever_their_case():
    assert scores_of((objects(box(10), name="BUS"), found(box(10), label=1)), name="BUS").ap == pytest.approx(1)
    assert set(evaluate([], ["Regular_vehicle"]).categories) == {"REGULAR_VEHICLE"}


def test_regions():
    frame = (objects(box(10), box(20)), found(box(20), box(30)))
    masks = (np.array([False, True]), np.array([True, False]))
    assert scores_of(frame, regions=[masks]).ap == pytest.approx(1)
    with pytest.raises(PerceptionError, match="1 regions for 2"):
        evaluate([frame, frame], regions=[masks])


def test_wrong_input_is_explained():
    with pytest.raises(PerceptionError, match="PEDESTRIAN"):
        evaluate([], ["Pedestrain"])
    with pytest.raises(PerceptionError, match="points"):
        evaluate([(Objects(Boxes3D.empty(), np.zeros(0, str)), found())])


def test_the_plain_definition_agrees():
    """Against loops over sweeps and categories, on crowded made sweeps."""
    rng = np.random.Generator(np.random.PCG64(0))
    frames = []
    for _ in range(6):
        truth = [box(*rng.uniform(-12, 12, 2)) for _ in range(int(rng.integers(0, 12)))]
        extra = [box(*rng.uniform(-12, 12, 2)) for _ in range(int(rng.integers(0, 25)))]
        frames.append((objects(*truth), found(*extra, scores=rng.permutation(len(extra)) / 30)))
    hits, order, total = [], [], 0
    for truth, detections in frames:
        places = truth.boxes.values[:, :3].numpy()
        total += len(places)
        taken = set()
        for row in np.argsort(-detections.scores.numpy()):
            away = np.linalg.norm(places - detections.boxes.values[row, :3].numpy(), axis=1)
            best = int(away.argmin()) if len(away) else -1
            first = best >= 0 and best not in taken
            taken.add(best)
            hits.append(away[best] if first else math.inf)
            order.append(float(detections.scores[row]))
    ranked = np.array(hits)[np.argsort(-np.array(order), kind="stable")]
    report = scores_of(*frames)
    for limit, value in zip((0.5, 1, 2, 4), report.precision):
        hit = ranked < limit
        precision, recall = np.cumsum(hit) / (np.arange(len(hit)) + 1), np.cumsum(hit) / total
        # At recall r between two found recalls the evaluator joins the best precisions by a straight line.
        best = [precision[i:].max() for i in range(len(hit))]
        samples = [np.interp(r, recall, best) if r <= recall[-1] else 0 for r in np.linspace(0, 1, 101)]
        assert value == pytest.approx(np.mean(samples))
