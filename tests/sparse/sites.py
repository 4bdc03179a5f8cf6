"""Random sites and sparse tensors with the cases that break things: unequal samples, an empty one, border cells."""

from __future__ import annotations

import torch

from perception.sparse import Sites, SparseTensor


def random_sites(shape: tuple[int, ...], rows: int, batch: int = 3, shuffled: bool = False) -> Sites:
    """About ``rows`` cells, the second of three samples empty, corners occupied; no corners with under 2 rows."""
    cells = torch.stack([torch.randint(0, s, (rows,)) for s in shape], 1)
    sample = torch.where(torch.arange(rows) < rows // 4, 0, batch - 1)
    coordinates = torch.cat([sample[:, None], cells], 1)
    if rows > 1:
        last = [s - 1 for s in shape]
        corners = torch.tensor([[0] * (1 + len(shape)), [batch - 1, *last], [0, *last]])
        coordinates = torch.cat([coordinates, corners])
    coordinates = coordinates.unique(dim=0)
    return Sites.of(coordinates[torch.randperm(len(coordinates))] if shuffled else coordinates, shape, batch)


def random_tensor(shape: tuple[int, ...], rows: int, channels: int, dtype: torch.dtype = torch.float32) -> SparseTensor:
    sites = random_sites(shape, rows)
    return SparseTensor(torch.randn(len(sites), channels).to(dtype), sites)
