"""Waymo's large tables with one row group a frame, so that training can read frames in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perception.datasets.waymo.segment import LASERS, STAMP
from perception.errors import PerceptionError
from perception.io.arrow import arrow_errors, rows_by_value
from perception.io.files import write_atomically
from perception.io.source import checked_file

LARGE = ("lidar", "lidar_pose")


def by_frame(path: str | Path) -> bool:
    """Write a table again, in its place and whole or not at all, with a row group for each frame; the rows stay.

    False, and nothing written, where it is so already. Holds the rows of frames that are still incomplete in memory: of
    one frame, where the rows of a frame lie together.
    """
    path, _ = checked_file(path)
    with arrow_errors(path, "a Parquet file", "waymo"):
        from pyarrow import parquet

        source = parquet.ParquetFile(str(path), buffer_size=1 << 20, pre_buffer=False)
        if STAMP not in source.schema_arrow.names:
            raise PerceptionError(f"{path} has no column {STAMP}", "a table of frames", "")
        stamps = source.read(columns=[STAMP], use_threads=False).column(0).to_numpy()
        awaited = {stamp: len(rows) for stamp, rows in rows_by_value(stamps).items()}
        if source.num_row_groups == len(awaited):
            return False
        with write_atomically(path) as file, parquet.ParquetWriter(file, source.schema_arrow) as writer:
            _copy(source, writer, awaited)
    return True


def _copy(source: Any, writer: Any, awaited: dict[int, int]) -> None:
    import pyarrow

    waiting: dict[int, list[Any]] = {}
    for batch in source.iter_batches(len(LASERS), use_threads=False):
        stamps = batch.column(batch.schema.get_field_index(STAMP)).to_numpy(zero_copy_only=False)
        for stamp, rows in rows_by_value(stamps).items():
            parts = waiting.setdefault(stamp, [])
            parts.append(batch.take(pyarrow.array(rows)))
            if sum(part.num_rows for part in parts) == awaited[stamp]:
                table = pyarrow.Table.from_batches(waiting.pop(stamp)).combine_chunks()
                writer.write_table(table, row_group_size=awaited[stamp])
