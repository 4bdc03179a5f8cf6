"""Nearest vectors among many: exactly while there are few, by a graph (usearch, HNSW) from then on.

A stored graph is checked before native code walks it: a damaged or forged one is an error, never a crash.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from perception.errors import PerceptionError, missing_extra

EXACT = 20_000
"""Vectors up to which all distances are worked out: some milliseconds for a query, and no approximation."""
CONNECTIVITY = 16
SEARCHED = 256
"""Nodes that a query keeps in sight; usearch's own 64 lost 24 of 100 revisits among a million random vectors."""
ONE_THREAD = 100_000
_HEAD = 64  # bytes of usearch's description of what follows
_SIZES = 40  # count, connectivity, connectivity of the lowest level, highest level, entry: 5 x uint64
_ROWS = 1 << 16  # nodes that are checked at once


class VectorIndex:
    """``vectors`` (N, D) float32 by euclidean distance."""

    def __init__(self, vectors: np.ndarray, graph: Any = None) -> None:
        self.vectors = np.ascontiguousarray(vectors, np.float32)
        self._graph = graph
        self._squares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (Q, K) int64 and distances (Q, K) float32, nearest first; K is ``k`` or as many as there are."""
        queries = np.ascontiguousarray(queries, np.float32).reshape(-1, self.vectors.shape[1])
        k = min(k, len(self))
        if len(self) <= EXACT:
            return self._exact(queries, k)
        found = self.graph.search(queries, k, threads=1 if len(queries) < 64 else 0)
        rows = np.asarray(found.keys, np.int64).reshape(len(queries), k)
        return rows, np.sqrt(np.maximum(np.asarray(found.distances, np.float32), 0)).reshape(len(queries), k)

    @property
    def graph(self) -> Any:
        """The graph, made when it is first needed."""
        if self._graph is None:
            self._graph = _empty_graph(self.vectors.shape[1])
            _grow(self._graph, 0, self.vectors)
        return self._graph

    def extended(self, vectors: np.ndarray) -> VectorIndex:
        """With more vectors after those that there are; a graph that exists grows, it is not made again."""
        joined = np.concatenate([self.vectors, np.asarray(vectors, np.float32)])
        if self._graph is None:
            return VectorIndex(joined)
        _grow(self._graph, len(self), joined[len(self) :])
        return VectorIndex(joined, self._graph)

    def to_bytes(self) -> np.ndarray | None:
        """The graph with its vectors as bytes; None for so few vectors that it is not needed."""
        return None if len(self) <= EXACT else np.frombuffer(self.graph.save(None), np.uint8)

    @classmethod
    def from_bytes(cls, stored: np.ndarray, count: int, size: int) -> VectorIndex:
        """The inverse of ``to_bytes``, for ``count`` vectors of ``size`` numbers; PerceptionError for what is none."""
        keys = check_graph(stored, count, size)
        vectors = np.empty((count, size), np.float32)
        vectors[keys] = stored[8 : 8 + 4 * count * size].view("<f4").reshape(count, size)
        if not np.isfinite(vectors).all():
            raise _damaged("vectors that are not finite")
        graph = _empty_graph(size)
        graph.load(stored.tobytes())
        graph.expansion_search = SEARCHED  # the file remembers usearch's own
        if len(graph) != count or graph.ndim != size:
            raise _damaged(f"{len(graph)} vectors of {graph.ndim} numbers")
        return cls(vectors, graph)

    def _exact(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if self._squares is None:
            self._squares = (self.vectors.astype(np.float64) ** 2).sum(1)
        rows = np.zeros((len(queries), k), np.int64)
        distances = np.zeros((len(queries), k), np.float32)
        for number, query in enumerate(queries):
            rough = self._squares - 2 * (self.vectors @ query)
            some = min(k + 8, len(rough))
            near = np.sort(np.argpartition(rough, some - 1)[:some])
            # Products of matrices lose half of the digits of small distances.
            exact = np.linalg.norm(self.vectors[near].astype(np.float64) - query, axis=1)
            order = np.argsort(exact, kind="stable")[:k]
            rows[number], distances[number] = near[order], exact[order]
        return rows, distances


def _grow(graph: Any, first: int, vectors: np.ndarray) -> None:
    """One thread makes the same graph each time, many are worth it where it would take minutes."""
    rows = np.arange(first, first + len(vectors), dtype=np.uint64)
    graph.add(rows, vectors, threads=1 if len(rows) < ONE_THREAD else 0)


def _empty_graph(size: int) -> Any:
    try:
        from usearch.index import Index
    except ImportError:
        raise missing_extra("usearch", "places") from None
    return Index(ndim=size, metric="l2sq", dtype="f32", connectivity=CONNECTIVITY, expansion_search=SEARCHED)


def check_graph(stored: np.ndarray, count: int, size: int) -> np.ndarray:
    """The rows of a graph's vectors, in its own order; PerceptionError unless every link of it leads to a node.

    ``stored`` is what usearch wrote, as bytes.

    The layout: rows and bytes a row, the vectors; a head that names the numbers' kinds; five sizes; the highest level
    of each node (int16); and of each node its key, level, and for each level a count and that many slots.
    """
    start = 8 + 4 * count * size
    if len(stored) < start + _HEAD + _SIZES + 2 * count or struct.unpack("<II", stored[:8].tobytes()) != (
        count,
        4 * size,
    ):
        raise _damaged(f"{len(stored):,} bytes")
    if stored[start : start + 7].tobytes() != b"usearch":
        raise _damaged("another head")
    nodes, upper, base, highest, entry = struct.unpack("<5Q", stored[start + _HEAD : start + _HEAD + _SIZES].tobytes())
    if (nodes, upper, base) != (count, CONNECTIVITY, 2 * CONNECTIVITY) or entry >= count or highest > 64:
        raise _damaged(f"{nodes} nodes of {upper} and {base} links, entry {entry}, level {highest}")
    start += _HEAD + _SIZES
    levels = stored[start : start + 2 * count].view("<i2").astype(np.int64)
    if levels.min() < 0 or levels.max() != highest or levels[entry] != highest:
        raise _damaged("levels that do not fit")
    start += 2 * count
    lengths = 10 + 4 * (base + 1) + levels * 4 * (upper + 1)
    ends = start + lengths.cumsum()
    if ends[-1] != len(stored):
        raise _damaged(f"{len(stored):,} bytes for {int(ends[-1]):,}")
    offsets, keys = ends - lengths, np.empty(count, np.uint64)
    for first in range(0, count, _ROWS):
        part = slice(first, min(first + _ROWS, count))
        heads = _take(stored, offsets[part], 10)
        keys[part] = np.ascontiguousarray(heads[:, :8]).view("<u8")[:, 0]
        own = np.ascontiguousarray(heads[:, 8:]).view("<i2")[:, 0]
        if (own != levels[part]).any():
            raise _damaged("nodes of other levels")
        _check_links(stored, offsets[part] + 10, base, count, levels, 0)
    for level in range(1, int(highest) + 1):
        rows = np.flatnonzero(levels >= level)
        _check_links(
            stored, offsets[rows] + 10 + 4 * (base + 1) + (level - 1) * 4 * (upper + 1), upper, count, levels, level
        )
    if (np.sort(keys) != np.arange(count, dtype=np.uint64)).any():
        raise _damaged("vectors of other rows")
    return keys.astype(np.int64)


def _check_links(
    stored: np.ndarray, offsets: np.ndarray, most: int, count: int, levels: np.ndarray, level: int
) -> None:
    """Links of some nodes on a level lead to nodes that are on it."""
    lists = np.ascontiguousarray(_take(stored, offsets, 4 * (most + 1))).view("<u4")
    if (lists[:, 0] > most).any():
        raise _damaged("a node with too many links")
    used = np.arange(most) < lists[:, :1]
    targets = lists[:, 1:][used]
    if (targets >= count).any() or (level and (levels[targets] < level).any()):
        raise _damaged("links that lead nowhere")


def _take(stored: np.ndarray, offsets: np.ndarray, width: int) -> np.ndarray:
    return stored[offsets[:, None] + np.arange(width)]


def _damaged(what: str) -> PerceptionError:
    return PerceptionError(f"the map's index is damaged: {what}", "the index that was saved", "build the map again")
