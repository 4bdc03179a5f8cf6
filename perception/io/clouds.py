"""Read, describe and write point clouds of any supported format; the content of a file decides, then its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.errors import PerceptionError, nearest
from perception.io.arrays import read_npy, read_npz
from perception.io.feather import read_feather
from perception.io.las import read_las
from perception.io.las_header import LasHeader, read_las_header
from perception.io.pcd import read_pcd
from perception.io.ply import read_ply
from perception.io.raw import guess, read_kitti, read_nclt, read_nuscenes, read_raw
from perception.io.source import PathLike, checked_file, first_bytes
from perception.points import PointCloud

READERS: dict[str, Callable[..., PointCloud]] = {
    "las": read_las,
    "pcd": read_pcd,
    "ply": read_ply,
    "npy": read_npy,
    "npz": read_npz,
    "feather": read_feather,
    "kitti": read_kitti,
    "nuscenes": read_nuscenes,
    "nclt": read_nclt,
    "raw": read_raw,
}
SUFFIXES = {
    ".las": "las", ".laz": "las", ".pcd": "pcd", ".ply": "ply", ".npy": "npy", ".npz": "npz", ".feather": "feather",
}  # fmt: skip
BEGINNINGS = {b"LASF": "las", b"ply\n": "ply", b"ply\r": "ply", b"ARROW1": "feather", b"\x93NUMPY": "npy", b"PK": "npz"}


@dataclass(frozen=True)
class CloudSummary:
    """What a file holds: ``fields`` name -> dtype, ``extent`` ((x, y, z) lowest, highest) in the file's coordinates.

    ``crs`` is the coordinate reference system as the file states it (an EPSG code or WKT), ``problems`` what is odd
    about the file without making it unreadable.
    """

    path: Path
    format: str
    version: str
    size: int
    points: int
    fields: Mapping[str, str]
    extent: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    crs: str | None = None
    dropped: int = 0
    problems: tuple[str, ...] = ()


def read_points(path: PathLike, *, format: str | None = None, **options: Any) -> PointCloud:
    """The point cloud in a file.

    Formats: LAS 1.0-1.4, LAZ and COPC ("las"); "pcd"; "ply"; "npy"; "npz"; Argoverse 2 ("feather"); headerless binary
    files: "kitti" (float32 x y z intensity), "nuscenes" (and ring), "nclt", "raw" (any ``columns``). ``format`` is
    found from the content and the name unless given. ``options``: ``columns`` and ``dtype`` for headerless files,
    ``columns`` for arrays, ``origin`` for LAS.

    Coordinates are float32 relative to ``PointCloud.origin``; that is zero unless they would lose precision.
    Non-finite points are left out and counted in ``dropped``. Raises PerceptionError for a file that is missing, empty,
    cut short, damaged or of columns that do not fit; never returns fewer points than the file announces otherwise.
    """
    path, _ = checked_file(path)
    name = _known(format) if format is not None else _format(path, options)
    reader = READERS[name]
    _check_options(name, reader, options)
    try:
        return reader(path, **options)
    except MemoryError:
        raise PerceptionError(
            f"{path} does not fit into memory", "a smaller cloud", "cut the file into tiles"
        ) from None
    except OSError as error:
        raise PerceptionError(f"{path} cannot be read: {error}", "a readable file", "check the disk") from None


def describe(path: PathLike, *, format: str | None = None, **options: Any) -> CloudSummary:
    """A summary of a file: LAS and LAZ from their checked header alone, the others by reading them."""
    path, size = checked_file(path)
    name = _known(format) if format is not None else _format(path, options)
    if name == "las":
        return _describe_las(read_las_header(path), size)
    cloud = read_points(path, format=name, **options)
    fields = dict.fromkeys("xyz", "float32") | {n: str(values.dtype) for n, values in cloud.fields.items()}
    version = str(cloud.metadata.get("version", cloud.metadata.get("encoding", "")))
    problems = (f"{cloud.dropped:,} points with non-finite coordinates",) if cloud.dropped else ()
    extent = _extent(cloud.origin + cloud.xyz.min(axis=0), cloud.origin + cloud.xyz.max(axis=0)) if len(cloud) else None
    return CloudSummary(path, name, version, size, len(cloud), fields, extent, None, cloud.dropped, problems)


def _describe_las(header: LasHeader, size: int) -> CloudSummary:
    return CloudSummary(
        header.path,
        header.kind,
        header.version,
        size,
        header.points,
        header.fields,
        _extent(header.minimum, header.maximum) if header.points else None,
        header.crs,
        problems=header.problems,
    )


def _extent(low: np.ndarray, high: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(low.tolist()), tuple(high.tolist())


def _format(path: Path, options: Mapping[str, Any]) -> str:
    start = first_bytes(path, 4096)
    for beginning, name in BEGINNINGS.items():
        if start.startswith(beginning):
            return name
    if _is_pcd(start):
        return "pcd"
    suffix = path.suffix.lower()
    if suffix == ".bin":
        return "raw" if "columns" in options and "dtype" not in options else guess(path)
    expected = SUFFIXES.get(suffix)
    raise PerceptionError(
        f"{path} begins with {start[:8]!r}" + (f", which no {suffix} file does" if expected else ""),
        f"a file of the format {expected!r}" if expected else f"one of the formats {', '.join(READERS)}",
        "download or convert the file again" if expected else "pass format= if you know it",
    )


def _is_pcd(start: bytes) -> bool:
    for line in start.decode("latin1").splitlines():
        if line.strip() and not line.startswith("#"):
            return line.split()[0].upper() in ("VERSION", "FIELDS", "COLUMNS")
        if line.upper().replace(" ", "").startswith("#.PCD"):
            return True
    return False


def _known(name: str) -> str:
    name = {"laz": "las", "copc": "las"}.get(name, name)
    if name not in READERS:
        raise PerceptionError(f"unknown format {name!r}", f"one of {', '.join(READERS)}", nearest(name, READERS))
    return name


def _check_options(name: str, reader: Callable[..., PointCloud], options: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(reader).parameters.values())[1:]
    known = [p.name for p in parameters]
    for option in options:
        if option not in known:
            hint = nearest(option, known) if known else "leave it out"
            raise PerceptionError(f"option {option!r} for the format {name!r}", f"one of {known or 'none'}", hint)
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.name not in options:
            raise PerceptionError(
                f"the format {name!r} without {parameter.name}=",
                f"the option {parameter.name}",
                f'for example {parameter.name}=("x", "y", "z", "intensity")',
            )
