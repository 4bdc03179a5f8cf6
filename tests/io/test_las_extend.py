"""The round trip is exact: what was in the file is in the result, byte for byte where nothing had to change."""

from __future__ import annotations

import struct
from pathlib import Path

import laspy
import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.las import read_las, record_chunks
from perception.io.las_extend import Dimension, extend_las
from perception.io.las_header import read_las_header
from perception.io.writers import write_points
from perception.points import PointCloud

UNREADABLE = {"garbage_nVariableLength.las", "simple-laszip-compressor-version-1.2r0.laz"}


def raw(path: Path) -> np.ndarray:
    header = read_las_header(path)
    return np.concatenate([np.zeros(0, header.layout.dtype), *(r.copy() for r in record_chunks(header))])


def others(path: Path) -> list[tuple[str, int, bytes]]:
    """Records but those about the packing of points."""
    content = path.read_bytes()
    return [
        (v.user, v.record, content[v.start : v.start + v.length])
        for v in read_las_header(path).vlrs
        if v.user not in ("laszip encoded", "copc") and (v.user, v.record) != ("LASF_Spec", 4)
    ]


def check(source: Path, target: Path) -> None:
    before = read_las_header(source)
    ids = np.arange(before.points, dtype=np.uint32) * 3
    score = np.linspace(0, 1, before.points, dtype=np.float32)
    added = {"tree_id": Dimension(ids, "tree, 0 for none"), "tree_score": Dimension(score)}
    extend_las(before, target, added)
    after = read_las_header(target)
    for name in ("version", "points", "point_format", "crs", "software"):
        assert getattr(after, name) == ("1.2" if getattr(before, name) == "1.0" else getattr(before, name)), name
    for name in ("scale", "offset", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert others(source) == others(target)
    old, new = raw(source), raw(target)
    for name in old.dtype.names or ():
        if name != "#rest":
            np.testing.assert_array_equal(old[name], new[name])
    cloud = read_las(target)
    np.testing.assert_array_equal(cloud.fields["tree_id"], ids)
    np.testing.assert_array_equal(cloud.fields["tree_score"], score)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_every_readable_file_keeps_all_it_had(shared_data: Path, tmp_path: Path, suffix: str) -> None:
    files = sorted(p for p in (shared_data / "las_format").rglob("*") if p.suffix in (".las", ".laz"))
    done = 0
    for source in files:
        if source.name in UNREADABLE:
            continue
        try:
            raw(source)
        except PerceptionError:
            continue
        target = tmp_path / f"{source.stem}{suffix}"
        check(source, target)
        done += 1
        if read_las_header(source).version in ("1.2", "1.3", "1.4"):
            with laspy.open(target) as file:
                assert file.header.point_count == read_las_header(source).points
                assert {"tree_id", "tree_score"} <= set(file.header.point_format.extra_dimension_names)
    assert done > 15


def test_a_second_run_replaces_its_own_dimensions(tmp_path: Path) -> None:
    source, first, second = tmp_path / "in.laz", tmp_path / "first.laz", tmp_path / "second.laz"
    write_points(source, PointCloud(np.random.default_rng(0).uniform(0, 50, (500, 3)).astype(np.float32)))
    extend_las(read_las_header(source), first, {"tree_id": Dimension(np.zeros(500, np.uint32))})
    extend_las(read_las_header(first), second, {"tree_id": Dimension(np.arange(500, dtype=np.uint32))})
    assert read_las_header(second).record_length == read_las_header(first).record_length
    np.testing.assert_array_equal(read_las(second).fields["tree_id"], np.arange(500))
    with pytest.raises(PerceptionError, match="already has a dimension 'tree_id' of uint32"):
        extend_las(read_las_header(first), second, {"tree_id": Dimension(np.zeros(500))})


def test_waveforms_follow_the_points(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "las_format/simple1_3.las", tmp_path / "wave.las"
    header = read_las_header(source)
    extend_las(header, target, {"label": Dimension(np.zeros(header.points, np.uint8))})
    before, after = source.read_bytes(), target.read_bytes()
    old, new = (struct.unpack_from("<Q", content, 227)[0] for content in (before, after))
    extended = read_las_header(target)
    assert new == extended.points_offset + header.points * (header.record_length + 1) != old
    assert after[new:] == before[old:]
    assert len(after[new:]) > 60


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "in.las"
    write_points(source, PointCloud(np.zeros((10, 3), np.float32)))
    header = read_las_header(source)
    good = {"label": Dimension(np.zeros(10, np.uint8))}
    for target, dimensions, message in [
        (source, good, "is the file that is read"),
        (tmp_path / "out.ply", good, "ends in .las or .laz"),
        (tmp_path / "out.las", {"label": Dimension(np.zeros(9, np.uint8))}, r"\(10,\) numbers"),
        (tmp_path / "out.las", {"label": Dimension(np.zeros(10, np.complex128))}, "numbers of 1 to 8 bytes"),
        (tmp_path / "out.las", {"x" * 33: Dimension(np.zeros(10, np.uint8))}, "32 ASCII"),
    ]:
        with pytest.raises(PerceptionError, match=message):
            extend_las(header, target, dimensions)
    assert [p.name for p in tmp_path.iterdir()] == ["in.las"]
