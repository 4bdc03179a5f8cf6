from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from perception.datasets.rigid import inverse
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.scene_flow.ego_motion import estimate_ego_motion
from perception.scene_flow.pairs import make_pair
from perception.simulate.flow import street_flow


def test_equal_scans_need_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "small_gicp", None)
    cloud = PointCloud(np.random.default_rng(0).normal(size=(500, 3)))
    assert np.array_equal(make_pair(cloud, cloud).pose, np.eye(4))
    with pytest.raises(PerceptionError, match=r"lidar-perception\[flow\]"):
        estimate_ego_motion(cloud, PointCloud(cloud.xyz + 1))


class TestWithLibrary:
    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("small_gicp")

    @pytest.mark.parametrize("seed", [1, 2, 4])
    def test_generated_streets(self, seed: int) -> None:
        pair = street_flow(seed).pair
        off = inverse(pair.pose) @ estimate_ego_motion(pair.first, pair.second)
        assert np.linalg.norm(off[:3, 3]) < 0.06
        assert np.degrees(np.arccos(min((np.trace(off[:3, :3]) - 1) / 2, 1))) < 0.1

    def test_real_scans(self, shared_data: Path) -> None:
        from perception.datasets.flow.argoverse2 import Argoverse2Flow

        pytest.importorskip("pyarrow")
        pair = Argoverse2Flow(shared_data / "argoverse2" / "sensor_val")[0].pair
        off = inverse(pair.pose) @ estimate_ego_motion(pair.first, pair.second)
        assert np.linalg.norm(off[:3, 3]) < 0.02

    def test_far_from_the_origin_of_a_map(self) -> None:
        pair = street_flow(2).pair
        origin = np.array([691_000.0, 5_334_000.0, 500.0])
        to_map = np.eye(4)
        to_map[:3, 3] = origin
        first, second = (PointCloud(c.xyz, c.fields, origin) for c in (pair.first, pair.second))
        found = estimate_ego_motion(first, second)
        wanted = to_map @ pair.pose @ inverse(to_map)
        moved = first.world()[::500]
        np.testing.assert_allclose(
            moved @ found[:3, :3].T + found[:3, 3], moved @ wanted[:3, :3].T + wanted[:3, 3], atol=0.1
        )

    def test_scans_of_other_places(self, shared_data: Path) -> None:
        from perception.io.clouds import read_points

        folder = shared_data / "kitti_object" / "training" / "velodyne"
        first, second = (read_points(folder / f"00000{n}.bin") for n in (1, 2))
        with pytest.raises(PerceptionError, match="near points of the second"):
            make_pair(first, second)

    def test_too_few_points(self) -> None:
        few = PointCloud(np.random.default_rng(0).normal(size=(20, 3)))
        with pytest.raises(PerceptionError, match="20 and 19 points"):
            estimate_ego_motion(few, few.select(np.arange(19)))


def test_checks_of_a_pair() -> None:
    cloud = PointCloud(np.random.default_rng(0).normal(size=(200, 3)))
    early, late = (PointCloud(cloud.xyz, stamp=t) for t in (10.0, 10.1))
    assert len(make_pair(early, late, np.eye(4)).first) == 200
    with pytest.raises(PerceptionError, match="before the first"):
        make_pair(late, early, np.eye(4))
    away = np.eye(4)
    away[0, 3] = 500
    with pytest.raises(PerceptionError, match="overlap"):
        make_pair(cloud, cloud, away)
    holes = PointCloud(np.where(np.arange(200)[:, None] == 3, np.nan, cloud.xyz))
    with pytest.raises(PerceptionError, match="second scan are not finite"):
        make_pair(cloud, holes, np.eye(4))
    with pytest.raises(PerceptionError, match="no rigid motion"):
        make_pair(cloud, cloud, np.diag([1.0, 1, 2, 1]))
    empty = PointCloud(np.zeros((0, 3)))
    assert len(make_pair(empty, cloud).first) == 0
    assert len(make_pair(cloud, empty, np.eye(4)).second) == 0
