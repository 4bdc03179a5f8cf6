"""What decides the answer of a run, and what tells its results from those of another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from perception.config import config
from perception.errors import PerceptionError
from perception.models.model import Model
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.classical import METHODS

Method = Model | str | Callable[[PointCloud], TreeInstances]

VOXELS = {"watershed": 0.1, "li2012": 0.1}
FINE = 0.05  # metres: stems and what networks look at
FINEST, MOST_VOXELS = 0.01, 1 << 16
STEP = 0.25  # metres: the voxels that volumes are counted in, which no border between tiles may cut


@config
class ForestSettings:
    """Squares of ``tile`` metres that also see ``overlap`` metres around them, on a grid that begins at ``start``.

    The method sees one point in voxels of ``voxel`` metres, whatever the density of the recording. Trees of fewer than
    ``least_points`` points (of the file) are none. ``normalise``: networks get heights above the ground instead of
    above the lowest point of their tile. Points further than ``tallest`` metres from the middle height of their tile
    are nobody's.
    """

    tile: float = 40.0
    overlap: float = 10.0
    voxel: float = FINE
    least_points: int = 10
    normalise: bool = False
    tallest: float = 500.0
    start: tuple[float, float] = (0.0, 0.0)

    def check(self) -> None:
        """Raises PerceptionError for sizes that do not fit together."""
        if not 1 <= self.tile <= 1000 or abs(self.tile / STEP - round(self.tile / STEP)) > 1e-9:
            raise PerceptionError(f"tiles of {self.tile:g} m", f"multiples of {STEP} m from 1 to 1,000")
        if not 0 <= self.overlap < self.tile / 2:
            raise PerceptionError(
                f"an overlap of {self.overlap:g} m around tiles of {self.tile:g} m",
                f"0 to below half a tile, {self.tile / 2:g} m",
                "choose larger tiles or a smaller overlap",
            )
        if not FINEST <= self.voxel <= 1 or self.tile / self.voxel >= MOST_VOXELS:
            raise PerceptionError(f"a thinning to {self.voxel:g} m", f"{FINEST} to 1 m")
        if self.least_points < 1:
            raise PerceptionError(f"trees of {self.least_points} points", "at least 1")


def default_voxel(method: Method) -> float:
    """What a method needs to see, in metres."""
    return VOXELS.get(method, FINE) if isinstance(method, str) else FINE


def identity(method: Method, settings: ForestSettings) -> str:
    """Tells kept results of one method and its settings from those of others."""
    found = hashlib.sha256(repr(settings).encode())
    if isinstance(method, Model):
        found.update(repr(method.config).encode())
        for value in method.state_dict().values():
            found.update(value.detach().cpu().numpy().tobytes())
    else:
        found.update(
            (method if isinstance(method, str) else getattr(method, "__qualname__", type(method).__qualname__)).encode()
        )
    return found.hexdigest()[:12]


def check_method(method: Method) -> None:
    """Raises PerceptionError for a model of another task."""
    if isinstance(method, str) and method not in METHODS:
        raise PerceptionError(f"no method {method!r}", f"one of {', '.join(METHODS)}")
    if isinstance(method, Model) and method.task != "trees":
        raise PerceptionError(f"a model for {method.task}", "a model of trees", "see `perception models`")
