"""The compiled KITTI metric against its plain form, on frames made to be awkward."""

from __future__ import annotations

import numpy as np
import pytest

from perception.datasets.kitti.labels import KittiObjects
from perception.metrics.kitti import DIFFICULTIES, LOOSE, STRICT, Frame, evaluate
from perception.metrics.kitti_overlap import METRICS
from perception.metrics.kitti_reference import curves

NAMES = np.array(["Car", "Car", "Car", "Van", "Pedestrian", "Pedestrian", "Person_sitting", "Cyclist", "DontCare"])
SIZES = {"Car": (1.5, 1.6, 3.9), "Van": (2.2, 1.9, 5.0), "Cyclist": (1.7, 0.6, 1.8), "DontCare": (3.0, 3.0, 3.0)}


def awkward_frame(random: np.random.Generator) -> Frame:
    """Objects in clusters, of all occlusions and of heights on both sides of the limits; detections that are copies,
    near copies, double, of another class, in DontCare regions, and with scores that tie."""
    count = int(random.integers(0, 9))
    names = random.choice(NAMES, count).astype(str)
    dimensions = np.array([SIZES.get(name, (1.75, 0.65, 0.85)) for name in names]).reshape(-1, 3)
    depth = random.uniform(8, 45, count)
    location = np.column_stack([random.uniform(-3, 3, count), np.full(count, 1.7), depth])
    height, left = (
        random.choice([24.0, 25.0, 26.0, 39.0, 40.0, 41.0, 90.0, 90.0, 120.0, 120.0], count),
        random.uniform(0, 300, count),
    )
    bbox = np.column_stack([left, np.full(count, 100.0), left + 70, 100 + height])
    heading = random.uniform(-3, 3, count)
    truncated, occluded = (
        random.choice([0.0, 0.0, 0.15, 0.16, 0.4, 0.8], count),
        random.choice([0, 0, 0, 1, 2, 3], count),
    )
    none = np.full(count, np.nan)
    labels = KittiObjects(names, truncated, occluded, heading, bbox, dimensions, location, heading, none)
    rows = random.integers(0, count, 3 * count) if count else np.zeros(0, np.int64)
    found = labels.select(rows)
    total = len(rows)
    other = random.choice(NAMES[:-1], total)
    return labels, KittiObjects(
        names=np.where((random.random(total) < 0.2) | (found.names == "DontCare"), other, found.names).astype(str),
        truncated=np.full(total, -1.0),
        occluded=np.full(total, -1),
        alpha=found.alpha + random.choice([0.0, 0.3, np.pi], total),
        bbox=found.bbox + random.choice([0.0, 0.5, 4.0], (total, 1)) * random.normal(size=(total, 4)),
        dimensions=found.dimensions * random.uniform(0.95, 1.05, (total, 3)),
        location=found.location + random.choice([0.0, 0.1, 0.4], (total, 1)) * random.normal(size=(total, 3)),
        rotation_y=found.rotation_y + random.normal(size=total) * 0.1,
        score=random.integers(1, 12, total) / 12,
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_value_equals_the_plain_form(seed: int) -> None:
    random = np.random.default_rng(seed)
    frames = [awkward_frame(random) for _ in range(40)]
    classes = ("Car", "Pedestrian", "Cyclist", "Van", "Person_sitting", "Truck") if seed == 1 else ("Car", "Pedestrian")
    report = evaluate(frames, classes)
    compared = 0
    for name in classes:
        for limits, suffix in ((STRICT, ""), (LOOSE, f"@{LOOSE[name][1]:.2f}")):
            for level, difficulty in enumerate(DIFFICULTIES):
                for index, metric in enumerate(METRICS):
                    precision, orientation = curves(frames, name, metric, level, limits[name][index])
                    kinds = {metric: precision, "aos": orientation} if metric == "image" else {metric: precision}
                    for kind, curve in kinds.items():
                        key = f"{name}_{kind}{suffix}/{difficulty}"
                        assert report.values[key] == pytest.approx(100 * sum(curve[::4]) / 11, abs=1e-9), key
                        assert report.values[f"{key}_R40"] == pytest.approx(100 * sum(curve[1:]) / 40, abs=1e-9), key
                        compared += 2
    assert compared == len(report.values)
    values = np.array([report.values[f"Car_{metric}/{level}"] for metric in METRICS for level in ("moderate", "hard")])
    assert ((values > 0) & (values < 99)).all()
