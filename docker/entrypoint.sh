#!/usr/bin/env bash
# The ROS installation and the nodes, then whatever was asked for.
set -e
source "/opt/ros/${ROS_DISTRO}/setup.bash"
source /opt/ws/setup.bash
exec "$@"
