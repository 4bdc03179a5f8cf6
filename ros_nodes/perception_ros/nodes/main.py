"""The executables: `ros2 run perception_ros detection_node` and the like."""

from __future__ import annotations

import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException

from perception_ros.nodes.base import PerceptionNode
from perception_ros.nodes.composed import ComposedNode

# The receiving thread waits this long for the computing one to hand Python over; the default of 5 ms is a cloud's age.
SWITCH_INTERVAL = 0.0005


def spin(make: Callable[[], PerceptionNode]) -> int:
    """Run a node until it is stopped; 1 where it was to start by itself and could not."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    rclpy.init(args=sys.argv)
    node = make()
    try:
        if node.get_parameter("autostart").value:
            node.trigger_configure()
            if node.runner is None:
                return 1
            node.trigger_activate()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.on_shutdown(None)  # type: ignore[arg-type]  # Ctrl-C is no transition, but a map is saved all the same
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def detection() -> int:
    return spin(lambda: PerceptionNode("detection"))


def keypoints() -> int:
    return spin(lambda: PerceptionNode("keypoints"))


def flow() -> int:
    return spin(lambda: PerceptionNode("flow"))


def places() -> int:
    return spin(lambda: PerceptionNode("places"))


def trees() -> int:
    return spin(lambda: PerceptionNode("trees"))


def composed() -> int:
    return spin(ComposedNode)


NODES = {name: globals()[name] for name in ("detection", "keypoints", "flow", "places", "trees", "composed")}

if __name__ == "__main__":
    sys.exit(NODES[sys.argv.pop(1)]())
