"""Tree and class of every point of a forest, written tile by tile and read in the order of the files, in little memory.

A memory map would be touched all over by each tile, and a full disk would end the process. Here entries are appended to
buckets of a million points, and a bucket is put in order when it is read.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.errors import PerceptionError

BUCKET = 1_000_000
_ENTRY = np.dtype([("row", "<u4"), ("tree", "<i4"), ("semantic", "u1")])


class PointLabels:
    """``points`` entries in ``folder``; each point must be given once before it is read."""

    def __init__(self, folder: Path, points: int) -> None:
        self.folder, self.points = folder, points
        self._number = -1
        self._bucket = np.zeros(0, _ENTRY)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)

    def add(self, index: np.ndarray, tree: np.ndarray, semantic: np.ndarray) -> None:
        """``index`` (n,) of points in all files; ``tree`` (n,) from 0, -1 for none; ``semantic`` (n,)."""
        order = np.argsort(index // BUCKET, kind="stable")
        bucket = (index // BUCKET)[order]
        entries = np.empty(len(index), _ENTRY)
        entries["row"], entries["tree"], entries["semantic"] = (index % BUCKET)[order], tree[order], semantic[order]
        starts = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]])[: len(bucket)])
        for start, end in zip(starts, np.append(starts[1:], len(bucket))):
            path = self._path(int(bucket[start]))
            try:
                with open(path, "ab") as file:
                    file.write(entries[start:end].tobytes())
            except OSError as error:
                raise PerceptionError(
                    f"{path} cannot be written: {error.strerror or error}",
                    f"room for {self.points * _ENTRY.itemsize / 1e9:.1f} GB",
                    "free space on the disk, and start again: the run goes on where it was",
                ) from None

    def read(self, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Tree and semantic of the points from ``start`` to ``end``."""
        parts = []
        for number in range(start // BUCKET, -(-end // BUCKET)):
            first = number * BUCKET
            parts.append(self._ordered(number)[max(start - first, 0) : min(end - first, BUCKET)])
        whole = np.concatenate([np.zeros(0, _ENTRY), *parts])
        return whole["tree"], whole["semantic"]

    def _ordered(self, number: int) -> np.ndarray:
        if number == self._number:
            return self._bucket
        size = min(BUCKET, self.points - number * BUCKET)
        path = self._path(number)
        entries = np.fromfile(path, _ENTRY) if path.is_file() else np.zeros(0, _ENTRY)
        ordered, given = np.empty(size, _ENTRY), np.zeros(size, bool)
        if len(entries) != size or (entries["row"] >= size).any():
            raise PerceptionError(f"{path} holds {len(entries)} points", f"{size}", "start again")
        ordered[entries["row"]] = entries
        given[entries["row"]] = True
        if not given.all():
            raise PerceptionError(f"{path} lacks {int((~given).sum())} points", "each point once", "start again")
        self._number, self._bucket = number, ordered
        return ordered

    def _path(self, number: int) -> Path:
        return self.folder / f"labels_{number:06d}.bin"


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """A dimension of one file, ``first`` its first point among all: ``of_tree`` (T + 1,) by the tree, the last for no
    tree; without it the semantic class, 1 for all points of trees that ``kept`` (T + 1,) keeps."""

    labels: PointLabels
    first: int
    points: int
    kept: np.ndarray
    of_tree: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.points,)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8) if self.of_tree is None else self.of_tree.dtype

    def __getitem__(self, part: slice, /) -> Any:
        start, end, _ = part.indices(self.points)
        tree, semantic = self.labels.read(self.first + start, self.first + end)
        if self.of_tree is not None:
            return self.of_tree[tree]
        return np.where(self.kept[tree], np.uint8(1), semantic)
