"""ros2 launch perception_ros places.launch.py points:=/velodyne_points"""

from launch import LaunchDescription
from perception_ros.launching import launch_node


def generate_launch_description() -> LaunchDescription:
    return launch_node("places")
