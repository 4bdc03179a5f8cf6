"""The health check of the images with nodes: a node speaks on /diagnostics, and says no error but silence."""

from __future__ import annotations

import sys
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray

SECONDS = 8.0


def main() -> int:
    rclpy.init()
    node = rclpy.create_node("healthy")
    heard = []
    node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: heard.extend(m.status), 10)
    end = time.monotonic() + SECONDS
    while not heard and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.2)
    rclpy.try_shutdown()
    if not heard:
        print("no node speaks on /diagnostics")
        return 1
    wrong = [s for s in heard if s.level == b"\2" and "no cloud" not in s.message]
    print("; ".join(f"{s.name}: {s.message}" for s in wrong or heard))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
