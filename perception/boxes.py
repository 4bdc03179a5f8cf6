"""Oriented boxes: the one convention of the library.

Centre x y z, size length width height (length along the heading), heading in radians counter-clockwise from +x about
+z, metres, in the frame of the cloud. Foreign conventions are converted where foreign files are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError


@dataclass(frozen=True, eq=False)
class Boxes3D:
    """``values`` (N, 7): x, y, z, length, width, height, heading; ``velocity`` (N, 2) m/s along x and y, or None."""

    values: Tensor
    velocity: Tensor | None = None

    def __post_init__(self) -> None:
        values = torch.as_tensor(self.values)
        if values.ndim != 2 or values.shape[1] != 7:
            raise PerceptionError(
                f"boxes of shape {tuple(values.shape)}",
                "(N, 7): x, y, z, length, width, height, heading",
                "put velocities into the separate (N, 2) tensor",
            )
        if self.velocity is not None and self.velocity.shape != (len(values), 2):
            raise PerceptionError(f"velocities of shape {tuple(self.velocity.shape)}", f"({len(values)}, 2)")
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Tensor | np.ndarray | slice) -> Boxes3D:
        rows = torch.as_tensor(rows) if isinstance(rows, np.ndarray) else rows
        return Boxes3D(self.values[rows], None if self.velocity is None else self.velocity[rows])

    @property
    def centre(self) -> Tensor:
        return self.values[:, :3]

    @property
    def size(self) -> Tensor:
        return self.values[:, 3:6]

    @property
    def heading(self) -> Tensor:
        return self.values[:, 6]

    def to(self, device: torch.device | str) -> Boxes3D:
        return Boxes3D(self.values.to(device), None if self.velocity is None else self.velocity.to(device))

    def corners(self) -> Tensor:
        """Corners (N, 8, 3): the bottom four counter-clockwise from front left, then the top four likewise."""
        signs = self.values.new_tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
        planar = self.size[:, None, :2] * signs
        cos, sin = self.heading.cos()[:, None], self.heading.sin()[:, None]
        x = planar[..., 0] * cos - planar[..., 1] * sin + self.values[:, None, 0]
        y = planar[..., 0] * sin + planar[..., 1] * cos + self.values[:, None, 1]
        half = self.values[:, 5, None] / 2
        bottom = torch.stack([x, y, (self.values[:, 2, None] - half).expand_as(x)], -1)
        top = torch.stack([x, y, (self.values[:, 2, None] + half).expand_as(x)], -1)
        return torch.cat([bottom, top], 1)

    @classmethod
    def empty(cls, velocity: bool = False) -> Boxes3D:
        return cls(torch.zeros(0, 7), torch.zeros(0, 2) if velocity else None)

    @classmethod
    def concatenate(cls, boxes: list[Boxes3D]) -> Boxes3D:
        """All boxes in order; velocities are kept if every part has them."""
        if not boxes:
            return cls.empty()
        velocities = [b.velocity for b in boxes if b.velocity is not None]
        velocity = torch.cat(velocities) if len(velocities) == len(boxes) else None
        return cls(torch.cat([b.values for b in boxes]), velocity)


def wrap_angle(angle: Tensor, period: float = 2 * torch.pi, offset: float = 0.5) -> Tensor:
    """``angle`` moved by multiples of ``period`` into [-offset * period, (1 - offset) * period)."""
    return angle - torch.floor(angle / period + offset) * period
