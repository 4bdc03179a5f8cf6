"""PV-RCNN (Shi et al., CVPR 2020), as OpenPCDet publishes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from perception.config import config
from perception.heads.anchors import AnchorClass
from perception.heads.roi.aggregation import Ball
from perception.heads.roi.arrival import arrival_orders
from perception.heads.roi.keypoint_head import KeypointRoIHead, WeightedKeypoints
from perception.heads.roi.point_head import PointHead, point_loss, point_targets
from perception.heads.roi.proposals import ProposalRule
from perception.heads.roi.set_abstraction import SetAbstraction, StageBalls
from perception.heads.selection import Selection
from perception.models.two_stage import STAGE_CHANNELS, TwoStageConfig, TwoStageDetector, TwoStagePredictions
from perception.points import PointBatch
from perception.sparse import HardVoxels, SparseTensor


@config
class PVRCNNConfig(TwoStageConfig):
    """Defaults are those of KITTI. ``raw_balls`` gather points, ``stage_balls`` voxels, ``roi_balls`` keypoints.

    A ball with more voxels than its number holds the first ones: in the order of ``arrival``, as spconv numbers cells
    on CPUs, or that of the ``grid``, as on GPUs. The latter does not depend on the order of the points.
    """

    selection: Selection = Selection(0.1, 4096, 0.1, 500)
    proposals: ProposalRule = ProposalRule(1024, 0.7, 100)
    keypoints: int = 2048
    raw_balls: tuple[Ball, Ball] = (Ball(0.4, 16, (16, 16)), Ball(0.8, 16, (16, 16)))
    stage_balls: tuple[StageBalls, ...] = (
        StageBalls(1, (Ball(0.4, 16, (16, 16)), Ball(0.8, 16, (16, 16)))),
        StageBalls(2, (Ball(0.8, 16, (32, 32)), Ball(1.2, 32, (32, 32)))),
        StageBalls(3, (Ball(1.2, 16, (64, 64)), Ball(2.4, 32, (64, 64)))),
        StageBalls(4, (Ball(2.4, 16, (64, 64)), Ball(4.8, 32, (64, 64)))),
    )
    roi_balls: tuple[Ball, Ball] = (Ball(0.8, 16, (64, 64)), Ball(1.6, 16, (64, 64)))
    voxel_order: Literal["arrival", "grid"] = "arrival"
    point_weight: float = 1.0


@dataclass(frozen=True, eq=False)
class PointVoxels:
    """``hard`` voxels for the backbone; ``points`` in range in x and y, whatever their height, for keypoints."""

    hard: HardVoxels
    points: PointBatch


class PVRCNN(TwoStageDetector):
    """SECOND proposes; keypoints that saw points, voxels of all scales and the map refine."""

    config: PVRCNNConfig
    stages = (*TwoStageDetector.stages[:-1], "abstraction", "point_head", "roi")

    def __init__(self, config: PVRCNNConfig | None = None) -> None:
        config = config or PVRCNNConfig()
        super().__init__(config)
        self.abstraction = SetAbstraction(
            config.keypoints,
            len(config.point_fields),
            config.raw_balls,
            config.stage_balls,
            STAGE_CHANNELS,
            self.flattened,
            self.grid,
        )
        self.point_head = PointHead(self.abstraction.gathered)
        self.roi = KeypointRoIHead(self.abstraction.channels, config.roi_balls, config.grid_size, config.refine)

    def voxelise(self, points: PointBatch) -> PointVoxels:  # type: ignore[override]
        low, high = points.xyz.new_tensor(self.config.point_range).view(2, 3)[:, :2]
        inside = ((points.xyz[:, :2] >= low) & (points.xyz[:, :2] <= high)).all(1)
        kept = replace(points, values=points.values[inside], sample=points.sample[inside])
        return PointVoxels(super().voxelise(points), kept)

    def hard_voxels(self, voxels: PointVoxels) -> HardVoxels:
        return voxels.hard

    def roi_features(
        self, voxels: PointVoxels, volume: SparseTensor, stages: list[SparseTensor], flat: Tensor
    ) -> WeightedKeypoints:
        arrival = self.config.voxel_order == "arrival"
        orders = arrival_orders(voxels.hard.coordinates, volume, stages) if arrival else None
        keypoints = self.abstraction(voxels.points, stages, flat, orders)
        return WeightedKeypoints(keypoints, self.point_head(keypoints.gathered))

    def loss(  # type: ignore[override]
        self, predictions: TwoStagePredictions, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        parts = super().loss(predictions, boxes, labels)
        scene: WeightedKeypoints = predictions.features
        target = point_targets(scene.keypoints.places, boxes)
        point = point_loss(scene.logits, target) * self.config.point_weight
        return {**parts, "loss": parts["loss"] + point, "point": point}


WAYMO = PVRCNNConfig(
    classes=(
        AnchorClass("Vehicle", (4.7, 2.1, 1.7), 0.0, 0.55, 0.4),
        AnchorClass("Pedestrian", (0.91, 0.86, 1.73), 0.0, 0.5, 0.35),
        AnchorClass("Cyclist", (1.78, 0.84, 1.78), 0.0, 0.5, 0.35),
    ),
    point_fields=("intensity", "elongation"),
    point_range=(-75.2, -75.2, -2.0, 75.2, 75.2, 4.0),
    ground_height=0.0,
    voxel_size=(0.1, 0.1, 0.15),
    max_voxels=(150_000, 150_000),
    selection=Selection(0.1, 4096, 0.7, 500),
    proposals=ProposalRule(4096, 0.85, 300),
    keypoints=4096,
    stage_balls=PVRCNNConfig().stage_balls[2:],
)
