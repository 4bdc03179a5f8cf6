"""Scene flow from above: the world in grey, what moves in the colour of its direction, with arrows."""

from __future__ import annotations

from os import PathLike
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from perception.io.files import write_atomically
from perception.points import PointCloud
from perception.results import SceneFlow
from perception.scan_pair import ScanPair
from perception.view import colours
from perception.view.canvas import Extent, canvas, draw_rings, draw_scale, paint
from perception.view.colours import Theme
from perception.view.marks import seen_from_origin

AHEAD = 0.5
"""Seconds of motion that an arrow shows; a car at 50 km/h has one of 7 m."""
SPACING = 1.6  # metres between arrows
MOST_ARROWS = 4000
MARGIN = 8.0
_GREY = {"dark": ("#1d2733", "#2d3c4c", "#475b6e", "#6d8496"), "light": ("#dfe5eb", "#c3ced9", "#a3b2c0", "#7f93a5")}


def flow_picture(
    pair: ScanPair,
    flow: SceneFlow,
    path: str | PathLike[str] | None = None,
    *,
    seconds: float = 0.1,
    theme: str = "dark",
    extent: Extent | None = None,
    title: str | None = None,
    subtitle: str = "",
) -> Figure:
    """Draw the first scan and its points' motion beyond the ego motion, and write that to ``path`` as PNG if given.

    Arrows show where things will be in half a second; ``seconds`` is the time between the scans. ``extent`` (x low,
    x high, y low, y high) metres about the cloud's origin, by default what holds most of the cloud and all that moves.
    """
    look = colours.theme(theme)
    cloud = pair.first
    own = (flow.flow.detach().cpu().numpy() - pair.ego_flow()) / max(seconds, 1e-3)
    moving = flow.moving.detach().cpu().numpy().astype(np.bool_) & np.isfinite(own).all(1)
    # The motion is told in the second scan's frame; arrows are drawn in the first's.
    velocity = own @ pair.pose[:3, :3]
    bounds = extent or _extent(cloud, moving)
    axes = canvas((bounds[1] - bounds[0]) / (bounds[3] - bounds[2]), look)
    axes.set(xlim=bounds[:2], ylim=bounds[2:], aspect="equal", facecolor=look.background)
    paint(axes, cloud.xyz, _point_colours(cloud, velocity, moving, theme, look), bounds)
    if seen_from_origin(cloud):
        draw_rings(axes, bounds, look)
    _draw_arrows(axes, cloud.xyz[moving], velocity[moving], theme, look)
    _draw_wheel(axes, theme, look)
    _draw_texts(axes, pair, moving, velocity, title, subtitle, look)
    draw_scale(axes, look)
    figure = cast(Figure, axes.figure)
    if path is not None:
        with write_atomically(path) as handle:
            figure.savefig(handle, format="png", facecolor=look.background)
    return figure


def direction_colours(velocity: np.ndarray, theme: str) -> np.ndarray:
    """Colours (N, 3) in [0, 1] by the direction seen from above: hues around the wheel, +x red on dark paper."""
    hue = np.arctan2(velocity[:, 1], velocity[:, 0]) / (2 * np.pi) % 1
    strength, brightness = (0.62, 1.0) if theme == "dark" else (0.9, 0.78)
    rgb: np.ndarray = hsv_to_rgb(np.stack([hue, np.full_like(hue, strength), np.full_like(hue, brightness)], -1))
    return rgb


def _point_colours(cloud: PointCloud, velocity: np.ndarray, moving: np.ndarray, theme: str, look: Theme) -> np.ndarray:
    z = cloud.xyz[:, 2]
    low, high = np.percentile(z, [2, 98]) if len(z) else (0.0, 1.0)
    colour = colours.ramp(np.clip((z - low) / max(high - low, 1e-3), 0, 1), _GREY[theme])
    colour[moving] = (255 * direction_colours(velocity[moving], theme)).astype(np.uint8)
    return colour


def _extent(cloud: PointCloud, moving: np.ndarray) -> Extent:
    """Bounds of the middle nine tenths of the points and of all that moves near it; at least 20 m, at most 2 : 1."""
    if not len(cloud):
        return -40.0, 40.0, -25.0, 25.0
    xy = cloud.xyz[:, :2]
    low, high = np.percentile(xy, [4, 96], axis=0)
    size = high - low
    near = xy[moving & (xy > low - size).all(1) & (xy < high + size).all(1)]
    both = np.concatenate([[low, high], near])
    low, high = both.min(0) - MARGIN, both.max(0) + MARGIN
    half, middle = np.maximum((high - low) / 2, 10), (high + low) / 2
    half = np.maximum(half, half[::-1] * [0.8, 0.5])
    return tuple(np.stack([middle - half, middle + half], 1).ravel().tolist())


