"""MinkLoc3Dv2: places by sparse convolution and a ranking loss on large batches (Komorowski, ICPR 2022)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from perception.backbones.minkfpn import MinkFPN
from perception.backbones.octree_input import into_unit_cube, turned, within
from perception.config import config
from perception.errors import PerceptionError
from perception.heads.place_head import GeM
from perception.models.place_model import PlaceModel
from perception.points import PointBatch
from perception.sparse import Sites, SparseTensor
from perception.sparse.sites import coordinates_of, linear_keys

MASK = 1 << 25  # cells of a batch, a byte each


@config
class MinkLoc3Dv2Config:
    """Defaults are those of Oxford RobotCar, whose clouds come normalised to [-1, 1].

    ``step`` is the size of a cell in the cloud's units. ``normalise``: each cloud's bounding box to [-1, 1] first.
    ``radius``: points farther than this from the cloud's origin, seen from above, are left out.
    ``turns``: outside training a descriptor is the mean over so many turns about z: cells lie otherwise on a place that
    is seen from another direction.
    ``unit``: descriptors of length one; the published ones are not, and are compared by euclidean distance.
    """

    step: float = 0.01
    normalise: bool = False
    radius: float | None = None
    turns: int = 1
    planes: tuple[int, ...] = (64, 128, 64, 32)
    top_down: int = 2
    first_kernel: int = 5
    descriptor: int = 256
    unit: bool = False
    temperature: float = 0.01
    closest: int = 4


SMALL = MinkLoc3Dv2Config(
    step=1.0, radius=50.0, turns=6, planes=(32, 48, 64, 64), top_down=2, first_kernel=3, descriptor=128, unit=True
)
"""For scans in metres about their sensor, on CPUs."""


class MinkLoc3Dv2(PlaceModel):
    """A descriptor of each cloud: occupied cells, a feature pyramid, generalised mean."""

    stages = ("backbone", "head")

    def __init__(self, config: MinkLoc3Dv2Config | None = None) -> None:
        super().__init__()
        self.config = config = config or MinkLoc3Dv2Config()
        if config.step <= 0 or config.turns < 1:
            raise PerceptionError(f"cells of {config.step}, {config.turns} turns", "a size above 0, 1 turn or more")
        self.backbone = MinkFPN(1, config.planes, config.descriptor, config.top_down, config.first_kernel)
        self.head = GeM()

    @property
    def turns(self) -> int:
        """In training each cloud is seen once, at the turn that augmentation gives it."""
        return 1 if self.training else self.config.turns

    def voxelise(self, points: PointBatch) -> SparseTensor:
        """The occupied cells, each with the feature 1; of each cloud at every turn, one after the other."""
        points = into_unit_cube(points) if self.config.normalise else points
        points = points if self.config.radius is None else within(points, self.config.radius)
        points = turned(points, self.turns)
        cells = torch.floor(points.xyz / self.config.step).long().flip(1)
        # The grids of all levels keep their phase only if cells are moved by whole steps of the coarsest.
        coarsest = 2 ** len(self.config.planes)
        low = cells.amin(0).div(coarsest, rounding_mode="floor") * coarsest
        shape = [int(size) for size in (cells.amax(0) - low + 1).tolist()]
        rows = torch.cat([points.sample[:, None], cells - low], 1)
        keys = _each_once(linear_keys(rows, shape, points.batch_size), points.batch_size * math.prod(shape))
        sites = Sites.of(coordinates_of(keys, shape), shape, points.batch_size)
        return SparseTensor(points.xyz.new_ones((len(keys), 1)), sites)

    def forward(self, cells: SparseTensor) -> Tensor:
        """Descriptors (B, descriptor)."""
        found = self.head(self.backbone(cells))
        if self.turns > 1:
            found = F.normalize(found, dim=1) if self.config.unit else found
            found = found.unflatten(0, (-1, self.turns)).mean(1)
        return F.normalize(found, dim=1) if self.config.unit else found


def _each_once(keys: Tensor, most: int) -> Tensor:
    """The different keys below ``most``, ascending; by a mask where that takes less than sorting them."""
    if most > MASK:
        return keys.unique()
    return keys.new_zeros(most, dtype=torch.bool).index_fill_(0, keys, True).nonzero()[:, 0]
