"""Run by test_vision_msgs where vision_msgs and tf2_msgs are: the node's Detection3DArray, through rclpy."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped
from harness import Observer, node_process
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

import perception

SAMPLE = Path(str(files("perception") / "samples" / "street_000.bin"))


def main() -> int:
    folder = Path(sys.argv[1])
    rclpy.init()
    (expected,) = perception.perceive(perception.load("pointpillars-small"), [perception.read_points(SAMPLE)])
    process = node_process(folder, "v", "detection", "autostart:=true", "output_frame:=base", "diagnostics_period:=0.2")
    observer, heard = Observer("v", markers=None), []
    observer.node.create_subscription(Detection3DArray, "/v/detection/detections", heard.append, 10)
    try:
        observer.wait(lambda: observer.diagnostics and observer.values(), 90, "an active node", process)
        observer.publish(SAMPLE, "v", 0.3)
        refused = "refused clouds"
        observer.wait(lambda: int(observer.values().get(refused, 0)), 30, "a refusal without the frame", process)
        assert not heard
        assert "unknown to tf" in process.log
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        transform = TransformStamped()
        transform.header.frame_id, transform.child_frame_id = "base", "top_lidar"
        transform.transform.translation.z = 1.5
        observer.node.create_publisher(TFMessage, "/tf_static", latched).publish(TFMessage(transforms=[transform]))
        observer.wait(lambda: heard, 30, "detections", process)
        found = heard[-1]
        assert found.header.frame_id == "base"
        assert len(found.detections) == len(expected) > 0
        for one, name, score, box in zip(
            found.detections, expected.names, expected.scores.tolist(), expected.boxes.values.double().numpy()
        ):
            place, size = one.bbox.center.position, one.bbox.size
            assert np.allclose([place.x, place.y, place.z - 1.5, size.x, size.y, size.z], box[:6], atol=1e-6)
            assert one.results[0].hypothesis.class_id == name
            assert np.isclose(one.results[0].hypothesis.score, score)
        print(f"{len(found.detections)} detections as the library finds them")
    finally:
        observer.close()
        code = process.stop()
    rclpy.try_shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())
