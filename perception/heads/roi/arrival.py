"""The order in which spconv numbers cells on a CPU, on which it depends what an overfull ball holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perception.sparse import Sites, SparseTensor


def arrival_orders(coordinates: Tensor, volume: SparseTensor, stages: Sequence[SparseTensor]) -> list[Tensor]:
    """The rows (N,) of each stage in that order.

    Voxels (M, 4) come as the voxeliser made them, in the order of their first points. A strided convolution numbers
    its outputs as it reaches them: kernel tap by tap, and at each tap in the order of its inputs (observed in spconv
    2.3). Where sites do not follow from the previous ones in this way, cells are in the order z y x.
    """
    order = volume.sites.find(coordinates)
    orders, sites = [], volume.sites
    for stage in stages:
        if stage.sites is not sites:
            order = _reached(order, sites, stage.sites)
            sites = stage.sites
        orders.append(order)
    return orders


def _reached(order: Tensor, before: Sites, after: Sites) -> Tensor:
    table = next((table for table in before.tables.values() if table.output is after), None)
    if table is None or not len(after):
        return torch.arange(len(after), device=order.device)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    tap = (table.rows >= 0).int().argmax(0)  # the first of equal ones
    source = table.rows.gather(0, tap[None])[0].long()
    return (tap * len(before) + rank[source]).argsort(stable=True)
