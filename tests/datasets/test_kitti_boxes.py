import numpy as np
import pytest

from perception.datasets.kitti.boxes import (
    camera_corners,
    camera_to_lidar,
    image_boxes,
    lidar_to_camera,
    observation_angle,
    points_in_camera_boxes,
)
from perception.datasets.kitti.calibration import KittiCalibration
from perception.datasets.kitti.dataset import KittiDetection

# Published beside the recordings: points inside the labelled boxes.
POINTS_INSIDE = {"000000": [376], "000003": [680], "000008": [1424, 1940, 878, 668, 53, 164]}


@pytest.fixture
def ideal():
    """A camera at the lidar whose axes are exactly right, down, forward."""
    rotation = np.array([[0, -1.0, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]])
    return KittiCalibration(np.array([[700.0, 0, 600, 0], [0, 700, 170, 0], [0, 0, 1, 0]]), np.eye(3), rotation)


def test_a_car_ahead_by_hand(ideal):
    # Ten metres ahead, bottom 1.7 m below the camera, rotation_y 0: its length points to the right, along -y.
    lidar = camera_to_lidar([[0, 1.7, 10, 4, 1.5, 1.6, 0]], ideal)
    assert np.allclose(lidar, [[10, 0, -1.7 + 0.75, 4, 1.6, 1.5, -np.pi / 2]])


def test_corners_agree_between_the_conventions(ideal):
    camera = np.array([[2, 1.5, 20, 4, 1.5, 1.6, 0.7]])
    x, y, z, length, width, height, heading = camera_to_lidar(camera, ideal)[0]
    front_left = [
        x + length / 2 * np.cos(heading) - width / 2 * np.sin(heading),
        y + length / 2 * np.sin(heading) + width / 2 * np.cos(heading),
        z + height / 2,
    ]
    distance = np.abs(ideal.to_lidar(camera_corners(camera)[0]) - front_left).sum(1)
    assert distance.min() < 1e-9


def test_round_trip_is_exact():
    generator = np.random.default_rng(1)
    calibration = KittiCalibration(np.eye(4)[:3], np.eye(3), np.array([[0, -1.0, 0, 1], [0, 0, -1, 2], [1, 0, 0, 3]]))
    boxes = generator.uniform(-3, 3, (50, 7))
    boxes[:, 3:6] = np.abs(boxes[:, 3:6]) + 0.1
    assert np.abs(lidar_to_camera(camera_to_lidar(boxes, calibration), calibration) - boxes).max() < 1e-12


def test_points_inside_labels_are_as_published(shared_data):
    dataset = KittiDetection(shared_data / "kitti_object", identifiers=list(POINTS_INSIDE))
    for index, identifier in enumerate(dataset.identifiers):
        labels = dataset.labels(index)
        boxes = labels.camera_boxes()[labels.names != "DontCare"]
        inside = points_in_camera_boxes(dataset.cloud(index).xyz, boxes, dataset.calibration(index))
        assert inside.sum(0).tolist() == POINTS_INSIDE[identifier]


def test_projected_boxes_and_angles_match_the_labels(shared_data):
    dataset = KittiDetection(shared_data / "kitti_object")
    for index in range(len(dataset)):
        labels, calibration = dataset.labels(index), dataset.calibration(index)
        real = labels.names != "DontCare"
        clipped, _ = image_boxes(labels.camera_boxes()[real], calibration)
        # Rectangles were drawn around the visible object by hand; a pedestrian's 3D box is looser than his outline.
        assert np.abs(clipped - labels.bbox[real]).max() < 12
        difference = observation_angle(labels.camera_boxes()[real]) - labels.alpha[real]
        assert np.abs(np.sin(difference)).max() < 0.05


def test_boxes_partly_and_wholly_behind_the_camera(ideal):
    beside = [[3.0, 1.5, 0.5, 4, 1.5, 1.6, np.pi / 2], [0, 1.5, -10, 4, 1.5, 1.6, 0], [0, 1.5, 10, 4, 1.5, 1.6, 0]]
    clipped, whole = image_boxes(np.array(beside), ideal)
    assert np.isfinite(whole).all()
    assert clipped[0, 2] == ideal.image_size[0] - 1
    assert not whole[1].any()
    assert (clipped[2] == whole[2]).all()


def test_no_boxes(ideal):
    assert camera_to_lidar(np.zeros((0, 7)), ideal).shape == (0, 7)
    assert lidar_to_camera(np.zeros((0, 7)), ideal).shape == (0, 7)
    assert [a.shape for a in image_boxes(np.zeros((0, 7)), ideal)] == [(0, 4), (0, 4)]
    assert observation_angle(np.zeros((0, 7))).shape == (0,)
