import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.lzf import lzf_decompress


def unpack(data, size):
    return lzf_decompress(np.frombuffer(bytes(data), np.uint8), size).tobytes()


def test_literals_copies_and_overlapping_runs():
    assert unpack([2, 65, 66, 67], 3) == b"ABC"
    assert unpack([2, 65, 66, 67, (1 << 5) | 0, 2], 6) == b"ABCABC"
    assert unpack([0, 65, (7 << 5) | 0, 10, 0], 20) == b"A" * 20


@pytest.mark.parametrize(
    ("data", "size"),
    [
        ([5, 65, 66], 6),  # literals end too early
        ([(1 << 5) | 0, 0], 3),  # copy from before the beginning
        ([0, 65, (1 << 5) | 1, 0], 4),  # likewise, by the high bits
        ([0, 65, 7 << 5], 20),  # length missing
        ([0, 65, 1 << 5], 4),  # distance missing
        ([2, 65, 66, 67], 2),  # output too small
        ([2, 65, 66, 67], 4),  # output too large
        ([0, 65], 10**12),  # more than any data could give
    ],
)
def test_damaged_data_are_an_error(data, size):
    with pytest.raises(PerceptionError):
        unpack(data, size)
