import math
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from waymo_writer import (  # noqa: E402
    SEGMENT,
    START,
    Frame,
    Laser,
    box,
    default_lasers,
    empty_images,
    even_beams,
    frames_of,
    pose,
    turn,
    write_segment,
)

from perception.datasets.augment import AugmentConfig, build_augmentation, sample_generator  # noqa: E402
from perception.datasets.waymo.dataset import Waymo, WaymoSegment  # noqa: E402
from perception.datasets.waymo.labels import JOINTS  # noqa: E402
from perception.datasets.waymo.range_image import LaserCalibration, points_of  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402
from perception.training.data import Pool  # noqa: E402
from perception.training.settings import DataEntry  # noqa: E402
from perception.training.targets import Targets  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))


@pytest.fixture
def split(tmp_path):
    folder = tmp_path / "training"
    write_segment(folder, default_lasers(), frames_of(default_lasers()))
    return folder


def test_points_of_the_world_come_back(tmp_path):
    """Points seen at the nearest pixel are read back within half a pixel, rolling shutter undone."""
    lasers = default_lasers()
    rng = np.random.Generator(np.random.PCG64(5))
    images = empty_images(lasers)
    vehicle = np.column_stack([rng.uniform(-40, 40, (400, 2)), rng.uniform(-1.5, 2.5, 400)])
    vehicle = vehicle[np.hypot(vehicle[:, 0], vehicle[:, 1]) > 8]
    expected = []
    for laser in lasers:
        for point in vehicle:
            world = (pose(0.4) @ np.append(point, 1))[:3]
            row, column, distance = laser.pixel(world, 0.4)
            pixel = images[laser.number][0][round(row), round(column) % laser.width]
            seam = not 1 < column < laser.width - 2  # where the sweep begins and ends, 0.1 s apart
            if 0.5 < row < laser.height - 1.5 and pixel[0] < 0 and not seam:
                pixel[:] = distance, laser.number, 0, -1
                expected.append((laser.number, round(row), round(column) % laser.width, distance, *point))
    write_segment(tmp_path, lasers, [Frame(START, 0.4, images)])
    cloud = WaymoSegment(tmp_path, SEGMENT, squashed=())[0].cloud
    rows = sorted(expected)
    assert len(cloud) == len(rows) > 1000
    for found, number, (laser, _, _, distance, *point) in zip(cloud.xyz, cloud.fields["laser"], rows):
        spacing = {1: (0.25 / 23, 2 * math.pi / 600)}.get(laser, (1.7 / 40, 2 * math.pi / 90))
        assert number == laser
        assert np.linalg.norm(found - point) < distance * math.hypot(*spacing) / 2 + 0.01


def test_points_look_through_the_middle_of_their_pixels(split):
    """The forward model sees every point that was read at its own row and column, at the stored distance."""
    lasers, frames = default_lasers(), frames_of(default_lasers())
    cloud = WaymoSegment(split, SEGMENT, second_return=False)[2].cloud
    assert cloud.stamp == pytest.approx((START + 200_000) / 1e6)
    assert np.allclose(cloud.metadata["pose"], pose(0.2))
    assert [cloud.metadata[k] for k in ("time_of_day", "location", "weather")] == ["a", "b", "c"]
    for laser in lasers:
        image = frames[2].images[laser.number][0]
        rows, columns = np.nonzero(image[..., 0] > 0)
        points = cloud.xyz[cloud.fields["laser"] == laser.number]
        assert len(points) == len(rows)
        for i in range(0, len(points), 7):
            row, column, distance = laser.pixel((pose(0.2) @ np.append(points[i].astype(float), 1))[:3], 0.2)
            assert abs((column - columns[i] + 1) % laser.width - 1) < 5e-3
            assert (row, distance) == pytest.approx((rows[i], image[rows[i], columns[i], 0]), abs=5e-3)


