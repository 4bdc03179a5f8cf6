"""LAS files of any size as square tiles with a margin: sorted on disk once, then read one by one.

Memory depends on a chunk of the file and on the tile in hand, never on the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.io.las import record_chunks
from perception.io.las_header import LasHeader, read_las_header
from perception.points import PointCloud

MANIFEST = "tiles.json"
ROWS = 2_000_000  # of a tile that are read at once where the whole is not needed
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Tile:
    """A square of ``size`` metres whose lowest corner is ``start`` + (``column``, ``row``) times ``size``.

    ``points`` counts those of the square and of its margin.
    """

    column: int
    row: int
    size: float
    points: int
    start: tuple[float, float] = (0.0, 0.0)

    @property
    def name(self) -> str:
        return f"{self.column}_{self.row}"

    @property
    def centre(self) -> tuple[float, float]:
        """x y in the files' coordinates, in metres."""
        x, y = self.start
        return x + (self.column + 0.5) * self.size, y + (self.row + 0.5) * self.size


@dataclass(frozen=True, eq=False)
class TilePoints:
    """``cloud`` about the tile's centre; ``index`` (N,) int64 the place of each point in all files, one after the
    other; ``core`` (N,) bool: inside the tile itself, which each point is once."""

    tile: Tile
    cloud: PointCloud
    index: np.ndarray
    core: np.ndarray


