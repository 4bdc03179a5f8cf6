"""What a node is made of, without ROS: the newest cloud only, statistics, health, past sweeps, motion."""
