"""Pairs of scans with the motion of every point, from each data set that has boxes and poses."""
