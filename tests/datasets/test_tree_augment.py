"""Crops of labelled plots: each point keeps its labels, densities are those asked for, a seed gives one crop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from perception.datasets.augment import sample_generator
from perception.datasets.sample import Sample
from perception.datasets.trees.augment import TreeAugmentation, TreeAugmentConfig, class_chances, crop, with_feet
from perception.datasets.trees.labels import FOOT, STEM, TERRAIN, tree_truth
from perception.datasets.trees.sparsify import ground_area, sparsified
from perception.errors import PerceptionError
from perception.models.tree_model import HEIGHT
from perception.points import PointCloud
from perception.trees.feet import tree_feet

STILL = TreeAugmentConfig(radius=4.0, sparse_share=0.0, rotation=(0.0, 0.0), scaling=(1.0, 1.0), flip=0.0, jitter=0.0)


def plot(points: int = 20_000, seed: int = 0) -> Sample:
    """Trees in columns of 2 m over a flat ground; the number of a point is kept beside its labels."""
    rng = np.random.default_rng(seed)
    xyz = (rng.random((points, 3)) * [20, 20, 15]).astype(np.float32)
    tree = 1 + (xyz[:, 0] // 2).astype(np.int64) * 10 + (xyz[:, 1] // 2).astype(np.int64)
    ground = xyz[:, 2] < 1
    xyz[ground, 2] = 0
    fields = {
        "tree_id": np.where(ground, 0, tree),
        "semantic": np.where(ground, TERRAIN, STEM).astype(np.uint8),
        "row": np.arange(points),
    }
    return Sample("plot", PointCloud(xyz, fields, np.array([5e5, 6e6, 100.0])))


def test_a_crop_is_the_points_about_its_middle() -> None:
    sample = plot()
    for index in range(8):
        found = crop(sample.cloud, STILL, sample_generator(0, 0, index), "plot")
        rows = found.fields["row"]
        assert np.allclose(found.world(), sample.cloud.world()[rows], atol=1e-5)
        assert (found.fields["tree_id"] == sample.cloud.fields["tree_id"][rows]).all()
        assert (found.fields["semantic"] == sample.cloud.fields["semantic"][rows]).all()
        middle = found.origin[:2] - sample.cloud.origin[:2]
        inside = np.hypot(*(sample.cloud.xyz[:, :2] - middle).T) <= 4.0
        assert inside.sum() == pytest.approx(len(rows), abs=2)
        assert (found.fields["tree_id"] > 0).any()


def test_middles_are_balanced_between_classes() -> None:
    # Of 25 and 1 points: mean 13, roots of 13 / 25 and 13, so 1 to 5.
    assert class_chances([25, 1]) == pytest.approx([1 / 6, 5 / 6])
    assert class_chances([7]).tolist() == [1.0]
    sample = plot()
    ground = sample.cloud.fields["semantic"] == TERRAIN
    expected = class_chances([int(ground.sum()), int((~ground).sum())])[0]
    xyz = sample.cloud.xyz.astype(np.float64)
    on_ground = []
    for index in range(300):
        found = crop(sample.cloud, replace(STILL, radius=1.0), sample_generator(0, 0, index), "plot")
        middle = found.origin[:2] - sample.cloud.origin[:2]
        on_ground.append(ground[np.hypot(*(xyz[:, :2] - middle).T).argmin()])
    assert np.mean(on_ground) == pytest.approx(expected, abs=0.08)


def test_the_whole_chain_keeps_labels_with_their_points() -> None:
    sample = plot()
    settings = TreeAugmentConfig(radius=4.0, sparse_share=1.0, densities=(20, 20), height_shift=(3.0, 3.0), jitter=0.0)
    found = TreeAugmentation(settings)(sample, sample_generator(1, 2, 3)).cloud
    rows = found.fields["row"]
    assert (found.fields["tree_id"] == sample.cloud.fields["tree_id"][rows]).all()
    before, after = sample.cloud.xyz[rows], found.xyz
    # A turn, a stretch and a mirror image are one linear map about the crop's middle.
    ones = np.column_stack([before, np.ones(len(rows))])
    linear, *_ = np.linalg.lstsq(ones, after, rcond=None)
    assert np.allclose(ones @ linear, after, atol=2e-3)
    scales = np.linalg.svd(linear[:3])[1]
    assert (scales > 0.89).all()
    assert (scales < 1.11).all()
    assert np.allclose(found.fields[HEIGHT], before[:, 2] * linear[2, 2] + 3.0, atol=2e-3)


def test_samples_are_a_function_of_the_seed() -> None:
    sample, augmentation = plot(), TreeAugmentation(TreeAugmentConfig(radius=4.0))
    one, other = (augmentation(sample, sample_generator(1, 0, 5)).cloud for _ in range(2))
    assert one.xyz.tobytes() == other.xyz.tobytes()
    third = augmentation(sample, sample_generator(1, 1, 5)).cloud
    assert len(third) != len(one) or third.xyz.tobytes() != one.xyz.tobytes()


@pytest.mark.parametrize("density", [1, 10, 33.3])
def test_sparsification_gives_the_density(density: float) -> None:
    cloud = plot().cloud
    rows = sparsified(cloud.xyz, density, np.random.default_rng(0))
    assert len(rows) == round(density * 400)
    assert (np.diff(rows) > 0).all()
    assert ground_area(cloud.xyz[:, :2]) == 400
    halves = cloud.xyz[rows, 0] < 10
    assert halves.mean() == pytest.approx(0.5, abs=0.05)  # evenly


def test_sparsification_never_adds() -> None:
    xyz = plot(500).cloud.xyz
    assert sparsified(xyz, 1000.0, np.random.default_rng(0)).tolist() == list(range(500))
    assert len(sparsified(np.zeros((0, 3), np.float32), 5.0, np.random.default_rng(0))) == 0
    assert len(sparsified(np.zeros((7, 3), np.float32), 1e-6, np.random.default_rng(0))) == 1


def test_what_lies_at_the_edge_is_seen_but_not_learned() -> None:
    settings = replace(STILL, shape="square", margin=3.0)
    found = crop(plot().cloud, settings, sample_generator(0, 0, 1), "plot")
    away = np.abs(found.xyz[:, :2]).max(1)
    semantic = tree_truth(found, "plot").semantic.numpy()
    assert away.max() > 3.5
    assert (semantic[away > 1.001] == -1).all()
    assert (semantic[away < 0.999] >= 0).all()


def test_feet_come_from_the_whole_plot() -> None:
    sample = plot()
    augmentation = TreeAugmentation(replace(STILL, radius=3.0), feet=True)
    found = augmentation(sample, sample_generator(0, 0, 0)).cloud
    base = tree_truth(found, "plot").base
    assert base is not None
    feet = tree_feet(sample.cloud.xyz, sample.cloud.fields["tree_id"])[found.fields["row"]]
    known = found.fields["tree_id"] > 0
    assert np.allclose(base.numpy()[known] + found.origin, (feet + sample.cloud.origin)[known], atol=1e-4)
    assert np.isnan(base.numpy()[~known]).all()
    turned = TreeAugmentation(TreeAugmentConfig(radius=3.0, sparse_share=0.0, jitter=0.0), feet=True)
    found = turned(sample, sample_generator(0, 0, 0)).cloud
    # A foot is turned like its points: the way to it keeps its length but for the stretching.
    rows, way = found.fields["row"], found.fields[FOOT] - found.xyz
    before = tree_feet(sample.cloud.xyz, sample.cloud.fields["tree_id"])[rows] - sample.cloud.xyz[rows]
    known = found.fields["tree_id"] > 0
    ratio = np.linalg.norm(way[known], axis=1) / np.linalg.norm(before[known], axis=1)
    assert ratio.min() > 0.89
    assert ratio.max() < 1.11


def test_a_foot_is_the_mean_of_the_lowest_half_metre() -> None:
    z = np.concatenate([[-9.0, -8.0, -7.0], np.linspace(0, 12, 121)]).astype(np.float32)
    xyz = np.column_stack([z * 0.1, np.zeros_like(z), z])
    feet = tree_feet(xyz, np.ones(len(z), int))
    low = z <= 0.5 + 1e-6  # stray points below the ground take part, but do not move the ceiling
    assert np.allclose(feet, xyz[low].mean(0))
    assert np.isnan(tree_feet(xyz, np.zeros(len(z), int))).all()
    assert with_feet(PointCloud(xyz[:0], {"tree_id": np.zeros(0, int)})).fields[FOOT].shape == (0, 3)


def test_settings_and_plots_that_cannot_be() -> None:
    for wrong in ({"radius": 0.0}, {"margin": 9.0}, {"densities": (0.0, 5.0)}, {"scaling": (1.1, 0.9)}, {"flip": 2.0}):
        with pytest.raises(PerceptionError, match="tree_augment"):
            TreeAugmentConfig(**wrong)  # type: ignore[arg-type]
    bare = Sample("bare", PointCloud(np.zeros((4, 3), np.float32)))
    with pytest.raises(PerceptionError, match="plot bare has no field tree_id"):
        TreeAugmentation(STILL)(bare, sample_generator(0, 0, 0))
    unknown = plot(50).cloud
    unknown = replace(unknown, fields={**unknown.fields, "semantic": np.zeros(50, np.uint8)})
    with pytest.raises(PerceptionError, match="no point of a known class"):
        crop(unknown, STILL, sample_generator(0, 0, 0), "plot")
    assert torch.is_tensor(tree_truth(plot(5).cloud, "plot").tree_id)
