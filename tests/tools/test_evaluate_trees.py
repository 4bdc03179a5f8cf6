"""The command that counts trees: folders of files by hand-made cases, methods on plots, and input that is none."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.weights import Card, read_header, save_weights
from perception.io.writers import write_points
from perception.models.catalogue import entry
from perception.points import PointCloud
from perception.training.evaluation_tree_files import compare_files, file_pairs

TOOLS = Path(__file__).resolve().parents[2] / "tools"
main = runpy.run_path(str(TOOLS / "evaluate_trees.py"))["main"]


def cloud(seed: int = 0) -> PointCloud:
    """Four trees of 250 points in the corners of a plot, and ground."""
    rng = np.random.default_rng(seed)
    corner = np.repeat(np.arange(4), 250)
    xyz = np.column_stack([corner % 2 * 10, corner // 2 * 10, np.zeros(1000)]) + rng.random((1000, 3)) * [3, 3, 12]
    ground = np.column_stack([rng.random((400, 2)) * 13, np.zeros(400)])
    ids = np.concatenate([corner + 1, np.zeros(400, int)]).astype(np.int32)
    return PointCloud(np.concatenate([xyz, ground]), {"treeID": ids}, np.array([4e5, 5e6, 0.0]), frame="map")


def with_ids(points: PointCloud, ids: np.ndarray, name: str = "tree_id") -> PointCloud:
    return replace(points, fields={name: ids.astype(np.int32)})


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """One plot found whole, one of which two trees became one and one was missed."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    for name in ("a", "b"):
        write_points(theirs / f"{name}.las", cloud())
    ids = cloud().fields["treeID"]
    write_points(ours / "a_trees.laz", with_ids(cloud(), ids * 7))
    write_points(ours / "b.las", with_ids(cloud(), np.choose(ids, [0, 1, 1, 3, 0])))
    return ours, theirs


def test_folders_by_hand(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = folders
    out = tmp_path / "out"
    assert main(["--predicted", str(ours), "--reference", str(theirs), "--out", str(out)]) == 0
    assert "10-15 m" in capsys.readouterr().out
    found = json.loads((out / "evaluation.json").read_text())
    # a: 4 of 4. b: two trees in one overlap each by a half, one is found, one is missed.
    assert {k: found["one_to_one"][k] for k in ("true", "predicted", "matched")} == {
        "true": 8, "predicted": 6, "matched": 5}  # fmt: skip
    assert found["one_to_one"]["coverage"] == pytest.approx((4 + 1 + 0.5 + 0.5) / 8)
    assert found["plots"]["a.las"]["f1"] == 1.0
    assert set(found["protocols"]) == {"segmentanytree_tracker", "segmentanytree_paper", "treelearn"}


def test_the_input_s_own_ids_are_not_taken_for_found_ones(tmp_path: Path) -> None:
    truth = cloud()
    write_points(tmp_path / "plot.las", truth)
    both = replace(truth, fields={"treeID": truth.fields["treeID"], "tree_id": np.zeros(len(truth), np.int32)})
    write_points(tmp_path / "found.las", both)
    total = compare_files(tmp_path / "found.las", tmp_path / "plot.las").evaluation.total
    assert (total.true, total.predicted) == (4, 0)


def test_other_points_of_the_same_place(tmp_path: Path) -> None:
    truth = cloud()
    write_points(tmp_path / "plot.las", truth)
    order = np.random.default_rng(1).permutation(len(truth))[:1100]
    fewer = with_ids(truth.select(order), truth.fields["treeID"][order], "PredInstance")
    write_points(tmp_path / "found.las", fewer)
    compared = compare_files(tmp_path / "found.las", tmp_path / "plot.las")
    assert compared.evaluation.total.matched == 4
    assert "1,100 points for 1,400" in compared.notes[0]
    elsewhere = replace(fewer, origin=fewer.origin + np.array([500.0, 0, 0]))
    write_points(tmp_path / "found.las", elsewhere)
    with pytest.raises(PerceptionError, match="0% of the points"):
        compare_files(tmp_path / "found.las", tmp_path / "plot.las")


def test_files_that_cannot_be_compared(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = folders
    (theirs / "b.las").rename(theirs / "c.las")
    with pytest.raises(PerceptionError, match="b has no reference"):
        file_pairs(ours, theirs)
    (ours / "b.las").unlink()
    assert file_pairs(ours, theirs)[1] == ["c.las: no prediction, left out"]
    write_points(theirs / "a.las", with_ids(cloud(), np.zeros(1400), "treeID"))
    assert main(["--predicted", str(ours), "--reference", str(theirs)]) == 2
    assert "tree id 0" in capsys.readouterr().err
    write_points(ours / "a_trees.laz", PointCloud(cloud().xyz, {}, cloud().origin))
    write_points(theirs / "a.las", cloud())
    assert main(["--predicted", str(ours), "--reference", str(theirs)]) == 2
    assert "no ids of trees" in capsys.readouterr().err
    assert main(["--predicted", str(ours)]) == 2
    assert main(["--predicted", str(tmp_path / "missing"), "--reference", str(theirs)]) == 2
    assert main(["watershed"]) == 2
    assert main(["watershed", "--data", f"kitti:{tmp_path}"]) == 2
    assert main(["no-such-model", "--data", "forest:"]) == 2


def test_a_method_on_plots_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", "forest:", "--scanners", "drone", "--side", "10", "--density", "60", "--limit", "1"]
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    assert main(["watershed", *options, "--split", "test", "--pictures", str(pictures), "--out", str(out)]) == 0
    assert "one to one" in capsys.readouterr().out
    assert [path.suffix for path in pictures.iterdir()] == [".png"]
    found = json.loads((out / "evaluation.json").read_text())
    assert found["data"] == "forest, test, drone, density 60.0"
    assert found["method"] == "watershed"


def test_scores_of_trees_go_into_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))
    ship = runpy.run_path(str(TOOLS / "ship_weights.py"))["main"]
    model = entry("segmentanytree-small")
    card = Card("forest_trees train, seed 1: 2 scenes", licence="", command="python tools/train.py x.yaml")
    save_weights(tmp_path / "final.safetensors", "segmentanytree-small", model.make(model.defaults), card)
    evaluation = {"method": "x/final.safetensors", "data": "forest, test", "frames": 3, "frames_trained_on": 0}
    evaluation["one_to_one"] = {"f1": 0.5, "coverage": 0.25}
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    arguments = [str(tmp_path), "--licence", "free", "--limits", "many", "--folder", str(tmp_path)]
    assert ship([*arguments, "--evaluation", str(tmp_path / "evaluation.json")]) == 0
    text = (tmp_path / "segmentanytree-small.md").read_text()
    assert "| F1 in %, these weights; forest, test; 3 plots, none trained on | 50.0 |" in text
    path = tmp_path / "segmentanytree-small.safetensors"
    assert path.stat().st_size < 4 << 20
    assert read_header(path).card.limits == "many"
