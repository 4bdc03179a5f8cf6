"""Checkpoints and configurations of mmdet3d 1.x."""
