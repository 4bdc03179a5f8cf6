"""`perception trees`: the input as it was with three more dimensions, a table, and what goes wrong said in time."""

from __future__ import annotations

import csv
import json
import sqlite3
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.cli import main
from perception.io.las import read_las, record_chunks
from perception.io.las_header import read_las_header
from perception.io.writers import write_points
from perception.points import PointCloud

sys.path.insert(0, str(Path(__file__).parents[1] / "trees"))
from forests import ORIGIN, write_forest

SMALL = ("--tile", 15, "--overlap", 7)
UNREADABLE = {"garbage_nVariableLength.las", "simple-laszip-compressor-version-1.2r0.laz"}


def trees(*arguments: object) -> int:
    return main(["trees", *map(str, arguments)])


def raw(path: Path) -> np.ndarray:
    header = read_las_header(path)
    return np.concatenate([np.zeros(0, header.layout.dtype), *(r.copy() for r in record_chunks(header))])


def rows(path: Path) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file))


def test_a_plot_becomes_a_cloud_with_trees_a_table_and_a_picture(tmp_path: Path, capsys: Any) -> None:
    source, _ = write_forest(tmp_path / "plot.laz")
    out = tmp_path / "out.laz"
    assert trees(source, "--out", out, "--table", tmp_path / "trees.csv", "--picture", *SMALL) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.laz", "out.png", "plot.laz", "trees.csv"]
    assert "16 trees in 19,200 points" in capsys.readouterr().out
    before, after = raw(source), read_las(out)
    for name in before.dtype.names or ():
        np.testing.assert_array_equal(before[name], raw(out)[name])
    number, score, semantic = (after.fields[name] for name in ("tree_id", "tree_score", "semantic"))
    assert (number.dtype, score.dtype, semantic.dtype) == (np.uint32, np.float32, np.uint8)
    assert ((score > 0) == (number > 0)).all()
    assert semantic[number > 0].all()
    table = rows(tmp_path / "trees.csv")
    assert [int(row["id"]) for row in table] == list(range(1, 17))
    assert [int(row["points"]) for row in table] == np.bincount(number)[1:].tolist()
    assert {row["crs"] for row in table} == {"EPSG:25832"}
    assert {row["stem_diameter"] for row in table} == {""}


def test_a_geopackage_says_where_its_trees_are(tmp_path: Path) -> None:
    source, _ = write_forest(tmp_path / "plot.las")
    assert trees(source, "--out", tmp_path / "out.las", "--table", tmp_path / "trees.gpkg", *SMALL) == 0
    database = sqlite3.connect(tmp_path / "trees.gpkg")
    assert database.execute("PRAGMA application_id").fetchone() == (0x47504B47,)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not database.execute("PRAGMA foreign_key_check").fetchall()
    assert database.execute("SELECT table_name, srs_id FROM gpkg_contents").fetchall() == [("trees", 25832)]
    kind = database.execute("SELECT geometry_type_name, srs_id, z, m FROM gpkg_geometry_columns").fetchone()
    assert kind == ("POINT", 25832, 0, 0)
    for blob, x, y, stem in database.execute("SELECT geom, x, y, stem_diameter FROM trees"):
        assert struct.unpack("<2sBBiBIdd", blob) == (b"GP", 0, 1, 25832, 1, 1, x, y)
        assert stem is None
    database.close()


