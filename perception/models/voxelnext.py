"""VoxelNeXt (Chen et al., CVPR 2023): detection in sparse voxels alone, as its authors and OpenPCDet publish it."""

from __future__ import annotations

from torch import nn

from perception.backbones.placed_pillars import PlacedPillarEncoder
from perception.backbones.sparse_voxelnext import BLOCKS, CHANNELS, KERNELS, SparseVoxelNeXt
from perception.backbones.voxel_encoders import MeanEncoder
from perception.config import config
from perception.heads.centre_grid import CentreGrid
from perception.heads.centre_head import CentreLossWeights
from perception.heads.centre_selection import CentreSelection, Suppression
from perception.heads.sparse_centre_head import SparseCentreHead, SparseCentrePredictions
from perception.models.centerpoint import NUSCENES_LOSS, NUSCENES_SELECTION, Range, columns
from perception.models.centre_detector import NUSCENES_TASKS, WAYMO_TASKS, CentreDetector
from perception.models.detector import Voxels
from perception.points import PointBatch
from perception.sparse import DynamicVoxels, HardVoxels, SparseTensor, dynamic_voxelise, hard_voxelise

STRIDE = 8


@config
class VoxelNeXtConfig:
    """Defaults are those of nuScenes. ``planar``: pillars and a backbone in two dimensions, of points of any height.

    ``channels`` and residual ``blocks`` of the six stages, ``kernels`` between them, ``head_channels`` after them;
    ``head_kernel`` 1 or 3. ``overlap``: the head predicts the overlap of its boxes, which then changes their scores.
    """

    tasks: tuple[tuple[str, ...], ...] = NUSCENES_TASKS
    velocity: bool = True
    overlap: bool = False
    point_fields: tuple[str, ...] = ("intensity", "time")
    point_range: Range = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)
    ground_height: float = -1.84
    voxel_size: tuple[float, float, float] = (0.075, 0.075, 0.2)
    planar: bool = False
    max_points: int = 10
    max_voxels: tuple[int, int] = (120_000, 160_000)
    channels: tuple[int, ...] = CHANNELS
    kernels: tuple[int, ...] = KERNELS
    blocks: tuple[int, ...] = BLOCKS
    head_channels: int = 128
    head_kernel: int = 1
    selection: CentreSelection = NUSCENES_SELECTION
    loss: CentreLossWeights = NUSCENES_LOSS


PLANAR_CHANNELS, PLANAR_BLOCKS = (32, 64, 128, 256, 256, 256), (3, 4, 6, 3, 3, 3)
NUSCENES_KERNEL_3 = VoxelNeXtConfig(head_kernel=3)
NUSCENES_PLANAR = VoxelNeXtConfig(planar=True, channels=PLANAR_CHANNELS, blocks=PLANAR_BLOCKS, head_channels=256)


def _waymo(
    head_channels: int = 128,
    channels: tuple[int, ...] = CHANNELS,
    kernels: tuple[int, ...] = KERNELS,
    blocks: tuple[int, ...] = BLOCKS,
    planar: bool = False,
) -> VoxelNeXtConfig:
    return VoxelNeXtConfig(
        tasks=WAYMO_TASKS,
        velocity=False,
        overlap=True,
        point_fields=("intensity", "elongation"),
        point_range=(-75.2, -75.2, -2.0, 75.2, 75.2, 4.0),
        ground_height=0.0,
        voxel_size=(0.1, 0.1, 0.15),
        planar=planar,
        max_points=5,
        max_voxels=(150_000, 150_000),
        channels=channels,
        kernels=kernels,
        blocks=blocks,
        head_channels=head_channels,
        head_kernel=3,
        selection=CentreSelection(
            centre_range=(-75.2, -75.2, -2.0, 75.2, 75.2, 4.0),
            suppression=(Suppression(0.8, 2048, 200), Suppression(0.55, 1024, 150), Suppression(0.55, 1024, 150)),
            rectifier=(0.68, 0.71, 0.65),
        ),
        loss=CentreLossWeights(distance_iou=2.0),
    )


WAYMO = _waymo()
WAYMO_LARGE = _waymo(256, (32, 64, 128, 256, 256, 256), (5, 5, 3, 3, 3))
WAYMO_PLANAR = _waymo(256, PLANAR_CHANNELS, blocks=PLANAR_BLOCKS, planar=True)

ARGOVERSE2_TASKS = (
    ("Regular_vehicle",),
    ("Pedestrian", "Bicyclist", "Motorcyclist", "Wheeled_rider"),
    (
        "Bollard",
        "Construction_cone",
        "Sign",
        "Construction_barrel",
        "Stop_sign",
        "Mobile_pedestrian_crossing_sign",
    ),
    (
        "Large_vehicle",
        "Bus",
        "Box_truck",
        "Truck",
        "Vehicular_trailer",
        "Truck_cab",
        "School_bus",
        "Articulated_bus",
        "Message_board_trailer",
    ),
    ("Bicycle", "Motorcycle", "Wheeled_device", "Wheelchair", "Stroller"),
    ("Dog",),
)
ARGOVERSE2 = VoxelNeXtConfig(
    tasks=ARGOVERSE2_TASKS,
    velocity=False,
    point_fields=("intensity",),
    point_range=(-200.0, -200.0, -20.0, 200.0, 200.0, 20.0),
    ground_height=-0.33,  # the origin is the rear axle
    voxel_size=(0.1, 0.1, 0.2),
    max_points=20,
    selection=CentreSelection(centre_range=(-200.0, -200.0, -20.0, 200.0, 200.0, 20.0)),
    loss=CentreLossWeights(box=0.25, codes=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)),
)


class VoxelNeXt(CentreDetector):
    """Sparse voxels from the points to the boxes."""

    stages = ("encoder", "backbone", "head")

    def __init__(self, config: VoxelNeXtConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VoxelNeXtConfig()
        self.velocity = config.velocity
        points = 3 + len(config.point_fields)
        self.encoder: nn.Module = MeanEncoder()
        if config.planar:
            self.encoder = PlacedPillarEncoder(points, config.channels[0], self.grid)
        self.backbone = SparseVoxelNeXt(
            points, config.head_channels, config.channels, config.kernels, config.blocks, 2 if config.planar else 3
        )
        self.head = SparseCentreHead(
            config.head_channels,
            config.tasks,
            CentreGrid.of(self.grid, STRIDE),
            config.head_kernel,
            config.velocity,
            config.overlap,
        )

    def voxelise(self, points: PointBatch) -> HardVoxels | DynamicVoxels:
        if self.config.planar:
            return dynamic_voxelise(points, columns(self.grid))
        return hard_voxelise(
            points, self.grid, self.config.max_points, self.config.max_voxels[0 if self.training else 1]
        )

    def forward(self, voxels: Voxels) -> SparseCentrePredictions:
        depth, height, width = self.grid.shape
        features, coordinates, shape = self.encoder(voxels), voxels.coordinates, [depth + 1, height, width]
        if self.config.planar:
            coordinates, shape = coordinates[:, [0, 2, 3]], shape[1:]
        predictions: SparseCentrePredictions = self.head(
            self.backbone(SparseTensor.of(features, coordinates, shape, voxels.batch_size))
        )
        return predictions
