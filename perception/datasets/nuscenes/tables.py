"""The JSON tables of nuScenes, read record by record: parsed as a whole, those of trainval take ten gigabytes.

Source of the layout: the schema page of the nuScenes development kit.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.errors import PerceptionError

_CHUNK = 1 << 22  # characters
_LONGEST = 1 << 25  # no record of any published table is near this
_BETWEEN = re.compile(r"[\s,]*")
_UNPACK = "unpack the archive of tables (v1.0-*_meta) into the data set's root"


@dataclass(frozen=True, eq=False)
class Table:
    """Some columns of one table: ``rows`` maps tokens to row numbers, ``numbers`` and ``texts`` hold columns by key."""

    path: Path
    rows: Mapping[str, int]
    numbers: Mapping[str, np.ndarray]
    texts: Mapping[str, list[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def link(self, key: str, other: Table, optional: bool = False) -> np.ndarray:
        """Rows (N,) int64 of ``other`` that this table's ``key`` names; an empty token is -1 if it is ``optional``."""
        known = other.rows
        try:
            if optional:
                return np.fromiter((known[t] if t else -1 for t in self.texts[key]), np.int64, len(self))
            return np.fromiter((known[t] for t in self.texts[key]), np.int64, len(self))
        except KeyError as error:
            token = str(error.args[0])
            raise dangling(self.path, key, token, other.path) from None


def dangling(path: Path, key: str, token: str, other: Path) -> PerceptionError:
    """The error for a token that leads nowhere."""
    return PerceptionError(
        f"{path}: {key} {token[:80]!r} is not in {other.name}",
        "tokens of records that exist",
        "the tables are incomplete or of different versions: unpack them again",
    )


def read_table(
    folder: Path,
    name: str,
    numbers: Mapping[str, int] | None = None,
    texts: Sequence[str] = (),
    keep: Callable[[dict[str, Any]], bool] | None = None,
) -> Table:
    """Columns of ``name``.json: ``numbers`` by key and width (0 for a scalar), float64, and ``texts``.

    Of a list of tokens the first one is taken. ``keep`` chooses records. Raises PerceptionError that names table,
    record and key for whatever is missing, misshapen or not finite.
    """
    path = folder / f"{name}.json"
    columns = {key: array("d") for key in numbers or {}}
    words: dict[str, list[str]] = {key: [] for key in texts}
    rows: dict[str, int] = {}
    for record in read_records(path):
        try:
            if keep is not None and not keep(record):
                continue
            if record["token"] in rows:
                raise PerceptionError(f"{path} has the token {record['token']!r:.50} twice", "unique tokens", _UNPACK)
            rows[record["token"]] = len(rows)
            for key, width in (numbers or {}).items():
                value = record[key]
                columns[key].extend(value if width else (value,))
            for key in texts:
                text = record[key]
                words[key].append(text if isinstance(text, str) else (text[0] if text else ""))
        except (KeyError, TypeError, IndexError) as error:
            raise PerceptionError(
                f"{path}: record {record.get('token', len(rows))!r}: {type(error).__name__} {error}",
                f"the keys token, {', '.join([*(numbers or {}), *texts])}",
                "the table is damaged or of another data set",
            ) from None
    shaped = {key: _shaped(path, key, column, (numbers or {})[key], len(rows)) for key, column in columns.items()}
    return Table(path, rows, shaped, words)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a table, which is one JSON list of objects, a few megabytes of text at a time."""
    decode = json.JSONDecoder().raw_decode
    try:
        with path.open(encoding="utf-8") as file:
            buffer, place, more = file.read(_CHUNK).lstrip(), 1, True
            if not buffer.startswith("["):
                raise _broken(path, 0, "it does not begin with [")
            number = 0
            while True:
                place = _end(_BETWEEN, buffer, place)
                if buffer[place : place + 1] == "]":
                    return
                try:
                    record, place = decode(buffer, place)
                except ValueError as error:
                    chunk = file.read(_CHUNK) if more else ""
                    if not chunk or len(buffer) - place > _LONGEST:
                        raise _broken(path, number, f"{error}; the file may be cut short") from None
                    buffer, place = buffer[place:] + chunk, 0
                    continue
                if not isinstance(record, dict):
                    raise _broken(path, number, f"{record!r:.40} is no object")
                number += 1
                yield record
    except FileNotFoundError:
        raise PerceptionError(
            f"no table {path}", "all tables of nuScenes in the folder of the version", _UNPACK
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PerceptionError(f"{path} cannot be read: {error}", "a JSON table of nuScenes", _UNPACK) from None


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place


def _broken(path: Path, number: int, reason: str) -> PerceptionError:
    return PerceptionError(f"{path}, record {number}: {reason}", "a JSON list of objects", _UNPACK)


def _shaped(path: Path, key: str, column: array[float], width: int, length: int) -> np.ndarray:
    values = np.frombuffer(column, np.float64) if len(column) else np.zeros(0)
    if len(values) != length * max(width, 1):
        raise PerceptionError(
            f"{path}: {key} holds {len(values)} numbers in {length} records", f"{max(width, 1)} in each"
        )
    values = values.reshape(-1, width) if width else values
    if not np.isfinite(values).all():
        record = int(np.flatnonzero(~np.isfinite(values).reshape(length, -1).all(1))[0])
        raise PerceptionError(f"{path}: {key} of record {record} is {values[record].tolist()}", "finite numbers")
    return values