def test_geojson_is_in_longitude_and_latitude(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("pyproj")
    source, cloud = write_forest(tmp_path / "plot.las")
    assert trees(source, "--out", tmp_path / "out.las", "--table", tmp_path / "trees.geojson", *SMALL) == 0
    content = json.loads((tmp_path / "trees.geojson").read_text())
    assert (content["type"], content["source_crs"], len(content["features"])) == ("FeatureCollection", "EPSG:25832", 16)
    longitude, latitude = content["features"][0]["geometry"]["coordinates"]
    assert (round(longitude, 1), round(latitude, 1)) == (7.8, 48.0)
    assert "crs" not in content
    write_points(tmp_path / "local.las", PointCloud(cloud.xyz))
    capsys.readouterr()
    assert trees(tmp_path / "local.las", "--out", tmp_path / "l.las", "--table", tmp_path / "l.geojson", *SMALL) == 0
    assert "local coordinates" in capsys.readouterr().out


def test_a_folder_is_one_forest(tmp_path: Path) -> None:
    _, cloud = write_forest(tmp_path / "whole.las")
    west = cloud.xyz[:, 0] < 15.3
    (tmp_path / "in").mkdir()
    write_points(tmp_path / "in/a.las", cloud.select(west))
    write_points(tmp_path / "in/b.laz", cloud.select(~west))
    (tmp_path / "in/notes.txt").write_text("not a cloud")
    assert trees(tmp_path / "in", "--out", tmp_path / "out", "--table", tmp_path / "t.csv", *SMALL) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.las", "b.laz"]
    one, other = (read_las(tmp_path / "out" / name).fields["tree_id"] for name in ("a.las", "b.laz"))
    assert set(one.tolist()) & set(other.tolist()) - {0}, "trees on the border"
    assert len(rows(tmp_path / "t.csv")) == 16
    assert (len(one), len(other)) == (west.sum(), (~west).sum())


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perception.trees.forest import forest

    source, _ = write_forest(tmp_path / "plot.las")
    assert trees(source, "--out", tmp_path / "whole.las", *SMALL) == 0
    seen: list[str] = []
    original = forest.find_trees

    def interrupted(method: Any, thin: Any, settings: Any) -> Any:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(thin.tile.name)
        return original(method, thin, settings)

    monkeypatch.setattr(forest, "find_trees", interrupted)
    out = tmp_path / "out.las"
    assert trees(source, "--out", out, "--resume", *SMALL) == 1, "there is nothing to go on with"
    assert trees(source, "--out", out, *SMALL) == 130
    assert not out.exists()
    done = list(seen)
    seen.extend([""])
    assert trees(source, "--out", out, "--resume", *SMALL) == 0
    assert not set(done) & set(seen[4:]), "tiles that were done are not done again"
    assert out.read_bytes() == (tmp_path / "whole.las").read_bytes()
    assert not list(tmp_path.glob(".*")), "nothing is left"


def test_every_readable_file_goes_through_and_keeps_all_it_had(shared_data: Path, tmp_path: Path, capsys: Any) -> None:
    files = sorted(p for p in (shared_data / "las_format").rglob("*") if p.suffix in (".las", ".laz"))
    done = 0
    for source in files:
        try:
            before = raw(source)
        except Exception:
            assert trees(source, "--out", tmp_path / "refused.las") == 1, source
            continue
        out = tmp_path / f"{source.stem}_{done}.las"
        assert trees(source, "--out", out, "--table", tmp_path / f"{done}.csv", "--tile", 200) == 0, source
        after = raw(out)
        for name in before.dtype.names or ():
            if name != "#rest":
                np.testing.assert_array_equal(before[name], after[name], err_msg=f"{source} {name}")
        version = read_las_header(source).version
        assert read_las_header(out).version == ("1.2" if version == "1.0" else version)
        assert {"tree_id", "tree_score", "semantic"} <= set(read_las_header(out).fields)
        done += 1
    said = capsys.readouterr().out
    assert "the result is LAS 1.2" in said
    assert done > 25
    assert not (tmp_path / "refused.las").exists()


def test_copc_becomes_plain_laz(shared_data: Path, tmp_path: Path, capsys: Any) -> None:
    source = shared_data / "las_format/simple.copc.laz"
    assert trees(source, "--out", tmp_path / "out", "--tile", 200) == 0
    assert "COPC's index is left out" in capsys.readouterr().out
    assert read_las_header(tmp_path / "out/simple.laz").kind == "laz"


@pytest.mark.parametrize("count", [0, 1, 40])
def test_few_points_and_no_trees(tmp_path: Path, count: int) -> None:
    xyz = np.random.default_rng(0).uniform([0, 0, 0], [9, 9, 0.1], (count, 3)).astype(np.float32)
    write_points(tmp_path / "in.laz", PointCloud(xyz))
    assert trees(tmp_path / "in.laz", "--out", tmp_path / "o.laz", "--table", tmp_path / "t.gpkg", "--picture") == 0
    assert not read_las(tmp_path / "o.laz").fields["tree_id"].any()
    database = sqlite3.connect(tmp_path / "t.gpkg")
    assert database.execute("SELECT count(*) FROM trees").fetchone() == (0,)
    database.close()


def test_a_single_tree_without_ground(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    xyz = np.concatenate([generator.normal([5, 5, 9], 1, (500, 3)), generator.uniform(0, 9, (9, 3)) * [1, 1, 0]])
    write_points(tmp_path / "in.laz", PointCloud(xyz.astype(np.float32)))
    assert trees(tmp_path / "in.laz", "--out", tmp_path / "o.laz", "--table", tmp_path / "t.csv") == 0
    assert len(rows(tmp_path / "t.csv")) == 1


def test_feet_are_brought_to_metres(tmp_path: Path, capsys: Any) -> None:
    _, cloud = write_forest(tmp_path / "m.las")
    foot = 0.3048
    feet = PointCloud((cloud.xyz / foot).astype(np.float32), {}, ORIGIN, metadata={"crs": "EPSG:2994"})
    write_points(tmp_path / "feet.las", feet)
    pytest.importorskip("pyproj")
    assert trees(tmp_path / "feet.las", "--out", tmp_path / "o.las", "--table", tmp_path / "t.csv", *SMALL) == 0
    assert "in steps of 0.3048 m" in capsys.readouterr().out
    table = rows(tmp_path / "t.csv")
    assert len(table) == 16
    assert max(float(row["height"]) for row in table) < 15
    assert max(float(row["x"]) for row in table) > ORIGIN[0] + 100


def test_degrees_are_brought_to_metres(tmp_path: Path, capsys: Any) -> None:
    _, cloud = write_forest(tmp_path / "m.las")
    steps = np.array([111_195 * np.cos(np.radians(48)), 111_195, 1])
    corner = np.array([11.5, 48.0, 500.0])
    about = {"crs": "EPSG:4326", "scale": (1e-8, 1e-8, 1e-3), "offset": tuple(corner)}
    write_points(tmp_path / "degrees.las", PointCloud(cloud.xyz / steps, {}, corner, metadata=about))
    assert trees(tmp_path / "degrees.las", "--out", tmp_path / "o.las", "--table", tmp_path / "t.csv", *SMALL) == 0
    assert "coordinates are in degrees" in capsys.readouterr().out
    table = rows(tmp_path / "t.csv")
    assert len(table) == 16
    assert 4 < float(table[0]["crown_diameter"]) < 6
    assert 11.5 <= min(float(row["x"]) for row in table) < max(float(row["x"]) for row in table) < 11.5006


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "out.ply"), "ending in .las or .laz"),
        (("--out", "plot.las"), "is the file that is read"),
        (("--out", "out.las", "--table", "t.xlsx"), ".gpkg, .csv, .geojson"),
        (("--out", "out.las", "--method", "watersheds"), "watersheds"),
        (("--out", "out.las", "--method", "pointpillars-small"), "a model for detection"),
        (("--out", "out.las", "--tile", "10", "--overlap", "5"), "below half a tile"),
        (("--out", "out.las", "--thinning", "0"), "a thinning to 0 m"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, arguments: tuple[str, ...], message: str
) -> None:
    write_points(tmp_path / "plot.las", PointCloud(np.zeros((5, 3), np.float32)))
    monkeypatch.chdir(tmp_path)
    assert trees("plot.las", *arguments) == 1
    assert message in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} <= {"plot.las", "no", "folder"}


def test_files_of_different_reference_systems_are_refused(tmp_path: Path, capsys: Any) -> None:
    for name, crs in (("a", "EPSG:25832"), ("b", "EPSG:25833"), ("c", None)):
        cloud = PointCloud(np.zeros((5, 3), np.float32), metadata={"crs": crs} if crs else {})
        write_points(tmp_path / f"{name}.las", cloud)
    for other in ("b", "c"):
        assert trees(tmp_path / "a.las", tmp_path / f"{other}.las", "--out", tmp_path / "out") == 1
        assert "files of one reference system" in capsys.readouterr().err
    assert trees(tmp_path / "a.las", tmp_path / "c.las", "--crs", "EPSG:25832", "--out", tmp_path / "out") == 0


def test_a_method_that_is_none_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plot.las").write_bytes(b"LASF")
    assert main(["trees", str(tmp_path / "plot.las"), "--out", str(tmp_path / "o.las"), "--method", "stemz"]) == 1
    told = capsys.readouterr().err
    assert "'stemz'" in told
    assert "stems" in told
    assert "voxelnext" not in told
