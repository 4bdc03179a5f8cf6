"""Write point clouds: KITTI .bin, .npz, .ply, .las and .laz, each whole or not at all."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from perception.errors import PerceptionError, nearest
from perception.io.files import PathLike, write_atomically
from perception.io.las_writer import write_las
from perception.points import PointCloud

PLY_TYPES = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float",
    "f8": "double",
}  # fmt: skip


def write_points(path: PathLike, cloud: PointCloud) -> None:
    """Write ``cloud`` in the format of the path's suffix; an existing file is replaced in one step.

    ``.bin``: x, y, z and intensity as float32 (KITTI), no other field and no origin. ``.npz``: everything but the
    metadata. ``.ply``: binary, doubles if the cloud has an origin. ``.las``, ``.laz``: the scale and offset the cloud
    was read with, or 0.1 mm; fields the standard does not know become extra bytes. Raises PerceptionError for a suffix
    that is none of these and for what a format cannot hold.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise PerceptionError(f"no writer for {path}", f"one of {', '.join(WRITERS)}", nearest(suffix, WRITERS))
    with write_atomically(path, "wb") as file:
        WRITERS[suffix](file, cloud)


def _write_kitti(file: IO[bytes], cloud: PointCloud) -> None:
    if "intensity" not in cloud.fields or cloud.origin.any():
        raise PerceptionError(
            "a cloud without the field intensity"
            if not cloud.origin.any()
            else f"a cloud about {cloud.origin.tolist()}",
            "x, y, z and intensity in a sensor's frame, all that a KITTI .bin file holds",
            "write .npz, .ply or .las, or add the field",
        )
    file.write(np.column_stack([cloud.xyz, cloud.fields["intensity"]]).astype("<f4").tobytes())


def _write_npz(file: IO[bytes], cloud: PointCloud) -> None:
    reserved = {"xyz": cloud.xyz, "origin": cloud.origin, "frame": np.array(cloud.frame)}
    if cloud.stamp is not None:
        reserved["stamp"] = np.array(cloud.stamp)
    taken = sorted(set(reserved) & set(cloud.fields))
    if taken:
        raise PerceptionError(f"a field called {taken[0]!r}", "names other than xyz, origin, frame, stamp", "rename it")
    # Written member by member: np.savez has parameters whose names a field may bear, and would pickle objects.
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in {**reserved, **cloud.fields}.items():
            if values.dtype.hasobject:
                raise PerceptionError(f"field {name!r} of Python objects", "numbers", "leave the field out")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(values), allow_pickle=False)


def _write_ply(file: IO[bytes], cloud: PointCloud) -> None:
    xyz = cloud.world() if cloud.origin.any() else cloud.xyz
    columns = {"x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2]}
    for name, values in cloud.fields.items():
        flat = values.reshape(len(cloud), math.prod(values.shape[1:]))
        name = "_".join(name.split()) or "field"
        for number in range(flat.shape[1]):
            column = name if values.ndim == 1 else f"{name}_{number}"
            if column in columns:
                raise PerceptionError(f"two columns called {column!r}", "different names", "rename a field")
            columns[column] = _ply_values(column, flat[:, number])
    records = np.empty(len(cloud), [(name, values.dtype.newbyteorder("<")) for name, values in columns.items()])
    for name, values in columns.items():
        records[name] = values
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud)}"]
    lines += [f"property {PLY_TYPES[values.dtype.str[1:]]} {name}" for name, values in columns.items()]
    file.write(("\n".join([*lines, "end_header"]) + "\n").encode("utf-8"))
    file.write(records.tobytes())


def _ply_values(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        # PLY has no 8-byte integers; a double holds whole numbers up to 2**53 exactly.
        if len(values) and max(abs(int(values.min())), abs(int(values.max()))) > 1 << 53:
            raise PerceptionError(f"field {name!r} with values beyond 2**53", "numbers a PLY file can hold", "use .npz")
        return values.astype(np.float64)
    if values.dtype.str[1:] not in PLY_TYPES:
        raise PerceptionError(f"field {name!r} of type {values.dtype}", "numbers", "leave the field out")
    return values


WRITERS: dict[str, Callable[[IO[bytes], PointCloud], None]] = {
    ".bin": _write_kitti,
    ".npz": _write_npz,
    ".ply": _write_ply,
    ".las": lambda file, cloud: write_las(file, cloud, compress=False),
    ".laz": lambda file, cloud: write_las(file, cloud, compress=True),
}
