import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.config import parse
from perception.datasets.augment import (
    AugmentConfig,
    Compose,
    RandomFlip,
    RandomRotation,
    RandomScaling,
    RandomTranslation,
    RangeFilter,
    build_augmentation,
    sample_generator,
    shuffle_points,
)
from perception.datasets.kitti.dataset import KittiDetection
from perception.datasets.kitti.raw import KittiRaw
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.points import PointCloud

EVERY = {
    "flip along x": RandomFlip(1, 0),
    "flip along y": RandomFlip(0, 1),
    "both flips": RandomFlip(1, 1),
    "rotation": RandomRotation(),
    "scaling": RandomScaling(0.8, 1.2),
    "translation": RandomTranslation((2, 2, 0.5)),
    "recipe": build_augmentation(AugmentConfig(flip_x=1, flip_y=1, translation=(1.0, 1.0, 0.2))),
}


def depth_inside(xyz, boxes):
    """How far (N, B) points are inside the faces of boxes, in metres, computed here on its own."""
    points, values = xyz.astype(np.float64), boxes.values.double().numpy()
    offset = points[:, None] - values[:, :3]
    cos, sin = np.cos(values[:, 6]), np.sin(values[:, 6])
    along = offset[..., 0] * cos + offset[..., 1] * sin
    across = offset[..., 1] * cos - offset[..., 0] * sin
    return (values[:, 3:6] / 2 - np.abs(np.stack([along, across, offset[..., 2]], -1))).min(-1)


def scene(points=200, velocity=True):
    generator = np.random.default_rng(5)
    boxes = torch.tensor([[10, 2, -1, 4, 2, 1.5, 0.3], [20, -5, 0, 1, 1, 2, -3.0]])
    speed = torch.tensor([[3.0, 1.0], [0.0, -2.0]]) if velocity else None
    xyz = generator.uniform([0, -10, -3], [30, 10, 2], (points, 3))
    objects = Objects(Boxes3D(boxes, speed), np.array(["Car", "Pedestrian"]), {"difficulty": np.array([0, 1])})
    return Sample("made", PointCloud(xyz, {"intensity": np.arange(points, dtype=np.float32)}), objects)


def empty():
    return Sample(
        "empty",
        PointCloud(np.zeros((0, 3)), {"intensity": np.zeros(0, np.float32)}),
        Objects(Boxes3D.empty(), np.zeros(0, str)),
    )


@pytest.mark.parametrize("name", EVERY)
def test_points_stay_in_their_boxes_on_real_frames(shared_data, name):
    objects = KittiDetection(shared_data / "kitti_object")
    samples = [*(objects[i] for i in range(len(objects))), KittiRaw(shared_data / "kitti_raw")[5]]
    for index, sample in enumerate(samples):
        moved = replace(sample, cloud=replace(sample.cloud, fields={"row": np.arange(len(sample.cloud))}))
        moved = EVERY[name](moved, sample_generator(1, 2, index))
        before = depth_inside(sample.cloud.xyz[moved.cloud.fields["row"]], sample.objects.boxes)
        after = depth_inside(moved.cloud.xyz, moved.objects.boxes)
        clear = np.abs(before) > 1e-4
        assert ((before > 0) == (after > 0))[clear].all()
        assert (after > 0).any()
        assert not np.allclose(moved.objects.boxes.centre, sample.objects.boxes.centre, atol=0.01)


@pytest.mark.parametrize("name", EVERY)
def test_velocities_follow_the_boxes(name):
    """Moving by the velocity for a second and augmenting commute."""
    sample = scene()
    later = sample.objects.boxes.values.clone()
    later[:, :2] += sample.objects.boxes.velocity
    later = replace(sample, objects=replace(sample.objects, boxes=Boxes3D(later, sample.objects.boxes.velocity)))
    now = EVERY[name](sample, sample_generator(3, 0, 0)).objects.boxes
    then = EVERY[name](later, sample_generator(3, 0, 0)).objects.boxes
    assert torch.allclose(now.centre[:, :2] + now.velocity, then.centre[:, :2], atol=1e-5)
    assert torch.equal(now.velocity, then.velocity)


