"""The parts of a node that know nothing of ROS."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from perception_ros.core.clock import StampWatch
from perception_ros.core.frames import FrameTree
from perception_ros.core.health import Health, Level, Limits
from perception_ros.core.motion import FrameMotion, NoMotion, OdometryMotion
from perception_ros.core.place_map import GrowingMap
from perception_ros.core.poses import PoseBuffer, between, motion, pose_of_quaternion, quaternion_of
from perception_ros.core.slot import NewestSlot
from perception_ros.core.statistics import Window
from perception_ros.core.sweeps import SweepRing
from perception_ros.nodes.worker import Worker
from scipy.spatial.transform import Rotation

from perception.datasets.nuscenes.sweeps import Sweep, merge_sweeps
from perception.errors import PerceptionError
from perception.places.describe import make_describer
from perception.places.map_file import load_map
from perception.points import PointCloud

MS = 1_000_000


def pose(x: float = 0, y: float = 0, z: float = 0, yaw: float = 0, roll: float = 0) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("zx", [yaw, roll]).as_matrix()
    made[:3, 3] = x, y, z
    return made


def test_the_newest_is_taken_and_the_rest_counted() -> None:
    slot: NewestSlot[int] = NewestSlot()
    for number in range(5):
        slot.put(number)
    assert slot.take() == 4
    assert (slot.received, slot.dropped) == (5, 4)
    assert slot.take(timeout=0.01) is None
    slot.put(7)
    slot.close()
    assert slot.take() is None


def test_a_slot_between_threads_never_goes_back() -> None:
    slot: NewestSlot[int] = NewestSlot()
    taken = []

    def consume() -> None:
        while (item := slot.take()) is not None:
            taken.append(item)
            time.sleep(0.001)

    thread = threading.Thread(target=consume)
    thread.start()
    for number in range(300):
        slot.put(number)
        if number % 50 == 0:
            time.sleep(0.002)
    while slot.take(timeout=0) is not None:
        pass
    time.sleep(0.01)
    slot.close()
    thread.join(2)
    assert not thread.is_alive()
    assert taken == sorted(set(taken))
    assert slot.received == 300


def test_a_worker_outlives_bad_clouds_but_not_a_broken_model() -> None:
    done, told = [], []

    def work(item: str, received: float) -> None:
        if item == "bad":
            raise PerceptionError("a bad cloud")
        if item == "broken":
            raise RuntimeError("out of memory")
        done.append(item)

    def feed(*items: str) -> None:
        for item in items:
            worker.put(item)
            end = time.monotonic() + 5
            while worker.slot._item is not None and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(0.01)

    worker: Worker[str] = Worker(work, told.append)
    worker.start()
    feed("bad", "one", "broken", "broken", "two", "bad", "bad", "bad", "three")
    assert done == ["one", "two", "three"]
    assert (worker.broken, worker.failures, len(told)) == (None, 2, 6)
    feed("broken", "broken", "broken")
    assert "out of memory" in (worker.broken or "")
    assert worker.stop(5)
    assert Worker(work, told.append).stop(0.1)  # one that never started


def test_percentiles_and_rate() -> None:
    window = Window(seconds=10)
    for number in range(100):
        window.add(number * 0.1, (number + 1) / 1000)
    found = window.summary(9.9)
    assert found.number == 100
    assert found.rate == pytest.approx(10.0)
    assert found.p50 == pytest.approx(50.5)
    assert found.p99 == pytest.approx(99.01)
    assert window.summary(14.0).number == 60  # what is older than ten seconds does not count
    assert window.summary(14.0).rate < 10
    assert window.summary(100.0).number == 0
    assert np.isnan(window.summary(100.0).p50)
    window.clear()
    assert window.summary(9.9).rate == 0


def test_levels_come_after_a_sustained_time_only() -> None:
    health = Health(Limits(deadline=0.1, warn_after=1, error_after=5, silence=1), now=0)

    def state(now: float) -> Level:
        health.received(now)
        return health.status(now)[0]

    health.finished(0.1, 0.3)
    assert state(0.1) == Level.OK  # one late result is none too many
    health.finished(1.0, 0.3)
    assert state(1.2) == Level.WARN
    assert "later than 100 ms" in health.status(1.2)[1]
    health.finished(5.2, 0.3)
    assert state(5.2) == Level.ERROR
    health.finished(5.3, 0.05)
    assert state(5.3) == Level.OK
    assert health.late == 3
    health.refuse(6.0, "no x")
    assert state(6.5) == Level.OK
    assert state(7.5) == Level.WARN
    assert "no x" in health.status(7.5)[1]
    health.finished(8.0, 0.05)
    assert state(8.0) == Level.OK


def test_silence() -> None:
    health = Health(Limits(silence=1), now=0)
    assert health.status(0.5) == (Level.OK, "running")
    assert health.status(2)[0] == Level.WARN
    assert "yet" in health.status(2)[1]
    health.received(2)
    assert health.status(2.5)[0] == Level.OK
    assert health.status(6)[0] == Level.ERROR
    assert "yet" not in health.status(6)[1]


def test_stamps_that_jump() -> None:
    watch = StampWatch()
    stamps = [100.0, 100.1, 100.05, 100.2, 50.0, 50.1, 70.0, 70.1]
    jumps = [watch.jumped(int(s * 1e9)) for s in stamps]
    assert jumps == [False, False, False, False, True, False, True, False]
    assert watch.jumps == 2


def test_poses_between_and_beyond() -> None:
    buffer = PoseBuffer(keep=10, reach=0.2)
    assert buffer.at(0) is None
    for step in (3, 0, 2, 1, 4):  # in any order
        buffer.add(step * 100 * MS, pose(x=step, yaw=0.2 * step))
    assert np.allclose(buffer.at(150 * MS), pose(x=1.5, yaw=0.3))
    assert np.allclose(buffer.at(400 * MS), pose(x=4, yaw=0.8))
    assert np.allclose(buffer.at(500 * MS), pose(x=5, yaw=1.0))  # the motion goes on
    assert buffer.at(700 * MS) is None
    assert buffer.at(-1) is None
    buffer.add(20_000 * MS, pose())
    assert buffer.at(100 * MS) is None  # forgotten
    buffer.add(0, pose(x=9))  # the clock went back
    assert np.allclose(buffer.at(0), pose(x=9))
    assert buffer.at(20_000 * MS) is None


def test_quaternions_there_and_back() -> None:
    turned = pose(1, 2, 3, yaw=2.5, roll=0.4)
    made = pose_of_quaternion((1, 2, 3), tuple(quaternion_of(turned[:3, :3])), "test")
    assert np.allclose(made, turned)
    for wrong in ((0, 0, 0, 0), (1, 1, 0, 0), (np.nan, 0, 0, 1)):
        with pytest.raises(PerceptionError):
            pose_of_quaternion((0, 0, 0), wrong, "test")
    assert np.allclose(between(pose(), pose(x=2, yaw=1), 0.5), pose(x=1, yaw=0.5))


def _transforms(parent: str, child: str, stamp: int, matrix: np.ndarray) -> SimpleNamespace:
    move = SimpleNamespace(**dict(zip("xyz", matrix[:3, 3])))
    turn = SimpleNamespace(**dict(zip("xyzw", quaternion_of(matrix[:3, :3]))))
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=parent)
    one = SimpleNamespace(
        header=header, child_frame_id=child, transform=SimpleNamespace(translation=move, rotation=turn)
    )
    return SimpleNamespace(transforms=[one])


def test_frames() -> None:
    tree = FrameTree()
    mounted = pose(z=1.7, roll=0.1)
    tree.add_message(_transforms("base", "/lidar", 0, mounted), fixed=True)
    for step in range(3):
        tree.add_message(_transforms("odom", "base", step * 100 * MS, pose(x=step, yaw=0.1 * step)), fixed=False)
    expected = pose(x=0.5, yaw=0.05) @ mounted
    assert np.allclose(tree.lookup("odom", "lidar", 50 * MS), expected)
    assert np.allclose(tree.lookup("lidar", "odom", 50 * MS), np.linalg.inv(expected))
    assert np.array_equal(tree.lookup("lidar", "lidar", 0), np.eye(4))
    for frames, stamp in ((("odom", "camera"), 0), (("map", "lidar"), 0), (("odom", "lidar"), 10**12)):
        with pytest.raises(PerceptionError):
            tree.lookup(*frames, stamp)
    tree.add("world", "wall", 0, pose(), fixed=True)
    with pytest.raises(PerceptionError, match="not joined"):
        tree.lookup("wall", "lidar", 0)
    with pytest.raises(PerceptionError, match="unknown to tf"):
        FrameTree().lookup("odom", "lidar", 0)
    tree.add("lidar", "odom", 0, pose(), fixed=True)  # a loop must not hang
    with pytest.raises(PerceptionError):
        tree.lookup("wall", "lidar", 0)


def test_a_transform_that_comes_late_is_waited_for() -> None:
    tree = FrameTree()
    tree.add("odom", "lidar", 0, pose())
    later = threading.Timer(0.05, lambda: tree.add("odom", "lidar", 100 * MS, pose(x=1)))
    later.start()
    assert np.allclose(tree.lookup("odom", "lidar", 50 * MS, wait=5.0), pose(x=0.5))
    later.join()


def test_motion_from_odometry_and_tf_agrees() -> None:
    mounted, tree, source = pose(z=2, yaw=0.3), FrameTree(), OdometryMotion(pose(z=2, yaw=0.3))
    tree.add("base", "lidar", 0, mounted, fixed=True)
    for step in range(3):
        body = pose(x=step, yaw=0.1 * step)
        tree.add("odom", "base", step * 100 * MS, body)
        x, y, z, w = quaternion_of(body[:3, :3])
        placed = SimpleNamespace(
            position=SimpleNamespace(x=float(step), y=0.0, z=0.0), orientation=SimpleNamespace(x=x, y=y, z=z, w=w)
        )
        stamp = SimpleNamespace(sec=0, nanosec=step * 100 * MS)
        source.add_message(SimpleNamespace(header=SimpleNamespace(stamp=stamp), pose=SimpleNamespace(pose=placed)))
    frames = FrameMotion(tree, "odom")
    assert np.allclose(frames.pose("lidar", 120 * MS), source.pose("lidar", 120 * MS))
    assert frames.pose("camera", 0) is None
    source.reset()
    assert source.pose("lidar", 120 * MS) is None


class Drive:
    """A sensor that drives a curve."""

    def pose(self, frame: str, stamp: int) -> np.ndarray:
        seconds = stamp / 1e9
        return pose(x=12 * seconds, y=seconds**2, yaw=0.3 * seconds)

    def reset(self) -> None: ...


def test_sweeps_lie_where_they_were_seen() -> None:
    """Points that stand still in the world lie on each other, whichever sweep saw them."""
    world = np.random.default_rng(0).uniform(-30, 30, (200, 3)) + np.array([0, 0, 50])
    ring, drive = SweepRing(5, Drive()), Drive()
    for number in range(8):
        stamp = number * 50 * MS
        seen = (np.linalg.inv(drive.pose("", stamp)) @ np.c_[world, np.ones(200)].T).T[:, :3]
        cloud = PointCloud(seen.astype(np.float32), {"intensity": np.full(200, number, np.float32)})
        merged = ring.push(cloud, stamp)
    assert len(merged) == 1000
    parts = merged.xyz.reshape(5, 200, 3)
    assert np.abs(parts - parts[0]).max() < 1e-4
    assert np.allclose(merged.fields["time"].reshape(5, 200)[:, 0], [0, 0.05, 0.1, 0.15, 0.2])
    assert merged.fields["intensity"].reshape(5, 200)[:, 0].tolist() == [7, 6, 5, 4, 3]


def test_sweeps_equal_those_of_the_data_set(tmp_path: Path) -> None:
    """The same bits as the nuScenes reader merges from files."""
    generator, drive, ring = np.random.default_rng(1), Drive(), SweepRing(3, Drive(), near=1.0)
    sweeps, stamps = [], [100 * MS, 150 * MS, 200 * MS]
    for number, stamp in enumerate(stamps):
        values = generator.uniform(-20, 20, (300, 5)).astype(np.float32)
        values[:20, :2] *= 0.01
        values[:, 3:] = generator.integers(0, 30, (300, 2))
        path = tmp_path / f"{number}.pcd.bin"
        values.tofile(path)
        newest = number == 2
        move = None if newest else motion(drive.pose("", stamp), drive.pose("", stamps[-1]))
        sweeps.insert(0, Sweep(path, move, (stamps[-1] - stamp) / 1e9))
        merged = ring.push(PointCloud(values[:, :3], {"intensity": values[:, 3]}), stamp)
    theirs = merge_sweeps(sweeps, near=1.0)
    assert np.array_equal(merged.xyz, theirs.xyz)
    assert all(np.array_equal(merged.fields[name], theirs.fields[name]) for name in ("intensity", "time"))


def test_sweeps_too_old_without_motion_and_after_a_jump() -> None:
    cloud = PointCloud(np.full((10, 3), 5, np.float32), {"intensity": np.zeros(10, np.float32)})

    class Lost(Drive):
        known = True

        def pose(self, frame: str, stamp: int) -> np.ndarray | None:
            return super().pose(frame, stamp) if self.known else None

    source = Lost()
    ring = SweepRing(10, source, oldest=0.3)
    assert len(ring.push(cloud, 0)) == 10
    assert len(ring.push(cloud, 100 * MS)) == 20
    assert len(ring.push(cloud, 350 * MS)) == 20  # the first is too old
    source.known = False
    assert len(ring.push(cloud, 400 * MS)) == 10
    assert ring.unplaced == 2
    assert len(ring.push(cloud, 0)) == 10  # the clock went back
    still = SweepRing(2, NoMotion())
    still.push(cloud, 0)
    assert len(still.push(PointCloud(np.zeros((0, 3), np.float32), {"intensity": np.zeros(0, np.float32)}), 1)) == 10


def _scan(number: int) -> PointCloud:
    return PointCloud(np.random.default_rng(number).uniform(-30, 30, (800, 3)).astype(np.float32))


def test_a_map_of_places_that_grows(tmp_path: Path) -> None:
    """By Scan Context; what the node writes is a map of the library, and read back as one."""
    describe = make_describer("scan-context")
    known = GrowingMap(describe)
    vectors = describe([_scan(number) for number in range(8)])
    assert known.find(vectors[0], 3, 10**18) == []
    known.save(tmp_path / "empty.safetensors")
    assert not (tmp_path / "empty.safetensors").exists()
    for number, vector in enumerate(vectors):
        known.add(vector, pose(x=number), number * 10**9)
    found = known.find(vectors[5], 3, 10**18)
    assert [found[0].number, len(found)] == [5, 3]
    assert found[0].pose[0, 3] == 5
    assert found[0].distance < 1e-5 < found[1].distance
    assert all(match.number < 4 for match in known.find(vectors[5], 3, 4 * 10**9))  # just now is no match
    path = tmp_path / "map.safetensors"
    known.save(path)
    read = GrowingMap(describe, path)
    assert [(m.number, m.distance) for m in read.find(vectors[5], 3, -1)] == [(m.number, m.distance) for m in found]
    assert len(load_map(path)) == 8
    read.add(describe([_scan(99)])[0], pose(x=99), 0)
    assert len(read) == 9
    other = make_describer("scan-context", settings={"rings": 10})
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:300])
    for describer, name in ((other, "map"), (describe, "cut"), (describe, "none")):
        with pytest.raises(PerceptionError):
            GrowingMap(describer, tmp_path / f"{name}.safetensors")
