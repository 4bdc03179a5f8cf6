"""Pictures of place recognition: precision and recall, and how near the descriptors of clouds are to each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from perception.io.files import write_atomically
from perception.metrics.loop_closure import LoopClosure


def precision_recall(closure: LoopClosure, path: str | Path, title: str = "") -> None:
    """Precision over recall as the threshold of the distance rises."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(100 * closure.recall, 100 * closure.precision, color="tab:blue")
    axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="recall, %", ylabel="precision, %")
    axes.set_title(f"{title}\nmaximum F1 {100 * closure.max_f1:.1f} %, {closure.revisits} revisits", fontsize=9)
    axes.grid(alpha=0.3)
    with write_atomically(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)


def similarity_matrices(
    distances: Sequence[np.ndarray],
    titles: Sequence[str],
    names: Sequence[str],
    path: str | Path | None = None,
    groups: Sequence[int] = (),
) -> Figure:
    """Matrices (N, N) of distances beside each other, dark where clouds are near; ``groups`` start at these rows.

    Writes a PNG to ``path`` if given.
    """
    figure = Figure(figsize=(6.2 * len(distances) + 1, 6.8), layout="constrained")
    for number, (matrix, title) in enumerate(zip(distances, titles)):
        axes = figure.add_subplot(1, len(distances), number + 1)
        shown = axes.imshow(matrix, cmap="magma", vmin=0, vmax=np.quantile(matrix, 0.98), interpolation="nearest")
        figure.colorbar(shown, ax=axes, shrink=0.7)
        axes.set_title(title, fontsize=10)
        for start in groups:
            axes.axhline(start - 0.5, color="white", linewidth=0.5)
            axes.axvline(start - 0.5, color="white", linewidth=0.5)
        rows = range(len(names)) if len(names) <= 60 else list(groups)
        axes.set_xticks(list(rows), [names[row] for row in rows], rotation=90, fontsize=6)
        axes.set_yticks(list(rows), [names[row] for row in rows], fontsize=6)
    if path is not None:
        with write_atomically(path, "wb") as file:
            figure.savefig(file, format="png", dpi=120)
    return figure
