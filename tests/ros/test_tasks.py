"""What nodes do with clouds, with rosbags' messages in place of rclpy's."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from perception_ros.conversion.boxes_out import detections_message
from perception_ros.conversion.cloud_in import CloudOptions, cloud_of
from perception_ros.conversion.cloud_out import cloud_message
from perception_ros.conversion.markers_out import CUBE, DELETE_ALL, box_markers, skeleton_markers
from perception_ros.conversion.placement import Placement, header
from perception_ros.core.frames import FrameTree
from perception_ros.core.settings import FOLDER, Settings, parameters_of
from perception_ros.core.shared_voxels import VoxelCache, voxel_groups
from perception_ros.tasks.box_task import random_cloud
from perception_ros.tasks.catalogue import TASKS, make_task
from perception_ros.tasks.detection import DetectionTask
from perception_ros.tasks.keypoints import joints_cloud
from perception_ros.tasks.runner import Runner, Target
from perception_ros.tasks.task import Scan, cloud_options
from ros_clouds import STAMP
from scipy.spatial.transform import Rotation

import perception
from perception.boxes import Boxes3D
from perception.datasets.kitti.raw import KittiRawDrive
from perception.errors import PerceptionError
from perception.io.weights import Card, save_weights
from perception.keypoints import WAYMO_SKELETON
from perception.models.catalogue import entry
from perception.models.second import SECOND, SECONDConfig
from perception.models.voxelkp import VoxelKP, VoxelKPConfig
from perception.points import PointCloud
from perception.results import Detections, Skeletons

pytest.importorskip("rosbags")
from perception_ros.bags.messages import BagMessages

SAMPLE = Path(str(files("perception") / "samples" / "street_000.bin"))


@pytest.fixture(scope="module")
def messages() -> BagMessages:
    return BagMessages()


@pytest.fixture(scope="module")
def sample() -> PointCloud:
    return perception.read_points(SAMPLE)


def there_and_back(messages: BagMessages, made: Any, name: str) -> Any:
    """Through CDR, as the wire and bags have it."""
    return messages.store.deserialize_cdr(messages.store.serialize_cdr(made, name), name)


def boxes(number: int = 5, velocity: bool = False) -> Detections:
    values = torch.rand(number, 7) * torch.tensor([60, 40, 2, 4, 2, 2, 6.0])
    return Detections(
        Boxes3D(values, torch.rand(number, 2) if velocity else None),
        torch.linspace(0.9, 0.2, number),
        torch.arange(number) % 2,
        ("Car", "Pedestrian"),
    )


def test_clouds_there_and_back(messages: BagMessages, sample: PointCloud) -> None:
    made = cloud_message(messages, header(messages, STAMP, "lidar"), sample)
    read = cloud_of(there_and_back(messages, made, "sensor_msgs/msg/PointCloud2"))
    assert np.array_equal(read.xyz, sample.xyz)
    assert np.array_equal(read.fields["intensity"], sample.fields["intensity"])
    assert read.stamp == pytest.approx(STAMP / 1e9)
    assert made.point_step == 16


def test_every_type_of_field_goes_out(messages: BagMessages) -> None:
    kinds = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "?", "f2", "i8", "u8", ">f4")
    fields = {f"f{i}": np.array([0, 1, 1], kind) for i, kind in enumerate(kinds)}
    fields["many"] = np.arange(6, dtype=np.float32).reshape(3, 2)
    cloud = PointCloud(np.ones((3, 3), np.float32), fields, origin=np.array([5e5, 5e6, 0]))
    made = cloud_message(messages, header(messages, STAMP, "map"), cloud)
    read = cloud_of(there_and_back(messages, made, "sensor_msgs/msg/PointCloud2"), wanted=list(fields))
    assert np.array_equal(read.world(), cloud.world())
    for name, values in fields.items():
        assert np.array_equal(read.fields[name], values.astype(read.fields[name].dtype)), name
    empty = cloud_message(messages, header(messages, STAMP, "map"), PointCloud(np.zeros((0, 3), np.float32)))
    assert len(cloud_of(there_and_back(messages, empty, "sensor_msgs/msg/PointCloud2"))) == 0
    with pytest.raises(PerceptionError):
        cloud_message(messages, empty.header, cloud, {"bad": np.array(["a", "b", "c"])})


@pytest.mark.parametrize("moved", [False, True])
def test_boxes_as_detections_and_markers(messages: BagMessages, moved: bool) -> None:
    found, pose = boxes(velocity=True), None
    if moved:
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("zyx", [0.5, 0.1, -0.2]).as_matrix()
        pose[:3, 3] = 10, -5, 2
    place = Placement(header(messages, STAMP, "map" if moved else "lidar"), pose)
    listed = there_and_back(messages, detections_message(messages, found, place), "vision_msgs/msg/Detection3DArray")
    shown = there_and_back(messages, box_markers(messages, found, place), "visualization_msgs/msg/MarkerArray")
    assert shown.markers[0].action == DELETE_ALL
    cubes = [m for m in shown.markers if m.type == CUBE and m.action == 0]
    assert len(listed.detections) == len(cubes) == 5
    assert len({(m.ns, m.id) for m in shown.markers}) == len(shown.markers)
    frame = np.eye(4) if pose is None else pose
    for row, (one, cube) in enumerate(zip(listed.detections, cubes)):
        values = found.boxes.values[row].double().numpy()
        centre = frame[:3, :3] @ values[:3] + frame[:3, 3]
        turned = frame[:3, :3] @ Rotation.from_euler("z", values[6]).as_matrix()
        for where in (one.bbox.center, cube.pose, one.results[0].pose.pose):
            assert np.allclose([where.position.x, where.position.y, where.position.z], centre)
            q = where.orientation
            assert np.allclose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), turned)
        assert (one.bbox.size.x, one.bbox.size.y, one.bbox.size.z) == tuple(values[3:6])
        assert one.results[0].hypothesis.class_id == cube.ns == found.names[row]
        assert one.results[0].hypothesis.score == pytest.approx(float(found.scores[row]))
        assert one.header.frame_id == ("map" if moved else "lidar")
        assert one.header.stamp.sec * 10**9 + one.header.stamp.nanosec == STAMP
    nothing = box_markers(messages, boxes(0), place)
    assert len(nothing.markers) == 1  # the old ones still go
    assert detections_message(messages, boxes(0), place).detections == []


def test_skeletons(messages: BagMessages) -> None:
    joints = len(WAYMO_SKELETON.joints)
    points = torch.rand(3, joints, 3)
    points[1, 4] = torch.nan
    people = Skeletons(
        boxes(3).boxes, torch.rand(3), points, torch.rand(3, joints), WAYMO_SKELETON.joints, bones=WAYMO_SKELETON.bones
    )
    place = Placement(header(messages, STAMP, "lidar"))
    shown = there_and_back(messages, skeleton_markers(messages, people, place), "visualization_msgs/msg/MarkerArray")
    assert [m.ns for m in shown.markers[1:]] == ["bones", "joints"] * 3
    assert len(shown.markers[1].points) == 2 * len(WAYMO_SKELETON.bones)
    assert len(shown.markers[4].points) == len(shown.markers[4].colors) == joints - 1
    cloud = joints_cloud(people)
    assert len(cloud) == 3 * joints
    assert np.array_equal(cloud.fields["person"], np.repeat([0, 1, 2], joints))
    assert len(joints_cloud(people.select(torch.zeros(3, dtype=torch.bool)))) == 0


@pytest.fixture(scope="module")
def detection() -> DetectionTask:
    return DetectionTask(Settings("detection"))


def test_detection_equals_the_library(messages: BagMessages, sample: PointCloud, detection: DetectionTask) -> None:
    runner = Runner([detection], cloud_options(detection.settings))
    runner.warm()
    message = cloud_message(messages, header(messages, STAMP, "lidar"), sample)
    answers = runner.process(runner.read(message), ["detection"])
    (expected,) = perception.perceive(detection.model, [sample])
    found = answers["detection"].result
    assert torch.equal(found.boxes.values, expected.boxes.values)
    assert torch.equal(found.scores, expected.scores)
    built = runner.build(messages, answers, {"detection": ["detections", "markers"]})
    assert len(built["detection", "detections"].detections) == len(expected)
    assert built["detection", "markers"].markers[0].header is message.header
    assert runner.build(messages, answers, {"detection": []}) == {}
    assert runner.process(runner.read(message), []) == {}


def test_results_in_another_frame(messages: BagMessages, sample: PointCloud, detection: DetectionTask) -> None:
    frames = FrameTree()
    runner = Runner([detection], CloudOptions(), frames, Target("base"))
    message = cloud_message(messages, header(messages, STAMP, "lidar"), sample)
    answers = runner.process(runner.read(message), ["detection"])
    topics = {"detection": ["detections"]}
    with pytest.raises(PerceptionError, match="unknown to tf"):
        runner.build(messages, answers, topics)
    mounted = np.eye(4)
    mounted[2, 3] = 1.7
    frames.add("base", "lidar", 0, mounted, fixed=True)
    made = runner.build(messages, answers, topics)["detection", "detections"]
    assert made.header.frame_id == "base"
    expected = answers["detection"].result.boxes.values[:, 2].double() + 1.7
    assert np.allclose([one.bbox.center.position.z for one in made.detections], expected)


def test_a_model_that_reads_intensities_refuses_clouds_without(tmp_path: Path) -> None:
    task = _random_task(tmp_path, "pointpillars")
    bare = PointCloud(np.random.default_rng(0).uniform(0, 30, (100, 3)).astype(np.float32))
    with pytest.raises(PerceptionError, match="intensity"):
        task.process(Scan(bare, 0, None), VoxelCache())


def _random_task(tmp_path: Path, name: str, **values: Any) -> DetectionTask:
    path, known = tmp_path / f"{name}.safetensors", entry(name)
    save_weights(path, name, known.make(known.defaults).eval(), Card())
    return DetectionTask(Settings("detection", {"model": str(path), **values}))


def test_heads_that_voxelise_alike_share_voxels(detection: DetectionTask, sample: PointCloud) -> None:
    twin = DetectionTask(Settings("detection"))
    other = DetectionTask(Settings("detection"))
    assert voxel_groups([detection.model, twin.model]) == [0, 0]
    runner = Runner([detection, twin], CloudOptions())
    scan = Scan(sample, STAMP, None)
    first = detection.process(scan, VoxelCache()).result
    cache = VoxelCache()
    for task in (detection, twin):
        assert torch.equal(task.process(scan, cache).result.boxes.values, first.boxes.values)
    assert cache.made == 1
    assert runner.tasks == (detection, twin)
    other.model.config = replace(other.model.config, voxel_size=(0.4, 0.4, 4.0))
    assert voxel_groups([detection.model, other.model]) == [0, 1]


@pytest.mark.parametrize("lower", [0.0, 0.2, 1.2])
def test_another_mount_does_not_blind_the_model(sample: PointCloud, lower: float) -> None:
    """The ground of the first clouds tells where the sensor is; heads that are lifted alike still share voxels."""
    moved = sample.with_xyz(sample.xyz + np.array([0, 0, lower], np.float32))
    still, task = DetectionTask(Settings("detection", {"height": "keep"})), DetectionTask(Settings("detection"))
    there = still.process(Scan(sample, STAMP, None), VoxelCache()).result
    cache = VoxelCache()
    twin = DetectionTask(Settings("detection"))
    for number in range(5):
        here = task.process(Scan(moved, STAMP + number, None), cache if number == 0 else VoxelCache()).result
    assert len(task.levels) == 3
    twin.process(Scan(moved, STAMP, None), cache)
    assert cache.made == 1
    lifted = float(task.facts["clouds moved up, metres"])
    assert (lifted != 0) == (lower > 1)
    if lower != 0.2:
        good = there.scores > 0.3
        best = torch.cdist(here.boxes.centre, there.boxes.centre[good] + torch.tensor([0, 0, lower])).amin(0)
        assert (best < 0.3).all()
    assert len(here)


def test_different_kinds_of_models_share_where_they_agree() -> None:
    settings = {
        "point_range": (0.0, -8.0, -3.0, 16.0, 8.0, 1.0),
        "voxel_size": (0.1, 0.1, 0.1),
        "point_fields": ("intensity",),
    }
    first = SECOND(SECONDConfig(**settings, max_points=5, max_voxels=(100, 100))).eval()
    second = VoxelKP(VoxelKPConfig(**settings, max_points=5, max_voxels=(100, 100))).eval()
    third = VoxelKP(VoxelKPConfig(**settings, max_points=3, max_voxels=(100, 100))).eval()
    assert voxel_groups([first, second, third]) == [0, 0, 2]
    assert len(random_cloud(first, 10)) == 10


@pytest.mark.parametrize("name", ["model.safetensors", "no-such-model", "voxelkp-small", "second"])
def test_models_that_cannot_be_loaded(name: str) -> None:
    with pytest.raises(PerceptionError):
        make_task("detection", Settings("detection", {"model": name}))


def test_several_sweeps(messages: BagMessages, sample: PointCloud) -> None:
    task = DetectionTask(Settings("detection", {"sweeps": 3}))
    runner = Runner([task], CloudOptions())
    for number in range(4):
        message = cloud_message(messages, header(messages, STAMP + number * 10**8, "lidar"), sample)
        runner.process(runner.read(message), ["detection"])
    assert len(task.ring._sweeps) == 3
    runner.read(cloud_message(messages, header(messages, STAMP - 10**10, "lidar"), sample))
    assert runner.clock.jumps == 1
    assert len(task.ring._sweeps) == 0


@pytest.fixture(scope="module")
def drive(shared_data: Path) -> KittiRawDrive:
    return KittiRawDrive(shared_data / "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync", camera_view=False)


@pytest.fixture
def scans(drive: KittiRawDrive, messages: BagMessages) -> list[Any]:
    return [
        cloud_message(messages, header(messages, round(drive.stamp(i) * 1e9), "lidar"), drive.cloud(i))
        for i in range(3)
    ]


def test_flow_of_real_scans(messages: BagMessages, scans: list[Any], drive: KittiRawDrive) -> None:
    """With the motion that the scans tell; flow is of the scan before, and has its header."""
    task = make_task("flow", Settings("flow", {"model": "nearest"}))
    runner = Runner([task], CloudOptions())
    assert runner.process(runner.read(scans[0]), ["flow"]) == {}
    answers = runner.process(runner.read(scans[1]), ["flow"])
    made = runner.build(messages, answers, {"flow": ["flow"]})["flow", "flow"]
    assert made.header == scans[0].header
    read = cloud_of(made, wanted=["flow_x", "flow_y", "flow_z", "moving"])
    assert len(read) == len(drive.cloud(0))
    step = float(task.facts["sensor moved (m)"])
    true = np.linalg.norm((np.linalg.inv(drive.pose(1)) @ drive.pose(0))[:3, 3])
    assert step == pytest.approx(true, abs=0.1)
    still = ~read.fields["moving"].astype(bool)
    assert np.median(read.fields["flow_x"][still]) == pytest.approx(-true, abs=0.15)
    late = scans[2]
    late.header.stamp.sec += 5
    assert runner.process(runner.read(late), ["flow"]) == {}  # too long a gap for a pair


def test_places_along_a_drive(messages: BagMessages, scans: list[Any], tmp_path: Path) -> None:
    class Forward:
        def pose(self, frame: str, stamp: int) -> np.ndarray:
            made = np.eye(4)
            made[0, 3] = (stamp - 1.3169e18) / 1e9 * 100
            return made

        def reset(self) -> None: ...

    saved = tmp_path / "map.safetensors"
    values = {"extend": True, "save_map": str(saved), "recent": 0.0, "spacing": 1.0}
    task = make_task("places", Settings("places", values), Forward())
    runner = Runner([task], CloudOptions())
    runner.warm()
    found = [runner.process(runner.read(scan), ["places"])["places"] for scan in scans]
    assert [len(answer.result) for answer in found] == [0, 1, 2]
    runner.close()
    known = make_task("places", Settings("places", {"map": str(saved), "recent": -0.0}))
    runner = Runner([known], CloudOptions())
    scans[1].header.stamp.sec += 5
    answers = runner.process(runner.read(scans[1]), ["places"])
    best = answers["places"].result[0]
    assert (best.number, round(best.distance, 4)) == (1, 0.0)
    built = runner.build(messages, answers, {"places": ["pose", "markers"]})
    assert built["places", "pose"].header.frame_id == "map"
    assert built["places", "pose"].pose.position.x == pytest.approx(best.pose[0, 3])
    with pytest.raises(PerceptionError, match="points"):
        known.process(Scan(PointCloud(np.zeros((0, 3), np.float32)), 0, None), VoxelCache())


def test_trees_of_a_real_plot(messages: BagMessages, shared_data: Path) -> None:
    cloud = perception.read_points(shared_data / "trees/MixedConifer.laz")
    cloud = cloud.select(np.abs(cloud.xyz[:, :2] - cloud.xyz[:, :2].mean(0)).max(1) < 15)
    task = make_task("trees", Settings("trees", {"thinning": 0.5}))
    runner = Runner([task], CloudOptions())
    answers = runner.process(runner.read(cloud_message(messages, header(messages, STAMP, "map"), cloud)), ["trees"])
    built = runner.build(messages, answers, {"trees": ["trees", "markers"]})
    read = cloud_of(built["trees", "trees"], wanted=["tree_id", "semantic"])
    trees = int(read.fields["tree_id"].max())
    assert trees > 3
    assert len(built["trees", "markers"].markers) == 1 + 2 * len(
        np.unique(read.fields["tree_id"][read.fields["tree_id"] > 0])
    )
    assert np.allclose(read.world(), cloud.world(), atol=1e-3)
    empty = PointCloud(np.zeros((0, 3), np.float32))
    for name in ("detection", "flow", "trees"):
        assert name in TASKS
    answer = task.process(Scan(empty, 0, header(messages, 0, "map")), VoxelCache())
    assert len(task.build(messages, answer, Placement(answer.scan.header), ["trees", "markers"])) == 2


@pytest.mark.parametrize("task", [*TASKS, "composed"])
def test_parameters_are_described(task: str) -> None:
    for name, parameter in parameters_of(task).items():
        assert len(parameter.description) > 15, name
        assert parameter.checked(parameter.default) == parameter.default
    assert (FOLDER / f"{task}.yaml").is_file()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", -1),
        ("threads", 2.5),
        ("threads", True),
        ("deadline", 0.0),
        ("reliability", "best"),
        ("model", 3),
        ("mounting", [1.0, 2.0]),
        ("mounting", ["a"] * 7),
        ("autostart", 1),
        ("motion", "Tf"),
        ("modle", "x"),
        ("score_threshold", float("nan")),
    ],
)
def test_parameters_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(PerceptionError):
        Settings("detection", {name: value})
    assert Settings("detection", {"deadline": 1})["deadline"] == 1.0
