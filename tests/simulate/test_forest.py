"""Generated forests: true tables of trees, plausible stands, points where the trees are, and real scans beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perception.datasets.catalogue import make_dataset
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.writers import write_points
from perception.simulate.forest.dataset import ForestDataset, tree_objects
from perception.simulate.forest.parts import DEAD_BRANCH, LIVE_BRANCH, LOW_VEGETATION, STEM, TERRAIN
from perception.simulate.forest.scanners import SCANNERS, TerrestrialScanner
from perception.simulate.forest.scene import ForestScan, forest
from perception.simulate.forest.species import BREAST, PINE, SPECIES, SPRUCE, crown_diameter_of, height_of, stem_radius
from perception.simulate.forest.stand import draw_plan, grow_stand
from perception.simulate.forest.terrain import terrain

SMALL = {"airborne": 30.0, "drone": 100.0, "mobile": 300.0, "terrestrial": 600.0}


@pytest.fixture(scope="module")
def scans() -> dict[str, ForestScan]:
    return {name: forest(5, name, side=16, density=SMALL[name], stems=600, kind="mixed") for name in SCANNERS}


@pytest.mark.parametrize("name", list(SCANNERS))
def test_a_seed_gives_one_scan_of_the_wanted_density(name: str, scans: dict[str, ForestScan]) -> None:
    scan, again = scans[name], forest(5, name, side=16, density=SMALL[name], stems=600, kind="mixed")
    assert scan.cloud.xyz.tobytes() == again.cloud.xyz.tobytes()
    for field, values in scan.cloud.fields.items():
        assert values.tobytes() == again.cloud.fields[field].tobytes(), field
    assert len(scan.cloud) / 16**2 == pytest.approx(SMALL[name], rel=0.12)
    assert np.abs(scan.cloud.xyz[:, :2]).max() <= 8.0
    assert len(forest(6, name, side=16, density=SMALL[name], stems=600, kind="mixed").cloud) != len(scan.cloud)


@pytest.mark.parametrize("name", list(SCANNERS))
def test_the_truth_of_points_is_consistent(name: str, scans: dict[str, ForestScan]) -> None:
    scan = scans[name]
    fields, xyz = scan.cloud.fields, scan.cloud.xyz
    tree, semantic = fields["tree_id"], fields["semantic"]
    assert ((tree > 0) == np.isin(semantic, (STEM, LIVE_BRANCH, DEAD_BRANCH))).all()
    assert tree.max() <= len(scan.trees)
    assert {TERRAIN, STEM, LIVE_BRANCH} <= set(np.unique(semantic))
    owner = tree[tree > 0] - 1
    aside = np.hypot(*(xyz[tree > 0, :2] - scan.trees.position[owner, :2]).T)
    height = xyz[tree > 0, 2] - scan.trees.position[owner, 2]
    slack = 0.3 if name == "mobile" else 0.15
    assert (height <= scan.trees.height[owner] + slack).all()
    assert (aside <= 0.75 * scan.trees.crown_diameter[owner] + 0.06 * scan.trees.height[owner] + 0.5).all()
    ground = semantic == TERRAIN
    error = xyz[ground, 2] - scan.ground.height(xyz[ground, 0], xyz[ground, 1])
    assert np.percentile(np.abs(error), 99) < (0.35 if name == "mobile" else 0.1)
    herbs = semantic == LOW_VEGETATION
    if herbs.any():
        assert (xyz[herbs, 2] - scan.ground.height(xyz[herbs, 0], xyz[herbs, 1])).max() < 4
    assert (fields["return_number"] <= fields["number_of_returns"]).all()
    assert fields["return_number"].min() == 1
    assert np.diff(fields["gps_time"]).min() >= 0


def test_airborne_pulses_return_several_times_and_stems_hide_what_is_behind(scans: dict[str, ForestScan]) -> None:
    assert scans["airborne"].cloud.fields["number_of_returns"].max() >= 3
    few = np.bincount(scans["airborne"].cloud.fields["semantic"], minlength=7)[STEM] / len(scans["airborne"].cloud)
    many = np.bincount(scans["terrestrial"].cloud.fields["semantic"], minlength=7)[STEM]
    assert many / len(scans["terrestrial"].cloud) > 3 * few
    one = forest(5, TerrestrialScanner(stations=1), side=16, density=600, stems=1500, kind="spruce")
    five = forest(5, TerrestrialScanner(stations=5), side=16, density=600, stems=1500, kind="spruce")
    well = [
        (np.bincount(c.fields["tree_id"][c.fields["semantic"] == STEM])[1:] > 300).sum()
        for c in (one.cloud, five.cloud)
    ]
    assert well[0] < well[1]
    reach = np.hypot(*one.cloud.xyz[:, :2].T)
    near, far = (reach < 3).sum() / (np.pi * 9), (reach > 6).sum() / (256 - np.pi * 36)
    assert near > 2 * far, "density falls with the distance from the tripod"


def test_trees_reach_the_height_of_the_table(scans: dict[str, ForestScan]) -> None:
    scan = scans["drone"]
    tree, rise = scan.cloud.fields["tree_id"], scan.cloud.xyz[:, 2]
    tops = [
        (rise[tree == row + 1].max() - scan.trees.position[row, 2]) / scan.trees.height[row]
        for row in np.flatnonzero(scan.inside)
        if (tree == row + 1).sum() > 300
    ]
    assert len(tops) >= 5
    assert min(tops) > 0.85
    assert np.median(tops) > 0.94


def test_circles_at_breast_height_have_the_diameters_of_the_table() -> None:
    scan = forest(9, "terrestrial", side=14, density=4000, stems=500, kind="pine")
    xyz, fields, checked = scan.cloud.xyz, scan.cloud.fields, 0
    for row in np.flatnonzero(scan.inside & (scan.trees.diameter > 0.12)):
        slice_ = (fields["tree_id"] == row + 1) & (fields["semantic"] == STEM)
        slice_ &= np.abs(xyz[:, 2] - scan.trees.position[row, 2] - BREAST) < 0.15
        points = xyz[slice_, :2].astype(float)
        if len(points) < 200:
            continue
        # least squares circle: x^2 + y^2 = 2 a x + 2 b y + c
        a, b, c = np.linalg.lstsq(np.column_stack([2 * points, np.ones(len(points))]), (points**2).sum(1), rcond=None)[
            0
        ]
        assert 2 * np.sqrt(c + a * a + b * b) == pytest.approx(scan.trees.diameter[row], rel=0.1)
        checked += 1
    assert checked >= 3


@pytest.mark.parametrize("stems", [200, 800, 2000])
def test_stands_have_the_stems_and_the_spacing_of_their_plan(stems: float) -> None:
    rng = np.random.default_rng(1)
    plan = replace(draw_plan(rng, "mixed", stems), young=0.0)
    trees = grow_stand(plan, 25.0, terrain(26.0, 1.0, 0.1, 0.3, 0.1, rng), rng)
    assert len(trees) == round(stems * 0.25)
    gap = np.hypot(*(trees.position[:, None, :2] - trees.position[None, :, :2]).transpose(2, 0, 1))
    np.fill_diagonal(gap, np.inf)
    apart = (trees.diameter[:, None] + trees.diameter[None, :]) / 2
    assert (gap > apart).all(), "stems do not stand in each other"
    assert np.median(gap.min(1)) > 0.35 * np.sqrt(1e4 / stems)
    quadratic_mean = np.sqrt((trees.diameter**2).mean())
    assert quadratic_mean == pytest.approx(0.25 * (stems / plan.stocking) ** (1 / -1.605), rel=0.1)
    assert (trees.height > BREAST).all()
    assert trees.height.max() < 45
    cover = (np.pi / 4 * trees.crown_diameter**2).sum() / 2500
    assert 0.3 < cover < 2.5, "crowns touch"
    slender = trees.height[trees.diameter > 0.1] / trees.diameter[trees.diameter > 0.1]
    assert (slender < 160).all()


def test_allometry_gives_heights_and_crowns_of_usual_trees() -> None:
    assert height_of(np.array([0.30]), SPRUCE)[0] == pytest.approx(24.6, abs=1)
    assert height_of(np.array([0.30]), PINE)[0] == pytest.approx(17.1, abs=1)
    for species in SPECIES:
        heights = height_of(np.linspace(0.02, 0.8, 50), species)
        assert (np.diff(heights) > 0).all()
    # Jucker et al.: a stem of 0.557 (20 x 6)^0.809 cm, 20 m high, has a crown of 6 m
    diameter = 0.557 * (20 * 6) ** 0.809 / 100
    assert crown_diameter_of(np.array([diameter]), np.array([20.0]), replace(PINE, crown_scale=1.0))[
        0
    ] == pytest.approx(6)
    radii = stem_radius(np.array([0.0, BREAST, 10.0, 20.0]), 0.3, 20.0, 0.7)
    assert radii[1] == pytest.approx(0.15, rel=0.01)
    assert (np.diff(radii) < 0).all()
    assert radii[3] == 0


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_truth_survives_a_las_file(tmp_path: Path, suffix: str, scans: dict[str, ForestScan]) -> None:
    cloud = scans["airborne"].cloud
    write_points(tmp_path / f"plot{suffix}", cloud)
    again = read_points(tmp_path / f"plot{suffix}")
    for name in ("tree_id", "semantic", "return_number", "number_of_returns", "intensity", "gps_time"):
        assert np.array_equal(again.fields[name], cloud.fields[name]), name
    assert np.abs(again.world() - cloud.world()).max() < 0.0006


def test_samples_are_found_by_index_and_boxes_hold_their_trees() -> None:
    plots = make_dataset("forest", {"length": 4, "side": 8.0, "scanners": ["airborne", "drone"], "seed": 1}, "test")
    sample = plots[1]
    assert np.array_equal(sample.cloud.xyz, ForestDataset(4, 1, ("airborne", "drone"), 8.0)[1].cloud.xyz)
    objects = sample.objects
    for row in range(len(objects)):
        own = sample.cloud.xyz[sample.cloud.fields["tree_id"] == objects.attributes["tree_id"][row]]
        assert len(own) == objects.attributes["points"][row] > 0
        box = objects.boxes.values[row].numpy()
        assert (np.abs(own - box[:3]) <= box[3:6] / 2 + 1e-3).all()
    test = ForestDataset(4, 1, ("airborne", "drone"), 8.0, split="test")
    assert len(test[1].cloud) != len(sample.cloud)
    with pytest.raises(IndexError):
        plots[4]


def test_a_plot_without_trees_in_reach_has_ground() -> None:
    scan = forest(1, "airborne", side=4, density=5, stems=20)
    assert len(scan.cloud) > 20
    assert len(tree_objects(scan)) <= len(scan.trees)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"side": 0.0}, "side"),
        ({"density": 0.0}, "density|points"),
        ({"density": float("nan")}, "points"),
        ({"side": 400.0, "density": 1e4}, "smaller plot"),
        ({"scanner": "airbone"}, "airborne"),
        ({"kind": "palm"}, "spruce"),
        ({"stems": 0.0}, "stems"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_orders_are_refused(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(PerceptionError, match=told):
        forest(**{"seed": 0, **arguments})  # type: ignore[arg-type]


def test_heights_beside_a_real_airborne_plot(shared_data: Path) -> None:
    """First returns of a conifer stand: the shares of points by height differ by no more than 14 per cent of all."""
    real = read_points(shared_data / "trees" / "MixedConifer.laz")
    plan = replace(
        draw_plan(np.random.default_rng(5), "fir", 450), slope=0.05, undulation=0.3, herbs=0.15, site=1.0, dead=0.02,
        stocking=690.0, young=0.1, planted=False,
    )  # fmt: skip
    scan = forest(2, "airborne", side=90, density=6, plan=plan)
    first = scan.cloud.fields["return_number"] == 1
    edges = [0, 2, 5, 10, 15, 20, 25, 40]
    shares = [np.histogram(above_lowest(x), edges)[0] / len(x) for x in (real.xyz, scan.cloud.xyz[first])]
    assert np.abs(shares[0] - shares[1]).max() < 0.14, shares
    assert np.abs(shares[0] - shares[1]).sum() / 2 < 0.22, shares
    single = [(c.fields["number_of_returns"][m] == 1).mean() for c, m in ((real, slice(None)), (scan.cloud, first))]
    assert abs(single[0] - single[1]) < 0.2, single


def above_lowest(xyz: np.ndarray, cell: float = 3.0) -> np.ndarray:
    """Heights above the lowest point of each cell."""
    place = np.floor((xyz[:, :2] - xyz[:, :2].min(0)) / cell).astype(int)
    _, inverse = np.unique(place, axis=0, return_inverse=True)
    lowest = np.full(inverse.max() + 1, np.inf)
    np.minimum.at(lowest, inverse.ravel(), xyz[:, 2])
    return xyz[:, 2] - lowest[inverse.ravel()]
