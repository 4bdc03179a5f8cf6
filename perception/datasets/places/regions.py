"""Which part of a place is kept for tests: the published squares and polygons."""

from __future__ import annotations

import numpy as np

# PointNetVLAD (Uy & Lee 2018): squares of 2 x 150 m about north, east.
HALF_SIDE = 150.0
SQUARES = {
    "oxford": (
        (5735712.768124, 620084.402381),
        (5735611.299219, 620540.270327),
        (5735237.358209, 620543.094379),
        (5734749.303802, 619932.693364),
    ),
    "university": ((363621.292362, 142864.19756), (364788.795462, 143125.746609), (363597.507711, 144011.414174)),
    "residential": ((360895.486453, 144999.915143), (362357.024536, 144894.825301), (361368.907155, 145209.663042)),
    "business": (),
}

# Wild-Places (Knights et al. 2023): polygons of x, y, and circles of 30 m about points that neither split has.
POLYGONS = {
    "Venman": (
        ((-468, -82), (-468, 44), (-314, 44), (-305, 12), (-192, 44), (-192, -82)),
        ((-78, -171), (-78, -215), (-305, -215), (-305, -171)),
        ((-62, 70), (95, 70), (142, 0), (140, -142), (-62, -142)),
    ),
    "Karawatha": (
        ((-150, 8), (300, 8), (300, -210), (-150, -210)),
        ((-215, 618), (-74, 618), (-74, 423), (-215, 423)),
        ((-513, 300), (-513, 37), (-321, 37), (-321, 300)),
    ),
}
BUFFERS = {
    "Venman": ((-63, 40), (114, -143), (-77, -205), (-310, -171), (-433, -82), (-189, 12)),
    "Karawatha": ((-216, 606), (-98, 428), (-316, 260), (-321, 63), (-149, -22), (300, -134)),
}
BUFFER = 30.0


def in_squares(positions: np.ndarray, area: str) -> np.ndarray:
    """Whether positions (N, 2), east and north, lie in a test square; in the business district all do."""
    if area == "business":
        return np.ones(len(positions), np.bool_)
    found = np.zeros(len(positions), np.bool_)
    for north, east in SQUARES[area]:
        found |= (np.abs(positions - [east, north]) < HALF_SIDE).all(1)
    return found


def in_polygon(positions: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Whether positions (N, 2) lie inside a polygon (P, 2), by the crossings of a ray along +x."""
    x, y = positions[:, :1], positions[:, 1:]
    first, second = corners, np.roll(corners, -1, 0)
    spans = (first[:, 1] > y) != (second[:, 1] > y)
    rise = np.where(second[:, 1] == first[:, 1], np.inf, second[:, 1] - first[:, 1])
    crossing = first[:, 0] + (y - first[:, 1]) * (second[:, 0] - first[:, 0]) / rise
    inside: np.ndarray = ((spans & (x < crossing)).sum(1) % 2).astype(np.bool_)
    return inside


def in_polygons(positions: np.ndarray, forest: str) -> np.ndarray:
    """Whether positions (N, 2) lie in a test polygon of a forest of Wild-Places."""
    found = np.zeros(len(positions), np.bool_)
    for corners in POLYGONS[forest]:
        found |= in_polygon(positions, np.array(corners, np.float64))
    return found


def near_buffers(positions: np.ndarray, forest: str) -> np.ndarray:
    """Whether positions (N, 2) lie in a circle that belongs to no split."""
    apart = np.linalg.norm(positions[:, None] - np.array(BUFFERS[forest], np.float64), axis=2)
    found: np.ndarray = (apart < BUFFER).any(1)
    return found
