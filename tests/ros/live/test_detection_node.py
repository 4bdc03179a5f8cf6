"""The detection node as a process, beside peers that publish clouds."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is in the environment that `make test-ros` makes")

from harness import (
    ACTIVATE,
    ACTIVE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    INACTIVE,
    UNCONFIGURED,
    Observer,
    Process,
    node_process,
    player,
    stamp_of,
)
from perception_ros.conversion.markers_out import CUBE
from rcl_interfaces.srv import DescribeParameters

from perception.cli import main

SAMPLE = Path(str(files("perception") / "samples" / "street_000.bin"))
MODEL = "pointpillars-small"  # the node's default; the command line's own is better and slower


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ros")


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[Process]:
    """One node for all tests that leave it active."""
    process = node_process(folder, "a", "detection", "autostart:=true", "diagnostics_period:=0.2", "deadline:=2.0")
    yield process
    process.stop()
    assert "Traceback" not in process.log


@pytest.fixture(scope="module", autouse=True)
def spare(folder: Path) -> Iterator[Process]:
    """Another node, left to its lifecycle; it starts while the first one is at work."""
    process = node_process(folder, "b", "detection", "diagnostics_period:=0.2")
    yield process
    assert process.stop() == 0, process.log
    assert "Traceback" not in process.log


@pytest.fixture
def manager() -> Iterator[Observer]:
    made = Observer("b")
    yield made
    made.close()


@pytest.fixture
def observer(node: Process) -> Iterator[Observer]:
    made = Observer("a")
    made.wait(lambda: made.diagnostics and made.diagnostics[-1].message != "not active", 60, "an active node", node)
    yield made
    made.close()


def test_results_equal_the_command_line_s(node: Process, observer: Observer, folder: Path) -> None:
    """The shipped weights on the bundled scan; the same numbers, stamps and frames."""
    assert main(["detect", str(SAMPLE), "--model", MODEL, "--out", str(folder / "cli")]) == 0
    expected = json.loads((folder / "cli" / "street_000.json").read_text())["detections"]
    observer.publish(SAMPLE, "a")
    observer.wait(lambda: observer.results, 30, "a result", node)
    received, message = observer.results[-1]
    cubes = [marker for marker in message.markers if marker.type == CUBE and marker.action == 0]
    assert len(cubes) == len(expected) > 0
    for cube, one in zip(cubes, expected):
        place, turn = cube.pose.position, cube.pose.orientation
        assert np.allclose([place.x, place.y, place.z], one["centre"], atol=1e-3)
        assert np.allclose([cube.scale.x, cube.scale.y, cube.scale.z], one["size"], atol=1e-3)
        heading = 2 * np.arctan2(turn.z, turn.w)
        assert np.isclose(np.cos(heading - one["heading"]), 1, atol=1e-6)
        assert cube.ns == one["class"]
        assert cube.header.frame_id == "top_lidar"
    texts = [marker.text for marker in message.markers if marker.text]
    assert texts == [f"{one['class']} {one['score']:.2f}" for one in expected]
    assert 0 < received - stamp_of(message) < 5e9


@pytest.mark.parametrize("rate", [pytest.param(10, marks=pytest.mark.slow), 20])
def test_clouds_at_a_rate(node: Process, observer: Observer, folder: Path, rate: int) -> None:
    """Every result is of a cloud that was sent, in order; what was not computed was counted as dropped."""
    observer.spin(1.0)  # what an earlier test left behind is done
    observer.results.clear()
    before = observer.values()
    count = 3 * rate
    peer = player(folder, "a", [SAMPLE], rate, count)
    # Listening all the while: the observer's own queue holds fewer than a quick machine answers.
    observer.wait(lambda: peer.child.poll() is not None, 60, "the end of the peer", node)
    assert peer.child.returncode == 0, peer.log
    observer.spin(1.5)
    after = observer.values()
    stamps = [stamp_of(message) for _, message in observer.results]
    assert stamps == sorted(set(stamps))
    received, dropped = (int(after[k]) - int(before[k]) for k in ("received clouds", "dropped clouds"))
    assert received >= 0.9 * count  # best effort
    assert len(stamps) == received - dropped
    assert float(after["latency p50 (ms)"]) <= float(after["latency p99 (ms)"])
    assert int(after["points"]) > 1000
    assert observer.diagnostics[-1].hardware_id == "cpu"


def test_the_newest_only_at_twice_what_the_node_can_do(node: Process, observer: Observer, folder: Path) -> None:
    """The age of a result is bounded by one period of the node's own pace and the time to compute."""
    compute = float(observer.values()["latency p50 (ms)"]) / 1e3
    observer.results.clear()
    peer = player(folder, "a", [SAMPLE], min(2 / compute, 100), round(5 * min(2 / compute, 100)))
    observer.wait(lambda: peer.child.poll() is not None, 60, "the end of the peer", node)
    observer.spin(0.5)
    ages = np.array([received - stamp_of(message) for received, message in observer.results]) / 1e9
    values = observer.values()
    slowest = float(values["latency p99 (ms)"]) / 1e3
    assert len(ages) >= 5
    assert int(values["dropped clouds"]) > 0
    # A cloud waits for at most the one before it; the middleware and this process come on top.
    assert np.median(ages) <= 3 * compute + 0.15
    assert ages.max() <= 2 * slowest + 0.5
    assert ages[-3:].max() <= ages[:5].max() + 2 * slowest + 0.2  # no queue grows


