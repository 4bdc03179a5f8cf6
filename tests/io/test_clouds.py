import os

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.clouds import READERS, describe, read_points
from perception.io.writers import write_points
from perception.points import PointCloud


def cloud(count=500):
    random = np.random.default_rng(0)
    xyz = random.normal(0, [30, 20, 2], (count, 3)).astype(np.float32)
    return PointCloud(xyz, {"intensity": random.integers(0, 256, count).astype(np.float32)})


@pytest.mark.parametrize("suffix", [".las", ".laz", ".ply", ".npz", ".bin"])
def test_content_decides_over_the_name(tmp_path, suffix):
    write_points(tmp_path / f"a{suffix}", cloud())
    for name in (f"a{suffix}", "b.las", "b.bin", "b.npy", "b.unknown"):
        path = tmp_path / name
        if not path.exists():
            path.symlink_to(tmp_path / f"a{suffix}")
        if suffix == ".bin" and name not in ("a.bin", "b.bin"):
            with pytest.raises(PerceptionError, match="begins with"):
                read_points(path)
            assert len(read_points(path, format="kitti")) == 500
            continue
        assert len(read_points(path)) == 500
        assert describe(path).points == 500
        if name.startswith("b"):
            path.unlink()


def test_pcd_is_known_with_and_without_its_comment(tmp_path):
    head = "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 1\nHEIGHT 1\nPOINTS 1\nDATA ascii\n1 2 3\n"
    for start in ("# .PCD v0.7 - Point Cloud Data file format\n", "# made by hand\n", ""):
        (tmp_path / "a.txt").write_text(start + head)
        assert read_points(tmp_path / "a.txt").xyz.tolist() == [[1, 2, 3]]


def test_describe_names_format_fields_extent_and_problems(tmp_path):
    source = cloud()
    write_points(tmp_path / "a.laz", source)
    summary = describe(tmp_path / "a.laz")
    assert (summary.format, summary.version, summary.points, summary.crs) == ("laz", "1.4", 500, None)
    assert summary.fields["classification"] == "uint8"
    assert summary.fields == describe(tmp_path / "a.laz").fields
    read = read_points(tmp_path / "a.laz")
    assert set(summary.fields) == {"x", "y", "z", *read.fields}
    np.testing.assert_allclose(summary.extent, [source.xyz.min(0), source.xyz.max(0)], atol=1e-3)
    values = np.column_stack([source.xyz, source.fields["intensity"]]).astype(np.float32)
    values[0, 0] = np.nan
    values.tofile(tmp_path / "a.bin")
    summary = describe(tmp_path / "a.bin")
    assert (summary.format, summary.points, summary.dropped) == ("kitti", 499, 1)
    assert "1 points with non-finite" in summary.problems[0]


@pytest.mark.parametrize("read", [read_points, describe])
def test_what_is_no_file_is_explained(tmp_path, read):
    (tmp_path / "empty.las").touch()
    for name, word in (("", "folder"), ("missing.las", "no file"), ("empty.las", r"empty \(0 bytes\)")):
        with pytest.raises(PerceptionError, match=word):
            read(tmp_path / name)
    with pytest.raises(PerceptionError):
        read("a\0b.las")
    os.mkfifo(tmp_path / "pipe.bin")
    # A pipe would block for ever when opened; it must be refused without reading from it.
    with pytest.raises(PerceptionError, match="ordinary"):
        read(tmp_path / "pipe.bin")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may read everything")
def test_no_permission_is_explained(tmp_path):
    (tmp_path / "a.las").write_bytes(b"LASF")
    (tmp_path / "a.las").chmod(0)
    with pytest.raises(PerceptionError, match="permission"):
        read_points(tmp_path / "a.las")


def test_formats_and_options_that_do_not_exist(tmp_path):
    write_points(tmp_path / "a.bin", cloud())
    for options, word in (
        ({"format": "kity"}, "kitti"),
        ({"format": "kitti", "colums": ()}, "colums"),
        ({"format": "raw"}, "without columns"),
        ({"format": "kitti", "dtype": "float31"}, "float31"),
        ({"format": "las"}, "LASF"),
    ):
        with pytest.raises(PerceptionError, match=word):
            read_points(tmp_path / "a.bin", **options)


@pytest.mark.parametrize("format", READERS)
def test_every_reader_refuses_what_is_not_its_format(tmp_path, format):
    path = tmp_path / "a.dat"
    options = {"columns": ("x", "y", "z")} if format == "raw" else {}
    for content in (b"\xff" * 8, b"hello, world!\n" * 100 + b"!", bytes(1001)):
        path.write_bytes(content)
        with pytest.raises(PerceptionError):
            read_points(path, format=format, **options)


def test_every_real_cloud_is_recognised(shared_data):
    formats = {
        "kitti_object/training/velodyne/000000.bin": "kitti", "semantickitti/000000.bin": "kitti",
        "places/nclt_1326652795280148.bin": "nclt", "places/apollo_21_36822.pcd": "pcd",
        "las_format/simple.copc.laz": "copc", "las_format/simple.laz": "laz", "las_format/simple.las": "las",
        "argoverse2/openseneflow_pair/test_pc0.npy": "npy",
    }  # fmt: skip
    for name, format in formats.items():
        assert describe(shared_data / name).format == format
    (keyframe,) = shared_data.glob("nuscenes/*.pcd.bin")
    assert describe(keyframe).format == "nuscenes"
