"""Scan Context against loops over its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.places.scan_context import ScanContextConfig, context_distances, ring_keys, scan_context, search
from perception.points import PointCloud


def cloud(seed: int, count: int = 4000) -> PointCloud:
    generator = np.random.default_rng(seed)
    return PointCloud(generator.uniform([-90, -90, -3], [90, 90, 8], (count, 3)) * generator.random((count, 1)))


def by_loops(xyz: np.ndarray, settings: ScanContextConfig) -> np.ndarray:
    image = np.zeros((settings.rings, settings.sectors), np.float32)
    for x, y, z in xyz.astype(np.float64):
        distance = math.hypot(x, y)
        if distance >= settings.radius:
            continue
        ring = min(int(distance / settings.radius * settings.rings), settings.rings - 1)
        sector = min(int(math.atan2(y, x) % math.tau / math.tau * settings.sectors), settings.sectors - 1)
        image[ring, sector] = max(image[ring, sector], np.float32(z + settings.sensor_height))
    return image


def distance_by_loops(query: np.ndarray, candidate: np.ndarray) -> tuple[float, int]:
    best = (2.0, 0)
    for turn in range(query.shape[1]):
        turned = np.roll(candidate, -turn, axis=1)
        cosines = [
            a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in zip(query.T, turned.T) if a.any() and b.any()
        ]
        best = min(best, (1 - float(np.mean(cosines)) if cosines else 1.0, turn))
    return best


def turned(points: PointCloud, angle: float) -> PointCloud:
    c, s = math.cos(angle), math.sin(angle)
    return points.with_xyz(points.xyz @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32))


@pytest.mark.parametrize("settings", [ScanContextConfig(), ScanContextConfig(rings=7, sectors=12, radius=30)])
def test_image_equals_a_loop(settings: ScanContextConfig) -> None:
    points = cloud(1)
    np.testing.assert_allclose(scan_context(points, settings).numpy(), by_loops(points.xyz, settings), atol=1e-6)


def test_distances_equal_loops() -> None:
    settings = ScanContextConfig(rings=6, sectors=20)
    images = torch.stack([scan_context(cloud(seed, 60), settings) for seed in range(6)])
    found, turns = context_distances(images[0], images)
    for number, image in enumerate(images):
        distance, turn = distance_by_loops(images[0].numpy().astype(np.float64), image.numpy().astype(np.float64))
        assert found[number].item() == pytest.approx(distance, abs=1e-5)
        assert turns[number].item() == turn


def test_a_turned_sensor_is_recognised_with_its_turn() -> None:
    first = scan_context(cloud(1))
    step = math.tau / 60
    seen = torch.stack([scan_context(turned(cloud(1), 17 * step)), scan_context(cloud(2))])
    found, turns = context_distances(first, seen)
    assert found[0] < 0.05 < found[1]
    assert turns[0] == 17  # what was in column 0 is now in column 17
    torch.testing.assert_close(ring_keys(seen)[0], ring_keys(first[None])[0], atol=0.05, rtol=0.02)


def test_search_finds_the_place() -> None:
    database = torch.stack([scan_context(cloud(seed)) for seed in range(12)])
    queries = torch.stack([scan_context(turned(cloud(seed), 1.0)) for seed in (3, 8)])
    rows, distances, turns = search(queries, database, candidates=5)
    assert rows.shape == distances.shape == turns.shape == (2, 5)
    assert rows[:, 0].tolist() == [3, 8]
    assert (distances.diff(dim=1) >= 0).all()
    with pytest.raises(PerceptionError, match="without contexts"):
        search(queries, database[:0])


def test_empty_clouds_are_at_distance_one() -> None:
    empty = scan_context(PointCloud(np.zeros((0, 3))))
    assert not empty.any()
    found, _ = context_distances(empty, torch.stack([empty, scan_context(cloud(0))]))
    assert found.tolist() == [1.0, 1.0]


def test_wrong_shapes_and_settings_are_refused() -> None:
    with pytest.raises(PerceptionError, match="contexts of shapes"):
        context_distances(torch.zeros(20, 60), torch.zeros(20, 60))
    with pytest.raises(PerceptionError, match="0 rings"):
        ScanContextConfig(rings=0)
