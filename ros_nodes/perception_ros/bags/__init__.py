"""Nodes' pipelines over recorded bags, and bags of public data sets, with rosbags and without ROS."""
