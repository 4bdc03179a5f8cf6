"""Argoverse 2 lidar sweeps: Apache Arrow (Feather version 2) tables.

The ego frame's x, y, z in metres as float16, with intensity, laser_number and offset_ns since the sweep's stamp
(Argoverse 2 user guide, sensor data set); the file's name is that stamp in nanoseconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perception.errors import PerceptionError, missing_extra
from perception.io.assemble import assemble
from perception.io.source import checked_file
from perception.points import PointCloud


def read_feather(path: Path) -> PointCloud:
    """A table with numeric columns x, y, z; every other numeric column becomes a field as it is."""
    path, _ = checked_file(path)
    try:
        from pyarrow import feather
    except ImportError:
        raise missing_extra("pyarrow", "argoverse") from None
    try:
        table = feather.read_table(str(path), memory_map=False)
        table.validate(full=True)
        columns = {name: table.column(name).to_numpy() for name in dict.fromkeys(table.column_names)}
    except Exception as error:  # pyarrow raises its own, KeyError, OSError and MemoryError alike on damaged files
        reason = " ".join(str(error).split())[:200]
        raise PerceptionError(
            f"{path} is no readable Arrow table: {reason}", "a Feather file", "copy it again"
        ) from None
    columns = {name: values for name, values in columns.items() if values.dtype.kind in "fiub"}
    stamp = int(path.stem) / 1e9 if path.stem.isdecimal() and len(path.stem) in range(15, 20) else None
    columns |= {axis: columns[axis].astype(np.float32) for axis in "xyz" if _is_half(columns.get(axis))}
    return assemble(columns, path=path, metadata={"format": "feather"}, frame="ego", stamp=stamp)


def _is_half(values: np.ndarray | None) -> bool:
    return values is not None and values.dtype == np.float16