def _draw_arrows(axes: Axes, xyz: np.ndarray, velocity: np.ndarray, theme: str, look: Theme) -> None:
    """An arrow for the mean motion in each square of ``SPACING`` metres: shafts that swell towards their heads."""
    if not len(xyz):
        return
    place = np.floor(xyz[:, :2] / SPACING).astype(np.int64)
    _, cell, count = np.unique(place, axis=0, return_inverse=True, return_counts=True)
    cell = cell.reshape(-1)
    order = np.argsort(-count)[:MOST_ARROWS]
    start, way = (
        np.stack([np.bincount(cell, values[:, axis]) / count for axis in (0, 1)], 1)[order]
        for values in (xyz, velocity * AHEAD)
    )
    tint = direction_colours(way, theme)
    end = start + way
    length = np.linalg.norm(way, axis=1, keepdims=True)
    along = way / np.maximum(length, 1e-9)
    aside = np.stack([-along[:, 1], along[:, 0]], 1)
    head = np.minimum(0.35 * length, 1.1)
    halo = withStroke(linewidth=2.6, foreground=look.background, alpha=0.85)
    shafts = LineCollection(list(np.stack([start, end], 1)), colors=tint, linewidths=1.3, capstyle="round", zorder=4)
    wings = np.stack([end - head * (along - 0.55 * aside), end, end - head * (along + 0.55 * aside)], 1)
    heads = LineCollection(list(wings), colors=tint, linewidths=1.3, capstyle="round", joinstyle="round", zorder=4)
    for lines in (shafts, heads):
        lines.set_path_effects([halo])
        axes.add_collection(lines)


def _draw_wheel(axes: Axes, theme: str, look: Theme) -> None:
    """The wheel of directions, in the upper right corner."""
    width, height = cast(Figure, axes.figure).get_size_inches() * axes.get_position().size
    size = 0.85
    box = (1 - (size + 0.18) / width, 1 - (size + 0.18) / height, size / width, size / height)
    wheel = axes.inset_axes(box, zorder=6)
    grid = np.linspace(-1.15, 1.15, 260)
    x, y = np.meshgrid(grid, grid)
    radius = np.hypot(x, y)
    rgba = np.ones((*x.shape, 4))
    rgba[..., :3] = direction_colours(np.stack([x.ravel(), y.ravel()], 1), theme).reshape(*x.shape, 3)
    rgba[..., 3] = np.clip((1 - radius) * 40, 0, 1) * np.clip((radius - 0.58) * 40, 0, 1)
    wheel.imshow(rgba, extent=(-1.15, 1.15, -1.15, 1.15), origin="lower", interpolation="bilinear")
    wheel.text(0, 0, "moves\nto", color=look.ink, fontsize=6.5, ha="center", va="center", linespacing=1.1)
    wheel.axis("off")


def _draw_texts(
    axes: Axes, pair: ScanPair, moving: np.ndarray, velocity: np.ndarray, title: str | None, subtitle: str, look: Theme
) -> None:
    speed = np.linalg.norm(velocity[moving], axis=1)
    parts = [f"{len(moving):,} points", f"{int(moving.sum()):,} move" if moving.any() else "nothing moves"]
    if len(speed):
        parts.append(f"up to {3.6 * np.percentile(speed, 98):.0f} km/h")
    parts.append(f"sensor moved {np.linalg.norm(pair.pose[:3, 3]):.2f} m")
    parts += [subtitle] if subtitle else []
    axes.set_title(title or "Scene flow", color=look.ink, fontsize=14, loc="left", pad=24, weight="bold")
    axes.text(0, 1.012, "   ·   ".join(parts), transform=axes.transAxes, color=look.ink, fontsize=9.5, alpha=0.8)
    note = f"arrows: the way of {AHEAD:g} s without the sensor's own motion"
    axes.text(1, 1.012, note, transform=axes.transAxes, color=look.ink, fontsize=8.5, alpha=0.6, ha="right")
    axes.set_xlabel("x [m]", color=look.ink, fontsize=9, labelpad=1)
    axes.set_ylabel("y [m]", color=look.ink, fontsize=9, labelpad=1)
    axes.tick_params(colors=look.ink, labelsize=8, length=3)
    for spine in axes.spines.values():
        spine.set_color(look.faint)
