"""Palettes shared by all pictures: themes, colours of classes, colour ramps of point values."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.errors import PerceptionError, nearest
from perception.points import PointCloud


@dataclass(frozen=True)
class Theme:
    """Colours of one look; ``ramp`` runs from low to high values, ``truth`` draws labels beside detections."""

    background: str
    ink: str
    faint: str
    truth: str
    ramp: tuple[str, ...]
    dim: float


THEMES = {
    "dark": Theme(
        "#0d1117", "#e6edf3", "#4a5666", "#ffffff", ("#33598a", "#3587a8", "#63b8b0", "#c3e3b8", "#fbf7d5"), 1.0
    ),
    "light": Theme(
        "#ffffff", "#1f2933", "#b6c0cb", "#111827", ("#a3b8cc", "#76a0c2", "#4a7fa8", "#27567f", "#10294a"), 0.78
    ),
}

# Warm and saturated, so that boxes stand out from the cool ramps of the points.
_CLASSES = {
    "car": "#ff9f1c",
    "van": "#ffd166",
    "vehicle": "#ff9f1c",
    "truck": "#c792ff",
    "bus": "#9d7bff",
    "tram": "#8f8bff",
    "trailer": "#b98a6b",
    "construction_vehicle": "#d98e04",
    "pedestrian": "#ff4f8b",
    "person": "#ff4f8b",
    "human": "#ff4f8b",
    "person_sitting": "#ff86ac",
    "cyclist": "#57e389",
    "bicycle": "#57e389",
    "bicyclist": "#57e389",
    "motorcycle": "#2ec7a6",
    "motorcyclist": "#2ec7a6",
    "traffic_cone": "#ff6b4a",
    "barrier": "#f25f5c",
    "misc": "#a9b4c2",
}
_OTHERS = ("#ff9f1c", "#ff4f8b", "#57e389", "#c792ff", "#ffd166", "#4cc9f0", "#ff6b4a", "#2ec7a6")


def theme(name: str) -> Theme:
    """The theme "dark" or "light"."""
    if name not in THEMES:
        raise PerceptionError(f"theme {name!r}", " or ".join(map(repr, THEMES)), nearest(name, THEMES))
    return THEMES[name]


def class_colour(name: str, look: Theme) -> str:
    """Hex colour of a class, the same in every picture; names unknown here get one by their spelling."""
    key = name.lower().replace(" ", "_")
    colour = _CLASSES.get(key) or _OTHERS[zlib.crc32(key.encode()) % len(_OTHERS)]
    return _hex(_rgb(colour) * look.dim)


def point_colours(cloud: PointCloud, by: str, look: Theme) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Values (N,) that points are coloured by, colours (N, 3) uint8, and the range of values that the ramp spans.

    ``by`` is "height" or the name of a scalar field. The range leaves out the outermost hundredths: stray returns.
    """
    if by == "height":
        values = cloud.xyz[:, 2].astype(np.float64)
    elif by in cloud.fields and cloud.fields[by].ndim == 1:
        values = cloud.fields[by].astype(np.float64)
    else:
        names = ["height", *(name for name, column in cloud.fields.items() if column.ndim == 1)]
        raise PerceptionError(f"points coloured by {by!r}", f"one of {', '.join(names)}", nearest(by, names))
    finite = values[np.isfinite(values)]
    low, high = map(float, np.percentile(finite, [1, 99])) if len(finite) else (0.0, 1.0)
    if high - low < 1e-6:
        high = low + 1.0
    shares = np.nan_to_num(np.clip((values - low) / (high - low), 0, 1))
    return values, ramp(shares, look.ramp), (low, high)


def ramp(shares: np.ndarray, colours: Sequence[str]) -> np.ndarray:
    """Colours (..., 3) uint8 for shares in [0, 1] along a ramp of hex colours."""
    stops = np.array([_rgb(c) for c in colours])
    table = np.stack([np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(stops)), s) for s in stops.T], -1)
    return table.astype(np.uint8)[(np.asarray(shares) * 255).astype(np.uint8)]


def rgb(colour: str) -> np.ndarray:
    """A hex colour as (3,) uint8."""
    return _rgb(colour).astype(np.uint8)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


def _hex(values: np.ndarray) -> str:
    return "#" + "".join(f"{int(v):02x}" for v in values)