@pytest.mark.parametrize("yaw", [0.0, 2.6, -3.0])
def test_directions_by_hand(yaw):
    """Four columns look to 135, 45, -45 and -135 degrees of the vehicle, whichever way the laser is mounted."""
    image = np.zeros((2, 4, 4), np.float32)
    image[0, :, 0] = 10
    image[1, 1] = 20, 0.5, 0.25, 1
    points = points_of(image, LaserCalibration(turn("z", yaw), -0.2, 0.2), "here")
    flat, up = 10 * math.cos(0.1), 10 * math.sin(0.1)
    half = flat * math.sqrt(0.5)
    expected = [
        [-half, half, up],
        [half, half, up],
        [half, -half, up],
        [-half, -half, up],
        [2 * half, 2 * half, -2 * up],
    ]
    assert points.xyz == pytest.approx(np.array(expected))
    assert (points.intensity[4], points.elongation[4]) == (0.5, 0.25)
    assert points.no_label_zone.tolist() == [False] * 4 + [True]
    listed = points_of(image, LaserCalibration(turn("z", yaw), np.nan, np.nan, np.array([-0.1, 0.1])), "here")
    assert listed.xyz == pytest.approx(points.xyz)


def test_fields_are_explicit(split):
    raw = WaymoSegment(split, SEGMENT, squashed=())[0].cloud
    squashed = WaymoSegment(split, SEGMENT)[0].cloud
    half = WaymoSegment(split, SEGMENT, squashed=("intensity",))[0].cloud
    assert raw.fields["intensity"].max() > 2
    for name in ("intensity", "elongation"):
        assert np.array_equal(squashed.fields[name], np.tanh(raw.fields[name]))
    assert np.array_equal(half.fields["elongation"], raw.fields["elongation"])
    zone = raw.fields["no_label_zone"]
    assert zone.dtype == bool
    assert 0.05 < zone.mean() < 0.15
    assert len(WaymoSegment(split, SEGMENT, drop_no_label_zones=True)[0].cloud) == (~zone).sum()
    first = WaymoSegment(split, SEGMENT, second_return=False, squashed=())[0].cloud
    assert np.array_equal(raw.xyz[raw.fields["echo"] == 1], first.xyz)
    top = WaymoSegment(split, SEGMENT, lasers=(1,), squashed=())[0].cloud
    assert np.array_equal(raw.xyz[raw.fields["laser"] == 1], top.xyz)
    for wrong in ({"lasers": (7,)}, {"squashed": ("range",)}):
        with pytest.raises(PerceptionError, match="some of"):
            WaymoSegment(split, SEGMENT, **wrong)


def test_labels(split):
    segment = WaymoSegment(split, SEGMENT)
    objects = segment[0].objects
    assert objects.names.tolist() == ["Vehicle", "Pedestrian"]
    assert objects.boxes.values[0].tolist() == pytest.approx([10, 2, 1, 4, 2, 1.5, 0.3])
    assert objects.attributes["track"].tolist() == ["car", "man"]
    back = np.linalg.inv(pose(0.0))[:3, :3] @ [3, 4, 0]
    assert objects.boxes.velocity[0].numpy() == pytest.approx(back[:2], abs=1e-6)
    assert len(segment[1].objects) == 0
    assert segment[1].objects.boxes.velocity.shape == (0, 2)
    assert set(segment[1].objects.attributes) == set(objects.attributes)
    assert "Sign" in WaymoSegment(split, SEGMENT, signs=True)[0].objects.names
    assert segment[0].identifier == f"{SEGMENT}/{START}"


def test_difficulty_and_unknown_speed(tmp_path):
    frames = frames_of(default_lasers(), 1)
    cases = [(20, 0, 1), (5, 0, 2), (6, 0, 1), (100, 2, 2), (3, 1, 1)]
    frames[0].boxes = [box(str(i), 1, points=p, difficulty=d) for i, (p, d, _) in enumerate(cases)]
    frames[0].boxes[0]["speed"] = None
    write_segment(tmp_path, default_lasers(), frames)
    objects = WaymoSegment(tmp_path, SEGMENT)[0].objects
    assert objects.attributes["difficulty"].tolist() == [level for *_, level in cases]
    assert objects.attributes["points"].tolist() == [points for points, *_ in cases]
    assert np.isnan(objects.boxes.velocity[0].numpy()).all()
    assert np.isfinite(objects.boxes.velocity[1:].numpy()).all()


