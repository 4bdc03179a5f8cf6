"""The methods without training on made stands whose trees are known, and on the shared recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.metrics.trees import tree_overlaps
from perception.points import PointCloud
from perception.trees.attributes import hull_area, measure_trees
from perception.trees.circles import fit_circle, least_squares_circle
from perception.trees.classical import METHODS
from perception.trees.li2012 import Li2012, split_by_spacing
from perception.trees.shape import verticality
from perception.trees.watershed import Watershed, crowns_of, treetops
from perception.trees.whole_cloud import segment_trees
from perception.view.trees import tree_picture

PLACES = np.array([[4, 4], [12, 5], [5, 13], [13, 13], [20, 9], [21, 18], [12, 21]], float)
RADII = np.array([0.10, 0.14, 0.18, 0.22, 0.16, 0.12, 0.2])


def stand(seed: int = 0, terrestrial: bool = True) -> PointCloud:
    """Seven trees with stems and round crowns on a slope; airborne: crowns and ground alone."""
    generator = np.random.default_rng(seed)
    parts, ids = [], []
    for number, (place, radius) in enumerate(zip(PLACES, RADII), start=1):
        top = 10 + number
        round_ = generator.normal(size=(1500, 3))
        round_ /= np.linalg.norm(round_, axis=1, keepdims=True)
        crown = round_ * generator.uniform(0.3, 1, (1500, 1)) ** 0.5 * [2.2, 2.2, 3]
        crown += [*place, top - 3]
        parts.append(crown)
        if terrestrial:
            angle, up = generator.uniform(0, 2 * np.pi, 1500), generator.uniform(0, top - 4, 1500)
            wood = radius + generator.normal(0, 0.004, 1500)
            parts.append(np.column_stack([place + np.column_stack([np.cos(angle), np.sin(angle)]) * wood[:, None], up]))
        ids += [number] * (len(parts[-1]) if not terrestrial else 3000)
    ground = np.column_stack([generator.uniform(0, 25, (9000, 2)), np.zeros(9000)])
    xyz = np.concatenate([*parts, ground])
    xyz[:, 2] += 0.1 * xyz[:, 0] + generator.normal(0, 0.01, len(xyz))
    return PointCloud(xyz, {"tree": np.array(ids + [0] * 9000)}, origin=np.array([5e5, 6e6, 100]))


@pytest.mark.parametrize("method", ["watershed", "li2012", "stems"])
def test_all_trees_of_a_made_stand_are_found(method: str) -> None:
    cloud = stand(terrestrial=method == "stems")
    found = segment_trees(method, cloud)
    scores = tree_overlaps(cloud.fields["tree"], found.tree_id.numpy()).scores()
    assert (len(scores.pairs), scores.predicted) == (7, 7)
    assert scores.segmentation_quality > 0.85
    assert found.tree_id.dtype == torch.int32
    assert found.semantic.dtype == torch.uint8


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_order_of_points_does_not_matter(method: str) -> None:
    cloud = stand(3, method == "stems")
    order = np.random.default_rng(0).permutation(len(cloud))
    first, second = segment_trees(method, cloud), segment_trees(method, cloud.select(order))
    pairs = torch.stack([first.tree_id[order], second.tree_id], 1).unique(dim=0, return_counts=True)[1]
    assert pairs.sort(descending=True).values[8:].sum() < 0.002 * len(cloud)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_points(method: str, count: int) -> None:
    found = segment_trees(method, stand().select(np.arange(count)))
    assert len(found.tree_id) == len(found.tree_score) == len(found.semantic) == count


def test_flat_ground_has_no_trees() -> None:
    xyz = np.random.default_rng(0).uniform([0, 0, 0], [20, 20, 0.05], (3000, 3))
    for method in METHODS:
        assert segment_trees(method, PointCloud(xyz)).tree_id.max() == 0


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(PerceptionError, match="watershed"):
        segment_trees("watersheds", stand())


def test_tops_and_crowns_of_a_small_height_model() -> None:
    heights = np.zeros((7, 14))
    heights[1:6, 1:6], heights[3, 3] = 5, 8
    heights[1:6, 6:12], heights[3, 8] = 6, 9
    how = Watershed(base=2.0)
    tops = treetops(heights, how)
    assert tops.tolist() == [3 * 14 + 3, 3 * 14 + 8]
    crowns = crowns_of(heights, tops, how)
    assert (crowns[1:6, 1:5] == 0).all()
    assert (crowns[1:6, 6:12] == 1).all()
    assert (crowns[heights == 0] == -1).all()


def li_reference(points: np.ndarray, how: Li2012) -> np.ndarray:
    """The published steps, one point after the other."""
    order = np.lexsort((points[:, 1], points[:, 0], -points[:, 2]))
    p = points[order]
    flat = np.linalg.norm(p[:, None, :2] - p[None, :, :2], axis=2)
    top = [not (flat[i, :i] <= how.local_radius).any() for i in range(len(p))]
    labels = np.full(len(p), -1)
    while (labels < 0).any():
        left = np.flatnonzero(labels < 0)
        seed, tree, rest = left[0], [left[0]], []
        labels[seed] = labels.max() + 1
        for i in left[1:]:
            if flat[i, seed] > how.reach:
                continue
            near, far = flat[i, tree].min(), min(flat[i, rest], default=np.inf)
            spacing = how.upper if p[i, 2] > how.zone else how.lower
            joins = near <= far and not (near > spacing and (top[i] or not rest))
            (tree if joins else rest).append(i)
            if joins:
                labels[i] = labels[seed]
    found = np.empty(len(p), int)
    found[order] = labels
    return found


def test_spacing_equals_the_published_steps() -> None:
    generator = np.random.default_rng(2)
    points = np.column_stack([generator.uniform(0, 30, (400, 2)), generator.uniform(2, 25, 400)])
    assert np.array_equal(split_by_spacing(points, Li2012()), li_reference(points, Li2012()))


def test_walls_stand_and_floors_lie() -> None:
    generator = np.random.default_rng(0)
    flat = np.column_stack([generator.uniform(0, 3, (2000, 2)), np.zeros(2000)])
    assert verticality(flat, 0.3).max() < 1e-6
    assert verticality(flat[:, [0, 2, 1]], 0.3).min() > 1 - 1e-6
    slope = flat.copy()
    slope[:, 2] = slope[:, 0]
    np.testing.assert_allclose(verticality(slope, 0.3), 1 - np.sqrt(0.5), atol=1e-6)
    assert verticality(np.zeros((2, 3)), 0.3).tolist() == [0, 0]
    assert len(verticality(np.zeros((0, 3)), 0.3)) == 0


@pytest.mark.parametrize("strays", [0.0, 0.3])
def test_circles_are_found_among_strays(strays: float) -> None:
    generator = np.random.default_rng(4)
    angle = generator.uniform(0, 2 * np.pi, 200)
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) * (0.15 + generator.normal(0, 0.004, 200))[:, None]
    others = generator.uniform(-0.5, 0.5, (int(200 * strays), 2))
    found = fit_circle(np.concatenate([ring, others]) + np.array([470_000, 3_810_000]))
    assert found is not None
    assert found.sound
    assert abs(found.radius - 0.15) < 0.003
    assert abs(found.x - 470_000) < 0.003
    again = fit_circle(np.concatenate([others, ring[::-1]]) + np.array([470_000, 3_810_000]))
    assert again is not None
    assert abs(again.radius - found.radius) < 1e-9


def test_no_circle_through_a_line_or_a_cloud() -> None:
    assert fit_circle(np.zeros((5, 2))) is None
    line = np.column_stack([np.arange(20.0), np.zeros(20)])
    assert fit_circle(line) is None
    assert least_squares_circle(line) is None
    blob = fit_circle(np.random.default_rng(0).normal(0, 0.3, (300, 2)))
    assert blob is None or not blob.sound


def test_trees_are_measured() -> None:
    cloud = stand()
    found = measure_trees(cloud, segment_trees("stems", cloud))
    assert len(found) == 7
    for place, radius, number in zip(PLACES, RADII, range(1, 8)):
        tree = min(found, key=lambda t: np.hypot(t.x - 5e5 - place[0], t.y - 6e6 - place[1]))
        assert np.hypot(tree.x - 5e5 - place[0], tree.y - 6e6 - place[1]) < 0.05
        assert abs(tree.stem_diameter - 2 * radius) < 0.02
        assert abs(tree.height - (10 + number)) < 0.6
        assert abs(tree.z - 100 - 0.1 * place[0]) < 0.3
        assert 3.9 < tree.crown_diameter < 4.6
        assert tree.points > 2000
        assert tree.volume > 5
        assert tree.score == 1.0


def test_areas_of_hulls() -> None:
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2], [1, 1.0]])
    assert hull_area(square) == pytest.approx(4)
    assert hull_area(square[:2]) == 0
    assert hull_area(np.column_stack([np.arange(9.0), np.arange(9.0)])) == 0


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    cloud = stand()
    tree_picture(cloud, segment_trees("watershed", cloud), tmp_path / "trees.png", title="made stand")
    assert (tmp_path / "trees.png").stat().st_size > 20_000
    empty = cloud.select(np.zeros(0, int))
    tree_picture(empty, segment_trees("stems", empty), tmp_path / "none.png")
    with pytest.raises(PerceptionError, match="tree ids"):
        tree_picture(cloud, segment_trees("stems", empty))


def test_airborne_conifers_are_near_another_algorithms_trees(shared_data: Path) -> None:
    cloud = read_points(shared_data / "trees/MixedConifer.laz")
    given = cloud.fields["treeID"]
    given = np.where(given < 1e300, given, 0).astype(np.int64)
    for method, least in (("watershed", 0.6), ("li2012", 0.45)):
        assert tree_overlaps(given, segment_trees(method, cloud).tree_id.numpy()).scores().f1 > least


def test_stems_of_a_plantation_are_counted(shared_data: Path) -> None:
    cloud = read_points(shared_data / "trees/pine_plot.laz")
    found = measure_trees(cloud, segment_trees("stems", cloud))
    assert 14 <= len(found) <= 18
    thick = np.array([tree.stem_diameter for tree in found])
    assert np.isfinite(thick).sum() >= 12
    assert ((thick[np.isfinite(thick)] > 0.08) & (thick[np.isfinite(thick)] < 0.4)).all()
