"""Rows of large Parquet files, a few at a time: never more decoded at once than a handful of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perception.errors import PerceptionError
from perception.io.arrow import Kind, arrow_errors, table_columns
from perception.io.source import checked_file

_EXPECTED = "a Parquet file"
_BUFFER = 1 << 20


class ParquetRows:
    """Rows of a Parquet file by number, chosen ``columns`` of them; ``what`` names the content in errors.

    Going forward decodes each row once, ``at_once`` at a time; going back further than these starts again at the row
    group, so that random reading of large rows is fast only in files with small row groups. Files are opened when first
    read, by each process for itself.
    Raises PerceptionError where the file is damaged or lacks a column.
    """

    def __init__(self, path: str | Path, columns: tuple[str, ...], what: str, extra: str, at_once: int = 5) -> None:
        self.path, _ = checked_file(path)
        self.columns, self.what, self.extra, self.at_once = columns, what, extra, at_once
        self._opened: tuple[int, Any, np.ndarray] | None = None
        self._stream: _Stream | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_stream": None}

    def keys(self, kinds: Mapping[str, Kind]) -> dict[str, np.ndarray]:
        """Whole small columns, without missing values; the others stay unread."""
        with arrow_errors(self.path, _EXPECTED, self.extra):
            file, _ = self._file()
            self._check(file, tuple(kinds))
            table = file.read(columns=list(kinds), use_threads=False)
        return table_columns(table, kinds, self.path, self.what)

    @property
    def count(self) -> int:
        """The number of rows."""
        with arrow_errors(self.path, _EXPECTED, self.extra):
            _, ends = self._file()
            return int(ends[-1]) if len(ends) else 0

    def rows(self, numbers: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number, values by column) of rows in ascending order; lists of numbers are arrays, missing values None."""
        with arrow_errors(self.path, _EXPECTED, self.extra):
            file, ends = self._file()
            self._check(file, self.columns)
            for number in np.sort(numbers).tolist():
                group = int(np.searchsorted(ends, number, side="right"))
                first = int(ends[group - 1]) if group else 0
                stream = self._stream
                if stream is None or stream.group != group or stream.first > number:
                    stream = self._stream = _Stream(file, group, first, self.columns, self.at_once)
                yield number, stream.row(number)

    def close(self) -> None:
        """Let go of the file and of what is decoded of it; the next reading opens it again."""
        self._opened, self._stream = None, None

    def _file(self) -> tuple[Any, np.ndarray]:
        """The file of this process, and the number of rows up to the end of each row group."""
        if self._opened is None or self._opened[0] != os.getpid():
            from pyarrow import parquet

            # A buffer makes the reader fetch pages as it decodes them, instead of whole column chunks.
            file = parquet.ParquetFile(str(self.path), buffer_size=_BUFFER, pre_buffer=False)
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            self._opened, self._stream = (os.getpid(), file, np.cumsum(sizes, dtype=np.int64)), None
        return self._opened[1], self._opened[2]

    def _check(self, file: Any, columns: tuple[str, ...]) -> None:
        present = file.schema_arrow.names
        absent = [name for name in columns if name not in present]
        if absent:
            raise PerceptionError(
                f"{self.path} has the columns {', '.join(present)[:300]}, without {absent[0]}",
                f"{self.what}, with {absent[0]}",
                "check that the file lies in the folder of its component",
            )


class _Stream:
    """One row group from its start on; ``first`` is the number of the first row still at hand."""

    def __init__(self, file: Any, group: int, first: int, columns: tuple[str, ...], at_once: int) -> None:
        self.group, self.first = group, first
        self._batch: Any = None
        self._batches = file.iter_batches(at_once, row_groups=[group], columns=list(columns), use_threads=False)

    def row(self, number: int) -> dict[str, Any]:
        while self._batch is None or number >= self.first + self._batch.num_rows:
            self.first += 0 if self._batch is None else self._batch.num_rows
            self._batch = None  # let go before the next is decoded
            self._batch = next(self._batches)
        at = number - self.first
        return {name: _plain(column[at]) for name, column in zip(self._batch.schema.names, self._batch.columns)}


def _plain(scalar: Any) -> Any:
    if not scalar.is_valid:
        return None
    values = getattr(scalar, "values", None)
    return scalar.as_py() if values is None else np.asarray(values.to_numpy(zero_copy_only=False))
