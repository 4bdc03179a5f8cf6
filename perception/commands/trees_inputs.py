"""The files of one forest: which they are, where their results go, that they share one reference system."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from perception.commands.inputs import find_inputs, output_folder
from perception.errors import PerceptionError
from perception.io.las_header import LasHeader, read_las_header
from perception.io.reference_systems import ReferenceSystem, reference_system_of
from perception.trees.forest.forest import METRES, Unit

DEGREE = 111_195.0  # metres of a degree on a sphere of 6,371 km
SUFFIXES = (".las", ".laz")


def forest_files(arguments: Sequence[str], errors: Console) -> list[LasHeader]:
    """The headers of all LAS and LAZ files, in the order of their names; other files in folders are passed over."""
    paths = [item.path for item in find_inputs(arguments)]
    named = {Path(argument) for argument in arguments}
    chosen = [path for path in paths if path.suffix.lower() in SUFFIXES or path in named]
    for path in chosen:
        if path.suffix.lower() not in SUFFIXES:
            raise PerceptionError(f"{path}", "LAS or LAZ files", "convert it to LAS first")
    if not chosen:
        raise PerceptionError("no LAS or LAZ files among the inputs", "files ending in .las or .laz", "check the path")
    # Results must not depend on the order in which files are named.
    headers = [read_las_header(path) for path in sorted(chosen, key=lambda path: (path.name, str(path)))]
    for header in headers:
        for problem in header.problems:
            errors.print(f"{header.path.name}: {problem}", markup=False)
    return headers


def forest_system(headers: Sequence[LasHeader], given: str | None) -> ReferenceSystem | None:
    """The one reference system of all files; ``given`` is that of files without one.

    Raises PerceptionError for different ones.
    """
    first: LasHeader | None = None
    system: ReferenceSystem | None = None
    for header in headers:
        text = header.crs or given
        own = reference_system_of(text)
        if first is None:
            first, system = header, own
        elif (own is None) != (system is None) or (own and system and not own.same_as(system)):
            raise PerceptionError(
                f"{first.path.name} in {_short(system)}, {header.path.name} in {_short(own)}",
                "files of one reference system",
                "bring them into one first (PDAL's filters.reprojection); --crs EPSG:N is for files that name none",
            )
    return system


def metres_in_a_step(headers: Sequence[LasHeader], system: ReferenceSystem | None) -> tuple[Unit, tuple[str, ...]]:
    """Metres in a step of x, y and z, and what to say about it.

    Degrees become metres on a sphere at the files' latitude: trees keep their sizes, kilometres are off by metres.
    """
    if system is None or not headers:
        return METRES, ()
    if not system.degrees:
        said = f"coordinates are in steps of {system.unit:.6g} m; heights and sizes are in metres"
        return (system.unit,) * 3, (said,) if system.unit != 1.0 else ()
    low, high = (np.array([getattr(header, end) for header in headers]) for end in ("minimum", "maximum"))
    low, high = low.min(0), high.max(0)
    if not (-360 <= low[0] <= high[0] <= 360 and -90 <= low[1] <= high[1] <= 90):
        return METRES, (f"{_short(system)} is in degrees, but the coordinates are not: they are taken for metres",)
    latitude = math.radians(round(float(low[1] + high[1]) / 2, 1))
    east = DEGREE * max(math.cos(latitude), 0.01)
    said = "coordinates are in degrees: heights and sizes are in metres, on a sphere at the latitude of the files"
    return (east, DEGREE, 1.0), (said,)


def out_files(headers: Sequence[LasHeader], out: Path) -> list[Path]:
    """Where the cloud of each file goes; folders are made, and inputs are never the outputs."""
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        if len(headers) > 1:
            raise PerceptionError(f"--out {out} for {len(headers)} files", "a folder", "leave out the suffix")
        output_folder(out.absolute().parent)
        targets = [out]
    else:
        if out.suffix and not out.is_dir():
            raise PerceptionError(f"--out {out}", "a name ending in .las or .laz, or a folder")
        output_folder(out)
        names = [header.path.name for header in headers]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise PerceptionError(f"two files called {twice}", "files of different names", "rename one of them")
        targets = [out / name.replace(".copc.laz", ".laz") for name in names]
    for header, target in zip(headers, targets):
        if target.resolve() == header.path.resolve():
            raise PerceptionError(f"{target} is the file that is read", "another --out")
    return targets


def _short(system: ReferenceSystem | None) -> str:
    return "no reference system" if system is None else system.name[:60]
