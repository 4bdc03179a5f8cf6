import numpy as np
import pytest

from perception.datasets.kitti.oxts import EARTH_RADIUS, oxts_poses, read_oxts, read_timestamps
from perception.errors import PerceptionError


def test_a_step_north_and_a_step_east():
    step = np.degrees(10 / EARTH_RADIUS)
    latitude = 49.0
    records = [
        [latitude, 8, 100, 0, 0, 0],
        [latitude + step, 8, 100, 0, 0, 0],
        [latitude, 8 + step / np.cos(np.radians(latitude)), 101, 0, 0, np.pi / 2],
    ]
    poses = oxts_poses(np.array(records))
    assert np.array_equal(poses[0], np.eye(4))
    assert np.allclose(poses[1][:3, 3], [0, 10, 0], atol=1e-4)
    assert np.allclose(poses[2][:3, 3], [10, 0, 1], atol=1e-4)
    assert np.allclose(poses[2][:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]])


def test_poses_are_relative_to_the_first_and_rigid():
    records = np.array([[49, 8, 100, 0.1, 0.2, 0.3], [49.0001, 8.0001, 99, -0.2, 0.1, 2.0]])
    poses = oxts_poses(records)
    assert np.allclose(poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.eye(3))
    assert np.allclose(poses[0], np.eye(4))
    absolute = oxts_poses(np.vstack([[49, 8, 100, 0, 0, 0], records]))[1:]
    assert np.allclose(np.linalg.inv(absolute[0]) @ absolute[1], poses[1], atol=1e-6)
    assert oxts_poses(np.zeros((0, 6))).shape == (0, 4, 4)


def test_seconds(tmp_path):
    path = tmp_path / "timestamps.txt"
    path.write_text("1970-01-02 00:00:01.250000000\n\n2011-09-26 13:02:25\n")
    assert np.array_equal(read_timestamps(path), [86401.25, np.nan, 1317042145], equal_nan=True)


@pytest.mark.parametrize("line", ["yesterday", "2011-13-26 13:02:25.9", "2011-09-26 13:02:25.9.9"])
def test_bad_times_name_their_line(tmp_path, line):
    path = tmp_path / "timestamps.txt"
    path.write_text(f"2011-09-26 13:02:25\n{line}\n")
    with pytest.raises(PerceptionError, match="line 2"):
        read_timestamps(path)


@pytest.mark.parametrize("text", ["", "1 2 3", "a b c d e f", "91 2 3 4 5 6", "nan 2 3 4 5 6"])
def test_bad_records_are_named(tmp_path, text):
    path = tmp_path / "0000000000.txt"
    path.write_text(text)
    with pytest.raises(PerceptionError, match="0000000000"):
        read_oxts(path)
