"""What each node does with a cloud, without ROS: one file a task."""
