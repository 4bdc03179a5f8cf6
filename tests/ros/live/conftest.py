"""Tests against real rclpy, which lives in an environment of its own: `make test-ros`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

PROFILES = Path(__file__).resolve().parents[3] / "ros_nodes" / "fastdds" / "profiles.xml"


@pytest.fixture(scope="session", autouse=True)
def ros() -> Iterator[None]:
    """A domain of our own on this machine alone, with the transport settings that the package ships."""
    import rclpy

    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randrange(1, 101))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOCALHOST_ONLY"] = "1"
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(PROFILES)
    rclpy.init()
    yield
    rclpy.try_shutdown()
