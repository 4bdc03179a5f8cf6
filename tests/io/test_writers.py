import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.writers import write_points
from perception.points import PointCloud


def cloud(origin=(0, 0, 0), **metadata):
    random = np.random.default_rng(0)
    fields = {
        "intensity": random.integers(0, 255, 300).astype(np.uint16),
        "treeID": random.integers(0, 9, 300).astype(np.int32),
        "normal": random.normal(size=(300, 3)).astype(np.float32),
        "score": random.uniform(0, 1, 300).astype(np.float16),
        "ground": random.uniform(0, 1, 300) > 0.5,
        "stamp_ns": np.arange(300) + 2**52,
    }
    xyz = np.round(random.normal(0, 50, (300, 3)), 3).astype(np.float32)
    return PointCloud(xyz, fields, np.array(origin, float), frame="map", stamp=12.5, metadata=metadata)


@pytest.mark.parametrize("suffix", [".las", ".laz", ".ply", ".npz"])
@pytest.mark.parametrize("origin", [(0, 0, 0), (500_000.25, 5_000_000.5, 100)])
def test_coordinates_and_fields_survive(tmp_path, suffix, origin):
    source, path = cloud(origin), tmp_path / f"a{suffix}"
    write_points(path, source)
    read = read_points(path)
    np.testing.assert_allclose(read.world(), source.world(), atol=6e-5)
    for name in ("intensity", "treeID", "score", "ground", "stamp_ns"):
        np.testing.assert_array_equal(read.fields[name], source.fields[name])
    normal = [read.fields[f"normal_{i}"] for i in range(3)] if suffix == ".ply" else read.fields["normal"].T
    np.testing.assert_array_equal(np.stack(normal, 1), source.fields["normal"])


def test_npz_keeps_origin_frame_and_stamp(tmp_path):
    source = cloud((500_000, 5_000_000, 100))
    write_points(tmp_path / "a.npz", source)
    read = read_points(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.xyz, source.xyz)
    np.testing.assert_array_equal(read.origin, source.origin)
    assert (read.frame, read.stamp) == ("map", 12.5)


def test_npz_takes_any_field_name(tmp_path):
    names = ("file", "args", "allow_pickle", "a b")
    write_points(tmp_path / "a.npz", PointCloud(np.zeros((2, 3)), {name: np.arange(2) for name in names}))
    assert tuple(read_points(tmp_path / "a.npz").fields) == names


def test_kitti_needs_intensity_and_a_sensor_frame(tmp_path):
    write_points(tmp_path / "a.bin", cloud())
    assert (tmp_path / "a.bin").stat().st_size == 300 * 16
    with pytest.raises(PerceptionError, match="about"):
        write_points(tmp_path / "b.bin", cloud((1, 2, 3)))
    with pytest.raises(PerceptionError, match="without the field intensity"):
        write_points(tmp_path / "b.bin", PointCloud(np.zeros((1, 3))))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin"]


@pytest.mark.parametrize("crs", ["EPSG:25832", "EPSG:4326", 'PROJCS["a"]'])
def test_las_keeps_scale_format_and_reference_system(tmp_path, crs):
    source = cloud(scale=(0.001, 0.001, 0.01), offset=(10.0, 20.0, 30.0), point_format=3, crs=crs)
    write_points(tmp_path / "a.laz", source)
    facts = read_points(tmp_path / "a.laz").metadata
    assert facts["scale"] == (0.001, 0.001, 0.01)
    assert facts["offset"] == (10.0, 20.0, 30.0)
    assert (facts["point_format"], facts["crs"]) == (3, crs)


@pytest.mark.parametrize("suffix", [".bin", ".npz", ".ply", ".las", ".laz"])
def test_empty_clouds(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_points(path, PointCloud(np.zeros((0, 3)), {"intensity": np.zeros(0, np.uint16)}))
    if suffix == ".bin":
        with pytest.raises(PerceptionError, match="empty"):
            read_points(path)  # without a header no points is no file
        return
    assert len(read_points(path)) == 0


def test_what_a_format_cannot_hold_leaves_no_file(tmp_path):
    far = PointCloud(np.array([[0, 0, 0], [1e6, 0, 0]]))
    text = PointCloud(np.zeros((1, 3)), {"name": np.array(["a"])})
    loud = PointCloud(np.zeros((1, 3)), {"classification": np.array([300])})
    unscaled = PointCloud(np.zeros((1, 3)), {"intensity": np.array([0.5])})
    for name, wrong in (
        ("a.las", far), ("a.las", text), ("a.ply", text), ("a.laz", loud), ("a.xyz", far), ("a.las", unscaled),
        ("a.npz", PointCloud(np.zeros((1, 3)), {"xyz": np.zeros(1)})),
        ("a.npz", PointCloud(np.zeros((1, 3)), {"thing": np.array([object()])})),
    ):  # fmt: skip
        with pytest.raises(PerceptionError):
            write_points(tmp_path / name, wrong)
    assert list(tmp_path.iterdir()) == []


def test_real_files_survive_writing_unchanged(shared_data, tmp_path):
    for name in ("trees/MixedConifer.laz", "las_format/simple.las", "las_format/autzen_trim.laz"):
        source = read_points(shared_data / name)
        write_points(tmp_path / "a.laz", source)
        read = read_points(tmp_path / "a.laz")
        np.testing.assert_array_equal(read.world(), source.world())
        assert read.metadata["crs"] == source.metadata["crs"]
        for field in source.fields:
            np.testing.assert_array_equal(read.fields[field], source.fields[field])
