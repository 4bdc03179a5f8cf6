"""How the points of a LAZ file are packed, checked before lazrs sees it.

lazrs trusts the sizes it reads: it panics at a chunk table that is none and reserves memory as any length field tells
it to. So the chunks, and the layers within them, are added up against the file first. Source: M. Isenburg, LASzip:
lossless compression of lidar data, PERS 79(2), 2013, and the LASzip variable length record.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import lazrs
import numpy as np

from perception.errors import PerceptionError
from perception.io.source import truncated

COMPRESSED = 0x80  # the bit that LAZ adds to the point format
POINTWISE, LAYERED = 2, 3
VARIABLE = 0xFFFFFFFF
BYTES, POINT10, TIME11, RGB12, WAVE13, POINT14, RGB14, RGBNIR14, WAVE14, BYTES14 = 0, 6, 7, 8, 9, 10, 11, 12, 13, 14
ITEMS = (
    (POINT10,), (POINT10, TIME11), (POINT10, RGB12), (POINT10, TIME11, RGB12), (POINT10, TIME11, WAVE13),
    (POINT10, TIME11, RGB12, WAVE13), (POINT14,), (POINT14, RGB14), (POINT14, RGBNIR14), (POINT14, WAVE14),
    (POINT14, RGBNIR14, WAVE14),
)  # fmt: skip
SIZES = {POINT10: 20, TIME11: 8, RGB12: 6, WAVE13: 29, POINT14: 30, RGB14: 6, RGBNIR14: 8, WAVE14: 29}
LAYERS = {POINT14: 9, RGB14: 1, RGBNIR14: 2, WAVE14: 1}
# Real clouds take at least a tenth of a byte a point; far denser ones are made to exhaust the reader's memory.
MOST_POINTS_A_BYTE = 50
AGAIN = "copy or download the file again"
REPACK = "decompress it with laszip and compress it again"


@dataclass(frozen=True, eq=False)
class Laszip:
    """``record`` is the value of the LASzip record, ``chunks`` (C, 2) int64 points and bytes of each chunk."""

    record: bytes
    chunks: np.ndarray


def read_laszip(
    path: Path, file: BinaryIO, size: int, record: bytes, points: int, start: int, format_id: int, record_length: int
) -> Laszip:
    """Check the LASzip record and the chunk table of ``file``, whose compressed points begin at byte ``start``."""
    compressor, chunk_size = _check_record(path, record, format_id, record_length)
    if points == 0:
        return Laszip(record, np.zeros((0, 2), np.int64))
    if points > MOST_POINTS_A_BYTE * size:
        raise PerceptionError(
            f"{path} announces {points:,} points in {size:,} bytes",
            f"at most {MOST_POINTS_A_BYTE} points a byte",
            AGAIN,
        )
    table = _table_offset(path, file, size, start)
    file.seek(table)
    version, count = struct.unpack("<II", file.read(8))
    room = table - start - 8
    fixed = chunk_size != VARIABLE
    expected = -(-points // chunk_size) if fixed else room // record_length
    if version != 0 or count == 0 or count > expected + 1 or (fixed and count < expected):
        raise PerceptionError(
            f"{path}: a chunk table of version {version} with {count:,} chunks",
            f"version 0 with {'' if fixed else 'at most '}{expected:,} chunks",
            AGAIN,
        )
    # Damaged entries come near 2**64: each is bounded before any sum, which then cannot overflow.
    table_entries = _table_entries(path, file, record, start)
    if (table_entries > max(room, VARIABLE)).any() or table_entries[:, 1].sum() > room:
        raise PerceptionError(f"{path}: chunks that reach beyond their table", f"{room:,} bytes of chunks", AGAIN)
    chunks = table_entries.astype(np.int64)
    if chunks[:, 0].sum() < points or (not fixed and chunks[:, 0].sum() != points):
        raise PerceptionError(
            f"{path}: chunks of {chunks[:, 0].sum():,} points", f"{points:,}, as its header says", AGAIN
        )
    used = chunks[: int(np.searchsorted(np.cumsum(chunks[:, 0]), points)) + 1]
    if compressor == LAYERED:
        _check_layers(path, used, start + 8, format_id, record_length)
    elif used[:, 1].min() < record_length:
        raise PerceptionError(f"{path}: a chunk smaller than its first point", f"{record_length} bytes or more", AGAIN)
    return Laszip(record, chunks)


def _check_record(path: Path, record: bytes, format_id: int, record_length: int) -> tuple[int, int]:
    if len(record) < 34:
        raise PerceptionError(f"{path}: compressed points without a LASzip record", "a complete LAZ file", REPACK)
    compressor, coder = struct.unpack_from("<HH", record, 0)
    chunk_size = struct.unpack_from("<I", record, 12)[0]
    count = struct.unpack_from("<H", record, 32)[0]
    if compressor not in (POINTWISE, LAYERED) or coder != 0 or chunk_size == 0:
        raise PerceptionError(
            f"{path}: points compressed by scheme {compressor} (coder {coder}, {chunk_size} points a chunk)",
            "scheme 2 (chunks) or 3 (chunks in layers), of LASzip 2.0 and later",
            REPACK,
        )
    if len(record) < 34 + 6 * count:
        raise truncated(path, f"{count} LASzip items", 34 + 6 * count, len(record))
    items = [struct.unpack_from("<HH", record, 34 + 6 * i) for i in range(count)]
    extra = record_length - sum(SIZES[kind] for kind in ITEMS[format_id])
    expected = [(kind, SIZES[kind]) for kind in ITEMS[format_id]]
    expected += [(BYTES14 if format_id >= 6 else BYTES, extra)] if extra else []
    if items != expected or (compressor == LAYERED) != (format_id >= 6):
        raise PerceptionError(
            f"{path}: LASzip items (type, bytes) {items[:8]} in scheme {compressor}",
            f"{expected} for point format {format_id} with records of {record_length} bytes",
            REPACK,
        )
    return compressor, chunk_size


def _table_offset(path: Path, file: BinaryIO, size: int, start: int) -> int:
    if size < start + 16:
        raise truncated(path, "the compressed points", 16, size - start)
    file.seek(start)
    offset = struct.unpack("<q", file.read(8))[0]
    if offset == -1:  # written to a stream: the true offset stands at the very end
        file.seek(size - 8)
        offset = struct.unpack("<q", file.read(8))[0]
    if not start + 8 <= offset <= size - 8:
        raise PerceptionError(
            f"{path}: a chunk table at byte {offset:,}",
            f"between the points ({start + 8:,}) and the end of the file ({size:,})",
            f"the file is cut short or was never finished: {AGAIN}, or {REPACK}",
        )
    return offset


def _table_entries(path: Path, file: BinaryIO, record: bytes, start: int) -> np.ndarray:
    """Points and bytes of each chunk, (C, 2) uint64, as the table has them."""
    file.seek(start)
    try:
        table = lazrs.read_chunk_table(file, lazrs.LazVlr(record))
    except BaseException as error:
        raise decoding_error(path, error) from None
    return np.array(table, np.uint64).reshape(-1, 2)


def decoding_error(path: Path, error: BaseException) -> BaseException:
    """What to raise for an error inside of lazrs, whose panics do not derive from Exception; others pass unchanged."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        return error
    if isinstance(error, MemoryError | PerceptionError):
        return error
    reason = " ".join(str(error).split())[:200]
    return PerceptionError(f"{path}: compressed points that cannot be decoded ({reason})", "an intact LAZ file", AGAIN)


def _check_layers(path: Path, chunks: np.ndarray, start: int, format_id: int, record_length: int) -> None:
    """Every chunk holds a first point, a count, the bytes of each layer, and then as many bytes."""
    extra = record_length - sum(SIZES[kind] for kind in ITEMS[format_id])
    layers = sum(LAYERS[kind] for kind in ITEMS[format_id]) + extra
    head = record_length + 4 + 4 * layers
    starts = start + np.concatenate([[0], np.cumsum(chunks[:-1, 1])])
    if chunks[:, 1].min() < head:
        raise PerceptionError(f"{path}: a chunk of {chunks[:, 1].min()} bytes", f"{head} or more", AGAIN)
    data = np.memmap(path, np.uint8, "r")
    places = starts[:, None] + np.arange(record_length, head)
    words = data[places].view("<u4").astype(np.int64)
    if (words[:, 1:].sum(axis=1) + head > chunks[:, 1]).any() or (words[:, 0] > np.maximum(chunks[:, 0], 1)).any():
        raise PerceptionError(f"{path}: layers longer than the chunk they are in", "layers that fit", AGAIN)
