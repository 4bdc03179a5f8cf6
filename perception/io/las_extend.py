"""A LAS or LAZ file once more with further dimensions: every byte of header, records and points as it was.

Other writers go through a model of the format and lose what the model does not know (LAS 1.0, odd records, undescribed
bytes). Here header and records are copied as bytes, and only what must change does. Sources: ASPRS LAS 1.4 R15 (Extra
Bytes, offsets of the public header block); the LASzip variable length record.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

import lazrs
import numpy as np

from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.io.las import record_chunks
from perception.io.las_header import EVLR_BYTES, VLR_BYTES, LasHeader, Vlr
from perception.io.las_records import EXTRA_BYTES_BLOCK, RECORD_BYTES
from perception.io.laszip import COMPRESSED

CODES = {"u1": 1, "i1": 2, "u2": 3, "i2": 4, "u4": 5, "i4": 6, "u8": 7, "i8": 8, "f4": 9, "f8": 10}
LONGEST_RECORD = 65_535
COPY_BYTES = 16 << 20
Progress = Callable[[int, int], None]


class Column(Protocol):
    """What is asked of values: an array, a memory map, or anything that answers slices with arrays."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, part: slice, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Dimension:
    """``values`` (N,), one a point in the order of the file, and what they mean."""

    values: Column
    description: str = ""


def extend_las(
    header: LasHeader, path: str | Path, dimensions: Mapping[str, Dimension], progress: Progress | None = None
) -> tuple[str, ...]:
    """Write the file of ``header`` with these extra dimensions to ``path`` (.las or .laz), atomically.

    A dimension that the file already has in the same type is replaced. Answers what could not stay as it was (COPC's
    index; LAS 1.0, which knows no extra dimensions, becomes 1.2). Raises PerceptionError for values and names that the
    format cannot hold.
    """
    path = Path(path)
    if path.suffix.lower() not in (".las", ".laz"):
        raise PerceptionError(f"{path}", "a name that ends in .las or .laz")
    if path.exists() and path.samefile(header.path):
        raise PerceptionError(f"{path} is the file that is read", "another name for the result")
    plan = _Plan.of(header, dimensions, compress=path.suffix.lower() == ".laz")
    with write_atomically(path, "wb") as target:
        plan.write(target, progress)
    return plan.changes


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is written: ``added`` dimensions behind the record, ``replaced`` ones in it by their field's name."""

    header: LasHeader
    added: Mapping[str, Dimension]
    replaced: Mapping[str, Dimension]
    compress: bool
    changes: tuple[str, ...]

    @classmethod
    def of(cls, header: LasHeader, dimensions: Mapping[str, Dimension], compress: bool) -> _Plan:
        extra = {dimension.name: (f"#{i}", dimension) for i, dimension in enumerate(header.layout.extra)}
        added, replaced = {}, {}
        for name, new in dimensions.items():
            if new.values.shape != (header.points,) or new.values.dtype.str[1:] not in CODES:
                raise PerceptionError(
                    f"dimension {name!r}: {new.values.dtype} of shape {new.values.shape}",
                    f"({header.points},) numbers of 1 to 8 bytes",
                )
            if len(name.encode()) > 32 or not name.isascii():
                raise PerceptionError(f"a dimension called {name!r}", "at most 32 ASCII characters")
            known = extra.get(name)
            if known is None:
                added[name] = new
            elif known[1].kind == new.values.dtype and known[1].scale is None:
                replaced[known[0]] = new
            else:
                raise PerceptionError(
                    f"{header.path} already has a dimension {name!r} of {known[1].kind}",
                    f"none, or one of {new.values.dtype}",
                    "rename the dimension in the file first",
                )
        changes = ["COPC's index is left out: the result is plain LAZ"] if header.kind == "copc" and compress else []
        if header.version == "1.0":
            changes.append("LAS 1.0 knows no extra dimensions: the result is LAS 1.2")
        return cls(header, added, replaced, compress, tuple(changes))

    @property
    def record(self) -> np.dtype:
        """The records read, and the added dimensions behind them."""
        kinds = [(name, new.values.dtype.newbyteorder("<")) for name, new in self.added.items()]
        return np.dtype([("old", self.header.layout.dtype), *kinds])

    def write(self, target: IO[bytes], progress: Progress | None) -> None:
        length = self.record.itemsize
        if length > LONGEST_RECORD:
            raise PerceptionError(f"records of {length} bytes", f"at most {LONGEST_RECORD}")
        laszip = self._laszip(length)
        with open(self.header.path, "rb") as source:
            head = bytearray(_at(source, 0, struct.unpack("<H", _at(source, 94, 2))[0]))
            if self.header.version == "1.0":
                head[4:8] = bytes(4)  # reserved in LAS 1.0; in 1.2 a source number and what time and waveforms mean
                head[25] = 2
            records = [self._raw(source, vlr, extended=False) for vlr in self._kept(extended=False)]
            records += self._described(source)
            if laszip is not None:
                records.append(_vlr("laszip encoded", 22204, bytes(laszip.record_data())))
            offset = len(head) + sum(map(len, records))
            coded = self.header.point_format | (COMPRESSED if laszip is not None else 0)
            struct.pack_into("<II", head, 96, offset, len(records))
            struct.pack_into("<BH", head, 104, coded, length)
            target.write(bytes(head) + b"".join(records))
            self._write_points(target, laszip, progress)
            self._write_tail(source, target, head)
        target.seek(0)
        target.write(head)

    def _laszip(self, length: int) -> lazrs.LazVlr | None:
        if not self.compress:
            return None
        format_id = self.header.point_format
        return lazrs.LazVlr.new_for_compression(format_id, length - RECORD_BYTES[format_id])

    def _kept(self, extended: bool) -> list[Vlr]:
        """Records to copy; those that describe the packing of the points are written anew."""
        size = self.header.points_offset
        return [
            vlr
            for vlr in self.header.vlrs
            if (vlr.start >= size) == extended
            and (vlr.user, vlr.record) not in {("laszip encoded", 22204), ("LASF_Spec", 4), ("copc", 1), ("copc", 1000)}
        ]

    def _raw(self, source: BinaryIO, vlr: Vlr, extended: bool) -> bytes:
        head = EVLR_BYTES if extended else VLR_BYTES
        return _at(source, vlr.start - head, head + vlr.length)

    def _described(self, source: BinaryIO) -> list[bytes]:
        """The Extra Bytes record: what was described, what was not, and what is new."""
        layout = self.header.layout
        blocks = b""
        if layout.extra:
            old = next(v for v in self.header.vlrs if (v.user, v.record) == ("LASF_Spec", 4))
            blocks = _at(source, old.start, old.length)
        rest = layout.dtype["#rest"].itemsize if "#rest" in (layout.dtype.names or ()) else 0
        while rest:  # undescribed bytes need a description to have described ones behind them
            count = min(rest, 255)
            blocks += _block("", 0, count, "")
            rest -= count
        for name, new in self.added.items():
            blocks += _block(name, CODES[new.values.dtype.str[1:]], 0, new.description)
        return [_vlr("LASF_Spec", 4, blocks)] if blocks else []

    def _write_points(self, target: IO[bytes], laszip: lazrs.LazVlr | None, progress: Progress | None) -> None:
        compressor = lazrs.LasZipCompressor(target, laszip) if laszip is not None else None
        done = 0
        for records in record_chunks(self.header):
            rows = np.empty(len(records), self.record)
            rows["old"] = records
            part = slice(done, done + len(records))
            for field, new in self.replaced.items():
                rows["old"][field] = new.values[part]
            for name, new in self.added.items():
                rows[name] = new.values[part]
            if compressor is not None:
                compressor.compress_many(rows.view(np.uint8))
            else:
                target.write(rows.tobytes())
            done += len(records)
            if progress is not None:
                progress(done, self.header.points)
        if compressor is not None:
            compressor.done()

    def _write_tail(self, source: BinaryIO, target: IO[bytes], head: bytearray) -> None:
        """Extended records behind the points, and the offsets in the header that say where they are now."""
        minor = int(self.header.version[2:])
        target.seek(0, 2)
        if minor == 4:
            moved = self._kept(extended=True)
            first = target.tell() if moved else 0
            struct.pack_into("<QI", head, 235, first, len(moved))
        elif minor == 3 and struct.unpack_from("<Q", head, 227)[0]:
            moved = [_waveforms(source, struct.unpack_from("<Q", head, 227)[0])]
        else:
            return
        waveforms = struct.unpack_from("<Q", head, 227)[0]
        for vlr in moved:
            if vlr.start - EVLR_BYTES == waveforms:
                struct.pack_into("<Q", head, 227, target.tell())
            _copy(source, target, vlr.start - EVLR_BYTES, EVLR_BYTES + vlr.length)