class LasTiles:
    """Tiles of one or several files in one coordinate system, ascending by row and column.

    The grid begins at ``start``, the origin of the coordinates, so that neighbouring files share its lines. ``folder``
    takes about 40 bytes a point (and more for ``fields``, scalar dimensions to keep); tiles that are there from an
    earlier run over the same files and settings are used again. ``unit``: metres in a step of the files' x, y and z.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        folder: Path,
        size: float,
        margin: float,
        fields: Sequence[str] = (),
        progress: Progress | None = None,
        *,
        start: tuple[float, float] = (0.0, 0.0),
        unit: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        if not 0 <= margin < size / 2:
            raise PerceptionError(f"tiles of {size} m with a margin of {margin} m", "a margin below half the size")
        self.headers = [read_las_header(path) for path in paths]
        self.folder, self.size, self.margin, self.fields = folder, size, margin, tuple(fields)
        self.start, self.unit = start, unit
        self.points = sum(header.points for header in self.headers)
        for header in self.headers:
            _check_fields(header, self.fields)
        if not self._finished():
            self._sort(progress)
        counts = json.loads((folder / MANIFEST).read_text())["tiles"]
        places = [(int(row), int(column), n) for (column, row), n in ((k.split("_"), n) for k, n in counts.items())]
        self.tiles = [Tile(column, row, size, n, start) for row, column, n in sorted(places)]

    def __len__(self) -> int:
        return len(self.tiles)

    def read(self, tile: Tile) -> TilePoints:
        """The points of a tile and of its margin, in the order of the files."""
        rows = np.concatenate([np.zeros(0, self._dtype), *self.rows(tile)])
        xyz = rows["xyz"]
        core = (self.places(xyz) == (tile.column, tile.row)).all(1)
        base = math.floor(float(xyz[:, 2].min())) if len(rows) else 0
        origin = np.array([*tile.centre, base])
        cloud = PointCloud((xyz - origin).astype(np.float32), {n: rows[n] for n in self.fields}, origin, frame="map")
        return TilePoints(tile, cloud, rows["index"], core)

    def rows(self, tile: Tile, step: int = ROWS) -> Iterator[np.ndarray]:
        """The same in parts: records of ``xyz`` (3,) float64 in metres, ``index`` int64 and the fields."""
        path, size = self._file(tile.name), self._dtype.itemsize
        found = path.stat().st_size if path.is_file() else 0
        if found != tile.points * size:
            raise PerceptionError(
                f"{path} holds {found / size:g} points",
                f"{tile.points}, as sorted before",
                f"remove {self.folder} and start again",
            )
        with open(path, "rb") as file:
            for _ in range(0, tile.points, step):
                yield np.fromfile(file, self._dtype, step)

    def places(self, xyz: np.ndarray) -> np.ndarray:
        """Column and row (N, 2) of the tile that each point lies in."""
        return np.asarray(np.floor((xyz[:, :2] - self.start) / self.size))

    def __iter__(self) -> Iterator[TilePoints]:
        for tile in self.tiles:
            yield self.read(tile)

    @property
    def _dtype(self) -> np.dtype:
        kinds = [(name, _kind(self.headers, name)) for name in self.fields]
        return np.dtype([("xyz", "<f8", (3,)), ("index", "<i8"), *kinds])

    def _file(self, name: str) -> Path:
        return self.folder / f"tile_{name}.bin"

    def _sources(self) -> dict[str, object]:
        files = [[str(h.path.resolve()), h.path.stat().st_size, h.path.stat().st_mtime_ns] for h in self.headers]
        grid = {"size": self.size, "margin": self.margin, "start": list(self.start), "unit": list(self.unit)}
        return {"files": files, "fields": list(self.fields), **grid}

    def _finished(self) -> bool:
        try:
            found = json.loads((self.folder / MANIFEST).read_text())
        except (OSError, ValueError):
            return False
        return isinstance(found, dict) and found.get("sources") == self._sources()

    def _sort(self, progress: Progress | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for stale in self.folder.glob("tile_*.bin"):
            stale.unlink()
        counts: dict[str, int] = {}
        done = 0
        for header in self.headers:
            for records in record_chunks(header):
                rows = self._rows(header, records, done)
                for name, part in self._shares(rows):
                    try:
                        with open(self._file(name), "ab") as file:
                            file.write(part.tobytes())
                    except OSError as error:
                        raise PerceptionError(
                            f"{self._file(name)} cannot be written: {error}",
                            f"room for about {self.points * self._dtype.itemsize * 1.3 / 1e9:.1f} GB",
                            "free disk space, or choose another folder for the tiles",
                        ) from None
                    counts[name] = counts.get(name, 0) + len(part)
                done += len(records)
                if progress is not None:
                    progress(done, self.points)
        with write_atomically(self.folder / MANIFEST, "w") as file:
            json.dump({"sources": self._sources(), "tiles": counts}, file)

    def _rows(self, header: LasHeader, records: np.ndarray, done: int) -> np.ndarray:
        rows = np.empty(len(records), self._dtype)
        for axis, name in enumerate("XYZ"):
            rows["xyz"][:, axis] = (records[name] * header.scale[axis] + header.offset[axis]) * self.unit[axis]
        rows["index"] = np.arange(done, done + len(records))
        columns = header.layout.columns(records) if self.fields else {}
        for name in self.fields:
            rows[name] = columns[name]
        return rows

    def _shares(self, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """The rows of each tile: those inside it, and those of its margin, which are others' too."""
        xy = rows["xyz"][:, :2] - self.start
        low = np.floor((xy - self.margin) / self.size).astype(np.int64)
        high = np.floor((xy + self.margin) / self.size).astype(np.int64)
        members, tiles = [], []
        for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
            tile = low + np.array([x, y])
            member = np.flatnonzero((tile <= high).all(1))
            members.append(member)
            tiles.append(tile[member])
        member, tile = np.concatenate(members), np.concatenate(tiles)
        order = np.lexsort((member, tile[:, 0], tile[:, 1]))
        member, tile = member[order], tile[order]
        first = np.concatenate([[True], (tile[1:] != tile[:-1]).any(1)])[: len(tile)]
        starts = np.flatnonzero(first)
        for start, stop in zip(starts, np.append(starts[1:], len(tile))):
            column, row = tile[start].tolist()
            yield f"{column}_{row}", rows[member[start:stop]]


def _check_fields(header: LasHeader, fields: Sequence[str]) -> None:
    known = header.layout.columns(np.zeros(0, header.layout.dtype))
    for name in fields:
        if name not in known:
            raise PerceptionError(f"{header.path} has no dimension {name!r}", f"one of {', '.join(known)}")


def _kind(headers: Sequence[LasHeader], name: str) -> np.dtype:
    kinds = [header.layout.columns(np.zeros(0, header.layout.dtype))[name].dtype for header in headers]
    return np.result_type(*kinds)
