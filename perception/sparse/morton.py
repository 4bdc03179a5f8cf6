"""Morton order (z-order): cells that are close in space come close together in memory, at every scale.

A key holds the bits of the coordinates in turn, from the highest bit down, in each turn x, then y, then z, and the
batch index above them all. With 16 bits an axis it equals ocnn's shuffled key (Wang et al. 2017, O-CNN).
"""

from __future__ import annotations

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.sparse.sites import Sites

MAXIMUM_BITS = {2: 30, 3: 20}
_CHUNK = 10


def morton_keys(coordinates: Tensor, bits: int) -> Tensor:
    """Keys (N,) int64 of cells (N, 1 + d) in the order batch, (z,) y, x, with ``bits`` bits an axis.

    Raises PerceptionError where a key could overflow: over 20 bits an axis (30 in two dimensions), a coordinate that is
    negative or has more bits, a batch index that does not fit above.
    """
    dimension = coordinates.shape[1] - 1
    _check_bits(bits, dimension)
    cells = coordinates.long()
    _check_cells(cells, bits)
    spread = _spread_table(dimension, coordinates.device)
    keys = cells[:, 0] << (dimension * bits)
    for place, axis in enumerate(range(1, dimension + 1)):  # z takes the lowest bit of each turn
        for low in range(0, bits, _CHUNK):
            keys = keys | (spread[(cells[:, axis] >> low) & (2**_CHUNK - 1)] << (dimension * low + place))
    return keys


def morton_coordinates(keys: Tensor, bits: int, dimension: int = 3) -> Tensor:
    """The inverse of ``morton_keys``: (N, 1 + dimension) int32."""
    _check_bits(bits, dimension)
    columns = [keys >> (dimension * bits)]
    for place in range(dimension):
        column = torch.zeros_like(keys)
        for bit in range(bits):
            column |= ((keys >> (dimension * bit + place)) & 1) << bit
        columns.append(column)
    return torch.stack(columns, 1).to(torch.int32)


def bits_of(sites: Sites) -> int:
    """Bits an axis that any cell of the grid needs."""
    return max(1, *((size - 1).bit_length() for size in sites.spatial_shape))


def morton_sites(sites: Sites) -> tuple[Sites, Tensor]:
    """The same sites in Morton order, and the row (N,) int64 that each came from: ``features[rows]`` go with them."""
    rows = morton_keys(sites.coordinates, bits_of(sites)).argsort()
    return Sites(sites.coordinates[rows], sites.spatial_shape, sites.batch_size, sites.stride, "morton"), rows


def _spread_table(dimension: int, device: torch.device) -> Tensor:
    """Each number of ten bits with its bits ``dimension`` places apart."""
    numbers = torch.arange(2**_CHUNK, device=device)
    spread = torch.zeros_like(numbers)
    for bit in range(_CHUNK):
        spread |= ((numbers >> bit) & 1) << (dimension * bit)
    return spread


def _check_bits(bits: int, dimension: int) -> None:
    if dimension not in MAXIMUM_BITS:
        raise PerceptionError(f"coordinates of {dimension} dimensions", "2 or 3, after the batch index")
    if not 1 <= bits <= MAXIMUM_BITS[dimension]:
        raise PerceptionError(
            f"Morton keys of {bits} bits an axis",
            f"1 to {MAXIMUM_BITS[dimension]} in {dimension} dimensions",
            "use larger voxels or a smaller range",
        )


def _check_cells(cells: Tensor, bits: int) -> None:
    if not len(cells):
        return
    samples = 2 ** (63 - (cells.shape[1] - 1) * bits)
    limits = cells.new_tensor([min(samples, 2**31)] + [2**bits] * (cells.shape[1] - 1))
    outside = ((cells < 0) | (cells >= limits)).any(1)
    if outside.any():
        row = int(outside.nonzero()[0, 0])
        raise PerceptionError(
            f"row {row} has the coordinates {cells[row].tolist()}",
            f"cells of 0 .. {2**bits - 1} and a batch index below {int(limits[0])} for {bits} bits an axis",
            "shift negative coordinates, use larger voxels or a smaller batch",
        )
