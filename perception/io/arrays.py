"""Clouds in NumPy's own files: .npy arrays and .npz archives, never with pickled objects."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from perception.errors import PerceptionError
from perception.io.assemble import assemble
from perception.io.source import checked_file, truncated
from perception.points import PointCloud

MOST_UNNAMED_COLUMNS = 32  # a wider array is a map or an image
COORDINATES = ("xyz", "points", "pts", "pc")
# A deflated archive can hold a thousand times its size; beyond this many bytes only modest ratios are believed.
FREE_BYTES, BELIEVED_RATIO = 256 << 20, 50


def read_npy(path: Path, *, columns: Sequence[str] | None = None) -> PointCloud:
    """An (N, C >= 3) array, an (H, W, C) range image (flattened row by row) or an array of records.

    Columns are x, y, z, then ``intensity`` and ``column_4``, ... unless ``columns`` names them ("_": leave out).
    """
    path, size = checked_file(path)
    with open(path, "rb") as file:
        values = _load(path, file, size, path.name)
    return assemble(_columns(path, values, columns), path=path, metadata=_facts("npy", values))


def read_npz(path: Path, *, columns: Sequence[str] | None = None) -> PointCloud:
    """An archive with an array named xyz or points, or with x, y, z; other arrays of the same length are fields."""
    path, _ = checked_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {m.filename.removesuffix(".npy"): _member(path, archive, m) for m in _members(path, archive)}
    except PerceptionError:
        raise
    except Exception as error:  # BadZipFile, zlib.error, lzma.LZMAError, EOFError, ... have no common base
        raise PerceptionError(f"{path} is a damaged archive: {error}", "an .npz file", "write it again") from None
    names = [name for name in COORDINATES if name in arrays]
    if names:
        values = arrays.pop(names[0])
        found, facts = _columns(path, values, columns), _facts("npz", values)
    elif {"x", "y", "z"} <= set(arrays):
        found, facts = {}, {"format": "npz"}
    else:
        raise PerceptionError(
            f"{path} holds the arrays {', '.join(arrays) or '(none)'}",
            "xyz or points of shape (N, 3 or more), or x, y and z",
            "save the coordinates under one of these names",
        )
    count = len(next(iter(found.values()))) if found else len(np.atleast_1d(arrays["x"]))
    origin, frame, stamp = (arrays.pop(name, None) for name in ("origin", "frame", "stamp"))
    found |= {name: a for name, a in arrays.items() if a.ndim >= 1 and len(a) == count}
    if not all(len(found.get(axis, ())) == count for axis in "xyz"):
        raise PerceptionError(f"{path} holds x, y and z of different lengths", "one value each a point")
    cloud = assemble(found, path=path, metadata=facts)
    if origin is not None and origin.shape == (3,) and origin.dtype.kind in "fiu" and np.isfinite(origin).all():
        cloud = replace(cloud, origin=cloud.origin + origin)
    if frame is not None and frame.dtype.kind == "U" and frame.ndim == 0:
        cloud = replace(cloud, frame=str(frame))
    if stamp is not None and stamp.dtype.kind == "f" and stamp.ndim == 0:
        cloud = replace(cloud, stamp=float(stamp))
    return cloud


def _columns(path: Path, values: np.ndarray, columns: Sequence[str] | None) -> dict[str, np.ndarray]:
    if values.dtype.names:
        return {name: values.reshape(-1)[name] for name in values.dtype.names}
    if values.ndim not in (2, 3) or values.shape[-1] < 3 or values.dtype.kind not in "fiu":
        raise PerceptionError(
            f"{path} holds an array of shape {values.shape}, {values.dtype}",
            "(N, 3 or more) or (H, W, 3 or more) numbers",
            "save one row a point: x, y, z and further values",
        )
    width = values.shape[-1]
    if width > MOST_UNNAMED_COLUMNS and not columns:
        raise PerceptionError(f"{path} has {width} columns", "x, y, z and a few values a point", "pass columns=")
    names = (
        list(columns) if columns else ["x", "y", "z", "intensity", *(f"column_{i}" for i in range(4, width))][:width]
    )
    if len(names) != width:
        raise PerceptionError(f"{path} has {width} columns", f"{len(names)}, as columns= names", "name every column")
    rows = values.reshape(-1, width)
    return {name: rows[:, number] for number, name in enumerate(names) if name != "_"}


def _facts(name: str, values: np.ndarray) -> dict[str, object]:
    return {"format": name, "shape": values.shape}


def _load(path: Path, file: IO[bytes], size: int, name: str) -> np.ndarray:
    """One array of ``size`` bytes in all, its header checked against that size before anything is allocated."""
    try:
        major, _minor = np.lib.format.read_magic(file)
        read: Any = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception as error:
        raise PerceptionError(
            f"{path}: {name} has a damaged header ({error})", "an .npy array", "save it again"
        ) from None
    if dtype.hasobject:
        raise PerceptionError(
            f"{path}: {name} holds pickled objects", "numbers", "save a plain array: pickles can run foreign code"
        )
    count = 1
    for length in shape:
        count *= int(length)
    needed, present = count * dtype.itemsize, size - file.tell()
    if needed > present or min(shape, default=0) < 0:
        raise truncated(path, f"the values of {name}", needed, present)
    data = file.read(needed)
    if len(data) < needed:
        raise truncated(path, f"the values of {name}", needed, len(data))
    values = np.frombuffer(data, dtype, count) if dtype.itemsize else np.zeros(count, dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def _members(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
    total, packed = sum(m.file_size for m in members), sum(m.compress_size for m in members)
    if total > FREE_BYTES and total > BELIEVED_RATIO * packed:
        raise PerceptionError(
            f"{path} unpacks {packed:,} bytes to {total:,}", f"at most {BELIEVED_RATIO} times its size", "repack it"
        )
    return members


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return _load(path, file, member.file_size, member.filename)
