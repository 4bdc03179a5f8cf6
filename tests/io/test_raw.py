import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io import raw
from perception.io.clouds import read_points


def scan(points, seed=0):
    """Plausible x, y, z, intensity, ring."""
    random = np.random.default_rng(seed)
    xyz = random.normal(0, [30, 20, 1.5], (points, 3))
    return np.column_stack([xyz, random.uniform(0, 1, points), random.integers(0, 32, points)]).astype(np.float32)


@pytest.mark.parametrize("points", [100, 4000, 4003])
def test_four_and_five_columns_are_told_apart(tmp_path, points):
    values = scan(points)
    values[:, :4].tofile(tmp_path / "a.bin")
    values.tofile(tmp_path / "b.bin")
    kitti, nuscenes = read_points(tmp_path / "a.bin"), read_points(tmp_path / "b.bin")
    assert (kitti.metadata["format"], nuscenes.metadata["format"]) == ("kitti", "nuscenes")
    np.testing.assert_array_equal(kitti.xyz, values[:, :3])
    np.testing.assert_array_equal(nuscenes.fields["ring"], values[:, 4])


def test_a_wrong_explicit_format_is_an_error_not_garbage(tmp_path):
    values = scan(4000)
    values[:, :4].tofile(tmp_path / "a.bin")
    values.tofile(tmp_path / "b.bin")
    with pytest.raises(PerceptionError, match="columns="):
        read_points(tmp_path / "a.bin", format="nuscenes")
    with pytest.raises(PerceptionError, match="columns="):
        read_points(tmp_path / "b.bin", format="kitti")


def test_undecidable_and_implausible_files_are_errors(tmp_path):
    path = tmp_path / "a.bin"
    np.zeros(20 * 50, np.float32).tofile(path)
    with pytest.raises(PerceptionError, match="both with 4 and with 5"):
        read_points(path)
    np.zeros(20 * 50, np.float32).tofile(tmp_path / "a.pcd.bin")
    assert len(read_points(tmp_path / "a.pcd.bin")) == 200
    for content in (bytes(range(256)) * 20, b"12.5 3.25 -7.125 " * 320, b"x" * 21):
        path.write_bytes(content)
        with pytest.raises(PerceptionError, match="no cloud of float32 columns"):
            read_points(path)


def test_half_precision_and_named_columns(tmp_path):
    path, values = tmp_path / "a.bin", scan(1000)
    values[:, 4] /= 100
    values.astype(np.float16).tofile(path)
    cloud = read_points(path, format="nuscenes", dtype="float16")
    assert list(cloud.fields) == ["intensity", "time"]
    np.testing.assert_allclose(cloud.xyz, values[:, :3], rtol=1e-3)
    values.tofile(path)
    named = read_points(path, columns=("y", "z", "x", "_", "lag"))
    np.testing.assert_array_equal(named.xyz, values[:, [2, 0, 1]])
    assert list(named.fields) == ["lag"]
    doubles = values.astype(np.float64)
    doubles[:, 0] += 600_000.03125
    doubles.tofile(path)
    far = read_points(path, format="raw", columns=("x", "y", "z", "a", "b"), dtype="float64")
    np.testing.assert_allclose(far.world()[:, 0], doubles[:, 0], atol=1e-5)


@pytest.mark.parametrize("columns", [("x", "y"), ("x", "y", "z", "x"), ("a", "b", "c"), ("x", "y", "z", "a", "b", "c")])
def test_columns_that_cannot_be(tmp_path, columns):
    scan(1001)[:, :4].tofile(tmp_path / "a.bin")
    with pytest.raises(PerceptionError):
        read_points(tmp_path / "a.bin", format="raw", columns=columns)


def test_points_without_a_place_are_dropped_and_counted(tmp_path):
    values = scan(1000)[:, :4]
    values[3, 0], values[5, 2], values[7, 3] = np.nan, np.inf, np.nan
    values.tofile(tmp_path / "a.bin")
    cloud = read_points(tmp_path / "a.bin")
    assert (len(cloud), cloud.dropped) == (998, 2)
    assert len(cloud.fields["intensity"]) == 998


def test_nclt_records(tmp_path):
    records = np.zeros(100, raw.NCLT)
    records["xyz"], records["intensity"] = np.arange(300).reshape(100, 3) * 100, 7
    records["laser"] = np.arange(100) % 32
    records.tofile(tmp_path / "a.bin")
    cloud = read_points(tmp_path / "a.bin")
    np.testing.assert_allclose(cloud.xyz, records["xyz"] * 0.005 - 100, atol=1e-5)
    assert cloud.fields["laser"].dtype == np.uint8
    records["laser"][9] = 32
    records.tofile(tmp_path / "a.bin")
    with pytest.raises(PerceptionError, match="laser 32"):
        read_points(tmp_path / "a.bin", format="nclt")


def test_real_files(shared_data):
    folder = shared_data / "kitti_object/training"
    counts = {p.name: len(read_points(p)) for p in folder.glob("velodyne*/*.bin")}
    assert counts["000000.bin"] == 115_384
    assert len(counts) == 9
    for path in folder.glob("velodyne*/*.bin"):
        assert counts[path.name] * 16 == path.stat().st_size
        assert 0 <= read_points(path).fields["intensity"].min() <= read_points(path).fields["intensity"].max() <= 1
    assert len(read_points(shared_data / "semantickitti/000000.bin")) == 123_389
    assert len(read_points(shared_data / "places/nclt_1326652795280148.bin")) == 23_546
    (keyframe,) = (read_points(p) for p in shared_data.glob("nuscenes/*.pcd.bin"))
    assert len(keyframe) == 34_688
    assert sorted(set(keyframe.fields["ring"].tolist())) == list(range(32))
    sweeps = shared_data / "nuscenes/ten_sweeps_float16.bin"
    cloud = read_points(sweeps, format="nuscenes", dtype="float16")
    assert len(cloud) * 10 == sweeps.stat().st_size
    assert 0.4 < cloud.fields["time"].max() < 0.6
    for wrong in ({}, {"format": "nuscenes"}, {"format": "kitti", "dtype": "float16"}):
        with pytest.raises(PerceptionError):
            read_points(sweeps, **wrong)
