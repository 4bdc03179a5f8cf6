"""What all launch files have in common: one node with its parameters, remaps and the transport that clouds need."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = {
    "points": ("/points", "topic of the clouds"),
    "odometry": ("/odometry", "topic of odometry"),
    "namespace": ("", "name space of the node"),
    "autostart": ("true", "configure and activate at once; false for a lifecycle manager"),
    "use_sim_time": ("false", "time of /clock, for bags"),
}


def launch_node(name: str) -> LaunchDescription:
    """The executable ``NAME_node`` with ``config/NAME.yaml``, or another file as ``parameters``."""
    share = FindPackageShare("perception_ros")
    declared = [
        DeclareLaunchArgument(argument, default_value=default, description=description)
        for argument, (default, description) in ARGUMENTS.items()
    ]
    file = PathJoinSubstitution([share, "config", f"{name}.yaml"])
    profiles = PathJoinSubstitution([share, "fastdds", "profiles.xml"])
    return LaunchDescription(
        [
            *declared,
            DeclareLaunchArgument("parameters", default_value=file, description="YAML of parameters"),
            # Clouds of megabytes do not fit the buffers that Fast DDS has by itself.
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profiles),
            LifecycleNode(
                package="perception_ros",
                executable=f"{name}_node",
                name=name,
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("parameters"),
                    {key: LaunchConfiguration(key) for key in ("autostart", "use_sim_time")},
                ],
                remappings=[(topic, LaunchConfiguration(topic)) for topic in ("points", "odometry")],
                output="screen",
            ),
        ]
    )
