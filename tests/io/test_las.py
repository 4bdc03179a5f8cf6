import io
import struct
import subprocess
import sys

import laspy
import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.las import read_las
from perception.io.las_header import read_las_header

BROKEN = {"garbage_nVariableLength.las", "simple-laszip-compressor-version-1.2r0.laz", "1.2-no-points.las"}
POINTS = {
    "las_format/simple.las": 1065,
    "las_format/simple.copc.laz": 1065,
    "trees/MixedConifer.laz": 37_657,
    "trees/Megaplot.laz": 81_590,
    "trees/pine.laz": 73_851,
    "trees/pine_plot.laz": 114_024,
    "trees/ALS_Clip.laz": 29_915,
    "trees/MLS_Clip.laz": 301_477,
}


def sound_files(folder):
    return [p for p in sorted(folder.glob("las_format/**/*.la[sz]")) if p.name not in BROKEN] + sorted(
        folder.glob("trees/*.laz")
    )


@pytest.mark.parametrize("name", POINTS)
def test_point_counts_of_real_files(shared_data, name):
    assert len(read_las(shared_data / name)) == POINTS[name]


def test_real_files_equal_laspy_in_every_dimension(shared_data):
    files = sound_files(shared_data)
    assert len(files) > 30
    for path in files:
        cloud, other = read_las(path), laspy.read(path)
        world = np.stack([other.x, other.y, other.z], axis=1)
        # Two files have steps of a micrometre over hundreds of metres, which is more than float32 has.
        finest = np.spacing(np.abs(cloud.xyz).max(axis=0)) if path.stem in ("1_4_w_evlr", "test1_4") else 0
        allowed = 0.5 * np.maximum(cloud.metadata["scale"], finest) + 1e-9
        assert (np.abs(cloud.world() - world) <= allowed).all(), path
        for name in other.point_format.dimension_names:
            if name not in "XYZ":
                ours = cloud.fields["extra_bytes" if name == "ExtraBytes" else name]
                np.testing.assert_array_equal(ours, np.asarray(other[name]), err_msg=f"{path} {name}")


def test_tree_identifiers_and_reference_systems(shared_data):
    cloud = read_las(shared_data / "trees/MixedConifer.laz")
    trees = cloud.fields["treeID"]
    assert len(np.unique(trees[trees < 1e300])) == 205
    assert cloud.metadata["crs"] == "EPSG:26912"
    assert cloud.origin[0] > 400_000
    assert np.abs(cloud.xyz).max() < 200
    assert read_las(shared_data / "las_format/autzen.las").metadata["crs"] == "EPSG:2994"
    assert read_las(shared_data / "las_format/1_4_w_evlr.las").metadata["crs"].startswith('PROJCS["NAD83(HARN)')


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_files_are_refused_at_once_in_little_memory(shared_data, name):
    (path,) = shared_data.glob(f"las_format/**/{name}")
    program = """if True:
        import resource, sys, time
        from pathlib import Path
        from perception.errors import PerceptionError
        from perception.io.las import read_las
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        try:
            read_las(Path(sys.argv[1]))
        except PerceptionError:
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            print("refused", time.perf_counter() - start, used / 1024)
    """
    run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    word, seconds, megabytes = run.stdout.split()
    assert word == "refused"
    assert float(seconds) < 1
    assert float(megabytes) < 200


def las_bytes(points=200, compress=False, version="1.4", point_format=7, scale=0.001, centre=(500_000, 5_000_000, 300)):
    header = laspy.LasHeader(version=version, point_format=point_format)
    header.scales, header.offsets = np.full(3, scale), np.array(centre, float)
    header.add_extra_dim(laspy.ExtraBytesParams("height", "i2", scales=np.array([0.01]), offsets=np.array([5.0])))
    header.add_extra_dim(laspy.ExtraBytesParams("normal", "3f4"))
    las = laspy.LasData(header)
    las.points = laspy.ScaleAwarePointRecord.zeros(points, header=header)
    random = np.random.default_rng(0)
    for name in "XYZ":
        las[name] = random.integers(-2_000_000, 2_000_000, points)
    las.classification = random.integers(0, 20, points)
    las.intensity = random.integers(0, 60_000, points)
    las.height = np.round(random.uniform(0, 40, points), 2)
    las.normal = random.normal(size=(points, 3))
    buffer = io.BytesIO()
    las.write(buffer, do_compress=compress)
    return bytearray(buffer.getvalue())


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("point_format", range(11))
def test_all_point_formats(tmp_path, point_format, compress):
    path = tmp_path / "a.laz"
    path.write_bytes(las_bytes(compress=compress, point_format=point_format))
    cloud, other = read_las(path), laspy.read(path)
    assert len(cloud) == 200
    assert cloud.metadata["point_format"] == point_format
    assert np.abs(cloud.world() - np.stack([other.x, other.y, other.z], 1)).max() <= 0.0005
    assert cloud.fields["height"].dtype == np.float64
    np.testing.assert_allclose(cloud.fields["height"], np.asarray(other.height), atol=1e-9)
    np.testing.assert_array_equal(cloud.fields["normal"], np.asarray(other.normal))
    np.testing.assert_array_equal(cloud.fields["classification"], np.asarray(other.classification))


