"""What all models of place recognition share: the way from clouds to descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.backbones.octree_input import no_empty_cloud
from perception.errors import PerceptionError
from perception.losses.places import truncated_smooth_ap
from perception.models.model import Model
from perception.points import PointBatch, PointCloud
from perception.results import PlaceDescriptor


@dataclass(frozen=True, eq=False)
class PlacePairs:
    """What is known of a batch of B clouds: ``positives`` and ``negatives`` (B, B) bool, at [query, other].

    The same place is no pair: a cloud is neither to itself. Pairs that are neither (too near to be told apart by
    position, too far to be one place) take no part.
    """

    positives: Tensor
    negatives: Tensor

    @classmethod
    def of(cls, positions: Tensor, positive: float, negative: float, regions: Tensor | None = None) -> PlacePairs:
        """From ``positions`` (B, 2) in metres: nearer than ``positive`` is one place, farther than ``negative`` two.

        Clouds of different ``regions`` (B,), whose positions are not comparable, are never of one place.
        """
        if not 0 < positive <= negative:
            raise PerceptionError(f"radii of {positive} and {negative} m", "0 < positive <= negative")
        apart = torch.cdist(positions.double(), positions.double())
        same = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
        if regions is not None:
            apart = apart.masked_fill(regions[:, None] != regions, torch.inf)
        return cls((apart < positive) & ~same, apart > negative)


class PlaceModel(Model):
    """A model whose forward gives descriptors (B, D) and whose ``config`` has ``temperature`` and ``closest``."""

    task = "places"

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    def points(self, clouds: Sequence[PointCloud]) -> PointBatch:
        """Raises PerceptionError for a cloud without points: a descriptor of nothing would still find a place."""
        batch = PointBatch.from_clouds(clouds, (), self.device)
        finite = batch.xyz.isfinite().all(1)
        batch = PointBatch(batch.values[finite], batch.sample[finite], batch.batch_size)
        no_empty_cloud(batch, "", "leave empty scans out before asking where they were recorded")
        return batch

    def results(self, predictions: Tensor) -> list[PlaceDescriptor]:
        return [PlaceDescriptor(row) for row in predictions.detach().float()]

    def loss(self, predictions: Tensor, pairs: PlacePairs) -> dict[str, Tensor]:  # type: ignore[override]
        """``loss``: TruncatedSmoothAP by euclidean distance, as published for all models here."""
        found = truncated_smooth_ap(
            predictions, pairs.positives, pairs.negatives, self.config.temperature, self.config.closest
        )
        return {"loss": found}
