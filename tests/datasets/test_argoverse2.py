import pickle
import shutil
import sys

import numpy as np
import pytest
import torch

pa = pytest.importorskip("pyarrow")
from argoverse2_writer import STAMPS, cuboids, table, write_log  # noqa: E402

from perception.datasets.argoverse2.dataset import Argoverse2, Argoverse2Log  # noqa: E402
from perception.datasets.augment import AugmentConfig, build_augmentation, sample_generator  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402
from perception.geometry import points_in_boxes  # noqa: E402
from perception.metrics.argoverse2 import evaluate  # noqa: E402
from perception.results import Detections  # noqa: E402
from perception.training.data import Pool  # noqa: E402
from perception.training.settings import DataEntry  # noqa: E402
from perception.training.targets import Targets  # noqa: E402


@pytest.fixture
def root(tmp_path):
    return write_log(tmp_path)


def test_samples(root):
    dataset = Argoverse2(root)
    assert len(dataset) == 4
    assert dataset.identifiers[1] == f"log-a/{STAMPS[1]}"
    sample = dataset[0]
    assert sample.objects.names.tolist() == ["REGULAR_VEHICLE", "ANIMAL"]
    assert sample.objects.boxes.values[1].tolist() == pytest.approx([10, 0, 0.5, 4, 2, 1.5, 1])
    assert sample.objects.attributes["track"].tolist() == ["track 0", "track 1"]
    assert sample.objects.attributes["points"].tolist() == [0, 1]
    assert dataset[2].objects.boxes.heading.tolist() == pytest.approx([-2])
    assert len(dataset[3].objects) == 0
    assert sample.cloud.metadata["pose"][:3, 3].tolist() == [0, 0, 0]
    assert dataset.logs[0].calibration["up_lidar"][:3, 3].tolist() == [1, 0, 1.6]
    assert Argoverse2(root, labelled=True).identifiers == dataset.identifiers[:3]


def test_sweeps_before_are_moved_by_the_vehicles_motion(root):
    cloud = Argoverse2(root, sweeps=3)[3].cloud
    assert cloud.xyz == pytest.approx(np.array([[4, 0, 0]] * 3), abs=1e-5)
    assert cloud.fields["time"].tolist() == pytest.approx([0, 0.1, 0.2])
    assert cloud.fields["intensity"].tolist() == [7] * 3
    assert len(Argoverse2(root, sweeps=10)[1].cloud) == 2
    with pytest.raises(PerceptionError, match="sweeps = 0"):
        Argoverse2(root, sweeps=0)


def test_every_level_of_the_layout_can_be_the_root(root):
    for folder in (root, root / "val", root / "val" / "log-a"):
        assert len(Argoverse2(folder)) == 4
    shutil.copytree(root / "val" / "log-a", root / "val" / "log-b")
    dataset = pickle.loads(pickle.dumps(Argoverse2(root)))
    assert len(dataset) == 8
    assert dataset[7].identifier == dataset[-1].identifier == f"log-b/{STAMPS[3]}"
    assert len(Argoverse2(root, logs=["log-b"])) == 4
    assert [dataset[i].objects.names.tolist() for i in (0, 4, 2)] == [["REGULAR_VEHICLE", "ANIMAL"]] * 2 + [["DOG"]]
    assert "annotations" not in vars(dataset.logs[1])
    with pytest.raises(IndexError):
        dataset[8]


def test_logs_without_annotations(root):
    (root / "val" / "log-a" / "annotations.feather").unlink()
    assert Argoverse2(root)[0].objects is None
    with pytest.raises(PerceptionError, match=r"no annotations\.feather"):
        Argoverse2(root, labelled=True)


def test_training_takes_its_samples(root):
    pool = Pool([DataEntry("argoverse2", {"root": str(root), "split": "val", "sweeps": 2})])
    assert len(pool) == 3
    augmentation = build_augmentation(AugmentConfig())
    targets = Targets(("Vehicle", "Dog"), (-200, -200, -20, 200, 200, 20), {"REGULAR_VEHICLE": "Vehicle", "DOG": "Dog"})
    found = [augmentation(pool[i], sample_generator(0, 0, i)) for i in range(3)]
    assert [targets(s.cloud, s.objects, s.identifier)[1].tolist() for s in found] == [[0], [], [1]]


def test_wrong_folders_are_explained(root):
    with pytest.raises(PerceptionError, match="no logs of the split 'test'"):
        Argoverse2(root, split="test")
    with pytest.raises(PerceptionError, match=r"no log 'log-c'[^$]*did you mean 'log-a'"):
        Argoverse2(root, logs=["log-c"])
    with pytest.raises(PerceptionError, match="no sweeps"):
        Argoverse2Log(root)