def test_keypoints_in_the_order_of_the_joints(tmp_path):
    frames = frames_of(default_lasers(), 1)
    # Published numbers: 1 nose, 13 right shoulder, 20 middle of the head; 19, the forehead, is no joint of ours.
    frames[0].joints = [
        {"track": "man", "joints": {20: (3, 2, 1), 1: (1, 2, 3), 13: (4, 5, 6), 19: (9, 9, 9)}, "hidden": {13}},
        {"track": "nobody", "joints": {1: (0, 0, 0)}, "hidden": set()},
    ]
    write_segment(tmp_path, default_lasers(), frames)
    attributes = WaymoSegment(tmp_path, SEGMENT, keypoints=True)[0].objects.attributes
    names = list(JOINTS)
    man = attributes["keypoints"][1]
    assert attributes["keypoints"].shape == (2, 14, 3)
    assert man[names.index("right_shoulder")].tolist() == [4, 5, 6]
    assert man[names.index("nose")].tolist() == [1, 2, 3]
    assert man[names.index("head_centre")].tolist() == [3, 2, 1]
    assert np.isfinite(man).all(1).sum() == 3
    assert np.isnan(attributes["keypoints"][0]).all()
    assert np.flatnonzero(attributes["keypoints_visible"][1]).tolist() == [0, 13]


@pytest.mark.parametrize(("rows", "seed"), [(1 << 20, None), (1 << 20, 3), (5, None), (7, 4), (1, None)])
def test_any_order_of_rows_and_of_reading(tmp_path, split, rows, seed):
    """One row group or many, rows shuffled or not, frames forward or back: the same clouds."""
    other = tmp_path / "other"
    write_segment(other, default_lasers(), frames_of(default_lasers()), rows, seed)
    expected, found = WaymoSegment(split, SEGMENT), WaymoSegment(other, SEGMENT)
    clouds = [expected[i].cloud for i in range(3)]
    for index in (2, 0, 1, 1, 2):
        assert np.array_equal(found[index].cloud.xyz, clouds[index].xyz)
        assert np.array_equal(found[index].cloud.fields["intensity"], clouds[index].fields["intensity"])


def test_data_set_of_segments(split):
    dataset = Waymo(split.parent, labelled=True)
    assert len(dataset) == 3
    assert dataset.identifiers[-1] == f"{SEGMENT}/{START + 200_000}"
    assert dataset[-1].identifier == dataset.identifiers[2]
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy[1].cloud.xyz, dataset[1].cloud.xyz)
    assert len(Waymo(split)) == 3
    with pytest.raises(IndexError):
        dataset[3]
    with pytest.raises(PerceptionError, match="no segment 'other'"):
        Waymo(split.parent, segments=["other"])
    with pytest.raises(PerceptionError, match="no segments"):
        Waymo(split.parent / "nowhere")


def test_training_takes_its_samples(split):
    pool = Pool([DataEntry("waymo", {"root": str(split.parent)})])
    assert pool.frames() == {"waymo": list(Waymo(split.parent).identifiers)}
    augmentation = build_augmentation(AugmentConfig(flip_y=0.5))
    targets = Targets(("Car", "Pedestrian"), (-75.2, -75.2, -2, 75.2, 75.2, 4), {"Vehicle": "Car"})
    for index in range(len(pool)):
        sample = augmentation(pool[index], sample_generator(0, 0, index))
        boxes, labels = targets(sample.cloud, sample.objects, sample.identifier)[:2]
        assert labels.tolist() == ([0, 1] if index != 1 else [])
        assert len(boxes) == len(labels)


def test_a_laser_without_echoes(tmp_path):
    laser = Laser(1, np.eye(4), even_beams(-0.2, 0.2, 4), 8, rolling=True)
    write_segment(tmp_path, [laser], [Frame(START, 0.0, empty_images([laser]))])
    sample = WaymoSegment(tmp_path, SEGMENT, lasers=(1,))[0]
    assert len(sample.cloud) == 0
    assert sample.cloud.fields["intensity"].shape == (0,)
