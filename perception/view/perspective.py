"""A cloud seen in perspective from a virtual camera, by default behind and above the sensor."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke

from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.points import PointCloud
from perception.results import Detections
from perception.view import colours
from perception.view.colours import Theme
from perception.view.marks import Mark, counts, marks, seen_from_origin

DOTS = 130
NEAR = 0.5
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
FRONT = (0, 3, 7, 4)


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera: ``eye`` and ``target`` (3,) metres, pixels across and down, horizontal view in degrees."""

    eye: np.ndarray
    target: np.ndarray
    size: tuple[int, int]
    field_of_view: float = 65.0

    def look(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in the camera's frame: right, down, ahead."""
        ahead = (self.target - self.eye) / np.linalg.norm(self.target - self.eye)
        up = np.array([0, 0, 1.0]) if abs(ahead[2]) < 0.999 else np.array([1.0, 0, 0])
        right = np.cross(ahead, up)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(ahead, right), ahead])
        return (np.asarray(points, np.float64) - self.eye) @ axes.T

    def project(self, seen: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of points in the camera's frame and ahead of it."""
        focal = self.size[0] / 2 / np.tan(np.radians(self.field_of_view) / 2)
        return seen[..., :2] / seen[..., 2:] * focal + np.array(self.size) / 2


def perspective(
    cloud: PointCloud,
    detections: Detections | None = None,
    labels: Objects | None = None,
    path: str | PathLike[str] | None = None,
    *,
    colour_by: str = "height",
    theme: str = "dark",
    eye: tuple[float, float, float] | None = None,
    target: tuple[float, float, float] | None = None,
    size: tuple[int, int] = (1560, 900),
    title: str | None = None,
) -> Figure:
    """Draw a cloud in perspective with boxes over it, and write it to ``path`` as PNG if given.

    ``eye`` and ``target`` place the camera, metres relative to the cloud's origin; ``size`` pixels across and down.
    Colours and line styles are those of ``birds_eye``.
    """
    if min(size) < 64 or max(size) > 8192:
        raise PerceptionError(f"a picture of {size} pixels", "64 to 8192 pixels each way")
    look = colours.theme(theme)
    standard = _standpoint(cloud)
    camera = Camera(np.array(eye or standard[0], float), np.array(target or standard[1], float), size)
    found = marks(detections, labels, look)
    figure = Figure(figsize=(size[0] / DOTS, size[1] / DOTS), dpi=DOTS)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(_render(cloud, camera, colour_by, look), extent=(0, size[0], size[1], 0), interpolation="nearest")
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.axis("off")
    _draw_boxes(axes, found, camera, look)
    halo: list[AbstractPathEffect] = [withStroke(linewidth=3, foreground=look.background)]
    heading = axes.text(20, 38, title or "Perspective view", color=look.ink, fontsize=14, weight="bold")
    shown = counts(found, False) or "no objects"
    facts = axes.text(20, 66, f"{len(cloud):,} points   ·   {shown}", color=look.ink, fontsize=9.5, alpha=0.85)
    for text in (heading, facts):
        text.set_path_effects(halo)
    if path is not None:
        with write_atomically(path) as handle:
            figure.savefig(handle, format="png", facecolor=look.background)
    return figure


def _standpoint(cloud: PointCloud) -> tuple[np.ndarray, np.ndarray]:
    """Eye and target: behind and above a sensor, or at a slant above the whole of any other cloud."""
    if len(cloud) == 0 or seen_from_origin(cloud):
        return np.array([-10.0, 0, 7.0]), np.array([15.0, 0, -1.0])
    low, high = np.percentile(cloud.xyz, [0.5, 99.5], axis=0).astype(np.float64)
    middle, reach = (low + high) / 2, max(float(np.linalg.norm(high - low)), 1.0)
    return middle + reach * np.array([-0.72, -0.48, 0.5]), middle


def _render(cloud: PointCloud, camera: Camera, by: str, look: Theme) -> np.ndarray:
    """Image (rows, columns, 3): nearer points over farther ones, as squares that shrink and fade with distance."""
    width, height = camera.size
    sky = colours.rgb(look.background).astype(np.float64)
    image = np.tile(sky.astype(np.uint8), (height, width, 1))
    seen = camera.look(cloud.xyz)
    ahead = np.flatnonzero(seen[:, 2] > NEAR)
    if len(ahead) == 0:
        return image
    order = ahead[np.argsort(-seen[ahead, 2], kind="stable")]
    depth = seen[order, 2]
    _, colour, _ = colours.point_colours(cloud, by, look)
    # distances are felt relative to what the picture is about, be it a street or a forest
    scale = float(np.linalg.norm(camera.target - camera.eye))
    haze = np.clip(np.exp(-depth / (3.5 * scale)), 0.55, 1)[:, None]
    tint = (colour[order] * haze + sky * (1 - haze)).astype(np.uint8)
    side = np.clip(np.round(2.6 * scale / depth), 2, 4).astype(np.int64)
    pixel = np.floor(camera.project(seen[order])).astype(np.int64)
    offsets = np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(-1, 2)
    covered = (offsets[None] < side[:, None, None]).all(-1)
    point, corner = np.nonzero(covered)
    at = pixel[point] + offsets[corner] - side[point, None] // 2
    inside = ((at >= 0) & (at < [width, height])).all(-1)
    # rows come far to near and the last one written to a pixel stays
    image[at[inside, 1], at[inside, 0]] = tint[point[inside]]
    return image


def _draw_boxes(axes: Axes, found: list[Mark], camera: Camera, look: Theme) -> None:
    far_first = sorted(found, key=lambda mark: -float(camera.look(mark.centre)[2]))
    halo: list[AbstractPathEffect] = [withStroke(linewidth=2, foreground=look.background)]
    for mark in far_first:
        corners = camera.look(mark.corners)
        segments = _clip(corners[np.array(EDGES)])
        if not len(segments):
            continue
        style = (0, (3, 2)) if mark.truth else "solid"
        width = 1.0 if mark.truth else 1.5
        lines = LineCollection(list(camera.project(segments)), colors=mark.colour, linewidths=width, linestyles=[style])
        axes.add_collection(lines)
        if (corners[:, 2] <= NEAR).any():
            continue
        pixels = camera.project(corners)
        if not mark.truth:
            axes.add_collection(PolyCollection([pixels[list(FRONT)]], facecolors=[to_rgba(mark.colour, 0.28)]))
            x, y = pixels[:, 0].mean(), pixels[:, 1].min() - 5
            text = axes.text(x, y, mark.text, color=mark.colour, fontsize=8, ha="center", clip_on=True)
            text.set_path_effects(halo)


def _clip(segments: np.ndarray) -> np.ndarray:
    """Segments (N, 2, 3) cut at the near plane; those behind it are left out."""
    segments = segments[(segments[..., 2] > NEAR).any(1)]
    start, end = segments[:, 0], segments[:, 1]
    fall = start[:, 2] - end[:, 2]
    share = ((start[:, 2] - NEAR) / np.where(fall == 0, 1, fall))[:, None]
    cut = start + share * (end - start)
    start, end = np.where(start[:, 2:] > NEAR, start, cut), np.where(end[:, 2:] > NEAR, end, cut)
    return np.stack([start, end], 1)
