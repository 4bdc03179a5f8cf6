"""Trees of a cloud in colours of their own, from above and from the side."""

from __future__ import annotations

from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.view import colours
from perception.view.colours import Theme

DOTS = 130
PIXELS = 1100  # along the longer side of a picture


def tree_picture(
    cloud: PointCloud,
    trees: TreeInstances,
    path: str | PathLike[str] | None = None,
    *,
    theme: str = "dark",
    title: str | None = None,
    slab: float | None = None,
) -> Figure:
    """Draw the cloud from above (left) and from the side (right, looking along +y), each tree in a colour of its own.

    Points of no tree are grey. ``slab``: the side view shows the middle so many metres of y alone, by default a third
    of the plot but 10 m at least. Writes a PNG to ``path`` if given.
    """
    if len(cloud) != len(trees.tree_id):
        raise PerceptionError(f"{len(trees.tree_id)} tree ids", f"one for each of {len(cloud)} points")
    look = colours.theme(theme)
    figure = Figure(figsize=(19, 10), dpi=DOTS)
    FigureCanvasAgg(figure)
    figure.set_facecolor(look.background)
    ids = trees.tree_id.numpy()
    colour = tree_colours(ids, look)
    above = figure.add_axes((0.045, 0.07, 0.44, 0.84))
    beside = figure.add_axes((0.535, 0.07, 0.44, 0.84))
    xyz = cloud.xyz
    _draw(above, xyz[:, [0, 1]], xyz[:, 2], colour, look, "x [m]", "y [m]")
    shown = _slab(xyz[:, 1], slab)
    _draw(beside, xyz[shown][:, [0, 2]], -xyz[shown, 1], colour[shown], look, "x [m]", "z [m]")
    number = len(np.unique(ids[ids > 0]))
    share = float((ids > 0).mean()) if len(ids) else 0.0
    text = f"{title or 'Trees'}   ·   {number} trees, {len(cloud):,} points, {share:.0%} of them in trees"
    figure.text(0.045, 0.95, text, color=look.ink, fontsize=14, weight="bold")
    if len(shown) and shown.sum() < len(shown):
        low, high = xyz[shown, 1].min(), xyz[shown, 1].max()
        beside.set_title(f"y from {low:.1f} to {high:.1f} m", color=look.ink, fontsize=9, loc="left")
    if path is not None:
        with write_atomically(path) as handle:
            figure.savefig(handle, format="png", facecolor=look.background)
    return figure


def tree_colours(ids: np.ndarray, look: Theme) -> np.ndarray:
    """Colours (N, 3) uint8 of tree ids: neighbours in number are far apart on the wheel; grey for 0."""
    turn = (ids * 0.618033988749895) % 1.0
    light = 0.75 + 0.25 * ((ids * 0.7548776662466927) % 1.0)
    vivid = 0.55 + 0.4 * ((ids * 0.5698402909980532) % 1.0)
    wheel = np.clip(np.abs((turn[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    rgb = 255 * look.dim * light[:, None] * (1 - vivid[:, None] * (1 - wheel))
    grey = colours.rgb(look.faint)
    return np.where((ids > 0)[:, None], rgb, grey).astype(np.uint8)


def _slab(y: np.ndarray, slab: float | None) -> np.ndarray:
    if not len(y):
        return np.zeros(0, bool)
    low, high = float(y.min()), float(y.max())
    width = slab if slab is not None else max((high - low) / 3, 10.0)
    inside: np.ndarray = np.abs(y - (low + high) / 2) <= width / 2
    return inside


def _draw(axes: Axes, flat: np.ndarray, nearness: np.ndarray, colour: np.ndarray, look: Theme, x: str, y: str) -> None:
    """One image; of points that share a pixel the nearest is seen."""
    axes.set(facecolor=look.background, aspect="equal")
    axes.set_xlabel(x, color=look.ink, fontsize=9)
    axes.set_ylabel(y, color=look.ink, fontsize=9)
    axes.tick_params(colors=look.ink, labelsize=8, length=3)
    for spine in axes.spines.values():
        spine.set_color(look.faint)
    if not len(flat):
        return
    low, high = flat.min(0), flat.max(0)
    span = np.maximum(high - low, 1.0)
    # Sparse clouds get larger dots.
    step = max(float(span.max()) / PIXELS, float(np.sqrt(span.prod() / (3 * len(flat)))))
    place = np.floor((flat - low) / step).astype(np.int64)
    shape = (np.floor(span / step).astype(np.int64) + 2)[::-1]
    image = np.zeros((*shape.tolist(), 4), np.uint8)
    order = np.argsort(nearness, kind="stable")
    column, row = place[order].T
    image[row, column] = np.insert(colour[order], 3, 255, axis=1)
    left, bottom = low.tolist()
    bounds = (left, left + float(shape[1] * step), bottom, bottom + float(shape[0] * step))
    axes.imshow(image, extent=bounds, origin="lower", interpolation="nearest")
