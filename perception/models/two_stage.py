"""What two-stage detectors share: SECOND proposes, a head over the backbone's scales refines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from perception.config import config
from perception.errors import PerceptionError
from perception.heads.anchor_head import AnchorPredictions
from perception.heads.roi.loss import RoILossWeights, roi_loss
from perception.heads.roi.proposals import ProposalRule, Refined, propose
from perception.heads.roi.refine_head import RefineLayers
from perception.heads.roi.results import detections
from perception.heads.roi.sampling import RoISampling, sample_rois
from perception.heads.selection import Selection
from perception.models.second import SECOND, SECONDConfig
from perception.results import Detections
from perception.sparse import HardVoxels, SparseTensor

# Channels of the backbone's four stages, the plain one's and its variants'.
STAGE_CHANNELS = (16, 32, 64, 64)


@config
class TwoStageConfig(SECONDConfig):
    """SECOND's settings for the first stage; ``selection`` is that of the final boxes."""

    selection: Selection = Selection(0.3, 4096, 0.1, 500)
    proposals_training: ProposalRule = ProposalRule(9000, 0.8, 512)
    proposals: ProposalRule = ProposalRule(2048, 0.7, 100)
    sampling: RoISampling = RoISampling()
    refine: RefineLayers = RefineLayers()
    grid_size: int = 6
    roi_loss: RoILossWeights = RoILossWeights()


@dataclass(frozen=True, eq=False)
class TwoStagePredictions:
    """``anchors`` of the first stage, ``features`` that the second reads, and its answer ``refined``.

    In training ``refined`` is None: which proposals to refine depends on the labels, which ``loss`` brings.
    ``auxiliary`` is what the backbone predicts by the way, for a loss of its own, if it does.
    """

    anchors: AnchorPredictions
    features: Any
    refined: Refined | None
    auxiliary: Any = None


class TwoStageDetector(SECOND):
    """Subclasses set ``roi``, a module from ``features`` and proposals to ``Refined``, and write ``roi_features``.

    A backbone other than the plain one: override ``make_backbone`` and, if it has a loss of its own,
    ``backbone_stages`` and ``auxiliary_loss``.
    """

    config: TwoStageConfig
    roi: nn.Module
    stages: ClassVar[tuple[str, ...]] = (
        "encoder",
        *(f"backbone.{part}" for part in ("stem", "stage1", "stage2", "stage3", "stage4", "out")),
        "flatten",
        "bev",
        "head",
        "roi",
    )

    @abstractmethod
    def roi_features(self, voxels: Any, volume: SparseTensor, stages: list[SparseTensor], flat: Tensor) -> Any:
        """What the second stage reads, of the backbone's input, its four stages and the flattened map (B, C, H, W)."""

    def backbone_stages(self, volume: SparseTensor) -> tuple[list[SparseTensor], Any]:
        """The outputs of the four stages, and what ``auxiliary_loss`` needs."""
        return self.backbone.stages(volume), None

    def auxiliary_loss(self, auxiliary: Any, boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        """Parts of the loss that belong to the backbone."""
        return {}

    def hard_voxels(self, voxels: Any) -> HardVoxels:
        """What the first stage reads of the model's voxels."""
        return voxels

    def forward(self, voxels: Any) -> TwoStagePredictions:  # type: ignore[override]
        volume = self.volume(self.hard_voxels(voxels))
        stages, auxiliary = self.backbone_stages(volume)
        flat = self.flatten(self.backbone.out(stages[-1]))
        anchors = self.head(self.bev(flat))
        features = self.roi_features(voxels, volume, stages, flat)
        if self.training:
            return TwoStagePredictions(anchors, features, None, auxiliary)
        refined = self.roi(features, propose(self.head, anchors, self.config.proposals))
        return TwoStagePredictions(anchors, features, refined, auxiliary)

    def loss(  # type: ignore[override]
        self, predictions: TwoStagePredictions, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """The first stage's loss and that of proposals drawn with torch's global generator; sums and parts."""
        parts = self.head.loss(predictions.anchors, boxes, labels, self.config.loss)
        total = parts.pop("loss")
        proposals = propose(self.head, predictions.anchors, self.config.proposals_training)
        targets = sample_rois(proposals, boxes, labels, self.config.sampling)
        refined = self.roi(predictions.features, targets.proposals)
        further = {
            **roi_loss(refined, targets, self.config.roi_loss),
            **self.auxiliary_loss(predictions.auxiliary, boxes),
        }
        return {"loss": sum(further.values(), start=total), **parts, **further}

    def results(self, predictions: TwoStagePredictions) -> list[Detections]:  # type: ignore[override]
        """Refined, scored and suppressed boxes of each sample; only of predictions made in evaluation mode."""
        if predictions.refined is None:
            raise PerceptionError(
                "predictions without a second stage", "those of a model in evaluation mode", "call model.eval() first"
            )
        return detections(predictions.refined, self.config.selection, self.classes)
