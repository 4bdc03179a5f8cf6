"""The lifecycle nodes; the only modules that import rclpy."""
