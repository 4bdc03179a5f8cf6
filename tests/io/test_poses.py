from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from perception.errors import PerceptionError
from perception.io.poses import parse_pose, pose_of, read_poses


def pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = Rotation.random(random_state=seed).as_matrix(), rng.normal(size=3) * 100
    return matrix


def quaternion_row(matrix: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix[:3, 3], Rotation.from_matrix(matrix[:3, :3]).as_quat()])


def test_numbers_on_the_command_line() -> None:
    wanted = pose(1)
    for numbers in (wanted.ravel(), wanted[:3].ravel(), quaternion_row(wanted)):
        for separator in (" ", ", "):
            np.testing.assert_allclose(parse_pose(separator.join(map(repr, numbers.tolist()))), wanted, atol=1e-9)


def test_few_digits_give_an_exact_rotation() -> None:
    rough = parse_pose(" ".join(f"{v:.4f}" for v in pose(2)[:3].ravel()))
    np.testing.assert_allclose(rough[:3, :3] @ rough[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rough, pose(2), atol=1e-3)


@pytest.mark.parametrize(
    "text",
    [
        "1 0 0 0 0 1 0 0 0 0 2 0",  # scaled
        "1 0 0 0 0 1 0 0 0 0 -1 0",  # mirrored
        "1 0 0 0 0 1 0 0 0 0 nan 0",
        "0 0 0 0 0 0 0",  # no quaternion
        "inf 0 0 0 0 0 1",
        "1 2 3",
        "one two",
        "1 0 0 0  0 1 0 0  0 0 1 0  0 0 1 1",
        "",
    ],
)
def test_what_is_no_rigid_motion(text: str) -> None:
    with pytest.raises(PerceptionError):
        parse_pose(text)


def test_files(tmp_path: Path) -> None:
    wanted = np.stack([pose(n) for n in range(4)])
    kitti, tum, array = tmp_path / "kitti.txt", tmp_path / "tum.txt", tmp_path / "poses.npy"
    np.savetxt(kitti, wanted[:, :3].reshape(4, 12), fmt="%.12g")
    rows = np.column_stack([np.arange(4) * 0.1 + 5, [quaternion_row(p) for p in wanted]])
    tum.write_text("# timestamp tx ty tz qx qy qz qw\n" + "\n".join(" ".join(map(repr, r.tolist())) for r in rows))
    for shape in ((4, 4, 4), (4, 3, 4), (4, 12), (4, 16)):
        np.save(array, wanted.reshape(4, 4, 4)[:, : shape[1] if len(shape) == 3 else shape[1] // 4].reshape(shape))
        np.testing.assert_allclose(read_poses(array).matrices, wanted, atol=1e-12)
    np.testing.assert_allclose(read_poses(kitti).matrices, wanted, atol=1e-8)
    found = read_poses(tum)
    np.testing.assert_allclose(found.matrices, wanted, atol=1e-9)
    np.testing.assert_allclose(found.at(5.204), wanted[2], atol=1e-9)
    with pytest.raises(PerceptionError, match="no pose within"):
        found.at(6.0)


def test_real_poses(shared_data: Path) -> None:
    found = read_poses(shared_data / "kitti_odometry" / "00" / "poses_evo.txt")
    assert len(found) > 1000
    assert np.linalg.norm(found.matrices[1][:3, 3]) == pytest.approx(0.86, abs=0.05)


@pytest.mark.parametrize(
    "text", ["1 2 3\n", "1 0 0 0 0 1 0 0 0 0 2 0\n", "words\n", "\n\n", "0 0 0 0 0 0 0 1\n0 0 0 0 0 0 0 1\n"]
)
def test_damaged_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "poses.txt"
    path.write_text(text)
    with pytest.raises(PerceptionError):
        read_poses(path)


def test_damaged_array(tmp_path: Path) -> None:
    path = tmp_path / "poses.npy"
    path.write_bytes(b"no array")
    with pytest.raises(PerceptionError):
        read_poses(path)
    np.save(path, np.zeros((2, 5)))
    with pytest.raises(PerceptionError):
        read_poses(path)
    with pytest.raises(PerceptionError, match="16 or 12"):
        pose_of(np.zeros(5), "here")
