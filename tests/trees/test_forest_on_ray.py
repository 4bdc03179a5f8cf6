"""A forest on a local Ray cluster of two workers: the same trees, also when a worker dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from forests import write_forest

from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.forest.forest import segment_forest
from perception.trees.forest.settings import ForestSettings
from perception.trees.watershed import watershed_trees

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
SETTINGS = ForestSettings(tile=20.0, overlap=5.0, voxel=0.1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    here = {"PYTHONPATH": str(Path(__file__).parent)}  # workers import this file
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": here})
    yield
    ray.shutdown()


class DyingOnce:
    """A method whose first worker dies without a word; the mark is left in a folder, for the processes are many."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, cloud: PointCloud) -> TreeInstances:
        try:
            self.mark.touch(exist_ok=False)
        except FileExistsError:
            return watershed_trees(cloud)
        os._exit(1)


def failing(cloud: PointCloud) -> TreeInstances:
    raise PerceptionError("a cloud that nobody likes", "another one")


@pytest.mark.usefixtures("cluster")
def test_workers_find_the_same_trees_and_one_may_die(tmp_path: Path) -> None:
    from perception.trees.forest.on_ray import run_on_ray

    path, _ = write_forest(tmp_path / "forest.laz")
    here = segment_forest([path], tmp_path / "here", "watershed", SETTINGS)
    for number, method in enumerate(("watershed", DyingOnce(tmp_path / "died"))):
        there = segment_forest([path], tmp_path / f"ray{number}", method, SETTINGS, runner=run_on_ray)
        assert len(there.trees) == len(here.trees) > 5
        np.testing.assert_array_equal(here.columns(0)[0][:], there.columns(0)[0][:])
    assert (tmp_path / "died").exists()


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_worker_is_ours(tmp_path: Path) -> None:
    from perception.trees.forest.on_ray import run_on_ray

    path, _ = write_forest(tmp_path / "forest.laz")
    with pytest.raises(PerceptionError, match="nobody likes"):
        segment_forest([path], tmp_path / "ray", failing, SETTINGS, runner=run_on_ray)


@pytest.mark.usefixtures("cluster")
def test_an_address_of_nobody_is_refused() -> None:
    from perception.trees.forest.on_ray import ray_runner

    ray.shutdown()
    with pytest.raises(PerceptionError, match="no Ray cluster"), ray_runner("127.0.0.1:1"):
        pass
