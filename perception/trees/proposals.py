"""Proposals: sets of voxels that may be one tree, several of which may hold the same voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Proposals:
    """``rows`` (R,) int64 of the voxels and ``cluster`` (R,) int64, ascending, the proposal each belongs to."""

    rows: Tensor
    cluster: Tensor
    number: int

    @property
    def sizes(self) -> Tensor:
        return torch.bincount(self.cluster, minlength=self.number)

    @classmethod
    def of_labels(cls, labels: Tensor, rows: Tensor) -> Proposals:
        """From the cluster of each of ``rows``, 0 and up, -1 for none."""
        order = labels.argsort(stable=True)
        order = order[labels[order] >= 0]
        number = int(labels.max()) + 1 if len(labels) else 0
        return cls(rows[order], labels[order], max(number, 0))

    @classmethod
    def joined(cls, parts: Sequence[Proposals]) -> Proposals:
        """The proposals of all parts, one after the other."""
        if not parts:
            return cls(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 0)
        starts, total = [], 0
        for part in parts:
            starts.append(total)
            total += part.number
        return cls(
            torch.cat([part.rows for part in parts]),
            torch.cat([part.cluster + start for part, start in zip(parts, starts)]),
            total,
        )

    def select(self, chosen: Tensor) -> Proposals:
        """The proposals ``chosen`` (K,), numbered in that order."""
        number = torch.full((self.number,), -1, dtype=torch.int64)
        number[chosen] = torch.arange(len(chosen))
        cluster = number[self.cluster]
        kept = (cluster >= 0).nonzero()[:, 0]
        order = kept[cluster[kept].argsort(stable=True)]
        return Proposals(self.rows[order], cluster[order], len(chosen))
