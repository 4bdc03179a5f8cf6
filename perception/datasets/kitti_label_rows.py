"""Label lines of the KITTI object benchmark as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from perception.errors import PerceptionError


@dataclass(frozen=True, eq=False)
class KittiObjects:
    """``names`` (N,), ``truncation``, ``occlusion``, ``alpha`` (N,), ``bbox`` (N, 4) and the camera boxes (N, 7)."""

    names: np.ndarray
    truncation: np.ndarray
    occlusion: np.ndarray
    alpha: np.ndarray
    bbox: np.ndarray
    boxes: np.ndarray

    def camera_boxes(self) -> np.ndarray:
        return self.boxes


def parse_label_lines(lines: Iterable[str], where: str) -> KittiObjects:
    """Labels with 15 words a line: class, truncation, occlusion, alpha, bbox, h w l, x y z, rotation_y."""
    rows = [line.split() for line in lines if line.strip()]
    try:
        values = np.array([row[1:15] for row in rows], dtype=np.float64).reshape(len(rows), 14)
    except ValueError:
        raise PerceptionError(f"{where} holds lines that are no labels", "a class and 14 numbers a line") from None
    boxes = np.column_stack([values[:, 10:13], values[:, 9], values[:, 7], values[:, 8], values[:, 13]])
    names = np.array([row[0] for row in rows], dtype=str)
    return KittiObjects(names, values[:, 0], values[:, 1].astype(np.int64), values[:, 2], values[:, 3:7], boxes)
