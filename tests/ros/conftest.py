"""The ROS package is no part of the installed library: its tests find it in the project."""

from __future__ import annotations

import sys
from pathlib import Path

NODES = Path(__file__).resolve().parents[2] / "ros_nodes"
sys.path.insert(0, str(NODES))