def _waveforms(source: BinaryIO, position: int) -> Vlr:
    """The one extended record of LAS 1.3."""
    user, record, length = struct.unpack_from("<16sHQ", _at(source, position, EVLR_BYTES).ljust(EVLR_BYTES, b"\0"), 2)
    source.seek(0, 2)
    length = min(length, max(source.tell() - position - EVLR_BYTES, 0))  # what there is of it
    return Vlr(user.split(b"\0")[0].decode("latin1"), record, position + EVLR_BYTES, length)


def _at(source: BinaryIO, position: int, length: int) -> bytes:
    source.seek(position)
    return source.read(length)


def _copy(source: BinaryIO, target: IO[bytes], position: int, length: int) -> None:
    source.seek(position)
    while length:
        part = source.read(min(length, COPY_BYTES))
        if not part:
            return
        target.write(part)
        length -= len(part)


def _vlr(user: str, record: int, value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise PerceptionError(f"a record {user!r} of {len(value)} bytes", "at most 65,535: fewer dimensions")
    return struct.pack("<H16sHH32s", 0, user.encode(), record, len(value), b"") + value


def _block(name: str, code: int, options: int, description: str) -> bytes:
    block = struct.pack("<2xBB32s", code, options, name.encode())
    return block.ljust(EXTRA_BYTES_BLOCK - 32, b"\0") + description.encode()[:32].ljust(32, b"\0")
