from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nuscenes_files import Written, write_nuscenes

from perception.datasets.nuscenes.dataset import Nuscenes, balanced_rows
from perception.datasets.nuscenes.splits import scenes_of, version_of
from perception.datasets.nuscenes.tables import read_records
from perception.errors import PerceptionError
from perception.geometry import points_in_boxes

FOUR_KEYFRAMES = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_nuscenes(tmp_path_factory.mktemp("nuscenes"))


@pytest.fixture
def copy(tmp_path: Path) -> Written:
    return write_nuscenes(tmp_path, frames=2)


def change(root: Path, table: str, edit: Callable[[list[dict[str, Any]]], Any]) -> None:
    path = root / "v1.0-mini" / f"{table}.json"
    records = json.loads(path.read_text())
    edit(records)
    path.write_text(json.dumps(records))


def test_boxes_and_velocities_of_every_keyframe(made: Written) -> None:
    dataset = Nuscenes(made.root, "v1.0-mini", "all", minimum_lidar_points=0)
    assert sorted(dataset.identifiers) == sorted(made.samples)
    for index, sample in enumerate(dataset[i] for i in range(len(dataset))):
        known = made.samples[sample.identifier]
        assert sample.objects is not None
        assert sample.objects.boxes.velocity is not None
        assert dataset.calibration(index).token == known["token"]
        boxes = np.array([label["box"] for label in known["labels"]])
        velocity = np.array([label["velocity"] for label in known["labels"]])
        np.testing.assert_allclose(sample.objects.boxes.values, boxes, atol=5e-6)
        np.testing.assert_allclose(sample.objects.boxes.velocity, velocity, atol=1e-5)
        things = [label["thing"] for label in known["labels"]]
        assert sample.objects.attributes["category"].tolist() == [t.category for t in things]
        assert sample.objects.attributes["attribute"].tolist() == [t.attribute for t in things]
        assert sample.objects.attributes["lidar_points"].tolist() == [t.points for t in things]


def test_names_are_those_of_the_benchmark_and_unseen_boxes_are_left_out(made: Written) -> None:
    names = Nuscenes(made.root, split="mini_train")[0].objects.names.tolist()  # type: ignore[union-attr]
    assert {"car", "truck", "bus", "pedestrian", "traffic_cone", "barrier", "bicycle", "animal"} == set(names)
    assert names.count("car") == 3  # a fourth holds no points
    assert Nuscenes(made.root, split="mini_train", minimum_lidar_points=30)[0].objects.names.tolist() == [  # type: ignore[union-attr]
        "car",
        "truck",
        "bus",
    ]


def test_points_of_all_sweeps_lie_in_the_boxes(made: Written) -> None:
    sample = Nuscenes(made.root, split="mini_val", scenes=["scene-0103"])[FOUR_KEYFRAMES]
    lag = sample.cloud.fields["time"]
    np.testing.assert_allclose(np.unique(lag), np.arange(10) * 0.1, atol=1e-6)
    assert list(sample.cloud.fields) == ["intensity", "time"]
    assert (np.abs(sample.cloud.xyz[lag == 0, :2]) >= 1).any(1).all()
    assert sample.objects is not None
    inside = points_in_boxes(torch.from_numpy(sample.cloud.xyz), sample.objects.boxes.values).numpy()
    points = sample.objects.attributes["lidar_points"]
    assert inside[lag == 0].sum(0).tolist() == points.tolist()
    # What stands still is found in its box in every earlier sweep too.
    still = np.flatnonzero(np.isin(sample.objects.names, ["truck", "barrier", "traffic_cone", "bicycle"]))
    assert inside.sum(0)[still].tolist() == (10 * points[still]).tolist()


def test_sweeps_at_the_start_of_a_scene(made: Written) -> None:
    repeated = Nuscenes(made.root, split="mini_train")
    fewer = Nuscenes(made.root, split="mini_train", missing="fewer")
    assert (len(repeated[0].cloud), repeated[0].cloud.metadata["sweeps"]) == (10 * len(fewer[0].cloud), 10)
    assert fewer[1].cloud.metadata["sweeps"] == 6
    assert np.array_equal(repeated[1].cloud.xyz[: len(fewer[1].cloud)], fewer[1].cloud.xyz)
    assert len(Nuscenes(made.root, split="mini_train", sweeps=1, near=0.0)[3].cloud) == 396


