"""Tables of trees, one row each: CSV, GeoJSON (RFC 7946) and GeoPackage."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.io.geopackage import Column, write_geopackage
from perception.io.reference_systems import ReferenceSystem
from perception.trees.attributes import Tree

SUFFIXES = (".gpkg", ".csv", ".geojson")
COLUMNS = ("id", "x", "y", "z", "height", "crown_diameter", "crown_area", "volume", "points", "stem_diameter", "score")
INTEGERS = ("id", "points")


def check_table_name(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise PerceptionError(f"a table called {path}", f"a name that ends in {', '.join(SUFFIXES)}")


def write_tree_table(path: Path, trees: Sequence[Tree], system: ReferenceSystem | None) -> tuple[str, ...]:
    """Write by the suffix of ``path``; answers what the reader should know (coordinates that stayed local).

    x, y, z are those of the tree's foot in the files' coordinates; all else is in metres, square and cubic metres. A
    stem diameter that could not be measured is empty.
    """
    check_table_name(path)
    digits = 8 if system is not None and system.degrees else 3  # a millimetre
    rows = [_row(tree, digits) for tree in trees]
    kind = path.suffix.lower()
    if kind == ".csv":
        _write_csv(path, rows, system)
        return ()
    if kind == ".geojson":
        return _write_geojson(path, rows, system)
    columns = [Column(name, "INTEGER" if name in INTEGERS else "REAL") for name in COLUMNS if name != "id"]
    write_geopackage(path, "trees", columns, rows, system)
    return (
        () if system is not None else (f"{path.name} has no reference system: the files name none (--crs gives one)",)
    )


def _row(tree: Tree, digits: int) -> dict[str, float | int | None]:
    stem = None if math.isnan(tree.stem_diameter) else round(tree.stem_diameter, 3)
    return {
        "id": tree.tree_id,
        "x": round(tree.x, digits),
        "y": round(tree.y, digits),
        "z": round(tree.z, 3),
        "height": round(tree.height, 2),
        "crown_diameter": round(tree.crown_diameter, 2),
        "crown_area": round(tree.hull_area, 2),
        "volume": round(tree.volume, 3),
        "points": tree.points,
        "stem_diameter": stem,
        "score": round(tree.score, 4),
    }


def _write_csv(path: Path, rows: Sequence[dict[str, float | int | None]], system: ReferenceSystem | None) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, (*COLUMNS, "crs"), lineterminator="\n")
    writer.writeheader()
    name = system.name if system is not None else ""
    writer.writerows({**row, "crs": name} for row in rows)
    with write_atomically(path, "w") as file:
        file.write(buffer.getvalue())


def _write_geojson(
    path: Path, rows: Sequence[dict[str, float | int | None]], system: ReferenceSystem | None
) -> tuple[str, ...]:
    xy = np.array([[row["x"], row["y"]] for row in rows], np.float64).reshape(-1, 2)
    places = system.longitude_latitude(xy) if system is not None else None
    if places is not None and not np.isfinite(places).all():
        places = None
    local = places is None
    shown = xy if places is None else np.round(places, 8)  # a millimetre
    features = [
        {
            "type": "Feature",
            "id": row["id"],
            "geometry": {"type": "Point", "coordinates": place},
            "properties": dict(row),
        }
        for row, place in zip(rows, shown.tolist())
    ]
    content: dict[str, object] = {"type": "FeatureCollection", "features": features}
    # Members that the standard does not know are allowed; its "crs" of old is not.
    content["source_crs"] = system.name if system is not None else None
    if local:
        content["coordinates"] = "local: not longitude and latitude"
    with write_atomically(path, "w") as file:
        json.dump(content, file, allow_nan=False)
    if not local:
        return ()
    why = "names no reference system" if system is None else "has a reference system that is not understood"
    return (f"{path.name} has local coordinates, which is not GeoJSON's rule: the input {why}",)
