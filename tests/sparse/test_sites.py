"""Coordinates: order, range, repetition, keys, look-up."""

from __future__ import annotations

import pytest
import torch

from perception.errors import PerceptionError
from perception.sparse import Sites, SparseTensor
from perception.sparse.sites import coordinates_of, lexicographic_order, linear_keys


def test_out_of_range_names_the_row() -> None:
    with pytest.raises(PerceptionError, match=r"row 1 .*\[0, 3, 0, 0\]"):
        Sites.of(torch.tensor([[0, 0, 0, 0], [0, 3, 0, 0]]), (3, 3, 3), 1)
    with pytest.raises(PerceptionError, match="row 0"):
        Sites.of(torch.tensor([[0, -1, 0]]), (3, 3), 1)
    with pytest.raises(PerceptionError, match="row 0"):
        Sites.of(torch.tensor([[1, 0, 0]]), (3, 3), 1)


def test_repeated_coordinates_name_both_rows() -> None:
    with pytest.raises(PerceptionError, match="rows 0 and 2"):
        Sites.of(torch.tensor([[0, 1, 1], [0, 0, 1], [0, 1, 1]]), (3, 3), 1)


def test_keys_round_trip_beyond_32_bits_and_refuse_overflow() -> None:
    shape = (60_000, 70_000, 50_000)
    coordinates = torch.tensor([[0, 0, 0, 0], [1, 59_999, 69_999, 49_999], [1, 2, 3, 4]])
    keys = linear_keys(coordinates, shape, 2)
    assert keys.max() > 2**32
    assert torch.equal(coordinates_of(keys, shape).long(), coordinates)
    with pytest.raises(PerceptionError, match="2\\^63"):
        linear_keys(coordinates, (2**21, 2**21, 2**21), 2)


@pytest.mark.parametrize("ordered", [True, False])
def test_find(ordered: bool) -> None:
    coordinates = torch.cartesian_prod(torch.arange(2), torch.arange(0, 6, 2), torch.arange(0, 8, 3))
    if not ordered:
        coordinates = coordinates[torch.randperm(len(coordinates))]
    sites = Sites.of(coordinates, (6, 8), 2)
    assert sites.order == ("lexicographic" if ordered else "given")
    assert torch.equal(sites.find(coordinates), torch.arange(len(coordinates)))
    absent = torch.tensor([[0, 1, 0], [0, -2, 0], [0, 0, 8], [2, 0, 0], [-1, 0, 0]])
    assert (sites.find(absent) == -1).all()


def test_rows_per_sample_counts_empty_samples() -> None:
    sites = Sites.of(torch.tensor([[0, 0, 0], [2, 0, 0], [2, 1, 0]]), (3, 3), 4)
    assert sites.rows_per_sample.tolist() == [1, 0, 2, 0]


def test_tensor_sorts_rows_and_goes_dense() -> None:
    coordinates = torch.tensor([[1, 0, 2], [0, 1, 1], [0, 0, 2]])
    x = SparseTensor.of(torch.tensor([[1.0], [2.0], [3.0]]), coordinates, (2, 3), 2)
    assert x.sites.order == "lexicographic"
    dense = torch.zeros(2, 1, 2, 3)
    dense[1, 0, 0, 2], dense[0, 0, 1, 1], dense[0, 0, 0, 2] = 1, 2, 3
    assert torch.equal(x.dense(), dense)


def test_features_must_match_sites() -> None:
    sites = Sites.of(torch.tensor([[0, 0, 0]]), (3, 3), 1)
    with pytest.raises(PerceptionError, match="for 1 sites"):
        SparseTensor(torch.zeros(2, 3), sites)


def test_rows_are_ordered_whatever_the_span() -> None:
    """One key where it fits in 64 bits, else one sort for each column."""
    small = torch.randint(-5, 5, (300, 4), dtype=torch.int32)
    huge = torch.randint(-(2**30), 2**30, (300, 4), dtype=torch.int32)
    huge[::2, 0] = 3
    for coordinates in (small, huge, small[:0]):
        ordered = coordinates[lexicographic_order(coordinates)].tolist()
        assert ordered == sorted(coordinates.tolist())
