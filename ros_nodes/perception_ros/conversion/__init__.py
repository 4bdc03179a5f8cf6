"""Between ROS messages and the library's types, on anything with a message's attributes: rclpy's or rosbags'."""
