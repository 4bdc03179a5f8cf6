"""Pairs of scans of one training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perception.datasets.flow.pairs import FlowSample
from perception.errors import PerceptionError
from perception.scan_pair import FlowTruth, ScanPair


@dataclass(frozen=True, eq=False)
class FlowBatch:
    """Pairs of one step with what is known about them."""

    pairs: list[ScanPair]
    truths: list[FlowTruth]
    identifiers: list[str]

    def __len__(self) -> int:
        return len(self.pairs)

    @classmethod
    def of(cls, samples: Sequence[FlowSample]) -> FlowBatch:
        """Pairs side by side; PerceptionError names one without labels."""
        for sample in samples:
            if sample.labels is None and sample.motion is None:
                raise PerceptionError(
                    f"pair {sample.identifier} has no labels", "labelled pairs for training", "choose a labelled split"
                )
        return cls([s.pair for s in samples], [s.truth() for s in samples], [s.identifier for s in samples])
