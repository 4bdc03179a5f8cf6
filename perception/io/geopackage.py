"""GeoPackage files with one layer of points, written with SQLite alone.

Source: OGC 12-128r19, GeoPackage Encoding Standard 1.4: tables 1 to 4 of the annex with the definitions, and section
2.1.3 (the binary of a geometry).
"""

from __future__ import annotations

import datetime
import sqlite3
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perception.io.files import write_atomically
from perception.io.reference_systems import ReferenceSystem

APPLICATION, VERSION = 0x47504B47, 10400  # "GPKG", 1.4.0
UNDEFINED_FLAT, UNDEFINED_ROUND, WGS84 = -1, 0, 4326
OWN = 100_000  # number of a system without a code
WGS84_TEXT = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,'
    'AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]]'
)
TABLES = """
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '',
  last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL,
  z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
"""
Value = float | int | str | None


@dataclass(frozen=True)
class Column:
    """``kind``: INTEGER, REAL or TEXT."""

    name: str
    kind: str


def write_geopackage(
    path: Path,
    layer: str,
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Value]],
    system: ReferenceSystem | None,
) -> None:
    """Rows with ``id``, ``x`` and ``y`` beside the columns, as points in a layer; written whole or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "table.gpkg"
        database = sqlite3.connect(temporary)
        try:
            _fill(database, layer, columns, rows, system)
        finally:
            database.close()
        content = temporary.read_bytes()
    with write_atomically(path, "wb") as file:
        file.write(content)


def _fill(
    database: sqlite3.Connection,
    layer: str,
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Value]],
    system: ReferenceSystem | None,
) -> None:
    database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.execute(f"PRAGMA user_version = {VERSION}")
    database.executescript(TABLES)
    number = _add_systems(database, system)
    names = ", ".join(f'"{column.name}" {column.kind}' for column in columns)
    database.execute(f'CREATE TABLE "{layer}" (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POINT, {names})')
    x, y = ([float(row[axis] or 0) for row in rows] for axis in ("x", "y"))
    bounds = (min(x), min(y), max(x), max(y)) if rows else (None,) * 4
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    database.execute(
        "INSERT INTO gpkg_contents VALUES (?, 'features', ?, '', ?, ?, ?, ?, ?, ?)",
        (layer, layer, now, *bounds, number),
    )
    database.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'POINT', ?, 0, 0)", (layer, number))
    marks = ", ".join("?" * (len(columns) + 2))
    database.executemany(
        f'INSERT INTO "{layer}" VALUES ({marks})',
        [(row["id"], _point(number, a, b), *(row[c.name] for c in columns)) for row, a, b in zip(rows, x, y)],
    )
    database.commit()


def _add_systems(database: sqlite3.Connection, system: ReferenceSystem | None) -> int:
    known = [
        ("Undefined Cartesian SRS", UNDEFINED_FLAT, "NONE", -1, "undefined", "undefined Cartesian coordinates"),
        ("Undefined geographic SRS", UNDEFINED_ROUND, "NONE", 0, "undefined", "undefined geographic coordinates"),
        ("WGS 84 geodetic", WGS84, "EPSG", WGS84, WGS84_TEXT, "longitude and latitude"),
    ]
    number = UNDEFINED_FLAT
    if system is not None and system.code is not None:
        number = system.code
        if number != WGS84:
            known.append((system.name, number, "EPSG", number, system.wkt or "undefined", ""))
    elif system is not None and system.wkt is not None:
        number = OWN
        known.append(("as in the file", OWN, "NONE", OWN, system.wkt, ""))
    database.executemany("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", known)
    return number


def _point(system: int, x: float, y: float) -> bytes:
    """Header: magic, version 0, little-endian without an envelope, the system; then the point in well-known binary."""
    return struct.pack("<2sBBiBIdd", b"GP", 0, 1, system, 1, 1, x, y)
