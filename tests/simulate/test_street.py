"""Generated streets: the same for a seed, true boxes, and densities like those of real scans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.simulate.dataset import StreetDataset
from perception.simulate.sensor import HDL64, Lidar
from perception.simulate.street.scene import kitti_difficulty, street


@pytest.fixture(scope="module")
def scans() -> list[Sample]:
    return [street(seed) for seed in (1, 2, 3)]


def in_box_frame(xyz: np.ndarray, box: np.ndarray) -> np.ndarray:
    offset = xyz - box[:3]
    cos, sin = np.cos(box[6]), np.sin(box[6])
    return np.stack(
        [offset[:, 0] * cos + offset[:, 1] * sin, offset[:, 1] * cos - offset[:, 0] * sin, offset[:, 2]], -1
    )


def test_a_seed_gives_one_scan_and_another_seed_another(scans: list[Sample]) -> None:
    again = street(1)
    assert again.cloud.xyz.tobytes() == scans[0].cloud.xyz.tobytes()
    assert again.cloud.fields["intensity"].tobytes() == scans[0].cloud.fields["intensity"].tobytes()
    assert (again.objects.boxes.values == scans[0].objects.boxes.values).all()
    assert len(street(4).cloud) != len(again.cloud)


def test_boxes_enclose_the_points_that_lie_on_their_object(scans: list[Sample]) -> None:
    checked = 0
    for sample in scans:
        for row, box in enumerate(sample.objects.boxes.values.numpy()):
            own = sample.cloud.xyz[sample.cloud.fields["object"] == row]
            assert len(own) == sample.objects.attributes["num_points"][row] > 0
            beyond = np.abs(in_box_frame(own, box)) - box[3:6] / 2
            assert beyond.max() < 0.12, "range noise of 2 cm, six sigma"
            assert (beyond < 0.04).all(1).mean() > 0.97
            checked += 1
    assert checked > 20


def test_boxes_are_tight_and_stand_on_the_ground() -> None:
    """Cars seen at close range reach the sides of their box to a few centimetres."""
    gaps = []
    for seed in range(1, 12):
        sample = street(seed)
        for row, box in enumerate(sample.objects.boxes.values.numpy()):
            if sample.objects.names[row] == "Car" and sample.objects.attributes["num_points"][row] > 1500:
                reach = np.abs(in_box_frame(sample.cloud.xyz[sample.cloud.fields["object"] == row], box)).max(0)
                gaps.append(box[3:6] / 2 - reach)
                near = np.hypot(*(sample.cloud.xyz[:, :2] - box[:2]).T) < 0.7 * box[3]
                ground = sample.cloud.xyz[near & (sample.cloud.fields["object"] < 0), 2]
                assert abs(np.percentile(ground, 10) - (box[2] - box[5] / 2)) < 0.25
    assert len(gaps) > 4
    assert np.abs(np.median(gaps, axis=0)).max() < 0.1


def test_density_is_that_of_a_real_scan(scans: list[Sample]) -> None:
    for sample in scans:
        reach = np.linalg.norm(sample.cloud.xyz, axis=1)
        assert 90_000 < len(sample.cloud) < 135_000
        assert reach.min() > 1.0
        assert reach.max() < HDL64.reach + 0.2
        assert sample.cloud.fields["intensity"].min() >= 0
        assert sample.cloud.fields["intensity"].max() <= 1


def test_density_beside_real_scans(shared_data) -> None:
    """Shares of points by distance of five real scans and of five streets agree within a factor of two."""
    edges = [0, 5, 10, 20, 40, 80]
    real = []
    for file in sorted((shared_data / "kitti_object/training/velodyne").glob("*.bin")):
        xyz = np.fromfile(file, np.float32).reshape(-1, 4)
        real.append(np.histogram(np.hypot(xyz[:, 0], xyz[:, 1]), edges)[0])
    ours = [np.histogram(np.hypot(*street(seed).cloud.xyz[:, :2].T), edges)[0] for seed in range(5)]
    ratio = np.mean(ours, axis=0) / np.mean(real, axis=0)
    assert ((ratio > 0.5) & (ratio < 2)).all(), ratio


def test_cars_have_european_sizes_and_all_headings() -> None:
    objects = [street(seed, replace(HDL64, azimuth_step=1.0)).objects for seed in range(40)]
    values = np.concatenate([o.boxes.values.numpy()[o.names == "Car"] for o in objects])
    assert np.abs(values[:, 3:6].mean(0) - [3.9, 1.63, 1.53]).max() < 0.2
    assert np.histogram(values[:, 6], 8, (-np.pi, np.pi))[0].min() > 2


def test_the_camera_view_keeps_what_a_camera_sees() -> None:
    streets = StreetDataset(3, seed=5)
    for i in range(3):
        sample = streets[i]
        x, y, _ = sample.cloud.xyz.T
        assert (x > 0).all()
        assert np.abs(np.degrees(np.arctan2(y, x))).max() < 41
        owner = sample.cloud.fields["object"]
        counts = np.bincount(owner[owner >= 0], minlength=len(sample.objects))
        assert (counts == sample.objects.attributes["num_points"]).all()
        assert (counts > 0).all()
    whole = StreetDataset(1, seed=5, camera_view=False)[0]
    assert whole.cloud.xyz[:, 0].min() < -10


def test_samples_are_found_by_index_alone() -> None:
    streets = StreetDataset(4, seed=2)
    last = streets[3].cloud.xyz
    assert len(streets) == 4
    assert np.array_equal(last, StreetDataset(4, seed=2)[3].cloud.xyz)
    with pytest.raises(IndexError):
        streets[4]
    with pytest.raises(PerceptionError):
        StreetDataset(-1)


def test_difficulties_follow_height_occlusion_and_truncation() -> None:
    pixels = np.array([60, 30, 30, 20, 60, 60, 60.0])
    occlusion = np.array([0, 0, 2, 0, 1, 0, 0])
    truncation = np.array([0, 0, 0, 0, 0, 0.2, 0.6])
    assert kitti_difficulty(pixels, occlusion, truncation).tolist() == [0, 1, 2, -1, 1, 1, -1]


def test_a_lidar_needs_falling_beams() -> None:
    with pytest.raises(PerceptionError, match="highest beam first"):
        Lidar((-1.0, 1.0))
