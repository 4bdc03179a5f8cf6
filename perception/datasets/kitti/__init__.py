"""KITTI: the object benchmark and the raw drives."""
