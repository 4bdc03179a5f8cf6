"""Thousands of damaged LAS and LAZ files, read one by one: prints what became of them. Run by test_las_fuzz.py.

A process of its own, so that its peak memory is that of the damaged files, and a hang ends with it.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import laspy
import numpy as np

from perception.errors import PerceptionError
from perception.io.las import read_las

POINTS = 150
KINDS = [("1.1", 1, False), ("1.2", 0, False), ("1.2", 3, False), ("1.2", 3, True), ("1.3", 1, True), ("1.3", 4, False)]
KINDS += [("1.4", 6, False), ("1.4", 6, True), ("1.4", 7, True), ("1.4", 8, False), ("1.4", 8, True), ("1.4", 10, True)]
HEADER = [(0, 4), (4, 2), (6, 2), (8, 16), (24, 1), (25, 1), (26, 32), (58, 32), (90, 2), (92, 2), (94, 2), (96, 4)]
HEADER += [(100, 4), (104, 1), (105, 2), (107, 4)] + [(111 + 4 * i, 4) for i in range(5)]
HEADER += [(131 + 8 * i, 8) for i in range(12)]
LATER = {3: [(227, 8)], 4: [(227, 8), (235, 8), (243, 4), (247, 8)] + [(255 + 8 * i, 8) for i in range(15)]}
VLR = [(0, 2), (2, 16), (18, 2), (20, 2), (22, 32)]
EVLR = [(0, 2), (2, 16), (18, 2), (20, 8), (28, 32)]
LASZIP = [(0, 2), (2, 2), (4, 1), (5, 1), (6, 2), (8, 4), (12, 4), (16, 8), (24, 8), (32, 2), (34, 2), (36, 2), (38, 2)]


def whole(version: str, point_format: int, compress: bool) -> bytes:
    """A small file with records of all sorts."""
    header = laspy.LasHeader(version="1.2" if version == "1.1" else version, point_format=point_format)
    header.scales = np.full(3, 0.001)
    header.add_extra_dim(laspy.ExtraBytesParams("height", "f4"))
    header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "", struct.pack("<8H", 1, 1, 0, 1, 3072, 0, 1, 25832)))
    data = laspy.LasData(header)
    data.points = laspy.ScaleAwarePointRecord.zeros(POINTS, header=header)
    for name in "XYZ":
        data[name] = np.random.default_rng(0).integers(-50_000, 50_000, POINTS)
    data["return_number"] = np.ones(POINTS, np.uint8)
    data["number_of_returns"] = np.ones(POINTS, np.uint8)
    if version == "1.4":
        data.evlrs = laspy.vlrs.vlrlist.VLRList([laspy.VLR("someone", 7, "notes", b"text" * 20)])
    buffer = io.BytesIO()
    data.write(buffer, do_compress=compress)
    content = bytearray(buffer.getvalue())
    content[25] = int(version[2])
    return bytes(content)


def places(content: bytes, minor: int, compressed: bool) -> Iterator[tuple[int, int]]:
    """Every field of the header, of the records' heads, of LASzip's record and of the chunk table, as (start, size)."""
    yield from HEADER + LATER.get(minor, [])
    size, start, count = struct.unpack_from("<HII", content, 94)
    at = size
    for _ in range(count):
        user, length = content[at + 2 : at + 18].rstrip(b"\0"), struct.unpack_from("<H", content, at + 20)[0]
        yield from ((at + a, b) for a, b in VLR)
        if user == b"laszip encoded":
            yield from ((at + 54 + a, b) for a, b in LASZIP if a + b <= length)
        else:
            yield from ((at + 54 + a, 1) for a in range(0, min(length, 40), 5))
        at += 54 + length
    if minor == 4:
        first = struct.unpack_from("<Q", content, 235)[0]
        yield from ((first + a, b) for a, b in EVLR)
    if compressed:
        table = struct.unpack_from("<q", content, start)[0]
        yield (start, 8)
        yield from ((table, 4), (table + 4, 4))
        yield from ((table + 8 + a, 1) for a in range(6))
        yield from ((start + 8 + a, 4) for a in range(0, 80, 4))  # first point, and lengths of layers


def mutants(content: bytes, minor: int, compressed: bool, random: np.random.Generator) -> Iterator[bytes]:
    for start, size in places(content, minor, compressed):
        old = content[start : start + size]
        bit = bytearray(old)
        if bit:
            bit[random.integers(len(bit))] ^= 1 << random.integers(8)
        for new in (bytes(size), b"\xff" * size, bytes(bit), random.bytes(size)):
            if new != old:
                yield content[:start] + new + content[start + size :]
    for _ in range(12):
        yield content[: random.integers(1, len(content))]
    for _ in range(12):
        at = int(random.integers(len(content)))
        yield content[:at] + random.bytes(1) + content[at + 1 :]
    yield content[:100] + struct.pack("<I", 4_000_000_000) + content[104:]
    yield content[:107] + struct.pack("<I", 4_000_000_000) + content[111:]


def main(folder: Path) -> None:
    random = np.random.default_rng(0)
    files = {}
    for version, point_format, compress in KINDS:
        files[f"{version}_{point_format}{'z' * compress}"] = (whole(version, point_format, compress), version, compress)
    for path in sys.argv[2:]:
        content = Path(path).read_bytes()
        files[Path(path).stem] = (content, f"1.{content[25]}", content[104] & 0x80 > 0)
    path = folder / "mutant.las"
    path.write_bytes(next(iter(files.values()))[0])
    read_las(path)  # what is loaded once does not count
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {"mutants": 0, "refused": 0, "slowest": 0.0, "silent": [], "other": []}
    for name, (content, version, compress) in files.items():
        path.write_bytes(content)
        true = len(read_las(path))
        for mutant in mutants(content, int(version[2]), compress, random):
            path.write_bytes(mutant)
            start = time.process_time()
            try:
                cloud = read_las(path)
                if len(cloud) != true and not cloud.metadata["problems"]:
                    told["silent"].append(f"{name} {told['mutants']}: {len(cloud)} points")
            except PerceptionError:
                told["refused"] += 1
            except BaseException as error:
                told["other"].append(f"{name} {told['mutants']}: {type(error).__name__} {error}"[:200])
            told["slowest"] = max(told["slowest"], time.process_time() - start)
            told["mutants"] += 1
    told["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
