"""3D perception on lidar point clouds: detection, keypoints, trees, places and scene flow."""

__version__ = "0.1.0"
