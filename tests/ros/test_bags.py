"""Bags without ROS: written from real recordings, run through the nodes' pipelines, read back."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from perception_ros.conversion.cloud_in import cloud_of
from perception_ros.conversion.cloud_out import cloud_message
from perception_ros.conversion.placement import header

import perception
from perception.datasets.argoverse2.dataset import Argoverse2Log
from perception.datasets.kitti.raw import KittiRawDrive
from perception.errors import PerceptionError
from perception.points import PointCloud

pytest.importorskip("rosbags")
from perception_ros.bags.command import main
from perception_ros.bags.messages import BagMessages
from perception_ros.bags.reading import CLOUD, BagReader
from perception_ros.bags.record import record
from perception_ros.bags.run import run_bag
from perception_ros.bags.writing import BagWriter

SAMPLE = Path(str(files("perception") / "samples" / "street_000.bin"))
STAMP = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def messages() -> BagMessages:
    return BagMessages()


@pytest.fixture(scope="module")
def drive_folder(shared_data: Path) -> Path:
    return shared_data / "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync"


@pytest.fixture(scope="module")
def drive_bag(drive_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "drive"
    assert record("kitti", drive_folder, path, limit=3) == 3
    return path


def everything(path: Path) -> list[tuple[str, int, Any]]:
    with BagReader(path) as reader:
        return [(one.topic, one.time, one.message) for one in reader.messages(set(reader.topics))]


def sample_bag(path: Path, messages: BagMessages, clouds: int, storage: str = "mcap", **fields: Any) -> Path:
    cloud = perception.read_points(SAMPLE)
    with BagWriter(path, messages, storage) as writer:
        for number in range(clouds):
            stamp = STAMP + number * 100_000_000
            message = cloud_message(messages, header(messages, stamp, "lidar"), cloud)
            for name, value in fields.items():
                setattr(message, name, value)
            writer.write("/sensor/points", CLOUD, stamp + 5_000_000, message)
    return path


def test_kitti_as_a_bag(drive_bag: Path, drive_folder: Path) -> None:
    drive = KittiRawDrive(drive_folder, camera_view=False)
    clouds = [m for topic, _, m in everything(drive_bag) if topic == "/points"]
    assert len(clouds) == 3
    for index, message in enumerate(clouds):
        read, true = cloud_of(message), drive.cloud(index)
        assert np.array_equal(read.xyz, true.xyz)
        assert np.array_equal(read.fields["intensity"], true.fields["intensity"])
        assert read.stamp == pytest.approx(true.stamp, abs=1e-6)
    odometry = [m for topic, _, m in everything(drive_bag) if topic == "/odometry"]
    moved = odometry[2].pose.pose.position
    true = (np.linalg.inv(drive.pose(0)) @ drive.pose(2))[:3, 3]
    assert np.allclose([moved.x, moved.y, moved.z], true, atol=1e-9)
    transforms = [m for topic, _, m in everything(drive_bag) if topic == "/tf"]
    assert transforms[0].transforms[0].child_frame_id == "lidar"


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_argoverse_as_a_bag(shared_data: Path, tmp_path: Path, storage: str) -> None:
    (folder,) = (p for p in (shared_data / "argoverse2/sensor_val").iterdir() if p.is_dir())
    assert main(["record", "argoverse2", str(folder), "--out", str(tmp_path / "log"), "--storage", storage]) == 0
    log = Argoverse2Log(folder)
    clouds = [m for topic, _, m in everything(tmp_path / "log") if topic == "/points"]
    assert len(clouds) == len(log) == 2
    stamp = clouds[1].header.stamp
    assert stamp.sec * 10**9 + stamp.nanosec == log.stamps[1]
    assert np.array_equal(cloud_of(clouds[1]).xyz, log.cloud(1).xyz)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_detection_over_a_bag(messages: BagMessages, tmp_path: Path, storage: str) -> None:
    bag = sample_bag(tmp_path / "in", messages, 3, storage)
    out, report = tmp_path / "out", tmp_path / "report.json"
    arguments = ["run", str(bag), "--task", "detection", "--out", str(out), "--report", str(report)]
    assert main([*arguments, "--storage", storage, "--keep-clouds", "--set", "marker_text=false"]) == 0
    model = perception.load("pointpillars-small")
    (expected,) = perception.perceive(model, [perception.read_points(SAMPLE)])
    written = everything(out)
    arrays = [(time, m) for topic, time, m in written if topic == "/detection/detections"]
    assert [time for time, _ in arrays] == [STAMP + n * 100_000_000 + 5_000_000 for n in range(3)]
    for number, (_, array) in enumerate(arrays):
        assert array.header.stamp.nanosec == number * 100_000_000
        assert array.header.frame_id == "lidar"
        scores = [one.results[0].hypothesis.score for one in array.detections]
        assert scores == [pytest.approx(s) for s in expected.scores.tolist()]
        centres = [[one.bbox.center.position.x, one.bbox.center.position.y] for one in array.detections]
        assert np.allclose(centres, expected.boxes.values[:, :2])
    assert {topic for topic, _, _ in written} == {"/sensor/points", "/detection/detections", "/detection/markers"}
    told = json.loads(report.read_text())
    assert (told["clouds"], told["results"], told["refused"]) == (3, 3, {})
    assert told["latency_ms"]["p50"] > 0
    assert sum(told["found"].values()) == 3 * len(expected)
    assert main(arguments) == 1  # the bag exists already


def test_a_single_file_of_a_bag(messages: BagMessages, tmp_path: Path) -> None:
    for storage, ending in (("mcap", ".mcap"), ("sqlite3", ".db3")):
        bag = sample_bag(tmp_path / storage, messages, 1, storage)
        (path,) = bag.glob(f"*{ending}")
        assert path.name == f"{storage}{ending}"
        assert len(everything(path)) == 1


def test_sweeps_and_flow_with_motion_from_the_bag(drive_bag: Path, tmp_path: Path) -> None:
    for motion in ("odometry", "tf"):
        values = {
            "detection": {"sweeps": 3, "motion": motion},
            "flow": {"model": "nearest", "motion": motion},
        }
        told = run_bag(drive_bag, tmp_path / motion, values)
        assert (told.clouds, told.results, told.refused) == (3, 5, {})
    first, second = (everything(tmp_path / motion) for motion in ("odometry", "tf"))
    assert [entry[:2] for entry in first] == [entry[:2] for entry in second]
    flows = [
        [cloud_of(m, wanted=["flow_x"]) for topic, _, m in one if topic == "/flow/flow"] for one in (first, second)
    ]
    for a, b in zip(*flows):
        assert np.allclose(a.fields["flow_x"], b.fields["flow_x"], atol=1e-6)


def test_bad_clouds_cost_only_themselves(messages: BagMessages, tmp_path: Path) -> None:
    cloud = perception.read_points(SAMPLE)
    with BagWriter(tmp_path / "in", messages) as writer:
        for number in range(4):
            stamp = STAMP + number * 10**8
            made = cloud_message(messages, header(messages, stamp, "lidar"), cloud)
            if number == 1:
                made.data = made.data[:100]
            if number == 2:
                made.fields = made.fields[1:]
            writer.write("/points", CLOUD, stamp, made)
        empty = PointCloud(np.zeros((0, 3), np.float32))
        writer.write("/points", CLOUD, STAMP + 10**9, cloud_message(messages, header(messages, STAMP, "lidar"), empty))
    told = run_bag(tmp_path / "in", tmp_path / "out", {"detection": {}})
    assert (told.clouds, told.results, sum(told.refused.values())) == (5, 3, 2)
    assert told.clock_jumps == 0
    assert any("bytes of data" in reason for reason in told.refused)


def test_frames_that_tf_does_not_know(messages: BagMessages, tmp_path: Path) -> None:
    bag = sample_bag(tmp_path / "in", messages, 2)
    told = run_bag(bag, tmp_path / "out", {"detection": {"output_frame": "base"}})
    assert told.results == 0
    assert "unknown to tf" in next(iter(told.refused))


def test_what_cannot_be_run(messages: BagMessages, tmp_path: Path, drive_bag: Path) -> None:
    bag = sample_bag(tmp_path / "in", messages, 1)
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in bag.iterdir():
        data = path.read_bytes()
        (cut / path.name).write_bytes(data if path.suffix == ".yaml" else data[: len(data) // 2])
    attempts: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
        (tmp_path / "nothing", {"detection": {}}, {}),
        (cut, {"detection": {}}, {}),
        (bag, {"detection": {"model": "/nowhere.safetensors"}}, {}),
        (bag, {"detection": {"modle": "x"}}, {}),
        (bag, {"detection": {"motion": "tf"}}, {}),
        (bag, {"detection": {"motion": "odometry"}}, {}),
        (bag, {"detection": {}}, {"topic": "/points"}),
        (drive_bag, {"detection": {}}, {"odometry": "/odom"}),
        (bag, {}, {}),
        (bag, {"detection": {}}, {"storage": "zip"}),
    ]
    for number, (path, values, options) in enumerate(attempts):
        out = tmp_path / f"out{number}"
        with pytest.raises(PerceptionError):
            run_bag(path, out, values, **options)
        assert not out.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "in"]
