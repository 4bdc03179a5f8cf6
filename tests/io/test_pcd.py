import struct

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.pcd import read_pcd, read_pcd_header

LAYOUT = np.dtype(
    [("_", "u1", 3), ("intensity", "<u2"), ("z", "<f4"), ("y", "<f4"), ("x", "<f8"), ("t", "<u8"), ("v", "<i2", 2)]
)


def records(count=50):
    random, result = np.random.default_rng(0), np.zeros(count, LAYOUT)
    for name in LAYOUT.names:
        result[name] = random.integers(0, 100, result[name].shape)
    result["x"] += 500_000.125
    result["t"] = 2**62 + np.arange(count)
    return result


def header(count, encoding, width=None, height=1):
    return (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS _ intensity z y x t v\nSIZE 1 2 4 4 8 8 2\n"
        f"TYPE U U F F F U I\nCOUNT 3 1 1 1 1 1 2\nWIDTH {width or count}\nHEIGHT {height}\n"
        f"VIEWPOINT 1 2 3 0.5 0.5 0.5 0.5\nPOINTS {count}\nDATA {encoding}\n"
    ).encode()


def lzf(data):
    """Greedy LZF: three equal bytes within 8192 become a copy, all else literals."""
    output, literals, seen, i = bytearray(), bytearray(), {}, 0

    def flush():
        for start in range(0, len(literals), 32):
            part = literals[start : start + 32]
            output.append(len(part) - 1)
            output.extend(part)
        literals.clear()

    while i < len(data):
        key = bytes(data[i : i + 3])
        at = seen.get(key, -1)
        seen[key] = i
        if len(key) < 3 or at < 0 or i - at > 8192:
            literals.append(data[i])
            i += 1
            continue
        length = 3
        while i + length < len(data) and length < 264 and data[at + length] == data[i + length]:
            length += 1
        flush()
        distance, code = i - at - 1, length - 2
        output.append((min(code, 7) << 5) | (distance >> 8))
        if code >= 7:
            output.append(code - 7)
        output.append(distance & 255)
        i += length
    flush()
    return bytes(output)


def compressed(values):
    columns = b"".join(np.ascontiguousarray(values[name]).tobytes() for name in LAYOUT.names)
    packed = lzf(columns)
    return struct.pack("<II", len(packed), len(columns)) + packed


def text(values):
    rows = [" ".join(str(v) for n in LAYOUT.names for v in np.atleast_1d(row[n]).tolist()) for row in values]
    return "\n".join(rows).encode() + b"\n"


BODIES = {"ascii": text, "binary": lambda values: values.tobytes(), "binary_compressed": compressed}


@pytest.mark.parametrize("encoding", BODIES)
def test_any_order_type_count_and_padding(tmp_path, encoding):
    values, path = records(), tmp_path / "a.pcd"
    path.write_bytes(header(50, encoding, width=10, height=5) + BODIES[encoding](values))
    cloud = read_pcd(path)
    assert set(cloud.fields) == {"intensity", "t", "v"}
    for name in cloud.fields:
        np.testing.assert_array_equal(cloud.fields[name], values[name])
        assert cloud.fields[name].dtype == LAYOUT[name].base
    np.testing.assert_allclose(cloud.world(), np.stack([values["x"], values["y"], values["z"]], 1), atol=1e-3)
    assert cloud.world()[0, 0] == values["x"][0]
    assert cloud.metadata["viewpoint"] == (1, 2, 3, 0.5, 0.5, 0.5, 0.5)
    assert (cloud.metadata["width"], cloud.metadata["height"]) == (10, 5)


@pytest.mark.parametrize("encoding", BODIES)
def test_truncation_is_an_error(tmp_path, encoding):
    body, path = BODIES[encoding](records()), tmp_path / "a.pcd"
    path.write_bytes(header(50, encoding) + body[: len(body) * 9 // 10])
    with pytest.raises(PerceptionError):
        read_pcd(path)


@pytest.mark.parametrize("encoding", BODIES)
def test_no_points(tmp_path, encoding):
    path = tmp_path / "a.pcd"
    path.write_bytes(header(0, encoding))
    assert len(read_pcd(path)) == 0


@pytest.mark.parametrize("encoding", BODIES)
def test_a_giant_count_is_refused(tmp_path, encoding):
    path = tmp_path / "a.pcd"
    path.write_bytes(header(10**12, encoding) + BODIES[encoding](records()))
    with pytest.raises(PerceptionError):
        read_pcd(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"SIZE 1 2", b"SIZE 3 2"), (b"TYPE U U F", b"TYPE U X F"), (b"COUNT 3", b"COUNT 0"),
        (b"POINTS 50", b"POINTS 9"),
        (b"WIDTH 50", b"WIDTH -1"), (b"DATA binary", b"DATA zip"), (b"FIELDS _", b"FIELDS"), (b" x ", b" q "),
        (b"DATA", b"DTA"), (b"WIDTH 50", b"WIDTH a"),
    ],
)  # fmt: skip
def test_headers_that_contradict_themselves(tmp_path, old, new):
    path, data = tmp_path / "a.pcd", header(50, "binary") + records().tobytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(PerceptionError):
        read_pcd(path)


def test_text_rows_beyond_the_count_and_bad_numbers_are_errors(tmp_path):
    path = tmp_path / "a.pcd"
    plain = b"VERSION .7\nFIELDS x y z i\nSIZE 4 4 4 1\nTYPE F F F U\nWIDTH 2\nHEIGHT 1\nPOINTS 2\nDATA ascii\n"
    path.write_bytes(plain + b"1 2 3 4\nnan 2 3 4\n")
    cloud = read_pcd(path)
    assert (len(cloud), cloud.dropped, cloud.fields["intensity"].tolist()) == (1, 1, [4])
    for rows in (b"1 2 3 4\n1 2 3 4\n1 2 3 4\n", b"1 2 3 4\n1 2 3\n", b"1 2 3 4\n1 2 3 q\n", b"1 2 3 4\n1 2 3 256\n"):
        path.write_bytes(plain + rows)
        with pytest.raises(PerceptionError):
            read_pcd(path)


def test_real_files(shared_data):
    counts = {p.name: len(read_pcd(p)) for p in shared_data.glob("places/*.pcd")}
    assert counts["apollo_21_36822.pcd"] == 101_498
    assert counts["apollo_21_38908.pcd"] == 102_158
    for path in shared_data.glob("places/*.pcd"):
        assert counts[path.name] == read_pcd_header(path).points
    apollo = read_pcd(shared_data / "places/apollo_21_36822.pcd")
    assert apollo.fields["intensity"].dtype == np.uint8
    # One revolution of the sensor takes a tenth of a second: damaged decompression would not look like that.
    assert np.ptp(apollo.fields["timestamp"]) == pytest.approx(0.1, abs=0.01)
