"""Of proposals that share their voxels the best: greedy suppression by the overlap of their voxels."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from perception.trees.proposals import Proposals


def suppress(proposals: Proposals, scores: Tensor, threshold: float) -> Tensor:
    """Numbers (K,) of the proposals kept, the best first: none overlaps a better one that is kept by more than
    ``threshold``, intersection over union of voxels. Of equal scores the first number is the better."""
    overlaps = shared_overlaps(proposals)
    rank = torch.argsort(scores, descending=True, stable=True).numpy()
    alive = np.ones(proposals.number, bool)
    kept = []
    for number in rank:
        if not alive[number]:
            continue
        kept.append(int(number))
        row = slice(overlaps.indptr[number], overlaps.indptr[number + 1])
        alive[overlaps.indices[row][overlaps.data[row] > threshold]] = False
    return torch.tensor(kept, dtype=torch.int64)


def shared_overlaps(proposals: Proposals) -> csr_matrix:
    """Intersection over union (P, P) of the proposals that share voxels; all other pairs are zero and not stored."""
    cluster, rows = proposals.cluster.numpy(), proposals.rows.numpy()
    width = int(rows.max()) + 1 if len(rows) else 1
    member = csr_matrix((np.ones(len(rows)), (cluster, rows)), shape=(proposals.number, width))
    shared = (member @ member.T).tocoo()
    sizes = np.bincount(cluster, minlength=proposals.number)
    union = sizes[shared.row] + sizes[shared.col] - shared.data
    return csr_matrix((shared.data / union, (shared.row, shared.col)), shape=shared.shape)
