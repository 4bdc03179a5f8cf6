"""Label and result lines of the KITTI object benchmark, in its own camera convention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from perception.errors import PerceptionError

WORDS = 15  # a result line has the score as one more
OCCLUSION_LIMIT = 99  # labels have 0 to 3; results have whatever their tool puts for unknown, mostly -1


@dataclass(frozen=True, eq=False)
class KittiObjects:
    """Objects of one frame, arrays of length N (object development kit, readme.txt, "Data Format Description").

    ``truncated`` 0 to 1, ``occluded`` 0 to 3, ``alpha`` observation angle, ``bbox`` (N, 4) left top right bottom in
    pixels, ``dimensions`` (N, 3) height width length, ``location`` (N, 3) bottom centre in the rectified camera frame,
    ``rotation_y``, and ``score``, which labels do not have (NaN). Results have -1 for truncated and occluded.
    """

    names: np.ndarray
    truncated: np.ndarray
    occluded: np.ndarray
    alpha: np.ndarray
    bbox: np.ndarray
    dimensions: np.ndarray
    location: np.ndarray
    rotation_y: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def select(self, rows: np.ndarray) -> KittiObjects:
        """The objects of a boolean mask or an index array."""
        return KittiObjects(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def camera_boxes(self) -> np.ndarray:
        """x y z, length height width, rotation_y (N, 7) float64 in the rectified camera frame, y at the bottom."""
        return np.column_stack([self.location, self.dimensions[:, [2, 0, 1]], self.rotation_y])


def parse_label_lines(text: str | Iterable[str], where: str) -> KittiObjects:
    """Objects in the lines of a label or result file, which ``where`` names in errors; no lines are no objects."""
    lines = text.splitlines() if isinstance(text, str) else list(text)
    names, rows = [], []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words:
            names.append(words[0])
            rows.append(_numbers(words, f"{where}, line {number}"))
    table = np.array(rows, dtype=np.float64).reshape(-1, WORDS)
    return KittiObjects(
        names=np.array(names, dtype=str),
        truncated=table[:, 0],
        occluded=table[:, 1].astype(np.int64),
        alpha=table[:, 2],
        bbox=table[:, 3:7],
        dimensions=table[:, 7:10],
        location=table[:, 10:13],
        rotation_y=table[:, 13],
        score=table[:, 14],
    )


def format_label_lines(objects: KittiObjects) -> str:
    """The lines of a result file (with score), or of a label file where scores are NaN.

    Raises PerceptionError for what could not be read again: a class of several words, numbers that are not finite.
    """
    lines = []
    for i in range(len(objects)):
        box = (*objects.bbox[i], *objects.dimensions[i], *objects.location[i], objects.rotation_y[i])
        _check_writable(str(objects.names[i]), (objects.truncated[i], objects.alpha[i], *box))
        words = [
            str(objects.names[i]),
            f"{objects.truncated[i]:.2f}",
            str(int(objects.occluded[i])),
            f"{objects.alpha[i]:.4f}",
            *(f"{value:.4f}" for value in box),
        ]
        if not np.isnan(objects.score[i]):
            words.append(f"{objects.score[i]:.6f}")
        lines.append(" ".join(words) + "\n")
    return "".join(lines)


def _check_writable(name: str, numbers: Sequence[float]) -> None:
    if name.split() != [name]:
        raise PerceptionError(
            f"the class {name!r}", "one word, as KITTI's lines are split at spaces", "rename the class"
        )
    if not np.isfinite(numbers).all():
        raise PerceptionError(f"a {name} with values that are not finite", "finite numbers", "drop this object first")


def _numbers(words: Sequence[str], where: str) -> list[float]:
    if len(words) not in (WORDS, WORDS + 1):
        raise PerceptionError(
            f"{where}: {len(words)} words, beginning {' '.join(words)[:60]!r}",
            f"{WORDS} words: class, truncation, occlusion, alpha, bbox, size, location, rotation; or a score as well",
            "check that this is a KITTI label or result file",
        )
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        values = [float("nan")]
    if not np.isfinite(values).all():
        raise PerceptionError(f"{where}: {' '.join(words)[:80]!r}", "a class and finite numbers", "correct the line")
    if values[1] != int(values[1]) or abs(values[1]) > OCCLUSION_LIMIT:
        raise PerceptionError(
            f"{where}: occlusion {words[2][:20]}",
            "0, 1, 2 or 3, or -1 for unknown",
            "correct the third word of the line",
        )
    return values if len(values) == WORDS else [*values, float("nan")]
