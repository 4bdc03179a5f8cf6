"""The shapes that an engine is built for: least, usual and most rows of each input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perception.export.manifest import Limits, TensorSpec

Shape = tuple[int, ...]
# A strided convolution reaches more cells than it has inputs: never more than this on the recordings we have (1.5).
GROWTH = 2


@dataclass(frozen=True)
class Profile:
    """Shapes of every input by name, in the order least, usual, most."""

    shapes: dict[str, tuple[Shape, Shape, Shape]]

    def text(self, which: int) -> str:
        """As trtexec takes them: NAME:AxB,NAME:C."""
        return ",".join(f"{name}:{'x'.join(map(str, shapes[which]))}" for name, shapes in self.shapes.items())


def profile_of(inputs: Sequence[TensorSpec], limits: Limits) -> Profile:
    """At least two rows, usually a quarter of the most, at most what the limits say."""
    made: dict[str, tuple[Shape, Shape, Shape]] = {}
    for spec in inputs:
        least, usual, most = [], [], []
        for axis in spec.shape:
            upper = axis if isinstance(axis, int) else _most(axis, limits)
            fixed = isinstance(axis, int)
            least.append(upper if fixed else 2)
            usual.append(upper if fixed else max(upper // 4, 2))
            most.append(upper)
        made[spec.name] = tuple(least), tuple(usual), tuple(most)
    return Profile(made)


def _most(axis: str, limits: Limits) -> int:
    if axis == "points":
        return limits.points
    return limits.voxels if axis in ("rows0", "sets0", "sets1") else limits.voxels * GROWTH
