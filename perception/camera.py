"""An image beside a cloud: its pixels, and how points of the cloud project into them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError


@dataclass(frozen=True, eq=False)
class CameraView:
    """``image`` (3, H, W) float32 red green blue in [0, 1], H rows down and W columns right.

    ``to_camera`` (4, 4) leads from the cloud's frame to the camera's (x right, y down, z ahead) and may scale;
    ``projection`` (3, 4): a point p of the camera's frame is seen at the pixel (projection (p, 1))[:2] / depth, depth
    its z. (The third row of KITTI's projections would add 3 mm to it; published models on images divide by z.)
    """

    image: Tensor
    to_camera: np.ndarray
    projection: np.ndarray

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[0] != 3 or not self.image.is_floating_point():
            raise PerceptionError(
                f"an image of shape {tuple(self.image.shape)}, {self.image.dtype}",
                "(3, height, width), red green blue from 0 to 1",
                "divide bytes by 255 and put the colours first",
            )
        for name, shape in (("to_camera", (4, 4)), ("projection", (3, 4))):
            matrix = np.asarray(getattr(self, name), np.float64)
            if matrix.shape != shape or not np.isfinite(matrix).all():
                raise PerceptionError(f"{name} of shape {matrix.shape}", f"finite numbers of shape {shape}")
            object.__setattr__(self, name, matrix)

    def moved(self, transform: np.ndarray) -> CameraView:
        """The view of the same image from a cloud whose points ``transform`` (4, 4) has moved: augmentation undone."""
        return replace(self, to_camera=self.to_camera @ np.linalg.inv(transform))

    def pixels(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Column and row (N, 2) int64 of points (N, 3), fractions cut off, and whether they are seen (N,) bool.

        Seen is what lies ahead of the camera and inside the image.
        """
        rigid = torch.from_numpy(self.to_camera[:3]).to(points.device)
        lens = torch.from_numpy(self.projection).to(points.device)
        camera = points.double() @ rigid[:, :3].T + rigid[:, 3]
        ahead = camera[:, 2] > 0
        depth = torch.where(ahead, camera[:, 2], 1.0)
        place = (camera @ lens[:2, :3].T + lens[:2, 3]) / depth[:, None]
        size = place.new_tensor([self.image.shape[2], self.image.shape[1]])
        # Cutting off towards zero, so that the pixel 0 begins just above -1, is the published rule.
        seen = ahead & ((place > -1) & (place < size)).all(1)
        return torch.where(seen[:, None], place, 0.0).long(), seen
