"""The paper of pictures from above: axes of the right size, range rings about the sensor, a scale bar."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke

from perception.view.colours import Theme

Extent = tuple[float, float, float, float]
DOTS = 130


def canvas(ratio: float, look: Theme) -> Axes:
    """Axes of the given width : height in a new figure, with room in inches for titles and ticks."""
    width, height = (11.0, 11.0 / ratio) if ratio > 1.1 else (max(10.0 * ratio, 5.5), 10.0)
    left, right, bottom, top = 0.75, 0.25, 0.6, 0.85
    across, down = left + width + right, bottom + height + top
    figure = Figure(figsize=(across, down), dpi=DOTS)
    FigureCanvasAgg(figure)
    figure.set_facecolor(look.background)
    return figure.add_axes((left / across, bottom / down, width / across, height / down))


def paint(axes: Axes, xyz: np.ndarray, colour: np.ndarray, extent: Extent) -> None:
    """One image of all points (N, 3) in their colours (N, 3) uint8, the highest on top: as fast for a million points as
    for none."""
    x0, x1, y0, y1 = extent
    step = max(x1 - x0, y1 - y0) / float(np.clip(8 * np.sqrt(len(xyz)), 700, 1000))  # sparse clouds: coarser dots
    columns, rows = int(np.ceil((x1 - x0) / step)), int(np.ceil((y1 - y0) / step))
    image = np.zeros((rows, columns, 4), np.uint8)
    upwards = np.argsort(xyz[:, 2], kind="stable")
    column = np.floor((xyz[upwards, 0] - x0) / step).astype(np.int64)
    row = np.floor((xyz[upwards, 1] - y0) / step).astype(np.int64)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    row, column, opaque = row[inside], column[inside], np.insert(colour[upwards[inside]], 3, 255, axis=1)
    # lone returns would be too faint as single pixels; the second pass lets none cover the true place of another
    for aside in (1, 0):
        image[row, np.minimum(column + aside, columns - 1)] = opaque
        image[np.minimum(row + aside, rows - 1), column] = opaque
    bounds = (x0, x0 + columns * step, y0, y0 + rows * step)
    axes.imshow(image, extent=bounds, origin="lower", interpolation="nearest", zorder=1)
    axes.set(xlim=(x0, x1), ylim=(y0, y1))


def draw_rings(axes: Axes, extent: Extent, look: Theme) -> None:
    """Range rings about the sensor, and the sensor's own place and direction."""
    x0, x1, y0, y1 = extent
    furthest = max(np.hypot(x, y) for x in (x0, x1) for y in (y0, y1))
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if furthest / s < 9 or s == 500)
    for radius in np.arange(step, furthest, step):
        axes.add_patch(Circle((0, 0), radius, fill=False, color=look.faint, lw=0.6, ls=(0, (2, 5)), zorder=2))
        for sign in (1, -1):
            if y0 < sign * radius < y1 - 0.02 * (y1 - y0) and x0 < 0 < x1:
                axes.text(0, sign * radius, f" {radius:g} m", color=look.faint, fontsize=7, va="bottom", zorder=2)
    size = 0.006 * (x1 - x0 + y1 - y0)
    arrow = np.array([[1.6, 0], [-1, 1], [-0.5, 0], [-1, -1]]) * size
    axes.fill(*arrow.T, color=look.ink, zorder=5)


def draw_scale(axes: Axes, look: Theme) -> None:
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    length = max(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000) if s <= max(0.2 * (x1 - x0), 1))
    x, y = x0 + 0.025 * (x1 - x0), y0 + 0.035 * (y1 - y0)
    axes.plot([x, x + length], [y, y], color=look.ink, lw=3, solid_capstyle="butt", zorder=6)
    text = axes.text(
        x + length / 2, y + 0.008 * (y1 - y0), f"{length} m", color=look.ink, fontsize=8.5, ha="center", va="bottom"
    )
    text.set(zorder=6, path_effects=[withStroke(linewidth=2, foreground=look.background)])
