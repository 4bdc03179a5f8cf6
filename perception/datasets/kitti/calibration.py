"""KITTI calibration: from the lidar to the rectified camera to the image, and back to the lidar.

Geiger, Lenz, Stiller, Urtasun, "Vision meets Robotics: The KITTI Dataset", IJRR 2013, section IV: a lidar point x
appears in image 2 at P2 * R0_rect * Tr_velo_to_cam * (x, 1). All arithmetic is float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from perception.datasets.kitti.text import read_text
from perception.errors import PerceptionError

DEFAULT_IMAGE_SIZE = (1242, 375)
"""Width and height of most KITTI images; used where neither an image nor a calibration file tells them."""


@dataclass(frozen=True, eq=False)
class KittiCalibration:
    """``projection`` (3, 4), ``rectification`` (3, 3), ``lidar_to_camera`` (3, 4): P2, R0_rect and Tr_velo_to_cam.

    ``image_size`` is (width, height) in pixels. ``road_plane`` (4,), where known, holds a, b, c, d with
    a x + b y + c z + d = 0 on the road, in rectified camera coordinates, its normal a unit vector.
    """

    projection: np.ndarray
    rectification: np.ndarray
    lidar_to_camera: np.ndarray
    image_size: tuple[int, int] = DEFAULT_IMAGE_SIZE
    road_plane: np.ndarray | None = field(default=None)

    def __post_init__(self) -> None:
        for name, shape in (("projection", (3, 4)), ("rectification", (3, 3)), ("lidar_to_camera", (3, 4))):
            matrix = np.asarray(getattr(self, name), dtype=np.float64)
            if matrix.shape != shape or not np.isfinite(matrix).all():
                raise PerceptionError(f"{name} of shape {matrix.shape}", f"finite numbers of shape {shape}")
            object.__setattr__(self, name, matrix)
        for name in ("rectification", "lidar_to_camera"):
            rotation = getattr(self, name)[:, :3]
            if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.02:
                raise PerceptionError(
                    f"{name} whose left 3 x 3 block is not a rotation",
                    "an orthonormal matrix, row by row",
                    "check that the calibration file is complete and not edited",
                )

    @cached_property
    def lidar_to_rectified(self) -> np.ndarray:
        """(4, 4) rigid transform from lidar to rectified camera coordinates (x right, y down, z forward)."""
        rectification, lidar_to_camera = np.eye(4), np.eye(4)
        rectification[:3, :3] = self.rectification
        lidar_to_camera[:3] = self.lidar_to_camera
        return rectification @ lidar_to_camera

    @cached_property
    def rectified_to_lidar(self) -> np.ndarray:
        """(4, 4) inverse of ``lidar_to_rectified``; the true inverse, for printed rotations are not orthonormal."""
        return np.linalg.inv(self.lidar_to_rectified)

    def to_rectified(self, points: np.ndarray) -> np.ndarray:
        """Lidar points (N, 3) in rectified camera coordinates, float64."""
        return _transform(self.lidar_to_rectified, points)

    def to_lidar(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) in rectified camera coordinates seen from the lidar, float64."""
        return _transform(self.rectified_to_lidar, points)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (N, 2) and depth (N,) in metres of points (N, 3) in rectified camera coordinates.

        Pixels are meaningful only where the depth is positive.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        homogeneous = _transform(self.projection, points)
        with np.errstate(divide="ignore", invalid="ignore"):
            return homogeneous[:, :2] / homogeneous[:, 2:], points[:, 2]

    def project_lidar(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``project``, for lidar points (N, 3)."""
        return self.project(self.to_rectified(points))

    def in_camera_view(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool: lidar points (N, 3) that lie in front of the camera and project into the image."""
        pixels, depth = self.project_lidar(points)
        with np.errstate(invalid="ignore"):
            inside = (pixels >= 0).all(1) & (pixels < np.asarray(self.image_size)).all(1)
        return inside & (depth >= 0)


def read_object_calibration(path: str | Path) -> KittiCalibration:
    """The calibration of one frame of the object, tracking or road benchmark (``calib/000000.txt``).

    Raises PerceptionError that names the file and the missing or malformed entry.
    """
    path = Path(path)
    entries = _read_entries(path)
    return _build(
        path,
        projection=_matrix(entries, ("P2",), (3, 4), path),
        rectification=_matrix(entries, ("R0_rect", "R_rect"), (3, 3), path),
        lidar_to_camera=_matrix(entries, ("Tr_velo_to_cam", "Tr_velo_cam"), (3, 4), path),
    )


def read_raw_calibration(folder: str | Path) -> KittiCalibration:
    """The calibration of a day of raw drives: ``calib_cam_to_cam.txt`` and ``calib_velo_to_cam.txt`` in ``folder``.

    The image size is that of rectified camera 2 (S_rect_02).
    """
    cameras, lidar = Path(folder) / "calib_cam_to_cam.txt", Path(folder) / "calib_velo_to_cam.txt"
    camera_entries = _read_entries(cameras)
    size = _matrix(camera_entries, ("S_rect_02",), (2,), cameras)
    if not (size >= 1).all() or size.max() > 1e5:
        raise PerceptionError(f"{cameras}: S_rect_02 = {size.tolist()}", "width and height of the image in pixels")
    return _build(
        cameras,
        projection=_matrix(camera_entries, ("P_rect_02",), (3, 4), cameras),
        rectification=_matrix(camera_entries, ("R_rect_00",), (3, 3), cameras),
        lidar_to_camera=read_rigid_transform(lidar)[:3],
        image_size=(int(size[0]), int(size[1])),
    )


def read_rigid_transform(path: str | Path) -> np.ndarray:
    """(4, 4) transform in a raw-drive file with the entries R and T, such as ``calib_imu_to_velo.txt``."""
    path = Path(path)
    entries = _read_entries(path)
    transform = np.eye(4)
    transform[:3, :3] = _matrix(entries, ("R",), (3, 3), path)
    transform[:3, 3] = _matrix(entries, ("T",), (3,), path)
    return transform


def read_road_plane(path: str | Path) -> np.ndarray:
    """Road plane (4,) of a ``planes/000000.txt`` file, its unit normal pointing up (negative y of the camera)."""
    path = Path(path)
    rows = [line for line in read_text(path, "a road plane").splitlines() if line.strip()]
    try:
        plane = np.array(rows[3].split(), dtype=np.float64)
    except (IndexError, ValueError):
        plane = np.zeros(0)
    if plane.shape != (4,) or not np.isfinite(plane).all() or abs(plane[1]) < 1e-6:
        raise PerceptionError(
            f"{path} holds no road plane", "three header lines and then a, b, c, d", "remove or regenerate the file"
        )
    return plane / np.linalg.norm(plane[:3]) * -np.sign(plane[1])


def _build(path: Path, **values: object) -> KittiCalibration:
    try:
        return KittiCalibration(**values)  # type: ignore[arg-type]
    except PerceptionError as error:
        raise PerceptionError(f"{path}: {error.found}", error.expected, error.fix) from None


def _transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _read_entries(path: Path) -> dict[str, list[str]]:
    """Words after each key; the tracking benchmark leaves the colon out after some keys."""
    entries: dict[str, list[str]] = {}
    for line in read_text(path, "a KITTI calibration").splitlines():
        words = line.replace(":", " ", 1).split()
        if words:
            entries.setdefault(words[0], words[1:])
    return entries


def _matrix(entries: dict[str, list[str]], keys: tuple[str, ...], shape: tuple[int, ...], path: Path) -> np.ndarray:
    key = next((key for key in keys if key in entries), None)
    if key is None:
        raise PerceptionError(
            f"{path} has no entry {keys[0]!r}; it has {', '.join(sorted(entries)[:20]) or 'nothing'}",
            f"a KITTI calibration with {keys[0]}",
            "use the calibration file published with this frame",
        )
    count = int(np.prod(shape))
    try:
        values = np.array(entries[key], dtype=np.float64)
    except ValueError:
        values = np.zeros(0)
    if len(values) != count or not np.isfinite(values).all():
        shown = " ".join(entries[key])
        raise PerceptionError(
            f"{path}: {key} = {shown[:80]!r}",
            f"{count} finite numbers",
            "the file is damaged or incomplete: download it again",
        )
    return values.reshape(shape)