def test_origin_is_zero_where_float32_suffices_and_near_the_centre_elsewhere(tmp_path):
    path = tmp_path / "a.las"
    path.write_bytes(las_bytes(centre=(0, 0, 0)))
    assert not read_las(path).origin.any()
    path.write_bytes(las_bytes())
    cloud = read_las(path)
    np.testing.assert_allclose(cloud.origin, (500_000, 5_000_000, 300), atol=100)
    np.testing.assert_array_equal(cloud.origin, np.round(cloud.origin))
    given = read_las(path, origin=(500_000, 5_000_000, 0))
    np.testing.assert_allclose(given.world(), cloud.world(), atol=1e-3)
    assert given.origin.tolist() == [500_000, 5_000_000, 0]


def test_more_points_than_a_chunk_arrive_in_order(tmp_path, monkeypatch):
    path = tmp_path / "a.laz"
    path.write_bytes(las_bytes(points=1000, compress=True))
    whole = read_las(path)
    monkeypatch.setattr("perception.io.las.CHUNK_POINTS", 77)
    monkeypatch.setattr("perception.io.las.PARALLEL_BYTES", 0)
    parts = read_las(path)
    np.testing.assert_array_equal(parts.xyz, whole.xyz)
    np.testing.assert_array_equal(parts.fields["height"], whole.fields["height"])


@pytest.mark.parametrize("compress", [False, True])
def test_no_points_is_a_valid_cloud_with_its_fields(tmp_path, compress):
    path = tmp_path / "a.laz"
    path.write_bytes(las_bytes(points=0, compress=compress))
    cloud = read_las(path)
    assert len(cloud) == 0
    assert cloud.fields["normal"].shape == (0, 3)


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("compress", [False, True])
def test_a_truncated_file_is_never_a_shorter_cloud(tmp_path, keep, compress):
    path, data = tmp_path / "a.laz", las_bytes(compress=compress)
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(PerceptionError):
        read_las(path)


@pytest.mark.parametrize(
    ("where", "value", "word"),
    [
        (94, struct.pack("<H", 100), "header of 100"),
        (96, struct.pack("<I", 2**32 - 1), "points that begin"),
        (100, struct.pack("<I", 2**31), "variable length"),
        (104, b"\x0b", "point format 11"),
        (105, struct.pack("<H", 10), "point records of 10"),
        (131, struct.pack("<d", 0.0), "scales"),
        (139, struct.pack("<d", float("nan")), "scales"),
        (155, struct.pack("<d", float("inf")), "offsets"),
        (247, struct.pack("<Q", 2**40), "cut short"),
        (24, b"\x02\x09", "version 2.9"),
        (235, struct.pack("<QI", 400, 2**31), "extended records"),
    ],
)
def test_damaged_headers_are_named(tmp_path, where, value, word):
    path, data = tmp_path / "a.las", las_bytes()
    data[where : where + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(PerceptionError, match=word):
        read_las_header(path)


def test_a_bounds_contradiction_is_reported_but_read(tmp_path):
    path, data = tmp_path / "a.las", las_bytes()
    data[179:187] = struct.pack("<d", 500_000.0)  # the greatest x
    path.write_bytes(data)
    assert "beyond the header's bounds" in read_las(path).metadata["problems"][0]


def test_a_bomb_of_points_is_refused(tmp_path):
    path, data = tmp_path / "a.laz", las_bytes(compress=True)
    data[247:255] = struct.pack("<Q", 10**12)
    path.write_bytes(data)
    with pytest.raises(PerceptionError, match="points a byte"):
        read_las(path)


def test_a_giant_chunk_size_costs_no_memory(tmp_path):
    path, data = tmp_path / "a.laz", las_bytes(compress=True)
    at = data.index(b"laszip encoded") - 2 + 54 + 12
    assert struct.unpack_from("<I", data, at)[0] == 50_000
    data[at : at + 4] = struct.pack("<I", 2_000_000_000)
    path.write_bytes(data)
    assert len(read_las(path)) == 200
