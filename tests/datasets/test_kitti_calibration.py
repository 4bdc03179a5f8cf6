from dataclasses import replace

import numpy as np
import pytest

from perception.datasets.kitti.calibration import (
    KittiCalibration,
    read_object_calibration,
    read_raw_calibration,
    read_road_plane,
)
from perception.errors import PerceptionError

OBJECT = """P2: 700 0 600 45 0 700 170 0.2 0 0 1 0.003
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27

"""


@pytest.fixture
def calibration(tmp_path):
    path = tmp_path / "000000.txt"
    path.write_text(OBJECT)
    return read_object_calibration(path)


def test_camera_axes_are_right_down_forward(calibration):
    assert np.allclose(calibration.to_rectified([[10, 2, 1]]), [[-2, -1.08, 9.73]])


def test_there_and_back(calibration):
    points = np.random.default_rng(0).normal(size=(100, 3)) * 30
    assert np.abs(calibration.to_lidar(calibration.to_rectified(points)) - points).max() < 1e-12


def test_projection_follows_the_published_equation(calibration):
    point = np.array([12.0, -3.0, 0.5])
    rectified = calibration.to_rectified(point[None])[0]
    homogeneous = calibration.projection @ [*rectified, 1]
    pixels, depth = calibration.project_lidar(point[None])
    assert np.allclose(pixels[0], homogeneous[:2] / homogeneous[2])
    assert depth[0] == rectified[2]


def test_camera_view_excludes_what_is_behind_beside_and_above(calibration):
    points = [[10, 0, 0], [-10, 0, 0], [10, 30, 0], [10, 0, 20]]
    assert calibration.in_camera_view(np.array(points)).tolist() == [True, False, False, False]
    assert not replace(calibration, image_size=(10, 10)).in_camera_view(np.array(points)).any()


def test_real_scan_cropped_to_the_camera_stays_whole(shared_data):
    folder = shared_data / "kitti_object/training"
    points = np.fromfile(folder / "velodyne_reduced/000008.bin", "<f4").reshape(-1, 4)[:, :3]
    assert read_object_calibration(folder / "calib/000008.txt").in_camera_view(points).mean() > 0.999


def test_raw_and_object_files_of_one_day_agree(shared_data):
    raw = read_raw_calibration(shared_data / "kitti_raw/2011_09_26")
    frame = read_object_calibration(shared_data / "kitti_object/training/calib/000008.txt")
    assert raw.image_size == (1242, 375)
    assert np.allclose(raw.projection, frame.projection)
    assert np.allclose(raw.lidar_to_rectified, frame.lidar_to_rectified)


def test_tracking_spelling_without_colons(tmp_path, calibration):
    path = tmp_path / "0000.txt"
    path.write_text(OBJECT.replace("R0_rect:", "R_rect").replace("Tr_velo_to_cam:", "Tr_velo_cam"))
    assert np.array_equal(read_object_calibration(path).lidar_to_rectified, calibration.lidar_to_rectified)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("", "P2"),
        (OBJECT.replace("R0_rect", "R9"), "R0_rect"),
        (OBJECT.replace("0.003", "abc"), "P2"),
        (OBJECT.replace("0.003", "nan"), "P2"),
        (OBJECT.replace(" -0.27", ""), "Tr_velo_to_cam"),
        (OBJECT.replace("1 0 0 0 1 0 0 0 1", "0 0 0 0 0 0 0 0 0"), "rectification"),
        ("\x00\xff" * 100, "P2"),
    ],
)
def test_bad_calibration_is_named(tmp_path, content, names):
    path = tmp_path / "000000.txt"
    path.write_text(content, encoding="latin1")
    with pytest.raises(PerceptionError) as error:
        read_object_calibration(path)
    assert "000000.txt" in str(error.value)
    assert names in str(error.value) or "not text" in str(error.value)


def test_missing_and_oversized_files_are_named(tmp_path):
    with pytest.raises(PerceptionError, match="no file"):
        read_object_calibration(tmp_path / "none.txt")
    with pytest.raises(PerceptionError, match=r"calib_cam_to_cam\.txt"):
        read_raw_calibration(tmp_path)
    (tmp_path / "big.txt").write_bytes(b"P2: " + b"1 " * (1 << 20))
    with pytest.raises(PerceptionError, match="bytes"):
        read_object_calibration(tmp_path / "big.txt")


def test_wrong_shape_is_an_error():
    with pytest.raises(PerceptionError, match="projection"):
        KittiCalibration(np.eye(3), np.eye(3), np.eye(4)[:3])


def test_road_plane_points_up_with_unit_normal(tmp_path):
    path = tmp_path / "plane.txt"
    path.write_text("# Matrix\nWIDTH 4\nHEIGHT 1\n0 2 0 -3.3\n")
    assert np.allclose(read_road_plane(path), [0, -1, 0, 1.65])
    path.write_text("# Matrix\nWIDTH 4\n")
    with pytest.raises(PerceptionError, match="road plane"):
        read_road_plane(path)
