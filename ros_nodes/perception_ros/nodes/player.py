"""`ros2 run perception_ros player`: recorded clouds as a sensor would publish them, for trials without one."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import PointCloud2

from perception.commands.inputs import find_inputs
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception_ros.conversion.cloud_out import cloud_message
from perception_ros.conversion.messages import RosMessages
from perception_ros.conversion.placement import header

SETTLE = 0.05


def play(node: Node, messages: list[Any], rate: float, count: int, reliable: bool, wait: float) -> int:
    """Publish on ``points`` at ``rate`` Hz, over and over up to ``count`` clouds; how many went out.

    Waits up to ``wait`` seconds for a subscriber, for discovery takes longer than a cloud.
    """
    kind = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=kind)
    publisher = node.create_publisher(PointCloud2, "points", profile)
    end = time.monotonic() + wait
    while not publisher.get_subscription_count() and time.monotonic() < end and rclpy.ok():
        time.sleep(SETTLE)
    begin, sent = time.monotonic(), 0
    while rclpy.ok() and (not count or sent < count):
        delay = begin + sent / rate - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        message = messages[sent % len(messages)]
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        sent += 1
    return sent


def main() -> int:
    rclpy.init(args=sys.argv)
    parser = argparse.ArgumentParser(description="Publish cloud files as sensor_msgs/PointCloud2 on points.")
    parser.add_argument("files", nargs="+", help="files, folders or globs of point clouds")
    parser.add_argument("--rate", type=float, default=10.0, help="clouds a second")
    parser.add_argument("--count", type=int, default=0, help="clouds in all; 0 until stopped")
    parser.add_argument("--frame", default="lidar")
    parser.add_argument("--reliable", action="store_true", help="offer reliable transport instead of best effort")
    parser.add_argument("--wait", type=float, default=10.0, help="seconds to wait for a subscriber")
    options = parser.parse_args(remove_ros_args(sys.argv)[1:])
    node = Node("player")
    try:
        makers = RosMessages()
        clouds = [read_points(Path(item.path)) for item in find_inputs(options.files)]
        messages = [cloud_message(makers, header(makers, 0, options.frame), cloud) for cloud in clouds]
        sent = play(node, messages, options.rate, options.count, options.reliable, options.wait)
        time.sleep(SETTLE)
        print(f"{sent} clouds published")
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
