"""VoxelKP (Shi et al., ICCV 2025): human keypoints in sparse voxels alone, and a small form for embedded GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

import torch
from torch import Tensor

from perception.backbones.sparse_voxelkp import BLOCKS, CHANNELS, KERNELS, SparseVoxelKP
from perception.backbones.voxel_encoders import MeanEncoder
from perception.boxes import Boxes3D
from perception.config import config
from perception.errors import PerceptionError
from perception.geometry import circle_nms
from perception.heads.centre_grid import CentreGrid
from perception.heads.centre_selection import CentreSelection, Suppression
from perception.heads.keypoint_head import KeypointHead, KeypointLossWeights, KeypointPredictions
from perception.heads.person_refiner import PersonRefiner, RefinerConfig, ScanPoints
from perception.keypoints import KeypointTargets, Skeleton
from perception.losses.keypoints import SEEN
from perception.models.centerpoint import Range
from perception.models.detector import Detector
from perception.points import PointBatch
from perception.results import Skeletons
from perception.sparse import HardVoxels, SparseTensor, hard_voxelise
from perception.sparse.windows import Origin

STRIDE = 8


@config
class VoxelKPConfig:
    """Defaults are those published, for Waymo in the vehicle's frame, whose pedestrians and cyclists are one class.

    ``channels`` and ``blocks`` of the six stages, ``kernels`` between them, ``head_channels`` after them; attention
    with ``heads`` in boxes of ``window`` voxels. ``origin`` of the boxes: as published the lowest voxel in the batch;
    "lowest in sample" makes results independent of the batch. ``ground_height`` metres, of the road in this frame.
    ``refiner``: a second look at the points about each person, which the published model has not.
    """

    skeleton: Skeleton = field(default_factory=Skeleton)
    class_name: str = "Human"
    point_fields: tuple[str, ...] = ("intensity", "elongation")
    point_range: Range = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
    voxel_size: tuple[float, float, float] = (0.1, 0.1, 0.1)
    max_points: int = 5
    max_voxels: tuple[int, int] = (150_000, 150_000)
    channels: tuple[int, ...] = CHANNELS
    kernels: tuple[int, ...] = KERNELS
    blocks: tuple[int, ...] = BLOCKS
    head_channels: int = 384
    window: int = 6
    heads: int = 4
    origin: Origin = "lowest in batch"
    ground_height: float = 0.0
    selection: CentreSelection = field(
        default_factory=lambda: CentreSelection(
            score_threshold=0.3,
            centre_range=(-75.2, -75.2, -2.0, 75.2, 75.2, 4.0),
            suppression=(Suppression(0.8, 2048, 200),),
            rectifier=(0.68,),
        )
    )
    loss: KeypointLossWeights = field(default_factory=KeypointLossWeights)
    refiner: RefinerConfig | None = None

    def __post_init__(self) -> None:
        rules, powers = len(self.selection.suppression), len(self.selection.rectifier or (0.0,))
        if (rules, powers) != (1, 1):
            raise PerceptionError(
                f"selection with {rules} rules of suppression and {powers} rectifiers", "one of each: one class"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.class_name,)


# Geometry alone, in the frame of a sensor on a roof: any lidar, and people as far as joints can be told apart.
SMALL = VoxelKPConfig(
    point_fields=(),
    point_range=(-51.2, -51.2, -3.0, 51.2, 51.2, 3.0),
    max_voxels=(60_000, 60_000),
    channels=(16, 24, 32, 48, 48, 48),
    kernels=(3, 3, 3, 3, 3),
    blocks=(1, 1, 2, 2, 1, 1),
    head_channels=64,
    origin="lowest in sample",
    ground_height=-1.73,
    # low, as the second look has a threshold of its own
    selection=CentreSelection(score_threshold=0.1, suppression=(Suppression(0.3, 500, 200),), rectifier=(0.68,)),
    refiner=RefinerConfig(),
)


class VoxelKP(Detector):
    """Sparse voxels from the points to the people's joints."""

    task = "keypoints"
    stages = ("encoder", "backbone", "head")
    heads = ("head", "refiner")

    def __init__(self, config: VoxelKPConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VoxelKPConfig()
        self.encoder = MeanEncoder()
        self.backbone = SparseVoxelKP(
            3 + len(config.point_fields),
            self.grid.shape[0] + 1,
            config.head_channels,
            config.channels,
            config.kernels,
            config.blocks,
            config.window,
            config.heads,
            config.origin,
        )
        self.head = KeypointHead(
            config.head_channels, config.skeleton, CentreGrid.of(self.grid, STRIDE), config.class_name
        )
        self.refiner = None if config.refiner is None else PersonRefiner(len(config.skeleton.joints), config.refiner)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.classes

    @property
    def skeleton(self) -> Skeleton:
        """The joints that the model knows."""
        return self.config.skeleton

    def voxelise(self, points: PointBatch) -> HardVoxels:
        return hard_voxelise(
            points, self.grid, self.config.max_points, self.config.max_voxels[0 if self.training else 1]
        )

    def forward(self, voxels: HardVoxels) -> KeypointPredictions:
        depth, height, width = self.grid.shape
        shape = [depth + 1, height, width]
        x = SparseTensor.of(self.encoder(voxels), voxels.coordinates, shape, voxels.batch_size)
        predictions: KeypointPredictions = self.head(self.backbone(x))
        return predictions if self.refiner is None else replace(predictions, scan=ScanPoints.of(voxels))

    def loss(
        self,
        predictions: KeypointPredictions,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        keypoints: Sequence[KeypointTargets] | None = None,
    ) -> dict[str, Tensor]:
        """Of (N, 7) boxes and the joints of each, row by row; see ``KeypointHead.loss`` for the recipe."""
        parts = self.head.loss(predictions, boxes, labels, keypoints, self.config.loss)
        if self.refiner is None:
            return parts
        second = self._second_loss(predictions, boxes, keypoints)
        return {**parts, **second, "loss": parts["loss"] + torch.stack(list(second.values())).sum()}

    def _second_loss(
        self, predictions: KeypointPredictions, boxes: Sequence[Tensor], keypoints: Sequence[KeypointTargets] | None
    ) -> dict[str, Tensor]:
        assert self.refiner is not None
        assert predictions.scan is not None
        device, joints = predictions.heatmap.device, len(self.skeleton.joints)
        given = [KeypointTargets.unknown(len(box), joints, device) for box in boxes] if keypoints is None else keypoints
        counts = torch.tensor([len(box) for box in boxes], device=device)
        sample = torch.repeat_interleave(torch.arange(len(boxes), device=device), counts)
        everyone = torch.cat([box[:, :7].float() for box in boxes])
        empty, empty_sample = self.head.empty_places(predictions, boxes, self.refiner.settings.negatives)
        people = KeypointTargets.concatenate(given)
        return self.refiner.loss(predictions.scan, everyone, sample, people, empty, empty_sample)

    def results(self, predictions: KeypointPredictions) -> list[Skeletons]:
        """People with boxes, joints and visibilities in each sample, best first."""
        found = self.head.results(predictions, self.config.selection)
        if self.refiner is None:
            return found
        return [self._second_look(people, predictions, sample) for sample, people in enumerate(found)]

    def _second_look(self, people: Skeletons, predictions: KeypointPredictions, sample: int) -> Skeletons:
        """The people of one sample as their own points show them, with the mean of both scores, best first."""
        assert self.refiner is not None
        assert predictions.scan is not None
        settings = self.refiner.settings
        people = people.select(people.scores > settings.score_threshold**2)  # others cannot reach it any more
        samples = torch.full((len(people),), sample, device=people.scores.device)
        seen = self.refiner.refine(predictions.scan, people.boxes.values[:, :3].float(), samples)
        scores = (people.scores * seen.person.sigmoid()).sqrt()
        better = replace(
            people,
            boxes=Boxes3D(seen.boxes),
            scores=scores,
            keypoints=seen.joints,
            visibility=(seen.visibility / SEEN).clamp(0, 1),
        )
        kept = (scores > settings.score_threshold).nonzero()[:, 0]
        alone = circle_nms(seen.boxes[kept], scores[kept], settings.apart)
        return better.select(kept[alone])
