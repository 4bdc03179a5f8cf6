"""Data sets of places: every published layout is read from files written here, and bad files are refused."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from perception.datasets.catalogue import make_dataset
from perception.datasets.places.augment import PlaceAugmentation, PlaceAugmentConfig
from perception.datasets.places.drives import rows_of_scans
from perception.datasets.places.files import read_submap
from perception.datasets.places.queries import evaluation_sets
from perception.datasets.places.regions import in_polygon, in_polygons, in_squares
from perception.datasets.places.sample import PlaceSample, PlaceTable
from perception.datasets.places.tuples import positives_of
from perception.errors import PerceptionError
from perception.points import PointCloud

PCD = (
    "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 3\nHEIGHT 1\nPOINTS 3\nDATA ascii\n"
    + "1 1 1\n" * 3
)
SQUARE = (5735712.768124, 620084.402381)  # north, east of Oxford's first test square


def submap(path: Path, seed: int = 0, points: int = 64) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).uniform(-1, 1, (points, 3))
    values.astype("<f8").tofile(path)
    return values


def table_of(positions: list[tuple[float, float]], regions: list[int] | None = None) -> PlaceTable:
    regions = regions or [0] * len(positions)
    return PlaceTable(np.array(positions, float), np.array(regions), np.array(regions), ("a", "b"))


def test_submaps_of_float64_are_read(tmp_path: Path) -> None:
    values = submap(tmp_path / "a.bin")
    np.testing.assert_allclose(read_submap(tmp_path / "a.bin").xyz, values, atol=1e-7)


@pytest.mark.parametrize("content", [b"", b"x" * 25, np.full(24, np.nan).tobytes(), np.full(24, 1e30).tobytes()])
def test_what_is_no_submap_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(PerceptionError, match=r"a\.bin"):
        read_submap(tmp_path / "a.bin")


def robotcar_root(root: Path) -> Path:
    for split, (csv, folder) in {
        "train": ("pointcloud_locations_20m_10overlap.csv", "pointcloud_20m_10overlap"),
        "test": ("pointcloud_locations_20m.csv", "pointcloud_20m"),
    }.items():
        for number, run in enumerate(("2014-05-19-13-20-57", "2014-06-26-08-53-56")):
            lines = ["timestamp,northing,easting"]
            for stamp, north in enumerate((SQUARE[0], SQUARE[0] + 10_000, SQUARE[0] + 10_005)):
                lines.append(f"{1400 + stamp},{north + number},{SQUARE[1]}")
                submap(root / "oxford" / run / folder / f"{1400 + stamp}.bin", stamp)
            (root / "oxford" / run / csv).write_text("\n".join(lines), encoding="utf-8")
        assert split
    return root


def test_robotcar_training_leaves_the_test_squares_out(tmp_path: Path) -> None:
    root = str(robotcar_root(tmp_path))
    train = make_dataset("robotcar", {"root": root}, "test")
    assert len(train) == 4  # type: ignore[arg-type]
    test = make_dataset("robotcar", {"root": root, "split": "test"}, "test")
    assert len(test) == 2
    table = train.table  # type: ignore[attr-defined]
    assert table.names == ("2014-05-19-13-20-57", "2014-06-26-08-53-56")
    np.testing.assert_allclose(table.positions[0], [SQUARE[1], SQUARE[0] + 10_000])  # east, north
    assert [len(rows) for rows in positives_of(table, 10.0)] == [3, 3, 3, 3]
    sample = train[0]
    assert isinstance(sample, PlaceSample)
    assert sample.identifier == "oxford/2014-05-19-13-20-57/pointcloud_20m_10overlap/1401"
    assert len(sample.cloud) == 64


def test_robotcar_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match="no folder"):
        make_dataset("robotcar", {"root": str(tmp_path)}, "test")


def queries_v1(root: Path) -> dict[int, dict[str, object]]:
    found: dict[int, dict[str, object]] = {}
    for number in range(3):
        submap(root / "umd" / f"{number}.bin", number)
        found[number] = {"query": f"umd/{number}.bin", "northing": 10.0 * number, "easting": 5.0, "positives": [1]}
    return found


def test_lists_of_dicts_are_read(tmp_path: Path) -> None:
    (tmp_path / "list.pickle").write_bytes(pickle.dumps(queries_v1(tmp_path)))
    found = make_dataset("place_queries", {"root": str(tmp_path), "file": "list.pickle"}, "test")
    np.testing.assert_array_equal(found.table.positions, [[5, 0], [5, 10], [5, 20]])  # type: ignore[attr-defined]
    assert len(found[2].cloud) == 64


def test_lists_of_objects_are_read_without_their_class(tmp_path: Path) -> None:
    module = types.ModuleType("datasets_of_somebody")

    class TrainingTuple:
        def __init__(self, path: str, position: np.ndarray) -> None:
            self.rel_scan_filepath, self.position = path, position

    TrainingTuple.__module__, TrainingTuple.__qualname__ = module.__name__, "TrainingTuple"
    module.TrainingTuple = TrainingTuple  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    submap(tmp_path / "umd" / "0.bin")
    try:
        content = pickle.dumps({0: TrainingTuple("umd/0.bin", np.array([7.0, 3.0]))})
    finally:
        del sys.modules[module.__name__]
    (tmp_path / "list.pickle").write_bytes(content)
    found = make_dataset("place_queries", {"root": str(tmp_path), "file": "list.pickle"}, "test")
    np.testing.assert_array_equal(found.table.positions, [[3, 7]])  # type: ignore[attr-defined]


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("open('/tmp/never', 'w')",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({0: Malicious()}),
        pickle.dumps([]),
        pickle.dumps({0: {"query": "../../etc/passwd", "northing": 0.0, "easting": 0.0}}),
        pickle.dumps({0: {"query": "a.bin"}}),
        b"no pickle",
    ],
    ids=["program", "empty", "outside", "no position", "garbage"],
)
def test_other_pickles_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.pickle").write_bytes(content)
    with pytest.raises(PerceptionError):
        make_dataset("place_queries", {"root": str(tmp_path), "file": "list.pickle"}, "test")


def test_evaluation_sets_keep_their_runs(tmp_path: Path) -> None:
    queries = queries_v1(tmp_path)
    (tmp_path / "umd_evaluation_database.pickle").write_bytes(pickle.dumps([queries, queries]))
    (tmp_path / "umd_evaluation_query.pickle").write_bytes(pickle.dumps([[queries[1]], {}]))
    found = evaluation_sets(str(tmp_path), "umd")
    assert [len(part) for part in found.databases if part] == [3, 3]
    assert found.queries[1] is None
    assert found.queries[0] is not None
    assert found.queries[0].files == [tmp_path / "umd" / "1.bin"]


def test_wild_places_splits_by_polygons(tmp_path: Path) -> None:
    run = tmp_path / "Karawatha" / "K-01"
    (run / "Clouds_downsampled").mkdir(parents=True)
    rows = [("1.5", 0.0, 0.0), ("2.5", 1000.0, 1000.0), ("3.5", -216.0, 620.0)]  # a polygon, elsewhere, a circle
    lines = ["timestamp,x,y,z,qx,qy,qz,qw", *(f"{stamp},{x},{y},0,0,0,0,1" for stamp, x, y in rows)]
    (run / "poses_aligned_fixed.csv").write_text("\n".join(lines), encoding="utf-8")
    for stamp, *_ in rows:
        (run / "Clouds_downsampled" / f"{stamp}.pcd").write_text(PCD, encoding="ascii")
    for split, names in {"train": ["2.5"], "test": ["1.5"], "all": ["1.5", "2.5", "3.5"]}.items():
        found = make_dataset("wild_places", {"root": str(tmp_path), "split": split}, "test")
        assert [path.stem for path in found.files] == names  # type: ignore[attr-defined]
        assert len(found[0].cloud) == 3


def test_ground_and_aerial_runs(tmp_path: Path) -> None:
    for run in ("ground_01", "aerial"):
        folder = tmp_path / "Venman" / run
        (folder / "clouds").mkdir(parents=True)
        (folder / "poses.csv").write_text("timestamp,x,y,z\n7,519331.5,6943652.5,30\n", encoding="utf-8")
    found = make_dataset("cs_wild_places", {"root": str(tmp_path), "forest": "Venman"}, "test")
    assert found.table.names == ("aerial", "ground_01")  # type: ignore[attr-defined]
    aerial = make_dataset("cs_wild_places", {"root": str(tmp_path), "forest": "Venman", "split": "aerial"}, "test")
    assert len(aerial) == 1


def scans(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        np.random.default_rng(0).uniform(0, 1, (50, 4)).astype("<f4").tofile(folder / f"{name}.bin")


def pose_lines(count: int) -> str:
    return "\n".join(f"1 0 0 {i} 0 1 0 0.5 0 0 1 {2 * i}" for i in range(count))


def test_kitti_odometry_lies_in_the_plane_of_the_camera(tmp_path: Path) -> None:
    scans(tmp_path / "sequences" / "00" / "velodyne", [f"{i:06d}" for i in range(4)])
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses" / "00.txt").write_text(pose_lines(4), encoding="utf-8")
    found = make_dataset("kitti_odometry", {"root": str(tmp_path), "every": 2}, "test")
    np.testing.assert_array_equal(found.table.positions, [[0, 0], [2, 4]])  # type: ignore[attr-defined]
    assert len(found[1].cloud) == 50


def test_mulran_takes_the_nearest_pose_and_joins_runs_of_a_site(tmp_path: Path) -> None:
    for run in ("DCC01", "DCC02", "KAIST01"):
        scans(tmp_path / run / "Ouster", ["900", "1040", "1960", "3000"])
        rows = [f"{stamp},1,0,0,{stamp},0,1,0,7,0,0,1,0" for stamp in (1000, 2000)]
        (tmp_path / run / "global_pose.csv").write_text("\n".join(["0" + ",0" * 12, *rows]), encoding="utf-8")
    table = make_dataset("mulran", {"root": str(tmp_path)}, "test").table  # type: ignore[attr-defined]
    np.testing.assert_array_equal(table.positions[:2], [[1000, 7], [2000, 7]])
    assert len(table) == 6
    np.testing.assert_array_equal(table.regions, [0, 0, 0, 0, 1, 1])


def test_own_scans_with_poses(tmp_path: Path) -> None:
    scans(tmp_path / "scans", ["000000", "000002"])
    (tmp_path / "poses.txt").write_text(pose_lines(5), encoding="utf-8")
    found = make_dataset("scans_with_poses", {"root": str(tmp_path), "scans": "scans", "up": "y"}, "test")
    np.testing.assert_array_equal(found.table.positions, [[0, 0], [2, 4]])  # type: ignore[attr-defined]


def test_fewer_poses_than_scans_is_an_error() -> None:
    files = [Path(f"{name}.bin") for name in ("a", "b", "c")]
    with pytest.raises(PerceptionError, match="2 poses for 3 scans"):
        rows_of_scans(files, 2)
    with pytest.raises(PerceptionError, match="3 poses for 1 scans"):
        rows_of_scans([Path("000007.bin")], 3)


def test_positives_are_those_of_the_region() -> None:
    table = table_of([(0, 0), (3, 0), (3, 0), (50, 0)], [0, 0, 1, 0])
    assert [rows.tolist() for rows in positives_of(table, 5.0)] == [[1], [0], [], []]


def test_regions_of_joined_tables_stay_apart() -> None:
    joined = PlaceTable.joined([table_of([(0, 0)]), table_of([(0, 0)])])
    assert joined.regions.tolist() == [0, 1]
    assert joined.runs.tolist() == [0, 2]


def test_polygons_and_squares() -> None:
    corners = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
    places = np.array([[2, 2], [5, 2], [-1, -1], [3.9, 0.1]])
    assert in_polygon(places, corners).tolist() == [True, False, False, True]
    assert in_polygons(np.array([[0.0, 0.0], [1000, 1000]]), "Karawatha").tolist() == [True, False]
    assert in_squares(
        np.array([[SQUARE[1] + 149, SQUARE[0] - 149], [SQUARE[1] + 151, SQUARE[0]]]), "oxford"
    ).tolist() == [
        True,
        False,
    ]


def sample(points: int = 400) -> PlaceSample:
    xyz = np.random.default_rng(3).uniform(-1, 1, (points, 3)).astype(np.float32)
    return PlaceSample("a", PointCloud(xyz, {"intensity": np.arange(points)}), np.zeros(2), 0)


def test_nothing_is_changed_by_default() -> None:
    given = sample()
    found = PlaceAugmentation(PlaceAugmentConfig())(given, np.random.default_rng(0))
    np.testing.assert_allclose(found.cloud.xyz, given.cloud.xyz, atol=1e-6)


def test_turns_are_about_z() -> None:
    given = sample()
    found = PlaceAugmentation(PlaceAugmentConfig(rotation=3.14))(given, np.random.default_rng(1)).cloud.xyz
    np.testing.assert_allclose(found[:, 2], given.cloud.xyz[:, 2])
    lengths = [np.hypot(xyz[:, 0], xyz[:, 1]) for xyz in (found, given.cloud.xyz)]
    np.testing.assert_allclose(*lengths, atol=1e-6)
    assert np.abs(found - given.cloud.xyz).max() > 0.1


def test_lost_points_become_zero_or_go() -> None:
    settings = PlaceAugmentConfig(dropout=0.5, block=1.0)
    gone = PlaceAugmentation(settings)(sample(), np.random.default_rng(2)).cloud
    zero = PlaceAugmentation(PlaceAugmentConfig(dropout=0.5, block=1.0, lost="zero"))(
        sample(), np.random.default_rng(2)
    )
    assert 0 < len(gone) < 400
    assert len(zero.cloud) == 400
    assert int((zero.cloud.xyz == 0).all(1).sum()) == 400 - len(gone)
    assert len(gone.fields["intensity"]) == len(gone)


def test_a_block_is_a_rectangle_of_the_asked_area() -> None:
    given = sample(40_000)
    settings = PlaceAugmentConfig(block=1.0, block_area=(0.2, 0.2), block_sides=(1.0, 1.0))
    found = PlaceAugmentation(settings)(given, np.random.default_rng(5)).cloud
    assert len(found) / 40_000 == pytest.approx(0.8, abs=0.02)


def test_augmentation_is_a_function_of_the_generator() -> None:
    settings = PlaceAugmentConfig(jitter=0.01, dropout=0.3, rotation=1.0, translation=(0.1, 0.1, 0.1), block=0.5)
    one, other = (PlaceAugmentation(settings)(sample(), np.random.default_rng(9)).cloud.xyz for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(PerceptionError, match="shares"):
        PlaceAugmentConfig(dropout=1.5)
    with pytest.raises(PerceptionError, match="block_area"):
        PlaceAugmentConfig(block_area=(0.5, 0.2))
