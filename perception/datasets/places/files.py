"""Places recorded as one file each: what all data sets on disk come down to."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from perception.datasets.places.sample import PlaceSample, PlaceTable
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.io.source import checked_file
from perception.points import PointCloud

_MOST_BYTES = 512 << 20


class FilePlaces:
    """Clouds in ``files`` and their ``table``; ``read`` opens one."""

    def __init__(
        self,
        root: str | Path,
        files: Sequence[Path],
        table: PlaceTable,
        read: Callable[[Path], PointCloud] = read_points,
    ) -> None:
        if len(files) != len(table):
            raise PerceptionError(f"{len(files)} clouds with {len(table)} positions", "a position for each")
        self.root, self.files, self._table, self._read = Path(root), list(files), table, read

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> PlaceSample:
        cloud = self._read(self.files[index])
        table = self._table
        return PlaceSample(self.identifiers[index], cloud, table.positions[index], int(table.regions[index]))

    @property
    def table(self) -> PlaceTable:
        return self._table

    @property
    def identifiers(self) -> list[str]:
        return [file.relative_to(self.root).with_suffix("").as_posix() for file in self.files]


def read_submap(path: Path) -> PointCloud:
    """A submap of PointNetVLAD's format: float64 x y z in [-1, 1], the ground left out already; usually 4096 points."""
    path, size = checked_file(path)
    if not size or size % 24 or size > _MOST_BYTES:
        raise PerceptionError(f"{path} has {size} bytes", "float64 x y z: 24 bytes a point")
    values = np.fromfile(path, "<f8").reshape(-1, 3)
    if not np.isfinite(values).all() or np.abs(values).max() > 1e6:
        raise PerceptionError(f"{path} holds no coordinates", "float64 x y z", "is it a scan of float32 values?")
    return PointCloud(values)


def read_scan(path: Path) -> PointCloud:
    """A scan of float32 x y z intensity, as in KITTI and MulRan."""
    return read_points(path, format="kitti")


def read_table(path: Path, columns: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """Time stamps as written, and columns as numbers (N, C), of a csv file that begins with their names.

    Each entry of ``columns`` lists the names that a column may have. PerceptionError names the line that is wrong.
    """
    checked_file(path)
    stamps, rows = [], []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            places = [_column(header, names, path) for names in columns]
            stamp = _column(header, ("timestamp", "file"), path)
            for number, row in enumerate(reader, 2):
                if not row:
                    continue
                try:
                    rows.append([float(row[place]) for place in places])
                    stamps.append(row[stamp].strip())
                except (ValueError, IndexError):
                    raise PerceptionError(f"{path}, line {number}: {','.join(row)[:80]}", "numbers") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PerceptionError(f"{path} is no readable csv file: {error}", "text with commas") from None
    return stamps, np.array(rows, np.float64).reshape(len(rows), len(columns))


def _column(header: Sequence[str], names: Sequence[str], path: Path) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise PerceptionError(f"{path} has the columns {list(header)[:12]}", f"a column {' or '.join(names)}")


def folders_of(root: str | Path, runs: Sequence[str] | None, holding: str) -> list[Path]:
    """Folders below ``root`` that hold a file or folder of this name; ``runs`` chooses among them and orders them."""
    base = Path(root)
    if not base.is_dir():
        raise PerceptionError(f"no folder {base}", "the root of the data set", "correct the path")
    names = (
        runs if runs is not None else sorted(folder.name for folder in base.iterdir() if (folder / holding).exists())
    )
    absent = [name for name in names if not (base / name / holding).exists()]
    if absent or not names:
        raise PerceptionError(
            f"{base} has no folder {absent[0] if absent else '*'} with {holding}", "one folder for each run", "check it"
        )
    return [base / name for name in names]
