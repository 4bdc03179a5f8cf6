"""A cloud from above, with detections and labels: the picture to look at first."""

from __future__ import annotations

from os import PathLike
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, withStroke

from perception.datasets.sample import Objects
from perception.io.files import write_atomically
from perception.points import PointCloud
from perception.results import Detections
from perception.view import colours
from perception.view.canvas import Extent, canvas, draw_rings, draw_scale, paint
from perception.view.colours import Theme
from perception.view.marks import Mark, counts, marks, seen_from_origin

TEXTS = 80


def birds_eye(
    cloud: PointCloud,
    detections: Detections | None = None,
    labels: Objects | None = None,
    path: str | PathLike[str] | None = None,
    *,
    axes: Axes | None = None,
    colour_by: str = "height",
    theme: str = "dark",
    extent: Extent | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a cloud from above, x to the right and y up, and write it to ``path`` as PNG if given.

    ``colour_by`` is "height" or a scalar field of the cloud; ``theme`` "dark" or "light"; ``extent`` (x low, x high,
    y low, y high) metres relative to the cloud's origin, by default what holds nearly all points and every box;
    ``axes`` draws into a figure of the caller. Detections are solid in the colour of their class with score, labels
    beside them dashed; the tick points along the heading.
    """
    look = colours.theme(theme)
    found = marks(detections, labels, look)
    x0, x1, y0, y1 = extent or _extent(cloud, found)
    axes = axes if axes is not None else canvas((x1 - x0) / (y1 - y0), look)
    figure = cast(Figure, axes.figure)
    axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal", facecolor=look.background)
    _draw_points(axes, cloud, (x0, x1, y0, y1), colour_by, look)
    if seen_from_origin(cloud):
        draw_rings(axes, (x0, x1, y0, y1), look)
    _draw_boxes(axes, found, look)
    _draw_furniture(axes, cloud, found, title, look)
    if path is not None:
        with write_atomically(path) as handle:
            figure.savefig(handle, format="png", facecolor=look.background)
    return figure


def _extent(cloud: PointCloud, found: list[Mark]) -> Extent:
    """Bounds of all but one in two hundred points on each side, and of the boxes; at least 10 m, at most 3 : 1."""
    parts = [mark.corners[:, :2] for mark in found]
    if len(cloud):
        parts.append(np.percentile(cloud.xyz[:, :2], [0.5, 99.5], axis=0))
    if not parts:
        return -40.0, 40.0, -25.0, 25.0
    both = np.concatenate(parts)
    low, high = both.min(0) - 2, both.max(0) + 2
    if seen_from_origin(cloud):
        low, high = np.minimum(low, -3), np.maximum(high, 3)
    half, middle = np.maximum((high - low) / 2, 5), (high + low) / 2
    half = np.maximum(half, half[::-1] * [0.6, 1 / 3])
    return tuple(np.stack([middle - half, middle + half], 1).ravel().tolist())


def _draw_points(axes: Axes, cloud: PointCloud, extent: Extent, by: str, look: Theme) -> None:
    _, colour, (low, high) = colours.point_colours(cloud, by, look)
    paint(axes, cloud.xyz, colour, extent)
    if len(cloud):
        _draw_ramp(axes, by, low, high, look)


def _draw_ramp(axes: Axes, by: str, low: float, high: float, look: Theme) -> None:
    panel = axes.inset_axes((0.775, 0.0, 0.225, 0.075), zorder=5)
    panel.set(facecolor=look.background, xticks=[], yticks=[])
    panel.patch.set_alpha(0.75)
    panel.spines[:].set_visible(False)
    inset = axes.inset_axes((0.80, 0.035, 0.18, 0.012), zorder=6)
    ramp = LinearSegmentedColormap.from_list("ramp", look.ramp)
    inset.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=ramp, extent=(low, high, 0, 1))
    inset.set_yticks([])
    inset.set_xticks([low, high], [f"{low:.3g}", f"{high:.3g}"])
    inset.tick_params(colors=look.ink, labelsize=7, length=0, pad=2)
    inset.spines[:].set_visible(False)
    inset.set_title("height [m]" if by == "height" else by, color=look.ink, fontsize=8, pad=3)


def _draw_boxes(axes: Axes, found: list[Mark], look: Theme) -> None:
    for truth, style, width in ((True, (0, (3, 2)), 1.0), (False, "solid", 1.6)):
        group = [mark for mark in found if mark.truth == truth]
        lines = [mark.corners[[0, 1, 2, 3, 0], :2] for mark in group]
        # the tick starts at the centre and reaches half a length beyond the front
        lines += [np.stack([mark.centre[:2], 1.5 * mark.front[:2] - 0.5 * mark.centre[:2]]) for mark in group]
        tint = [mark.colour for mark in group] * 2
        axes.add_collection(
            LineCollection(lines, colors=tint, linewidths=width, linestyles=[style], zorder=3 + (not truth))
        )
    halo: list[AbstractPathEffect] = [withStroke(linewidth=2, foreground=look.background)]
    for mark in [m for m in found if not m.truth][:TEXTS]:
        x, y = mark.corners[:4, 0].mean(), mark.corners[:4, 1].max()
        text = axes.text(
            x, y, mark.text, color=mark.colour, fontsize=7.5, ha="center", va="bottom", zorder=5, clip_on=True
        )
        text.set_path_effects(halo)


def _draw_furniture(axes: Axes, cloud: PointCloud, found: list[Mark], title: str | None, look: Theme) -> None:
    """Title with counts, legend, scale bar, axes."""
    parts = [f"{len(cloud):,} points", counts(found, False) or "no objects"]
    if any(mark.truth for mark in found):
        parts.append(f"labels: {counts(found, True)}")
    axes.set_title(title or "Bird's-eye view", color=look.ink, fontsize=14, loc="left", pad=24, weight="bold")
    axes.text(0, 1.012, "   ·   ".join(parts), transform=axes.transAxes, color=look.ink, fontsize=9.5, alpha=0.8)
    shift = "" if not np.any(cloud.origin) else "  from ({:.0f}, {:.0f})".format(*cloud.origin[:2])
    axes.set_xlabel(f"x [m]{shift}", color=look.ink, fontsize=9, labelpad=1)
    axes.set_ylabel("y [m]", color=look.ink, fontsize=9, labelpad=1)
    axes.tick_params(colors=look.ink, labelsize=8, length=3)
    for spine in axes.spines.values():
        spine.set_color(look.faint)
    names = {mark.name: mark.colour for mark in found if not mark.truth}
    handles = [Line2D([], [], color=colour, lw=2.5, label=name) for name, colour in names.items()]
    if any(mark.truth for mark in found):
        handles.append(Line2D([], [], color=look.truth, lw=1.2, ls=(0, (3, 2)), label="label"))
    if handles:
        legend = axes.legend(
            handles=handles, loc="upper right", fontsize=8.5, facecolor=look.background, framealpha=0.8
        )
        legend.get_frame().set_edgecolor(look.faint)
        for text in legend.get_texts():
            text.set_color(look.ink)
    draw_scale(axes, look)