def test_nobody_listens(node: Process, folder: Path) -> None:
    """Clouds that nobody asked about are not computed."""
    deaf = Observer("a", markers=None)
    deaf.wait(lambda: deaf.diagnostics, 10, "diagnostics", node)
    deaf.spin(0.5)
    before = deaf.values()
    deaf.publish(SAMPLE, "a", 0.1)
    deaf.spin(1.5)
    after = deaf.values()
    assert int(after["received clouds"]) == int(before["received clouds"])
    assert int(after["clouds nobody asked about"]) > int(before["clouds nobody asked about"])
    deaf.close()


def test_silence_and_a_peer_that_is_killed_and_comes_back(node: Process, observer: Observer, folder: Path) -> None:
    peer = player(folder, "a", [SAMPLE], 10)
    observer.wait(lambda: observer.results, 30, "a result", node)
    observer.wait(lambda: observer.diagnostics[-1].level == b"\0", 10, "level OK", node)
    peer.stop(signal.SIGKILL)
    observer.wait(lambda: observer.diagnostics[-1].level == b"\1", 10, "a warning", node)
    assert "no cloud" in observer.diagnostics[-1].message
    observer.wait(lambda: observer.diagnostics[-1].level == b"\2", 10, "an error", node)
    number = len(observer.results)
    again = player(folder, "a", [SAMPLE], 10)
    observer.wait(lambda: len(observer.results) > number + 3, 30, "results after the return", node)
    observer.wait(lambda: observer.diagnostics[-1].level == b"\0", 10, "level OK", node)
    again.stop()


def test_memory_does_not_grow(node: Process, observer: Observer, folder: Path) -> None:
    """A leak grows in every round; what a young process keeps for the first time (an arena, a large page) in one."""
    rounds: list[list[int]] = []
    while len(rounds) < 3 and (not rounds or _growth(rounds[-1]) >= 8 * 2**20):
        rounds.append(_memory(node, observer, folder, seconds=6))
    assert _growth(rounds[-1]) < 8 * 2**20, [[round(s / 2**20) for s in samples] for samples in rounds]


@pytest.mark.slow
def test_memory_does_not_grow_in_ten_minutes(node: Process, observer: Observer, folder: Path) -> None:
    samples = _memory(node, observer, folder, seconds=600)
    assert _growth(samples) < 8 * 2**20, [round(s / 2**20) for s in samples]


def _growth(samples: list[int]) -> int:
    return min(samples[-5:]) - min(samples[:5])  # in between it holds a cloud or two


def _memory(node: Process, observer: Observer, folder: Path, seconds: float) -> list[int]:
    """Ten samples of the node's bytes over three quarters of ``seconds``, at 20 clouds a second."""
    peer = player(folder, "a", [SAMPLE], 20)
    observer.wait(lambda: len(observer.results) > 10, 30, "results", node)
    observer.spin(seconds / 4)
    samples = []
    for _ in range(10):
        observer.results.clear()
        observer.spin(seconds * 0.75 / 10)
        assert observer.results
        samples.append(node.memory())
    peer.stop()
    return samples


def test_a_model_that_does_not_exist(spare: Process, manager: Observer) -> None:
    """The node refuses to be configured and says why."""
    assert manager.set("model", "/nowhere/model.safetensors") == ""
    assert not manager.change(CONFIGURE)
    assert manager.state() == UNCONFIGURED
    assert "not configured: no file /nowhere/model.safetensors" in spare.log
    assert manager.set("model", MODEL) == ""


def test_parameters_are_checked_and_described(spare: Process, manager: Observer) -> None:
    request = DescribeParameters.Request(names=["score_threshold", "reliability", "threads"])
    described = manager._call(DescribeParameters, "describe_parameters", request, 30).descriptors
    assert described[0].floating_point_range[0].to_value == 1.0
    assert "best_effort" in described[1].additional_constraints
    assert described[2].integer_range[0].to_value == 256
    assert all(len(one.description) > 20 for one in described)
    assert "did you mean 'reliable'" in manager.set("reliability", "reliabel")


def test_lifecycle(spare: Process, manager: Observer) -> None:
    """All transitions, twice around; parameters are read when the node is configured."""
    assert manager.state() == UNCONFIGURED
    manager.publish(SAMPLE, "b")
    for _ in range(2):
        assert manager.change(CONFIGURE)
        assert manager.state() == INACTIVE
        manager.spin(0.5)
        assert not manager.results
        assert manager.change(ACTIVATE)
        assert manager.state() == ACTIVE
        manager.wait(lambda: manager.results, 30, "a result", spare)
        assert not manager.change(CONFIGURE)  # no such transition from here
        assert "deactivate" in manager.set("reliability", "reliable")
        assert manager.change(DEACTIVATE)
        manager.spin(0.3)
        manager.results.clear()
        manager.spin(0.5)
        assert not manager.results
        assert manager.change(CLEANUP)
        assert manager.state() == UNCONFIGURED


def test_profiles_that_do_not_fit_are_told(spare: Process, manager: Observer) -> None:
    """A node that asks for reliable clouds beside a sensor that offers best effort says so, with both profiles."""
    manager.publish(SAMPLE, "b")
    assert manager.set("reliability", "reliable") == ""
    assert manager.change(CONFIGURE)
    assert manager.change(ACTIVATE)
    manager.wait(lambda: "does not fit" in spare.log, 20, "the line in the log", spare)
    (line,) = re.findall(r".*does not fit by reliability.*", spare.log)[:1]
    assert "offers reliability best_effort" in line
    assert "asked for is reliability reliable" in line


@pytest.mark.slow
def test_a_start_that_fails(folder: Path) -> None:
    """A node that was to start by itself ends where it cannot."""
    for number, wrong in enumerate(("score_threshold:=7.5", "model:=nothing")):
        started = node_process(folder, f"c{number}", "detection", wrong, "autostart:=true")
        assert started.child.wait(60) == 1
        assert "score_threshold" in started.log or "nothing" in started.log