def test_flips_by_hand():
    sample = scene()
    boxes = RandomFlip(1, 0)(sample, sample_generator(0, 0, 0)).objects.boxes
    assert torch.allclose(boxes.values[0], torch.tensor([10, -2, -1, 4, 2, 1.5, -0.3]))
    assert boxes.velocity[0].tolist() == [3, -1]
    boxes = RandomFlip(0, 1)(sample, sample_generator(0, 0, 0)).objects.boxes
    assert torch.allclose(boxes.values[0], torch.tensor([-10, 2, -1, 4, 2, 1.5, math.pi - 0.3]))
    assert boxes.velocity[0].tolist() == [-3, 1]


def test_rotation_and_scaling_by_hand():
    sample = scene()
    turned = RandomRotation(math.pi / 2, math.pi / 2)(sample, sample_generator(0, 0, 0))
    assert torch.allclose(turned.objects.boxes.values[0], torch.tensor([-2, 10, -1, 4, 2, 1.5, 0.3 + math.pi / 2]))
    assert np.allclose(turned.cloud.xyz[:, 0], -sample.cloud.xyz[:, 1], atol=1e-5)
    larger = RandomScaling(2, 2)(sample, sample_generator(0, 0, 0))
    assert torch.allclose(larger.objects.boxes.values[0], torch.tensor([20, 4, -2, 8, 4, 3, 0.3]))
    assert np.allclose(larger.cloud.xyz, sample.cloud.xyz * 2)


def test_the_same_seed_epoch_and_index_give_the_same_bits():
    recipe = build_augmentation(AugmentConfig(flip_y=0.5, translation=(0.5, 0.5, 0.5)))

    def run(*key):
        result = recipe(scene(), sample_generator(*key))
        return result.cloud.xyz.tobytes() + result.objects.boxes.values.numpy().tobytes()

    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2**40, 0, 0), (0, 2**40, 0), (0, 256, 1)]
    first = [run(*key) for key in keys]
    assert first == [run(*key) for key in keys]
    assert len(set(first)) == len(keys)


def test_samples_are_not_changed_in_place():
    sample = scene()
    xyz, boxes = sample.cloud.xyz.copy(), sample.objects.boxes.values.clone()
    for augmentation in EVERY.values():
        augmentation(sample, sample_generator(0, 0, 0))
    assert np.array_equal(sample.cloud.xyz, xyz)
    assert torch.equal(sample.objects.boxes.values, boxes)


def test_range_filter_takes_points_and_centres():
    kept = RangeFilter((0, -10, -3, 15, 10, 2))(scene(), sample_generator(0, 0, 0))
    assert kept.objects.names.tolist() == ["Car"]
    assert (kept.cloud.xyz[:, 0] < 15).all()
    assert len(kept.cloud.fields["intensity"]) == len(kept.cloud) > 0


def test_shuffle_keeps_fields_with_their_points():
    sample = scene()
    mixed = shuffle_points(sample, sample_generator(0, 0, 0))
    order = mixed.cloud.fields["intensity"].astype(int)
    assert sorted(order) == list(range(200))
    assert not np.array_equal(order, np.arange(200))
    assert np.array_equal(mixed.cloud.xyz, sample.cloud.xyz[order])


@pytest.mark.parametrize("name", EVERY)
def test_nothing_in_nothing_out(name):
    result = EVERY[name](empty(), sample_generator(0, 0, 0))
    assert (len(result.cloud), len(result.objects)) == (0, 0)
    unlabelled = EVERY[name](replace(scene(), objects=None), sample_generator(0, 0, 0))
    assert unlabelled.objects is None
    assert len(unlabelled.cloud) == 200


def test_all_off_changes_nothing():
    settings = AugmentConfig(flip_x=0, rotation=(0, 0), scaling=(1, 1), shuffle=False)
    assert build_augmentation(settings) == Compose(())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"flip_x": 2}, "flip_x"),
        ({"rotation": (1, -1)}, "rotation"),
        ({"scaling": (0, 1)}, "scaling"),
        ({"translation": (-1, 0, 0)}, "translation"),
        ({"point_range": (0, 0, 0, 1, 1, -1)}, "point_range"),
        ({"flipx": 0.5}, "flip_x"),
        ({"shuffle": "maybe"}, "shuffle"),
    ],
)
def test_wrong_settings_are_named(values, says):
    with pytest.raises(PerceptionError, match=says):
        parse(AugmentConfig, values, "configuration")


def test_negative_seeds_are_refused():
    with pytest.raises(PerceptionError, match="negative"):
        sample_generator(0, -1, 0)
