"""Growth where a proposal for a background cell does not meet it: the form of Focals Conv's second published code.

There the cell has two rows in the convolution that follows: the proposal's, with zeros, and the background's. The
strided convolution after that adds up what both became, so their activated sum in one row is the same to it, and no
cell is listed twice here.

Which neighbours each row exchanges features with is up to the convolution of that code, spconv, whose table of cells
knows one row of each: on GPUs either may be that row. Here it is as spconv 2.3.8 does on a CPU: the table knows the
proposal; a row finds its later neighbours in the table, and both exchange. So the proposal's row misses its own
features and those of later doubled cells, and the background's row has its own and those of later cells not doubled.
Where first cells of an axis are occupied, that code adds up different cells as ``Merge`` says: here they stay apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perception.sparse.growth import Growth
from perception.sparse.scatter import scatter_sum
from perception.sparse.table import NeighbourTable


def doubled_tables(growth: Growth, rows: Tensor) -> tuple[NeighbourTable, NeighbourTable]:
    """Of ``rows`` (K, M) of ``spread_table``: for the M grown cells, and for the D second rows of doubled cells.

    Not one table of M + D columns, because a tap of a table reads each row at most once: gradients rely on it.
    """
    assert growth.doubled is not None
    centre = len(rows) // 2
    second = rows[:, second_rows(growth)].clone()
    own = second[centre].clone()
    hidden = torch.zeros(len(growth.source) + 1, dtype=torch.bool, device=rows.device)  # the last for rows of -1
    hidden[growth.doubled] = True
    first = rows.clone()
    for part in (first, second):
        later = part[centre:]
        later.masked_fill_(hidden[later.long()], -1)
    second[:centre] = -1
    second[centre] = own
    return NeighbourTable(first, len(growth.source)), NeighbourTable(second, len(growth.source))


def second_rows(growth: Growth) -> Tensor:
    """(D,): the rows of the grown sites that the doubled cells have."""
    assert growth.doubled is not None
    return growth.sites.find(growth.source.coordinates[growth.doubled]).long()


def summed(features: Tensor, growth: Growth) -> Tensor:
    """(M, C) of (M + D, C): the activated second rows added to the first ones of their cells."""
    cells = len(growth.sites)
    whole = torch.cat([torch.arange(cells, device=features.device), second_rows(growth)])
    return scatter_sum(features, whole, cells)