def test_the_truth_of_a_split(made: Written) -> None:
    dataset = Nuscenes(made.root, split="mini_train")
    truth = dataset.truth()
    assert truth.tokens == tuple(made.samples[name]["token"] for name in dataset.identifiers)
    assert len(truth.racks) == len(dataset) == 5
    assert sorted(set(truth.boxes.names.tolist())) == [
        "barrier",
        "bicycle",
        "bus",
        "car",
        "motorcycle",
        "pedestrian",
        "traffic_cone",
        "truck",
    ]
    assert set(truth.boxes.points[truth.boxes.names == "motorcycle"].tolist()) == {2}


def test_balanced_sampling_shows_rare_classes_as_often_as_others(made: Written) -> None:
    rows, present = np.arange(100), np.zeros((100, 3), bool)
    present[:, 0], present[:50, 1], present[7, 2] = True, True, True
    drawn = balanced_rows(rows, present, seed=1)
    assert len(drawn) == 3 * 50
    assert (drawn == 7).sum() >= 50
    assert np.array_equal(drawn, balanced_rows(rows, present, seed=1))
    dataset = Nuscenes(made.root, split="mini_train", balanced=True)
    pedestrians_and_a_stray = sum(name == "scene-0061/001" for name in dataset.identifiers)
    assert len(dataset) == 8 * (5 * 8 // 10)
    assert pedestrians_and_a_stray > 0


def test_a_cache_gives_the_same_index_until_the_tables_change(copy: Written, tmp_path: Path) -> None:
    cache = tmp_path / "index.npz"
    first = Nuscenes(copy.root, split="mini_train", cache=cache)[1]
    stamp = cache.stat().st_mtime_ns
    second = Nuscenes(copy.root, split="mini_train", cache=cache)[1]
    assert cache.stat().st_mtime_ns == stamp
    assert torch.equal(first.objects.boxes.values, second.objects.boxes.values)  # type: ignore[union-attr]
    change(copy.root, "sample_annotation", lambda records: records.clear())
    assert Nuscenes(copy.root, split="mini_train", cache=cache)[1].objects is None
    cache.write_bytes(b"PK\x03\x04 no archive")
    assert len(Nuscenes(copy.root, split="mini_train", cache=cache)) == 2


def test_data_sets_cross_process_borders(made: Written) -> None:
    dataset = pickle.loads(pickle.dumps(Nuscenes(made.root, split="mini_train")))
    assert len(dataset[2].cloud)


def test_published_splits(tmp_path: Path) -> None:
    splits = {name: scenes_of(name, tmp_path, []) for name in ("train", "val", "test", "mini_train", "mini_val")}
    assert [len(scenes) for scenes in splits.values()] == [700, 150, 150, 8, 2]
    assert len({name for part in ("train", "val", "test") for name in splits[part]}) == 1000
    assert set(splits["mini_train"]) < {*splits["train"], *splits["val"]}
    assert splits["mini_val"] == ["scene-0103", "scene-0916"]
    assert [version_of(s) for s in ("val", "test", "mini_val")] == ["v1.0-trainval", "v1.0-test", "v1.0-mini"]


def test_splits_of_ones_own(made: Written) -> None:
    path = made.root / "v1.0-mini" / "splits.json"
    path.write_text('{"rainy": ["scene-0916"]}')
    try:
        assert len(Nuscenes(made.root, "v1.0-mini", "rainy")) == 5
        with pytest.raises(PerceptionError, match="did you mean 'rainy'"):
            Nuscenes(made.root, "v1.0-mini", "rany")
        path.write_text("[1]")
        with pytest.raises(PerceptionError, match=r"splits\.json"):
            Nuscenes(made.root, "v1.0-mini", "rainy")
    finally:
        path.unlink()


def test_tables_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.datasets.nuscenes.tables._CHUNK", 7)
    records = [{"token": 'a"},{', "list": [[1, 2.5], []]}, {"token": "ünd", "x": -1e-3}]
    for indent in (None, 0, 2):
        (tmp_path / "t.json").write_text(json.dumps(records, indent=indent))
        assert list(read_records(tmp_path / "t.json")) == records
    (tmp_path / "t.json").write_text(" [ ] ")
    assert list(read_records(tmp_path / "t.json")) == []


@pytest.mark.parametrize(
    ("table", "edit", "match"),
    [
        ("sample", lambda r: r[0].update(scene_token="abc"), r"sample\.json: scene_token 'abc' is not in scene\.json"),
        ("sample_data", lambda r: r[0].update(ego_pose_token="abc"), r"ego_pose_token 'abc' is not in ego_pose"),
        ("sample_data", lambda r: r[0].update(calibrated_sensor_token="abc"), r"'abc' is not in calibrated_sensor"),
        ("sample_data", lambda r: r[2].update(prev="abc"), r"prev 'abc' is not in sample_data"),
        ("sample_annotation", lambda r: r[0].update(next="abc"), r"next 'abc' is not in sample_annotation"),
        ("sample_annotation", lambda r: r[0].update(instance_token="abc"), r"'abc' is not in instance"),
        ("sample_annotation", lambda r: r[0].update(attribute_tokens=["abc"]), r"'abc' is not in attribute"),
        ("instance", lambda r: r[0].update(category_token="abc"), r"'abc' is not in category"),
        ("sample_annotation", lambda r: r[0].pop("size"), r"KeyError 'size'"),
        ("sample_annotation", lambda r: r[0].update(size=[1, 2]), r"size holds"),
        ("sample_annotation", lambda r: r[0].update(size=["a", 2, 3]), r"sample_annotation\.json: record"),
        ("ego_pose", lambda r: r[0].update(translation=[0, float("nan"), 0]), r"finite numbers"),
        ("sample", lambda r: r.append(dict(r[0])), r"has the token .* twice"),
        ("sample_data", lambda r: [x.update(is_key_frame=False) for x in r], r"no keyframe of LIDAR_TOP"),
        ("scene", lambda r: r.insert(0, 5), r"scene\.json, record 0: 5 is no object"),
    ],
)
def test_damaged_tables(copy: Written, table: str, edit: Callable[[Any], Any], match: str) -> None:
    change(copy.root, table, edit)
    with pytest.raises(PerceptionError, match=match):
        Nuscenes(copy.root, split="mini_train")


def test_other_bad_input(copy: Written) -> None:
    tables = copy.root / "v1.0-mini"
    with pytest.raises(PerceptionError, match=r"no folder v1\.0-trainval[\s\S]*choose one of the versions v1\.0-mini"):
        Nuscenes(copy.root)
    with pytest.raises(PerceptionError, match=r"no folder .*nowhere"):
        Nuscenes(copy.root / "nowhere", split="mini_train")
    with pytest.raises(PerceptionError, match="scene 'scene-0103' is not in the split 'mini_train'"):
        Nuscenes(copy.root, split="mini_train", scenes=["scene-0103"])
    with pytest.raises(PerceptionError, match="none of the 3 scenes"):
        Nuscenes(copy.root, "v1.0-mini", "test")
    with pytest.raises(PerceptionError, match="did you mean 'mini_train'"):
        Nuscenes(copy.root, "v1.0-mini", "minitrain")
    dataset = Nuscenes(copy.root, split="mini_train")
    file = copy.root / copy.samples["scene-0061/000"]["file"]
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(PerceptionError, match="a whole number of records"):
        dataset[0]
    file.unlink()
    with pytest.raises(PerceptionError, match=r"no sweep .*LIDAR_TOP__.*\.pcd\.bin"):
        dataset[1]
    text = (tables / "ego_pose.json").read_text()
    (tables / "ego_pose.json").write_text(text[: len(text) // 2])
    with pytest.raises(PerceptionError, match=r"ego_pose\.json, record .*cut short"):
        Nuscenes(copy.root, split="mini_train")
    (tables / "ego_pose.json").unlink()
    with pytest.raises(PerceptionError, match=r"no table .*ego_pose\.json"):
        Nuscenes(copy.root, split="mini_train")
