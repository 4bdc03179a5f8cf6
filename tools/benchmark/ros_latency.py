#!/usr/bin/env python3
"""What a node adds to its model: from the publisher's stamp to the subscriber's receipt, cloud by cloud; and CPU use.

Three processes, as on a robot: the player, the detection node, and this one as the subscriber. Needs an environment
with rclpy (`make test-ros` makes one):

    .venv-ros/bin/python tools/benchmark/ros_latency.py --out runs/ros_latency.json

``added`` is receipt minus stamp minus the time that the model took for the same cloud, from points to results. What a
cloud waited because the model was still busy with the one before is told apart: a faster model, not a faster node,
would save it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "ros_nodes"), str(Path(__file__).resolve().parent)]

from common import write_figures  # noqa: E402

SAMPLE = str(files("perception") / "samples" / "street_000.bin")
TICKS = os.sysconf("SC_CLK_TCK")
SETTLE = 3.0  # seconds that are not measured after a change


def scan_of(path: str, points: int, folder: Path) -> Path:
    """A KITTI file of that many points: those of a real scan, repeated with noise of a centimetre if need be."""
    import perception

    cloud = perception.read_points(path)
    generator = np.random.default_rng(0)
    rows = np.arange(points) % len(cloud)
    noise = generator.normal(0, 0.01, (points, 3)) * (np.arange(points) >= len(cloud))[:, None]
    intensity = cloud.fields["intensity"] if "intensity" in cloud.fields else np.zeros(len(cloud))
    values = np.c_[cloud.xyz[rows] + noise, intensity[rows]].astype(np.float32)
    made = folder / "cloud.bin"
    values.tofile(made)
    return made


def near_model(name: str, folder: Path) -> str:
    """The same weights on half the range, a quarter of the map: a model that keeps up on a machine that is busy."""
    from dataclasses import replace

    import perception
    from perception.io.weights import Card, save_weights
    from perception.models.catalogue import entry

    model = perception.load(name)
    x0, y0, z0, x1, y1, z1 = model.config.point_range
    config = replace(model.config, point_range=(x0, y0 / 2, z0, x1 / 2, y1 / 2, z1))
    smaller = entry(name).make(config)
    smaller.load_state_dict(model.state_dict())
    save_weights(folder / "near.safetensors", name, smaller.eval(), Card())
    return str(folder / "near.safetensors")


def run_node(out: str, arguments: list[str]) -> int:
    """The detection node, writing for each stamp when the cloud came, the model began and ended, the result left."""
    import rclpy
    from perception_ros.nodes.base import PerceptionNode
    from perception_ros.nodes.main import spin
    from perception_ros.tasks.runner import Runner

    rows: list[list[int]] = []

    class Timed(PerceptionNode):
        def _work(self, message: Any, received: float) -> None:
            began = time.monotonic()
            super()._work(message, received)
            offset, stamp = time.time() - time.monotonic(), message.header.stamp
            times = [received, began, *Timed.model, time.monotonic()]
            rows.append([stamp.sec * 10**9 + stamp.nanosec, *(round((t + offset) * 1e9) for t in times)])

        model: tuple[float, float] = (0.0, 0.0)

    plain = Runner.process

    def process(self: Runner, *given: Any) -> Any:
        start = time.monotonic()
        found = plain(self, *given)
        Timed.model = (start, time.monotonic())
        return found

    Runner.process = process  # type: ignore[method-assign]
    sys.argv = ["node", *arguments]
    code = spin(lambda: Timed("detection"))
    Path(out).write_text(json.dumps(rows))
    assert not rclpy.ok()
    return code


class Subscriber:
    """Receives markers and notes when."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.node import Node
        from visualization_msgs.msg import MarkerArray

        self.rclpy, self.node, self.kind = rclpy, Node("latency"), MarkerArray
        self.received: dict[int, int] = {}
        self.subscription: Any = None

    def listen(self) -> None:
        self.subscription = self.node.create_subscription(self.kind, "/detection/markers", self._hear, 10)

    def _hear(self, message: Any) -> None:
        now = time.time_ns()
        stamp = message.markers[0].header.stamp
        self.received[stamp.sec * 10**9 + stamp.nanosec] = now

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.rclpy.spin_once(self.node, timeout_sec=0.05)


