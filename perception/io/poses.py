"""Poses of a sensor: on the command line, and in the files of KITTI odometry, TUM and NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.datasets.rigid import poses as pose_matrices
from perception.errors import PerceptionError
from perception.io.source import checked_file

NUMBERS = "16 or 12 numbers, row by row, or x y z qx qy qz qw"
FORMATS = "lines of 12 numbers (KITTI), lines of time x y z qx qy qz qw (TUM), or .npy of shape (N, 4, 4) or (N, 3, 4)"
NOT_RIGID = 1e-2  # of the entries of R R^T: files keep few digits
_LARGEST = 256 << 20


@dataclass(frozen=True, eq=False)
class Poses:
    """``matrices`` (N, 4, 4) float64 from the sensor's frame to one they share; ``stamps`` (N,) seconds or None."""

    matrices: np.ndarray
    stamps: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.matrices)

    def at(self, stamp: float, tolerance: float = 0.02) -> np.ndarray:
        """The pose nearest to a time; PerceptionError where none is within ``tolerance`` seconds."""
        assert self.stamps is not None
        row = int(np.abs(self.stamps - stamp).argmin())
        if abs(self.stamps[row] - stamp) > tolerance:
            raise PerceptionError(
                f"no pose within {tolerance} s of {stamp:.3f} s, the nearest is at {self.stamps[row]:.3f} s",
                "a pose for the time stamp of every scan",
                "check that poses and scans use the same clock",
            )
        return np.asarray(self.matrices[row])


def parse_pose(text: str) -> np.ndarray:
    """A rigid motion (4, 4) from numbers between blanks or commas, or from a file of one pose."""
    try:
        numbers = np.array(text.replace(",", " ").split(), np.float64)
    except ValueError:
        if Path(text).is_file():
            poses = read_poses(text)
            if len(poses) != 1:
                raise PerceptionError(f"{text} has {len(poses)} poses", "one", "give --poses for a sequence") from None
            return np.asarray(poses.matrices[0])
        raise PerceptionError(f"pose {text[:80]!r}", NUMBERS, "separate the numbers by blanks or commas") from None
    return pose_of(numbers, f"pose {text[:80]!r}")


def pose_of(numbers: np.ndarray, where: str) -> np.ndarray:
    """A rigid motion (4, 4) of 16, 12 or 7 numbers, made exactly rigid; PerceptionError for what is none."""
    numbers = np.asarray(numbers, np.float64).reshape(-1)
    if len(numbers) == 7:
        if not np.isfinite(numbers).all():
            raise PerceptionError(f"{where}: {numbers.tolist()}", "finite numbers")
        return np.asarray(pose_matrices(numbers[None, [6, 3, 4, 5]], numbers[None, :3], where)[0])
    if len(numbers) not in (12, 16):
        raise PerceptionError(f"{where}: {len(numbers)} numbers", NUMBERS)
    matrix = np.eye(4)
    matrix[: len(numbers) // 4] = numbers.reshape(-1, 4)
    return rigid(matrix, where)


def rigid(matrix: np.ndarray, where: str) -> np.ndarray:
    """``matrix`` (4, 4) with the nearest rotation (Arun et al. 1987) in place of one rounded by its file."""
    rotation = matrix[:3, :3]
    good = np.isfinite(matrix).all() and np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6)
    if not good or np.abs(rotation @ rotation.T - np.eye(3)).max() > NOT_RIGID or np.linalg.det(rotation) < 0:
        raise PerceptionError(
            f"{where} is no rigid motion: {np.round(matrix, 4).tolist()}",
            "a rotation (orthonormal, no mirror image, no scale) and a translation, last row 0 0 0 1",
            "check the order of the numbers: row by row",
        )
    left, _, right = np.linalg.svd(rotation)
    exact = matrix.copy()
    exact[:3, :3] = left @ right
    return exact


def read_poses(path: str | Path) -> Poses:
    """All poses of a file: see ``FORMATS``. Raises PerceptionError that names the line of one that is not rigid."""
    path, size = checked_file(path)
    if size > _LARGEST:
        raise PerceptionError(f"{path} has {size:,} bytes", FORMATS)
    if path.suffix.lower() == ".npy":
        return Poses(_from_array(path))
    rows = _rows(path)
    widths = {len(row) for row in rows}
    if widths == {8}:
        values = np.array(rows)
        stamps = values[:, 0]
        if not (np.diff(stamps) > 0).all():
            line = int(np.flatnonzero(~(np.diff(stamps) > 0))[0]) + 2
            raise PerceptionError(f"{path}, pose {line}: time {stamps[line - 1]}", "times that rise", "sort the poses")
        return Poses(np.stack([pose_of(row[1:], f"{path}, pose {i}") for i, row in enumerate(values, 1)]), stamps)
    if not widths <= {12, 16} or len(widths) != 1:
        raise PerceptionError(f"{path}: lines of {sorted(widths) or 'no'} numbers", FORMATS)
    return Poses(np.stack([pose_of(np.array(row), f"{path}, pose {i}") for i, row in enumerate(rows, 1)]))


def _rows(path: Path) -> list[list[float]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        texts = [line.replace(",", " ").split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        return [[float(word) for word in words] for words in texts]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise PerceptionError(f"{path} is no file of poses: {error}", FORMATS) from None


def _from_array(path: Path) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PerceptionError(f"{path} cannot be read: {error}", FORMATS) from None
    if values.shape in ((4, 4), (3, 4)):
        values = values[None]
    elif values.ndim == 2 and values.shape[1] in (12, 16):
        values = values.reshape(len(values), -1, 4)
    if (
        values.ndim != 3
        or not len(values)
        or values.shape[1:] not in ((4, 4), (3, 4))
        or values.dtype.kind not in "fiu"
    ):
        raise PerceptionError(f"{path} holds {values.dtype} of shape {values.shape}", FORMATS)
    return np.stack([pose_of(pose, f"{path}, pose {i}") for i, pose in enumerate(values, 1)])
