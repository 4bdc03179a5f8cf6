"""Regions and modes against plain forms that look at every pair."""

from __future__ import annotations

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.trees.clustering import connected, connected_reference, grow_regions, official_grow_regions
from perception.trees.mean_shift import mean_shift, mean_shift_reference


def blobs(seed: int, count: int, spread: float = 0.15, dimension: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.uniform(0, 4, (12, dimension))
    return centres[generator.integers(0, 12, count)] + generator.normal(0, spread, (count, dimension))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("radius", [0.05, 0.2, 0.6])
def test_components_equal_those_of_all_pairs(seed: int, radius: float) -> None:
    points = blobs(seed, 700)
    assert np.array_equal(connected(points, radius), connected_reference(points, radius))
    flat = points[:, :2]
    assert np.array_equal(connected(flat, radius), connected_reference(flat, radius))


def test_points_just_at_the_radius_and_beyond() -> None:
    line = np.array([[0, 0, 0], [0.5, 0, 0], [1.0, 0, 0], [1.5 + 1e-9, 0, 0]])
    assert connected(line, 0.5).tolist() == [0, 0, 0, 1]
    diagonal = np.array([[0, 0, 0], [1, 1, 1]]) / np.sqrt(3) * 0.4
    assert connected(diagonal, 0.4 + 1e-12).tolist() == [0, 0]
    assert connected(diagonal, 0.399).tolist() == [0, 1]
    assert connected(np.zeros((4, 3)), 0.1).tolist() == [0] * 4
    assert connected(np.zeros((0, 3)), 0.1).tolist() == []


def test_regions_stay_in_their_groups_and_small_ones_are_none() -> None:
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [0, 0, 0.1], [9, 9, 9], [0.05, 0, 0]])
    found = grow_regions(points, np.array([0, 0, 1, 0, 0, 1]), 0.16, 2)
    assert found.tolist() == [0, 0, 1, 0, -1, 1]
    assert grow_regions(points, np.zeros(6), 0.15, 6).tolist() == [-1] * 6


def test_the_order_of_points_does_not_matter() -> None:
    points = blobs(5, 500)
    order = np.random.default_rng(0).permutation(500)
    first, second = connected(points, 0.1)[order], connected(points[order], 0.1)
    assert len(np.unique(np.column_stack([first, second]), axis=0)) == first.max() + 1


def flood_reference(points: np.ndarray, radius: float, most: int) -> np.ndarray:
    near = [np.flatnonzero(((points - p) ** 2).sum(1) < radius**2)[:most] for p in points]
    labels = np.full(len(points), -1)
    for seed in range(len(points)):
        if labels[seed] >= 0:
            continue
        number, stack = labels.max() + 1, [seed]
        labels[seed] = number
        while stack:
            for other in near[stack.pop()]:
                if labels[other] < 0:
                    labels[other] = number
                    stack.append(other)
    return labels


@pytest.mark.parametrize("most", [2, 5, 200])
def test_the_official_flood_equals_its_plain_form(most: int) -> None:
    points = blobs(1, 400)
    found = official_grow_regions(points, np.zeros(400), 0.15, 1, most)
    assert np.array_equal(found, flood_reference(points, 0.15, most))
    if most == 200:
        assert np.array_equal(found, grow_regions(points, np.zeros(400), 0.15, 1))


def test_the_official_flood_depends_on_the_order_and_ours_does_not() -> None:
    points = blobs(2, 400, 0.05)
    order = np.arange(400)[::-1]
    official = [len(np.unique(official_grow_regions(p, np.zeros(400), 0.15, 1, 4))) for p in (points, points[order])]
    ours = [len(np.unique(grow_regions(p, np.zeros(400), 0.15, 1))) for p in (points, points[order])]
    assert ours[0] == ours[1]
    assert max(official) > ours[0]


def test_coordinates_that_no_grid_can_hold_are_refused() -> None:
    with pytest.raises(PerceptionError, match="finite"):
        connected(np.array([[0, 0, np.nan]]), 0.3)
    with pytest.raises(PerceptionError, match="cells"):
        connected(np.array([[0, 0, 0], [1e9, 1e9, 1e9]]), 0.001)


@pytest.mark.parametrize("seed", range(5))
def test_modes_equal_those_of_all_pairs(seed: int) -> None:
    points = blobs(seed, 300, 0.3, 5)
    ours, plain = mean_shift(points, 0.6), mean_shift_reference(points, 0.6)
    np.testing.assert_allclose(ours.centres, plain.centres, atol=1e-9)
    assert np.array_equal(ours.labels, plain.labels)


def test_modes_equal_those_of_scikit_learn() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    points = blobs(3, 900, 0.25, 5)
    theirs = cluster.MeanShift(bandwidth=0.6, bin_seeding=True).fit(points)
    ours = mean_shift(points, 0.6)
    pairs = np.unique(np.column_stack([ours.labels, theirs.labels_]), axis=0)
    assert len(pairs) == len(np.unique(theirs.labels_)) == len(np.unique(ours.labels))


def test_few_and_equal_embeddings() -> None:
    assert mean_shift(np.zeros((0, 5)), 0.6).labels.tolist() == []
    assert mean_shift(np.ones((4, 5)), 0.6).labels.tolist() == [0] * 4
    assert mean_shift(np.array([[0.0, 0], [5, 5]]), 0.6).labels.tolist() in ([0, 1], [1, 0])