@pytest.mark.parametrize("name", ["annotations", "city_SE3_egovehicle", f"sensors/lidar/{STAMPS[0]}"])
def test_damaged_files_are_named(root, name):
    path = root / "val" / "log-a" / f"{name}.feather"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"ARROW1" + bytes(40)):
        path.write_bytes(damaged)
        with pytest.raises(PerceptionError, match=path.name):
            Argoverse2(root)[0]
    path.unlink()
    if name != "annotations":
        with pytest.raises((PerceptionError, IndexError)):
            Argoverse2(root)[0 if name.startswith("city") else 3]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"category": ["CAR"]}, "category 'CAR'"),
        ({"qw": [0.0], "qz": [0.0]}, "unit quaternion"),
        ({"length_m": [0.0]}, "sizes above 0"),
        ({"tx_m": [np.nan]}, "tx_m is nan"),
        ({"tx_m": ["far"]}, "column tx_m is string"),
        ({"track_uuid": pa.array([None], pa.string())}, "track_uuid are missing"),
    ],
)
def test_wrong_annotations_are_named(root, change, match):
    table(root / "val" / "log-a" / "annotations.feather", **cuboids(STAMPS[:1], ["DOG"], [0], **change))
    with pytest.raises(PerceptionError, match=match):
        Argoverse2(root)[0]


def test_missing_columns_and_poses_are_named(root):
    rows = cuboids(STAMPS[:1], ["DOG"], [0])
    rows.pop("num_interior_pts")
    table(root / "val" / "log-a" / "annotations.feather", **rows)
    with pytest.raises(PerceptionError, match="without one num_interior_pts"):
        Argoverse2(root)[0]
    one = {"qw": [1.0], "qx": [0.0], "qy": [0.0], "qz": [0.0], "tx_m": [0.0], "ty_m": [0.0], "tz_m": [0.0]}
    table(root / "val" / "log-a" / "city_SE3_egovehicle.feather", timestamp_ns=STAMPS[:1], **one)
    with pytest.raises(PerceptionError, match=f"no pose at {STAMPS[1]}"):
        Argoverse2(root)[1]


def test_no_boxes_at_all(root):
    empty = {k: pa.array(v)[:0] for k, v in cuboids(STAMPS[:1], ["DOG"], [0]).items()}
    table(root / "val" / "log-a" / "annotations.feather", **empty)
    assert len(Argoverse2(root)[0].objects) == 0


def test_the_extra_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PerceptionError, match=r"lidar-perception\[argoverse\]"):
        Argoverse2(root)[0]


def test_real_log(shared_data):
    """Every box holds as many points as was published; perfect results score 1 in all categories that are there."""
    dataset = Argoverse2(shared_data / "argoverse2" / "sensor_val", labelled=True)
    assert len(dataset) == 2
    for sample in dataset:
        inside = points_in_boxes(torch.from_numpy(sample.cloud.xyz), sample.objects.boxes.values)
        assert len(sample.objects) == 81
        assert np.array_equal(inside.sum(0).numpy(), sample.objects.attributes["points"])
    tracks = [set(sample.objects.attributes["track"]) for sample in dataset]
    assert len(tracks[0] & tracks[1]) > 75
    names = sorted({str(name) for name in dataset[0].objects.names})
    frames = []
    for sample in dataset:
        seen = sample.objects.select(sample.objects.attributes["points"] > 0)
        labels = torch.tensor([names.index(name) for name in seen.names])
        frames.append((sample.objects, Detections(seen.boxes, torch.ones(len(seen)), labels, tuple(names))))
    report = evaluate(frames)
    assert all(s.ap == pytest.approx(1) for s in report.categories.values() if s.objects)
    assert "up_lidar" in dataset.logs[0].calibration


def test_real_sweeps_keep_their_place_in_the_city(shared_data):
    folder = shared_data / "argoverse2" / "sensor_val"
    both, first = Argoverse2(folder, sweeps=5)[1].cloud, Argoverse2(folder)[0].cloud
    old = both.fields["time"] > 0
    assert both.fields["time"].max() == pytest.approx(0.1002, abs=1e-4)
    places = [
        xyz.astype(float) @ cloud.metadata["pose"][:3, :3].T + cloud.metadata["pose"][:3, 3]
        for xyz, cloud in ((both.xyz[old], both), (first.xyz, first))
    ]
    assert np.abs(places[0] - places[1]).max() < 1e-4
    assert np.abs(both.xyz[old] - first.xyz).max() > 0.05
