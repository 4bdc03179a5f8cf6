"""A node and its peers as processes of their own, and a small observer in this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from perception_ros.conversion.cloud_out import cloud_message
from perception_ros.conversion.messages import RosMessages
from perception_ros.conversion.placement import header
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from perception.io.clouds import read_points

ROOT = Path(__file__).resolve().parents[3]
NODES = ROOT / "ros_nodes"
CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
UNCONFIGURED, INACTIVE, ACTIVE = 1, 2, 3


def environment() -> dict[str, str]:
    """Of the processes: they find the package, keep to this machine and one thread, and use the shipped transport."""
    return {
        **os.environ,
        "PYTHONPATH": f"{NODES}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


class Process:
    """A module of the package, run with this interpreter; its output is in ``log``."""

    def __init__(self, folder: Path, module: str, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{module.rpartition('.')[2]}_{time.monotonic_ns()}.log"
        with open(self.path, "w") as file:
            command = [sys.executable, "-m", f"perception_ros.nodes.{module}", *arguments]
            self.child = subprocess.Popen(command, env=environment(), stdout=file, stderr=subprocess.STDOUT, cwd=folder)

    @property
    def log(self) -> str:
        return self.path.read_text()

    def stop(self, number: int = signal.SIGINT, timeout: float = 15) -> int:
        if self.child.poll() is None:
            self.child.send_signal(number)
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait(timeout)

    def memory(self) -> int:
        """Bytes that the process has in memory."""
        pages = Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def node_process(folder: Path, space: str, task: str, *parameters: str) -> Process:
    """A node in the name space ``space``; ``parameters`` are like "threads:=1"."""
    given = [word for parameter in ("threads:=1", *parameters) for word in ("-p", parameter)]
    return Process(folder, "main", task, "--ros-args", "-r", f"__ns:=/{space}", *given)


def player(folder: Path, space: str, files: Sequence[Path], rate: float, count: int = 0, *options: str) -> Process:
    arguments = [*map(str, files), "--rate", str(rate), "--count", str(count), *options]
    return Process(folder, "player", *arguments, "--ros-args", "-r", f"__ns:=/{space}")


class Observer:
    """Hears the markers and diagnostics of a node, and drives its transitions."""

    def __init__(self, space: str, task: str = "detection", markers: str | None = "markers") -> None:
        self.node = Node(f"observer_{time.monotonic_ns()}")
        self.name = f"{space}/{task}"
        self.results: list[tuple[int, Any]] = []
        self.diagnostics: list[Any] = []
        if markers:
            self.node.create_subscription(MarkerArray, f"/{self.name}/{markers}", self._on_markers, 50)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)

    def _on_markers(self, message: Any) -> None:
        self.results.append((self.node.get_clock().now().nanoseconds, message))

    def _on_diagnostics(self, message: Any) -> None:
        self.diagnostics += [status for status in message.status if status.name == self.name]

    def wait(self, condition: Callable[[], Any], timeout: float, what: str, process: Process | None = None) -> None:
        end = time.monotonic() + timeout
        while not condition():
            log = process.log if process else ""
            assert time.monotonic() < end, f"{what} did not come within {timeout} s\n{log}"
            assert process is None or process.child.poll() is None, f"the node ended\n{log}"
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def change(self, transition: int, timeout: float = 60) -> bool:
        """Ask for a transition; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self._call(ChangeState, "change_state", request, timeout).success)

    def state(self) -> int:
        return int(self._call(GetState, "get_state", GetState.Request(), 30).current_state.id)

    def _call(self, kind: Any, name: str, request: Any, timeout: float) -> Any:
        client = self.node.create_client(kind, f"/{self.name}/{name}")
        assert client.wait_for_service(timeout), f"{name} is not offered"
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self.node, future, timeout_sec=timeout)
        assert future.done(), f"{name} did not answer"
        self.node.destroy_client(client)
        return future.result()

    def values(self) -> dict[str, str]:
        """Of the newest diagnostics."""
        return {pair.key: pair.value for pair in self.diagnostics[-1].values}

    def set(self, name: str, value: str) -> str:
        """Set a parameter that is a string; the reason why not, or nothing."""
        made = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
        request = SetParameters.Request(parameters=[Parameter(name=name, value=made)])
        result = self._call(SetParameters, "set_parameters", request, 30).results[0]
        return "" if result.successful else str(result.reason)

    def publish(self, path: Path, space: str, period: float = 0.2) -> None:
        """Publish a cloud file while this observer spins, for tests that need no peer of their own."""
        messages = RosMessages()
        message = cloud_message(messages, header(messages, 0, "top_lidar"), read_points(path))
        publisher = self.node.create_publisher(PointCloud2, f"/{space}/points", qos_profile_sensor_data)

        def send() -> None:
            message.header.stamp = self.node.get_clock().now().to_msg()
            publisher.publish(message)

        self.node.create_timer(period, send)

    def close(self) -> None:
        self.node.destroy_node()


def stamp_of(message: Any) -> int:
    stamp = message.markers[0].header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)
