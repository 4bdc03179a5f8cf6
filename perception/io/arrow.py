"""Columns of Apache Arrow files (Feather, Parquet), checked: present, of the expected kind, without gaps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from perception.errors import PerceptionError, missing_extra
from perception.io.source import checked_file

Kind = Literal["integer", "number", "text"]
_KINDS: dict[str, str] = {"integer": "iu", "number": "iuf", "text": "OUT"}


def read_feather_columns(path: str | Path, columns: Mapping[str, Kind], what: str) -> dict[str, np.ndarray]:
    """The named ``columns`` of a Feather file, integers as int64, numbers as float64 and text as str.

    ``what`` names the expected content in errors. Raises PerceptionError for damaged files, absent columns, columns of
    another kind, missing values and numbers that are not finite.
    """
    path, _ = checked_file(path)
    with arrow_errors(path, "a Feather file", "argoverse"):
        from pyarrow import feather

        table = feather.read_table(str(path), memory_map=False)
        table.validate(full=True)
    return table_columns(table, columns, path, what)


def table_columns(table: Any, columns: Mapping[str, Kind], where: object, what: str) -> dict[str, np.ndarray]:
    """As ``read_feather_columns``, of a pyarrow table."""
    absent = [name for name in columns if table.column_names.count(name) != 1]
    if absent:
        raise PerceptionError(
            f"{where} has the columns {', '.join(table.column_names)[:300] or '(none)'}, without one {absent[0]}",
            f"{what}: {', '.join(columns)}",
            "check that it is the right file of the published data set",
        )
    return {name: _values(table.column(name), name, kind, where, what) for name, kind in columns.items()}


def rows_by_value(values: np.ndarray) -> dict[int, np.ndarray]:
    """Rows at which each integer occurs, ascending."""
    order = np.argsort(values, kind="stable")
    found, first = np.unique(values[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, first[1:])))


@contextlib.contextmanager
def arrow_errors(path: object, expected: str, extra: str) -> Iterator[None]:
    """Errors of pyarrow as PerceptionError; ``extra`` is the one that installs it."""
    try:
        yield
    except PerceptionError:
        raise
    except ImportError as error:
        if not (error.name or "").startswith("pyarrow"):
            raise
        raise missing_extra("pyarrow", extra) from None
    except Exception as error:  # pyarrow raises its own, KeyError, OSError and MemoryError alike on damaged files
        reason = " ".join(str(error).split())[:200]
        raise PerceptionError(f"{path} is no readable Arrow table: {reason}", expected, "copy it again") from None


def _values(column: Any, name: str, kind: Kind, where: object, what: str) -> np.ndarray:
    if column.null_count:
        raise PerceptionError(f"{where}: {column.null_count} values of {name} are missing", what, "copy it again")
    values: np.ndarray = np.asarray(column.to_numpy())
    if len(values) and values.dtype.kind not in _KINDS[kind]:
        raise PerceptionError(f"{where}: column {name} is {column.type}", f"{what}, with {name} as {kind}", "")
    if kind == "text":
        return values.astype(str) if len(values) else np.zeros(0, str)
    if kind == "integer":
        return values.astype(np.int64)
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise PerceptionError(f"{where}, row {row}: {name} is {values[row]}", f"{what}, finite", "copy it again")
    return values
