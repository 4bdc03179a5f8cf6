#!/usr/bin/env python3
"""`perception_bag` from a checkout: nodes' pipelines over bags, and bags of public recordings, without ROS."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ros_nodes"))

from perception_ros.bags.command import main

if __name__ == "__main__":
    sys.exit(main())
