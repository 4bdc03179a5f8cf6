"""CenterPoint (Yin, Zhou & Krähenbühl, CVPR 2021) of one stage, as OpenPCDet publishes it for nuScenes and Waymo."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from perception.backbones.bev import BEVBackbone, FlattenHeight
from perception.backbones.dynamic_encoder import DynamicVoxelEncoder
from perception.backbones.sparse_encoder import SparseEncoder, encoded_depth
from perception.backbones.sparse_resnet import SparseResNet
from perception.backbones.stacked_pillars import StackedPillarEncoder
from perception.backbones.voxel_encoders import DynamicPillarEncoder, HeightSlices, MeanEncoder
from perception.config import config
from perception.heads.centre_grid import CentreGrid
from perception.heads.centre_head import CentreHead, CentreLossWeights, CentrePredictions
from perception.heads.centre_selection import CentreSelection, Suppression
from perception.models.centre_detector import NUSCENES_TASKS, WAYMO_TASKS, CentreDetector
from perception.models.detector import Voxels
from perception.models.pointpillars import Scatter
from perception.points import PointBatch
from perception.sparse import DynamicVoxels, HardVoxels, SparseTensor, VoxelGrid, dynamic_voxelise, hard_voxelise

Range = tuple[float, float, float, float, float, float]
Backbone = Literal["residual", "plain", "hard_pillars", "dynamic_pillars", "local_pillars", "height_slices"]

NUSCENES_SELECTION = CentreSelection(centre_range=(-61.2, -61.2, -10.0, 61.2, 61.2, 10.0))
# The published recipe means 0.2 for the velocities, which come last; it lands on cosine and sine of the heading.
NUSCENES_LOSS = CentreLossWeights(box=0.25, codes=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2, 1.0, 1.0))
WAYMO_SUPPRESSION = (Suppression(0.7, 4096, 500),)


@config
class CenterPointConfig:
    """Defaults are those of nuScenes with voxels of 0.075 m. ``tasks``: the classes that share a heatmap.

    ``backbone`` residual or plain: sparse voxels; hard_pillars or dynamic_pillars: pillars with or without caps
    (``max_points`` of one, ``max_voxels`` of a cloud in training and in use), their layers of ``pillar_channels``;
    local_pillars: without caps, and an object looks the same wherever it stands; height_slices: what is occupied in
    slices of the height, ``pillar_channels[-1]`` of them but one. ``overlap``: the head also predicts how well a box
    fits, for the selection's rectifier. ``heading``: cosine and sine, or axis and side (see ``CentreHead``).
    """

    tasks: tuple[tuple[str, ...], ...] = NUSCENES_TASKS
    velocity: bool = True
    point_fields: tuple[str, ...] = ("intensity", "time")
    point_range: Range = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)
    ground_height: float = -1.84
    voxel_size: tuple[float, float, float] = (0.075, 0.075, 0.2)
    backbone: Backbone = "residual"
    pillar_channels: tuple[int, ...] = (64, 64)
    max_points: int = 10
    max_voxels: tuple[int, int] = (120_000, 160_000)
    layers: tuple[int, ...] = (5, 5)
    strides: tuple[int, ...] = (1, 2)
    filters: tuple[int, ...] = (128, 256)
    up_strides: tuple[float, ...] = (1, 2)
    up_filters: tuple[int, ...] = (256, 256)
    head_channels: int = 64
    overlap: bool = False
    heading: Literal["vector", "axis"] = "vector"
    selection: CentreSelection = NUSCENES_SELECTION
    loss: CentreLossWeights = NUSCENES_LOSS


NUSCENES_01 = CenterPointConfig(
    point_range=(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0), voxel_size=(0.1, 0.1, 0.2), max_voxels=(60_000, 60_000)
)
NUSCENES_PILLARS = CenterPointConfig(
    point_range=(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
    voxel_size=(0.2, 0.2, 8.0),
    backbone="dynamic_pillars",
    layers=(3, 5, 5),
    strides=(2, 2, 2),
    filters=(64, 128, 256),
    up_strides=(0.5, 1, 2),
    up_filters=(128, 128, 128),
)


def _waymo(backbone: Literal["residual", "plain"]) -> CenterPointConfig:
    return CenterPointConfig(
        tasks=WAYMO_TASKS,
        velocity=False,
        point_fields=("intensity", "elongation"),
        point_range=(-75.2, -75.2, -2.0, 75.2, 75.2, 4.0),
        ground_height=0.0,
        voxel_size=(0.1, 0.1, 0.15),
        backbone=backbone,
        max_points=5,
        max_voxels=(150_000, 150_000),
        selection=CentreSelection(centre_range=(-75.2, -75.2, -2.0, 75.2, 75.2, 4.0), suppression=WAYMO_SUPPRESSION),
        loss=CentreLossWeights(),
    )


WAYMO, WAYMO_PLAIN = _waymo("residual"), _waymo("plain")
WAYMO_PILLARS = CenterPointConfig(
    tasks=WAYMO_TASKS,
    velocity=False,
    point_fields=("intensity", "elongation"),
    point_range=(-74.88, -74.88, -2.0, 74.88, 74.88, 4.0),
    ground_height=0.0,
    voxel_size=(0.32, 0.32, 6.0),
    backbone="hard_pillars",
    max_points=20,
    max_voxels=(150_000, 150_000),
    layers=(3, 5, 5),
    strides=(1, 2, 2),
    filters=(64, 128, 256),
    up_strides=(1, 2, 4),
    up_filters=(128, 128, 128),
    selection=CentreSelection(centre_range=(-80.0, -80.0, -10.0, 80.0, 80.0, 10.0), suppression=WAYMO_SUPPRESSION),
    loss=CentreLossWeights(),
)

# All round a car, for CPUs: occupied slices of 0.25 m from 0.3 m below the road on, and cells of 0.4 m.
SMALL = CenterPointConfig(
    tasks=(("Car", "Pedestrian", "Cyclist"),),
    velocity=False,
    point_fields=(),  # intensities differ from sensor to sensor; geometry carries over
    point_range=(-51.2, -51.2, -2.03, 51.2, 51.2, 0.97),
    ground_height=-1.73,
    voxel_size=(0.2, 0.2, 3.0),
    backbone="height_slices",
    pillar_channels=(13,),
    layers=(0, 3, 3, 3),
    strides=(1, 2, 2, 2),
    filters=(24, 48, 96, 128),
    up_strides=(0.5, 1, 2, 4),
    up_filters=(16, 32, 32, 32),
    head_channels=48,
    overlap=True,
    heading="axis",
    selection=CentreSelection(suppression=(Suppression(0.1, 500, 200),), rectifier=(0.5, 0.5, 0.5)),
    loss=CentreLossWeights(distance_iou=1.0, reach=1),
)


class CenterPoint(CentreDetector):
    """Sparse voxels or pillars, a dense map, 2D backbone, centres."""

    stages: ClassVar[tuple[str, ...]] = ("encoder", "backbone", "flatten", "bev", "head")

    def __init__(self, config: CenterPointConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CenterPointConfig()
        self.velocity = config.velocity
        self.pillars = config.backbone not in ("residual", "plain")
        points = 3 + len(config.point_fields)
        self.encoder: nn.Module = MeanEncoder()
        self.backbone: nn.Module = nn.Identity()
        self.flatten: nn.Module = FlattenHeight()
        depth, shrink = (1, 1) if self.pillars else (encoded_depth(self.grid.shape[0] + 1), 8)
        if config.backbone == "hard_pillars":
            self.encoder, self.flatten = StackedPillarEncoder(points, config.pillar_channels, self.grid), Scatter()
        elif config.backbone == "dynamic_pillars":
            self.encoder, self.flatten = DynamicVoxelEncoder(points, config.pillar_channels, self.grid), Scatter()
        elif config.backbone == "local_pillars":
            self.encoder, self.flatten = DynamicPillarEncoder(points, config.pillar_channels[-1], self.grid), Scatter()
        elif config.backbone == "height_slices":
            self.encoder, self.flatten = HeightSlices(config.pillar_channels[-1] - 1, self.grid), Scatter()
        else:
            self.backbone = {"residual": SparseResNet, "plain": SparseEncoder}[config.backbone](points)
        self.bev = BEVBackbone(
            config.pillar_channels[-1] if self.pillars else 128 * depth,
            config.layers,
            config.strides,
            config.filters,
            config.up_strides,
            config.up_filters,
        )
        stride = round(shrink * config.strides[0] / config.up_strides[0])
        self.head = CentreHead(
            self.bev.channels,
            config.tasks,
            CentreGrid.of(self.grid, stride),
            config.velocity,
            config.overlap,
            channels=config.head_channels,
            axis=config.heading == "axis",
        )

    def voxelise(self, points: PointBatch) -> HardVoxels | DynamicVoxels:
        if self.config.backbone == "dynamic_pillars":
            return dynamic_voxelise(points, columns(self.grid))
        if self.config.backbone in ("local_pillars", "height_slices"):
            return dynamic_voxelise(points, self.grid)
        return hard_voxelise(
            points, self.grid, self.config.max_points, self.config.max_voxels[0 if self.training else 1]
        )

    def forward(self, voxels: Voxels) -> CentrePredictions:
        return self.head(self.bev(self.flatten(self.backbone(self.sparse(voxels)))))

    def sparse(self, voxels: Voxels) -> SparseTensor:
        """Encoded voxels on the grid, with the spare cell in z that the published models have; pillars in two axes."""
        depth, height, width = self.grid.shape
        features = self.encoder(voxels)
        if self.pillars:
            return SparseTensor.of(features, voxels.coordinates[:, [0, 2, 3]], (height, width), voxels.batch_size)
        return SparseTensor.of(features, voxels.coordinates, (depth + 1, height, width), voxels.batch_size)


def columns(grid: VoxelGrid) -> VoxelGrid:
    """The grid without its limits in z: published dynamic pillars take points of any height."""
    x, y, _, far_x, far_y, _ = grid.point_range
    tall = 1e5
    return VoxelGrid((x, y, -tall, far_x, far_y, tall), (*grid.voxel_size[:2], 2 * tall))
