"""HOTFormerLoc: places from the ground and from the air, on octrees (Griffiths et al., CVPR 2025)."""

from __future__ import annotations

from torch import Tensor

from perception.backbones.hotformer import HOTFormer
from perception.backbones.octree_input import (
    Border,
    Coordinates,
    OctreeCloud,
    cylindrical,
    inside_unit,
    into_unit_cube,
    no_empty_cloud,
    octree_cloud,
)
from perception.backbones.octree_windows import Extent
from perception.config import config
from perception.errors import PerceptionError
from perception.heads.place_head import PyramidPool
from perception.models.place_model import PlaceModel
from perception.points import PointBatch

LEVELS = 3
HALVINGS = 2 + 1  # of the stem, and after the first stage


@config
class HOTFormerLocConfig:
    """Defaults are those of CS-Wild-Places.

    ``depth`` of the octree; ``window`` nodes in a window; ``pooled`` tokens of each level of the pyramid.
    ``distribution``: relay tokens know mean and covariance of their nodes (ADaPE). ``normalise``: each cloud's bounding
    box to [-1, 1] first; otherwise clouds are so already, and points outside are left out.

    ``windows`` = ``batch``, as published weights were trained: windows run through all clouds of a batch, so that a
    descriptor depends a little on the clouds beside it. ``cloud`` gives what each cloud gives alone.
    ``border`` = ``wrap`` is also the published behaviour (see ``octree_cloud``).
    """

    depth: int = 7
    window: int = 64
    dilation: int = 4
    coordinates: Coordinates = "cartesian"
    normalise: bool = True
    distribution: bool = True
    channels: tuple[int, int] = (128, 256)
    heads: tuple[int, int] = (8, 16)
    blocks: tuple[int, int] = (4, 10)
    pooled: tuple[int, int, int] = (74, 36, 18)
    descriptor: int = 256
    drop_path: float = 0.5
    windows: Extent = "batch"
    border: Border = "wrap"
    temperature: float = 0.01
    closest: int = 4


CS_WILD_PLACES = HOTFormerLocConfig()
WILD_PLACES = HOTFormerLocConfig(window=48, coordinates="cylindrical", distribution=False, pooled=(148, 72, 36))
CS_CAMPUS3D = HOTFormerLocConfig(normalise=False, pooled=(148, 72, 36))
OXFORD = HOTFormerLocConfig(depth=9, window=48, normalise=False)


class HOTFormerLoc(PlaceModel):
    """A unit descriptor of each cloud: octree, HOTFormer, pyramid attentional pooling."""

    stages = ("backbone.stem", "backbone.local", "backbone.down", "backbone.pyramid", "head")

    def __init__(self, config: HOTFormerLocConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HOTFormerLocConfig()
        self.top = config.depth - HALVINGS - (LEVELS - 1)
        if self.top < 1:
            raise PerceptionError(f"an octree of depth {config.depth}", f"at least {HALVINGS + LEVELS}")
        self.backbone = HOTFormer(
            config.channels,
            config.heads,
            config.blocks,
            config.window,
            config.dilation,
            LEVELS,
            config.distribution,
            config.drop_path,
            config.windows,
        )
        self.head = PyramidPool(config.channels[1], config.pooled, config.descriptor)

    def voxelise(self, points: PointBatch) -> OctreeCloud:
        """Raises PerceptionError for a cloud of which no point is inside the unit cube or cylinder."""
        points = into_unit_cube(points) if self.config.normalise else points
        return self.octree(inside_unit(points, self.config.coordinates))

    def octree(self, points: PointBatch) -> OctreeCloud:
        """The octree of points in the unit cube or cylinder, still as x y z."""
        no_empty_cloud(points, " inside [-1, 1]", "normalise it, or set normalise to true in the model's configuration")
        points = cylindrical(points) if self.config.coordinates == "cylindrical" else points
        return octree_cloud(points, self.config.depth, self.top, self.config.border)

    def forward(self, cloud: OctreeCloud) -> Tensor:
        """Unit descriptors (B, descriptor)."""
        return self.head(self.backbone(cloud))
