"""Hundreds of damaged files of every format: an error the caller can catch or a sound cloud, and always soon."""

import io
import struct
import time

import laspy
import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.clouds import describe, read_points
from perception.io.writers import write_points
from perception.points import PointCloud

MUTANTS = 60
SECONDS = 5  # against endless loops, far above what any of these files takes


def las(point_format, compress):
    header = laspy.LasHeader(version="1.4", point_format=point_format)
    header.scales = np.full(3, 0.001)
    header.add_extra_dim(laspy.ExtraBytesParams("height", "f4"))
    header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "", struct.pack("<8H", 1, 1, 0, 1, 3072, 0, 1, 25832)))
    data = laspy.LasData(header)
    data.points = laspy.ScaleAwarePointRecord.zeros(400, header=header)
    for name in "XYZ":
        data[name] = np.random.default_rng(0).integers(-50_000, 50_000, 400)
    buffer = io.BytesIO()
    data.write(buffer, do_compress=compress)
    return buffer.getvalue()


def written(suffix, folder):
    random = np.random.default_rng(0)
    fields = {"intensity": random.uniform(0, 1, 400).astype(np.float32), "n": np.arange(400)}
    write_points(folder / f"whole{suffix}", PointCloud(random.normal(0, 30, (400, 3)), fields))
    return (folder / f"whole{suffix}").read_bytes()


def pcd(encoding):
    values = np.random.default_rng(0).normal(0, 30, (300, 3)).astype(np.float32)
    head = "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 300\nHEIGHT 1"
    head += f"\nPOINTS 300\nDATA {encoding}\n"
    body = {"ascii": "\n".join(" ".join(map(str, row)) for row in values.tolist()).encode(), "binary": values.tobytes()}
    columns = values.T.tobytes()
    literals = b"".join(bytes([len(columns[i : i + 32]) - 1]) + columns[i : i + 32] for i in range(0, len(columns), 32))
    body["binary_compressed"] = struct.pack("<II", len(literals), len(columns)) + literals
    return head.encode() + body[encoding]


def ply(encoding):
    order = ">" if "big" in encoding else "<"
    values = np.random.default_rng(0).normal(0, 30, (300, 3)).astype(order + "f4")
    head = (
        f"ply\nformat {encoding} 1.0\nelement face 20\nproperty list uchar int vertex_indices\nelement vertex 300\n"
        "property float x\nproperty float y\nproperty float z\nend_header\n"
    )
    if encoding == "ascii":
        return (head + "3 0 1 2\n" * 20 + "\n".join(" ".join(map(str, r)) for r in values.tolist()) + "\n").encode()
    return head.encode() + (b"\x03" + bytes(12)) * 20 + values.tobytes()


def feather(folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import feather as writer

    values = np.random.default_rng(0).normal(0, 30, (3, 300)).astype(np.float16)
    writer.write_feather(pyarrow.table(dict(zip("xyz", values))), str(folder / "whole.feather"))
    return (folder / "whole.feather").read_bytes()


MAKERS = {
    "las3.las": lambda folder: las(3, False),
    "las7.las": lambda folder: las(7, False),
    "las3.laz": lambda folder: las(3, True),
    "las7.laz": lambda folder: las(7, True),
    "las10.laz": lambda folder: las(10, True),
    "ascii.pcd": lambda folder: pcd("ascii"),
    "binary.pcd": lambda folder: pcd("binary"),
    "compressed.pcd": lambda folder: pcd("binary_compressed"),
    "ascii.ply": lambda folder: ply("ascii"),
    "little.ply": lambda folder: ply("binary_little_endian"),
    "big.ply": lambda folder: ply("binary_big_endian"),
    "kitti.bin": lambda folder: written(".bin", folder),
    "archive.npz": lambda folder: written(".npz", folder),
    "table.feather": feather,
}


def zones(data):
    """Where damage hurts most: the header, what stands before the points, the chunk table, the end, anywhere."""
    found = [(0, min(400, len(data))), (max(0, len(data) - 100), len(data)), (0, len(data))]
    if data[:4] == b"LASF":
        offset = struct.unpack_from("<I", data, 96)[0]
        table = struct.unpack_from("<q", data, offset)[0]
        found += [(94, 160), (375, offset), (offset, offset + 200)]
        found += [(table, table + 16)] if 0 < table < len(data) - 16 else []
    return found


def damaged(data, random):
    if random.random() < 0.2:
        return data[: random.integers(1, len(data))]
    result = bytearray(data)
    places = zones(data)
    low, high = places[random.integers(len(places))]
    for _ in range(random.choice([1, 1, 2, 8])):
        at = random.integers(low, high)
        result[at] = random.choice([0, 255, 127, 128, result[at] ^ (1 << random.integers(8)), random.integers(256)])
    return bytes(result)


@pytest.mark.parametrize("name", MAKERS)
def test_damage_gives_an_error_or_a_sound_cloud(tmp_path, name):
    data = MAKERS[name](tmp_path)
    random = np.random.default_rng(sum(name.encode()))
    path, refused, sound = tmp_path / f"damaged_{name}", 0, 0
    for number in range(MUTANTS):
        path.write_bytes(damaged(data, random))
        start = time.perf_counter()
        try:
            cloud = read_points(path)
            describe(path)
        except PerceptionError as error:
            refused += str(path) in error.found
        else:
            sound += 1
            assert np.isfinite(cloud.xyz).all(), f"mutant {number}"
            assert all(len(values) == len(cloud) for values in cloud.fields.values())
        assert time.perf_counter() - start < SECONDS, f"mutant {number}"
    assert refused + sound == MUTANTS  # every error names its file
    assert refused > MUTANTS // 10
