"""Articulated people with keypoints."""
