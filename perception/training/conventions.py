"""Boxes read as if they were written in another convention: the usual mistakes of home-made labels."""

from __future__ import annotations

import math

import numpy as np

# What the mistake is, and what to do about it.
CONVENTIONS: dict[str, tuple[str, str]] = {
    "bottom": ("z is that of their bottoms", "add half the height to z"),
    "swapped": (
        "length and width are swapped, or headings are measured from the y axis",
        "swap the first two sizes, or add pi/2 to the headings",
    ),
    "clockwise": ("headings are clockwise", "negate the headings"),
    "clockwise_quarter": ("headings are clockwise from the y axis", "use -heading - pi/2, as KITTI's labels need"),
    "degrees": ("headings are in degrees", "convert the headings to radians"),
    "camera": ("they are in a camera's frame (x right, y down, z ahead)", "convert the boxes to the lidar's frame"),
    "swapped_bottom": (
        "length and width are swapped and z is that of their bottoms",
        "swap the first two sizes and add half the height to z",
    ),
}


def reread(boxes: np.ndarray, convention: str) -> np.ndarray:
    """Boxes (N, 7) as ours if they had been written in ``convention``."""
    x, y, z, length, width, height, heading = boxes.T
    if convention == "bottom":
        z = z + height / 2
    elif convention == "swapped":
        length, width = width, length
    elif convention == "swapped_bottom":
        length, width, z = width, length, z + height / 2
    elif convention == "clockwise":
        heading = -heading
    elif convention == "clockwise_quarter":
        heading = -heading - math.pi / 2
    elif convention == "degrees":
        heading = np.radians(heading)
    elif convention == "camera":  # y at the bottom of the box, heading about the downward axis
        x, y, z, heading = z, -x, height / 2 - y, -heading - math.pi / 2
    return np.stack([x, y, z, length, width, height, heading], 1)
