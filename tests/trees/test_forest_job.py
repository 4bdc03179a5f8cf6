"""A forest in tiles: every point once, trees whole over borders, the same whatever the tiles and their order."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forests import ORIGIN, PLACES, forest, write_forest

from perception.errors import PerceptionError
from perception.io.las_tiles import Tile
from perception.io.writers import write_points
from perception.metrics.trees import tree_overlaps
from perception.points import PointCloud
from perception.trees.forest.forest import Forest, Found, run_here, segment_forest
from perception.trees.forest.seeing import ThinTile, strays
from perception.trees.forest.settings import ForestSettings, Method

SETTINGS = ForestSettings(tile=15.0, overlap=7.0, voxel=0.1)


def ids(found: Forest) -> np.ndarray:
    return np.concatenate([found.columns(file)[0][:] for file in range(len(found.headers))]).astype(np.int64)


def share_that_differs(one: np.ndarray, other: np.ndarray) -> float:
    """Of the points in a tree, those that the best partner of it does not have."""
    pairs, counts = np.unique(np.stack([one, other]), axis=1, return_counts=True)
    partner: dict[int, int] = {}
    for (a, b), _ in sorted(zip(pairs.T.tolist(), counts.tolist()), key=lambda pair: -pair[1]):
        if a and b and a not in partner and b not in partner.values():
            partner[a] = b
    same = sum(c for (a, b), c in zip(pairs.T.tolist(), counts.tolist()) if a and partner.get(a) == b)
    return 1 - same / max(int(((one > 0) | (other > 0)).sum()), 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PointCloud, Forest]:
    folder = tmp_path_factory.mktemp("forest")
    path, cloud = write_forest(folder / "forest.laz")
    return path, cloud, segment_forest([path], folder / "state", "watershed", SETTINGS)


def test_trees_are_whole_over_the_borders_of_tiles(whole: tuple[Path, PointCloud, Forest]) -> None:
    _, cloud, found = whole
    assert found.tiles > 8
    scores = tree_overlaps(cloud.fields["truth"].astype(np.int64), ids(found)).scores()
    assert (len(scores.pairs), scores.predicted) == (16, 16)
    assert scores.segmentation_quality > 0.85


def test_what_is_said_of_trees_is_true(whole: tuple[Path, PointCloud, Forest]) -> None:
    _, _, found = whole
    number = ids(found)
    for tree in found.trees:
        rows = number == tree.tree_id
        assert tree.points == rows.sum()
        near = int(np.hypot(*(PLACES + ORIGIN[:2] - [tree.x, tree.y]).T).argmin())
        assert np.hypot(*(PLACES[near] + ORIGIN[:2] - [tree.x, tree.y])) < 1.5
        assert tree.z - ORIGIN[2] == pytest.approx(0.1 * (tree.x - ORIGIN[0]), abs=0.3)
        assert tree.height == pytest.approx(9 + (near + 1) % 5, abs=0.8)
        assert 4 < tree.crown_diameter < 6
        assert np.isnan(tree.stem_diameter)
    first = [int(np.flatnonzero(number == tree.tree_id)[0]) for tree in found.trees]
    assert first == sorted(first), "numbered by their first points"


def backwards(
    method: Method, settings: ForestSettings, tiles: Sequence[Tile], read: Callable[[Tile], ThinTile]
) -> Found:
    return run_here(method, settings, list(tiles)[::-1], read)


def test_the_order_of_tiles_does_not_show(whole: tuple[Path, PointCloud, Forest], tmp_path: Path) -> None:
    path, _, found = whole
    again = segment_forest([path], tmp_path / "state", "watershed", SETTINGS, runner=backwards)
    np.testing.assert_array_equal(ids(found), ids(again))
    assert found.trees[0].height == again.trees[0].height


@pytest.mark.parametrize("start", [(13.0, 7.0), (3.37, 18.21)])
@pytest.mark.parametrize(("method", "share"), [("watershed", 0.005), ("li2012", 0.06)])
def test_where_the_grid_starts_hardly_shows(
    whole: tuple[Path, PointCloud, Forest], tmp_path: Path, method: str, share: float, start: tuple[float, float]
) -> None:
    path, _, _ = whole
    one = segment_forest([path], tmp_path / "one", method, SETTINGS)
    other = segment_forest([path], tmp_path / "other", method, replace(SETTINGS, start=start))
    assert share_that_differs(ids(one), ids(other)) < share


def test_neighbouring_files_are_one_forest(whole: tuple[Path, PointCloud, Forest], tmp_path: Path) -> None:
    _, cloud, found = whole
    west = cloud.xyz[:, 0] < 15.3
    paths = [tmp_path / "west.las", tmp_path / "east.las"]
    for path, rows in zip(paths, (west, ~west)):
        write_points(path, cloud.select(rows))
    apart = segment_forest(paths, tmp_path / "state", "watershed", SETTINGS)
    order = np.concatenate([np.flatnonzero(west), np.flatnonzero(~west)])
    assert share_that_differs(ids(found)[order], ids(apart)) < 0.001
    assert len(apart.trees) == 16


def test_points_far_away_and_noise_are_kept_and_do_no_harm(tmp_path: Path) -> None:
    cloud = forest()
    stray = np.array([[20, 20, 900.0], [10, 10, -800], [15, 5, 60], [5000, 4000, 0]], np.float32)
    many = np.random.default_rng(0).uniform([4, 4, 30], [6, 6, 32], (50, 3)).astype(np.float32)
    xyz = np.concatenate([cloud.xyz, stray, many])
    classes = np.zeros(len(xyz), np.uint8)
    classes[-50:] = 18
    path = tmp_path / "in.las"
    fields = {"classification": classes}
    write_points(path, PointCloud(xyz, fields, ORIGIN, metadata={"scale": (0.001,) * 3, "offset": tuple(ORIGIN)}))
    found = segment_forest([path], tmp_path / "state", "watershed", SETTINGS)
    number = ids(found)
    assert len(number) == len(xyz)
    assert not number[len(cloud) :].any()
    assert len(found.trees) == 16
    assert max(tree.height for tree in found.trees) < 15


def test_points_alone_in_the_air() -> None:
    ground = np.random.default_rng(0).uniform([0, 0, 0], [20, 20, 0.1], (800, 3))
    assert strays(np.concatenate([ground, [[10, 10, 30.0], [50, 50, 0]]])).nonzero()[0].tolist() == [800, 801]
    assert len(strays(np.zeros((0, 3)))) == 0


def test_very_dense_clouds_are_thinned_and_every_point_labelled(tmp_path: Path) -> None:
    cloud = forest()
    generator = np.random.default_rng(1)
    xyz = np.repeat(cloud.xyz, 12, 0) + generator.normal(0, 0.02, (12 * len(cloud), 3)).astype(np.float32)
    path = tmp_path / "dense.las"
    write_points(path, PointCloud(xyz, {}, ORIGIN, metadata={"scale": (0.001,) * 3, "offset": tuple(ORIGIN)}))
    found = segment_forest([path], tmp_path / "state", "watershed", SETTINGS)
    scores = tree_overlaps(np.repeat(cloud.fields["truth"], 12).astype(np.int64), ids(found)).scores()
    assert len(scores.pairs) == 16
    assert scores.segmentation_quality > 0.85


@pytest.mark.parametrize("change", [{"tile": 12.3}, {"overlap": 10.0}, {"voxel": 0.0}, {"least_points": 0}])
def test_settings_that_do_not_fit(change: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(PerceptionError):
        segment_forest([], tmp_path / "state", "watershed", replace(SETTINGS, **change))


def test_a_full_disk_is_an_error_and_the_next_run_goes_on(tmp_path: Path) -> None:
    path, _ = write_forest(tmp_path / "forest.las")
    program = """if True:
        import sys
        from pathlib import Path
        from perception.errors import PerceptionError
        from perception.trees.forest.forest import segment_forest
        from perception.trees.forest.settings import ForestSettings
        settings = ForestSettings(tile=15.0, overlap=7.0, voxel=0.1)
        try:
            segment_forest([Path(sys.argv[1])], Path(sys.argv[2]), "watershed", settings)
        except PerceptionError as error:
            print("refused", error)
    """
    for limit in (1_000, 100_000, 200_000):
        run = subprocess.run(
            [sys.executable, "-c", program, str(path), str(tmp_path / "state")],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert run.stdout.startswith("refused") or not run.stderr, run.stderr
        if limit < 150_000:
            assert "cannot be written" in run.stdout
    found = segment_forest([path], tmp_path / "state", "watershed", SETTINGS)
    assert len(found.trees) == 16
