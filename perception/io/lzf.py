"""Decompression of LZF, the scheme inside binary_compressed PCD files (format: M. Lehmann, liblzf).

A control byte below 32 announces that many literals plus one; any other holds a length (3 bits, 7 meaning "plus the
next byte") and, with the following byte, the distance to copy from, which may overlap what is being written.
"""

from __future__ import annotations

import numba
import numpy as np

from perception.errors import PerceptionError

MOST_BYTES_A_BYTE = 88  # the longest copy: 264 bytes of three


def lzf_decompress(data: np.ndarray, size: int) -> np.ndarray:
    """``data`` (M,) uint8 unpacked to exactly ``size`` bytes; PerceptionError where it unpacks to anything else."""
    if size > MOST_BYTES_A_BYTE * len(data):
        raise PerceptionError(
            f"{len(data):,} compressed bytes for {size:,} bytes",
            f"at most {MOST_BYTES_A_BYTE} bytes for each compressed one",
            "the file is damaged: copy or download it again",
        )
    output = np.empty(size, np.uint8)
    written = _decompress(np.ascontiguousarray(data), output)
    if written != size:
        raise PerceptionError(
            "damaged LZF data", f"exactly {size:,} bytes after unpacking", "copy or download the file again"
        )
    return output


@numba.njit(cache=True)
def _decompress(data: np.ndarray, output: np.ndarray) -> int:
    """The number of bytes written, or -1 where the data reach outside of the input or the output."""
    position, written = 0, 0
    while position < len(data):
        control = np.int64(data[position])
        position += 1
        if control < 32:
            length = control + 1
            if position + length > len(data) or written + length > len(output):
                return -1
            for _ in range(length):
                output[written] = data[position]
                written += 1
                position += 1
            continue
        length = control >> 5
        if length == 7:
            if position >= len(data):
                return -1
            length += np.int64(data[position])
            position += 1
        length += 2
        if position >= len(data):
            return -1
        source = written - ((control & 31) << 8) - np.int64(data[position]) - 1
        position += 1
        if source < 0 or written + length > len(output):
            return -1
        for _ in range(length):
            output[written] = output[source]
            written += 1
            source += 1
    return written
