"""Labelled plots: ids and classes of files as programs write them, what is no label, plots kept in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.datasets.catalogue import make_dataset
from perception.datasets.trees.labels import clean_ids, tree_truth
from perception.datasets.trees.las import LasTrees, for_instance
from perception.datasets.trees.memory import RememberedPlots, one_a_cell
from perception.errors import PerceptionError
from perception.io.writers import write_points
from perception.losses.trees import IGNORED
from perception.points import PointCloud
from perception.simulate.forest.dataset import ForestDataset


def plot(ids: object, classes: object = None, name: str = "treeID") -> PointCloud:
    ids = np.asarray(ids)
    xyz = np.random.default_rng(0).random((len(ids), 3)).astype(np.float32)
    fields = {name: ids, "classification": np.asarray(classes if classes is not None else np.ones(len(ids)), np.uint8)}
    return PointCloud(xyz, fields, np.array([500_000.0, 5_000_000.0, 0.0]))


def test_what_stands_for_no_tree() -> None:
    ids = np.array([3.0, np.nan, -1, 1.7976931348623157e308, np.inf, 0, 2**31])
    assert clean_ids(ids, "plot").tolist() == [3, 0, 0, 0, 0, 0, 0]
    assert clean_ids(np.array([2**40, -7, 5]), "plot").tolist() == [0, 0, 5]
    assert clean_ids(np.array([2**63], np.uint64), "plot").tolist() == [0]
    with pytest.raises(PerceptionError, match="fractions"):
        clean_ids(np.array([1.5]), "plot")


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_ids_alone_make_labels(tmp_path: Path, suffix: str) -> None:
    write_points(tmp_path / f"a{suffix}", plot([1, 1, 0, 7, 0], [4, 4, 2, 5, 7]))
    sample = LasTrees(tmp_path, unknown=[7])[0]
    truth = tree_truth(sample.cloud, "a")
    assert truth.tree_id.tolist() == [1, 1, 0, 7, 0]
    assert truth.semantic.tolist() == [1, 1, 0, 1, IGNORED]
    assert set(sample.cloud.fields) == {"tree_id", "semantic"}


def test_for_instance_as_published(tmp_path: Path) -> None:
    (tmp_path / "CULS").mkdir()
    (tmp_path / "NIBIO").mkdir()
    for name in ("CULS/plot_1", "CULS/plot_2", "NIBIO/plot_1"):
        write_points(tmp_path / f"{name}.las", plot([0, 0, 0, 0, 4, 4, 4], [0, 1, 2, 3, 4, 5, 6]))
    rows = ["path,folder,split", "CULS/plot_1.las,CULS,dev", "CULS/plot_2.las,CULS,test", "NIBIO/plot_1.las,NIBIO,dev"]
    (tmp_path / "data_split_metadata.csv").write_text("\n".join(rows))
    assert for_instance(tmp_path, "dev").identifiers == ["CULS/plot_1.las", "NIBIO/plot_1.las"]
    assert for_instance(tmp_path, "test").identifiers == ["CULS/plot_2.las"]
    assert for_instance(tmp_path, "dev", ["NIBIO"]).identifiers == ["NIBIO/plot_1.las"]
    dataset = make_dataset("for_instance", {"root": str(tmp_path), "finest": None}, "test")
    # 0 and 3 are not known, 1 and 2 are no trees, 4 to 6 are.
    assert tree_truth(dataset[0].cloud, "plot").semantic.tolist() == [-1, 0, 0, -1, 1, 1, 1]
    with pytest.raises(PerceptionError, match="no plots of the split 'val'"):
        for_instance(tmp_path, "val")
    with pytest.raises(PerceptionError, match="NOWHERE"):
        for_instance(tmp_path, "dev", ["NOWHERE"])


def test_files_that_teach_nothing(tmp_path: Path) -> None:
    write_points(tmp_path / "zero.las", plot([0, 0, 0]))
    with pytest.raises(PerceptionError, match=r"zero.las: all 3 points have the tree id 0"):
        LasTrees(tmp_path)[0]
    write_points(tmp_path / "none.las", plot([1, 2, 3], name="height"))
    with pytest.raises(PerceptionError, match=r"none.las: no ids of trees") as caught:
        LasTrees(tmp_path, ["none.las"])[0]
    assert "height" in str(caught.value)
    with pytest.raises(PerceptionError, match="no field 'stem'"):
        LasTrees(tmp_path, ["none.las"], "stem")[0]
    assert len(LasTrees(tmp_path, ["none.las"], "height")[0].cloud) == 3
    write_points(tmp_path / "other.las", plot([1, 2, 3], [2, 2, 17]))
    with pytest.raises(PerceptionError, match="classes up to 17"):
        LasTrees(tmp_path, ["other.las"], labels="for_instance")[0]
    with pytest.raises(PerceptionError, match="no folder"):
        LasTrees(tmp_path / "missing")
    with pytest.raises(PerceptionError, match="no file"):
        LasTrees(tmp_path, ["missing.las"])
    with pytest.raises(PerceptionError, match="data_split_metadata"):
        for_instance(tmp_path)
    (tmp_path / "broken.las").write_bytes(b"LASF" + bytes(100))
    with pytest.raises(PerceptionError):
        LasTrees(tmp_path, ["broken.las"])[0]


def test_memory_does_not_show() -> None:
    source = ForestDataset(3, scanners=["drone"], side=6, density=60)
    plenty, none = RememberedPlots(source, 0.3), RememberedPlots(source, 0.3, points=0)
    for index in (0, 1, 0, 2, 0):
        one, other = plenty[index].cloud, none[index].cloud
        assert one.xyz.tobytes() == other.xyz.tobytes()
        for name in ("tree_id", "semantic", "height_in_file"):
            assert one.fields[name].tobytes() == other.fields[name].tobytes()
    assert plenty[0] is plenty[0]
    assert not none._kept
    with pytest.raises(PerceptionError):
        RememberedPlots(source, 0.0)


def test_thinning_does_not_depend_on_the_order() -> None:
    xyz = np.random.default_rng(1).random((2000, 3)).astype(np.float32) * 3
    order = np.random.default_rng(2).permutation(2000)
    one, other = xyz[one_a_cell(xyz, 0.5)], xyz[order][one_a_cell(xyz[order], 0.5)]
    assert sorted(map(tuple, one)) == sorted(map(tuple, other))
    cells = np.floor(one / 0.5)
    assert len(np.unique(cells, axis=0)) == len(one) == len(np.unique(np.floor(xyz / 0.5), axis=0))


def test_a_real_plot(shared_data: Path) -> None:
    sample = LasTrees(shared_data / "trees", ["MixedConifer.laz"])[0]
    ids = sample.cloud.fields["tree_id"]
    assert len(np.unique(ids[ids > 0])) == 205
    assert ids.max() < 10_000
