import itertools

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.ply import read_ply

COUNT = 40
NAMES = {
    "i1": "char",
    "u1": "uint8",
    "i2": "short",
    "u2": "ushort",
    "i4": "int",
    "u4": "uint",
    "f4": "float",
    "f8": "double",
}
LAYOUT = np.dtype([("red", "u1"), ("z", "f4"), ("x", "f8"), ("y", "f4"), ("scalar_Intensity", "u2"), ("n", "i4")])
ENCODINGS = ("ascii", "binary_little_endian", "binary_big_endian")


def vertices():
    random, values = np.random.default_rng(0), np.zeros(COUNT, LAYOUT)
    for name in LAYOUT.names:
        values[name] = random.integers(0, 200, COUNT)
    return values


def faces(encoding, lengths):
    """Rows of a list of int vertex indices and one uchar."""
    order = ">" if encoding.endswith("big_endian") else "<"
    if encoding == "ascii":
        return b"".join(f"{n} {' '.join('7' * n)} 9\n".encode() for n in lengths)
    return b"".join(bytes([n]) + np.full(n, 7, order + "i4").tobytes() + b"\x09" for n in lengths)


def ply(encoding, values, lengths, faces_first, count=None, end="\n"):
    order = ">" if encoding.endswith("big_endian") else "<"
    vertex = [f"element vertex {len(values) if count is None else count}"]
    vertex += [f"property {NAMES[LAYOUT[n].str[1:]]} {n}" for n in LAYOUT.names]
    face = [f"element face {len(lengths)}", "property list uchar int vertex_indices", "property uchar quality"]
    edge = ["element edge 3", "property ushort a", "property ushort b"]
    elements = [face, edge, vertex] if faces_first else [vertex, face, edge]
    if encoding == "ascii":
        rows = b"".join((" ".join(str(v) for v in row.tolist()) + "\n").encode() for row in values)
        edges = b"1 2\n" * 3
    else:
        rows = values.astype(LAYOUT.newbyteorder(order)).tobytes()
        edges = bytes(12)
    body = [faces(encoding, lengths), edges, rows] if faces_first else [rows, faces(encoding, lengths), edges]
    lines = ["ply", f"format {encoding} 1.0", "comment made by a test", *itertools.chain(*elements), "end_header", ""]
    return end.join(lines).encode() + b"".join(body)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("faces_first", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_with_faces_before_and_after(tmp_path, encoding, faces_first, end):
    values, path = vertices(), tmp_path / "a.ply"
    path.write_bytes(ply(encoding, values, [3, 4, 0, 3, 5], faces_first, end=end))
    cloud = read_ply(path)
    np.testing.assert_array_equal(cloud.xyz, np.stack([values["x"], values["y"], values["z"]], 1))
    assert set(cloud.fields) == {"red", "intensity", "n"}
    np.testing.assert_array_equal(cloud.fields["intensity"], values["scalar_Intensity"])
    assert cloud.fields["n"].dtype == np.dtype("=i4")
    assert cloud.metadata["comments"] == ("made by a test",)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_far_coordinates_keep_their_precision(tmp_path, encoding):
    values, path = vertices(), tmp_path / "a.ply"
    values["x"] += 4_000_000.0625
    path.write_bytes(ply(encoding, values, [], False))
    cloud = read_ply(path)
    np.testing.assert_array_equal(cloud.world()[:, 0], values["x"])
    assert cloud.origin[0] > 3_999_999


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("count", [COUNT + 100, 10**15])
def test_counts_beyond_the_file_are_errors(tmp_path, encoding, count):
    path = tmp_path / "a.ply"
    path.write_bytes(ply(encoding, vertices(), [3], False, count=count))
    with pytest.raises(PerceptionError):
        read_ply(path)


@pytest.mark.parametrize("encoding", ENCODINGS[1:])
def test_lists_that_leave_the_file_are_errors(tmp_path, encoding):
    path = tmp_path / "a.ply"
    data = ply(encoding, vertices(), [3, 255], True)
    at = data.index(b"end_header\n") + 11
    path.write_bytes(data[: at + 100])
    with pytest.raises(PerceptionError, match="beyond the end"):
        read_ply(path)


def test_lists_among_the_vertices_are_left_out_and_named(tmp_path):
    path = tmp_path / "a.ply"
    head = (
        "ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\nproperty list uchar short lidars\n"
        "property float y\nproperty float z\nend_header\n"
    )
    rows = [np.float32(1).tobytes(), b"\x02", b"abcd", np.float32([2, 3]).tobytes()]
    rows += [np.float32(4).tobytes(), b"\x00", np.float32([5, 6]).tobytes()]
    path.write_bytes(head.encode() + b"".join(rows))
    cloud = read_ply(path)
    assert cloud.xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert cloud.metadata["skipped"] == ("lidars",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"ply\n", b"pl\n"), (b"vertex 40", b"vertex -1"), (b"vertex 40", b"vertices 40"), (b"1.0", b""),
        (b"uint8 red", b"uint9 red"), (b"float y", b"float x"), (b"end_header", b"end"), (b"float z", b"float q"),
        (b"list uchar int", b"list float int"), (b"format binary_little", b"format binary_middle"),
    ],
)  # fmt: skip
def test_damaged_headers(tmp_path, old, new):
    path, data = tmp_path / "a.ply", ply("binary_little_endian", vertices(), [3], False)
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    if old == b"1.0":
        assert len(read_ply(path)) == COUNT  # the only version there is
        return
    with pytest.raises(PerceptionError):
        read_ply(path)


def test_no_vertices_is_a_valid_cloud(tmp_path):
    path = tmp_path / "a.ply"
    path.write_bytes(ply("binary_little_endian", vertices()[:0], [], False))
    assert len(read_ply(path)) == 0


def test_real_file(shared_data):
    (path,) = shared_data.glob("ouster/*.ply")
    cloud = read_ply(path)
    assert len(cloud) == 155_000
    assert 100 < np.abs(cloud.xyz).max() < 300
