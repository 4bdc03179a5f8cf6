"""Several heads in one process: detection, flow, places and trees on the same clouds."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is in the environment that `make test-ros` makes")

from geometry_msgs.msg import PoseStamped
from harness import Observer, node_process
from nav_msgs.msg import Odometry
from perception_ros.conversion.cloud_in import cloud_of
from sensor_msgs.msg import PointCloud2

from perception.io.clouds import read_points

SAMPLE = Path(str(files("perception") / "samples" / "street_000.bin"))


def test_four_heads_on_one_cloud(tmp_path: Path) -> None:
    """Each head's results come, under simulated time without a clock too; the map that grew is saved at the end."""
    parameters = (
        "autostart:=true",
        "use_sim_time:=true",
        "heads:=[detection,flow,places,trees]",
        "flow.model:=nearest",
        "flow.motion:=odometry",
        "places.extend:=true",
        "places.recent:=0.0",
        "places.spacing:=0.1",
        "places.motion:=odometry",
        f"places.save_map:={tmp_path / 'map.safetensors'}",
        "trees.thinning:=2.0",
        "diagnostics_period:=0.2",
    )
    process = node_process(tmp_path, "d", "composed", *parameters)
    observer = Observer("d", "composed", "detection/markers")
    heard: dict[str, list[object]] = {"flow": [], "trees": [], "pose": []}
    for topic, kind in (("flow/flow", PointCloud2), ("trees/trees", PointCloud2), ("places/pose", PoseStamped)):
        name = topic.rpartition("/")[2]
        observer.node.create_subscription(kind, f"/d/composed/{topic}", heard[name].append, 10)
    odometry = observer.node.create_publisher(Odometry, "/d/odometry", 10)
    start = observer.node.get_clock().now().nanoseconds

    def drive() -> None:
        now = observer.node.get_clock().now()
        message = Odometry()
        message.header.stamp = now.to_msg()
        message.pose.pose.position.x = (now.nanoseconds - start) / 1e9
        odometry.publish(message)

    observer.node.create_timer(0.02, drive)
    try:
        observer.wait(lambda: observer.diagnostics and observer.values(), 60, "an active node", process)
        observer.publish(SAMPLE, "d", 0.25)
        observer.wait(lambda: observer.results and all(heard.values()), 60, "a result of each head", process)
        observer.wait(lambda: "flow: sensor moved (m)" in observer.values(), 10, "newer diagnostics", process)
        values = observer.values()
        assert int(values["places: places in the map"]) >= 1
        assert float(values["flow: sensor moved (m)"]) > 0
        flow = cloud_of(heard["flow"][-1], wanted=["flow_x", "moving"])
        assert len(flow) == len(read_points(SAMPLE))
        assert flow.frame == "top_lidar"
        still = ~flow.fields["moving"].astype(bool)
        assert np.median(flow.fields["flow_x"][still]) < 0
        assert len(cloud_of(heard["trees"][-1])) == len(flow)
        assert heard["pose"][-1].header.frame_id == "map"
    finally:
        observer.close()
        assert process.stop() == 0, process.log
    assert "Traceback" not in process.log
    assert (tmp_path / "map.safetensors").is_file()