def cpu_share(pid: int, since: tuple[float, float] | None = None) -> tuple[float, float]:
    """Seconds on the clock and on the processor; with ``since`` the share of one core between."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return time.monotonic(), (int(fields[11]) + int(fields[12])) / TICKS


def share(first: tuple[float, float], second: tuple[float, float]) -> float:
    return (second[1] - first[1]) / (second[0] - first[0])


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All phases: silent, clouds that nobody asks about, active."""
    import rclpy

    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(ROOT / "ros_nodes/fastdds/profiles.xml"))
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "ros_nodes"), "OMP_NUM_THREADS": str(options.threads)}
    cloud, rows = scan_of(options.scan, options.points, folder), folder / "rows.json"
    parameters = ("autostart:=true", f"threads:={options.threads}", f"model:={options.model}")
    given = [word for one in parameters for word in ("-p", one)]
    node = subprocess.Popen([sys.executable, __file__, "--node", str(rows), "--ros-args", *given], env=environment)
    rclpy.init()
    subscriber, cpu = Subscriber(), {}
    subscriber.spin(options.start)
    first = cpu_share(node.pid)
    subscriber.spin(options.idle)
    cpu["silent"] = share(first, cpu_share(node.pid))
    count = round((options.idle + SETTLE * 3 + options.seconds) * options.rate)
    command = [sys.executable, "-m", "perception_ros.nodes.player", str(cloud)]
    player = subprocess.Popen([*command, "--rate", str(options.rate), "--count", str(count)], env=environment)
    subscriber.spin(options.start / 2 + SETTLE)
    first = cpu_share(node.pid)
    subscriber.spin(options.idle)
    cpu["clouds nobody asks about"] = share(first, cpu_share(node.pid))
    subscriber.listen()
    subscriber.spin(SETTLE)
    begin = time.time_ns()
    first = cpu_share(node.pid)
    subscriber.spin(options.seconds)
    cpu["active"] = share(first, cpu_share(node.pid))
    end = time.time_ns()
    player.send_signal(signal.SIGINT)
    player.wait()
    subscriber.spin(0.5)
    node.send_signal(signal.SIGINT)
    node.wait(60)
    chosen = [row for row in json.loads(rows.read_text()) if begin <= row[0] <= end and row[0] in subscriber.received]
    sent = round((end - begin) / 1e9 * options.rate)
    return {"cpu": cpu, "sent": sent, **latencies(np.array(chosen, np.int64), subscriber.received)}


def latencies(rows: np.ndarray, received: dict[int, int]) -> dict[str, Any]:
    """Milliseconds by part. Columns of ``rows``: stamp, arrival, begin, model begin and end, sent, in ns."""
    if not len(rows):
        raise SystemExit("no result was received")
    stamp, arrival, begin, start, end, sent = rows.T / 1e6
    receipt = np.array([received[int(s)] for s in rows[:, 0]]) / 1e6
    model = end - start
    # A cloud that arrived while the one before it was computed waited for it.
    waited = np.zeros(len(rows))
    waited[1:] = np.clip(sent[:-1] - arrival[1:], 0, None) * (np.diff(arrival) < 2000)
    parts = {
        "total": receipt - stamp,
        "model": model,
        "added": receipt - stamp - model,
        "waited for the cloud before": waited,
        "added without that": receipt - stamp - model - waited,
        "on the way in": arrival - stamp,
        "read: message to cloud": start - begin,
        "build and publish": sent - end,
        "on the way out": receipt - sent,
    }
    return {"results": len(rows), "milliseconds": {name: percentiles(values) for name, values in parts.items()}}


def percentiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 95, 99)}


def bare(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """The model alone on the same cloud, in this process, before anything else runs."""
    import torch

    import perception

    torch.set_num_threads(options.threads)
    cloud, model = perception.read_points(scan_of(options.scan, options.points, folder)), perception.load(options.model)
    times = []
    for _ in range(options.repeats + 3):
        start = time.perf_counter()
        perception.perceive(model, [cloud])
        times.append(time.perf_counter() - start)
    return percentiles(np.array(times[3:]) * 1e3)


def main() -> int:
    if sys.argv[1:2] == ["--node"]:
        return run_node(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=120_000)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the active phase")
    parser.add_argument("--idle", type=float, default=5.0, help="seconds of each idle phase")
    parser.add_argument("--start", type=float, default=10.0, help="seconds for the node to come up")
    parser.add_argument("--repeats", type=int, default=30, help="of the model alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="pointpillars-small")
    parser.add_argument("--near", action="store_true", help="half the model's range, for machines that are busy")
    parser.add_argument("--scan", default=SAMPLE, help="whose points are published")
    parser.add_argument("--out", type=Path, help="JSON of the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.model = near_model(options.model, folder) if options.near else options.model
        alone = bare(options, folder)
        found = measure(options, folder)
    found["milliseconds"] = {"model alone, before": alone, **found["milliseconds"]}
    table = Table("milliseconds", "p50", "p95", "p99")
    for name, values in found["milliseconds"].items():
        table.add_row(name, *(f"{value:.1f}" for value in values.values()))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{found['results']} results of {found['sent']} clouds sent")
    console.print("processor: " + ", ".join(f"{name} {value:.1%} of a core" for name, value in found["cpu"].items()))
    if options.out:
        settings = {k: v for k, v in vars(options).items() if k != "out"}
        write_figures(options.out, {"settings": settings, "load": os.getloadavg(), **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
