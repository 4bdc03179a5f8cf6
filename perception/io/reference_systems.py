"""What a coordinate reference system says that a result must respect: its code, its unit, whether it is in degrees.

pyproj knows all of it; without pyproj the text itself tells what is needed but for positions in WGS 84.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from perception.errors import missing_extra

try:
    import pyproj
except ImportError:
    pyproj = None  # type: ignore[assignment]

_CODE = re.compile(r'(?:AUTHORITY|ID)\s*\[\s*"EPSG"\s*,\s*"?(\d+)"?\s*\]\s*\]$', re.IGNORECASE)
_UNIT = re.compile(r'(?:LENGTHUNIT|UNIT)\s*\[\s*"[^"]*"\s*,\s*([0-9.eE+-]+)', re.IGNORECASE)
_PROJECTED = re.compile(r"(PROJCS|PROJCRS|PROJECTEDCRS)\s*\[", re.IGNORECASE)
_GEOGRAPHIC = re.compile(r"\s*(COMPD_CS\s*\[\s*\"[^\"]*\"\s*,\s*)?(GEOGCS|GEOGCRS|GEODCRS|GEODETICCRS)", re.IGNORECASE)


@dataclass(frozen=True)
class ReferenceSystem:
    """``text`` as the file has it. ``code``: of EPSG, None where it is unknown; ``wkt`` likewise. ``unit``: metres in a
    step of x and y; ``degrees``: whether they are angles."""

    text: str
    code: int | None
    wkt: str | None
    unit: float
    degrees: bool

    @property
    def name(self) -> str:
        return f"EPSG:{self.code}" if self.code is not None else self.text

    def same_as(self, other: ReferenceSystem) -> bool:
        if self.code is not None and other.code is not None:
            return self.code == other.code
        return self.text == other.text or (self.wkt is not None and self.wkt == other.wkt)

    def longitude_latitude(self, xy: np.ndarray) -> np.ndarray | None:
        """Positions (N, 2) in WGS 84, degrees; None where the system is not understood. Needs pyproj."""
        if pyproj is None:
            raise missing_extra("pyproj", "trees")
        try:
            change = pyproj.Transformer.from_crs(self.text, 4326, always_xy=True)
            return np.column_stack(change.transform(xy[:, 0], xy[:, 1])) if len(xy) else np.zeros((0, 2))
        except pyproj.exceptions.ProjError:
            return None


def reference_system_of(text: str | None) -> ReferenceSystem | None:
    """From WKT (a compound one's horizontal part counts) or "EPSG:<code>"; None for nothing."""
    if not text or not text.strip():
        return None
    found = _by_pyproj(text) if pyproj is not None else None
    return found or _by_text(text)


def _by_pyproj(text: str) -> ReferenceSystem | None:
    try:
        system = pyproj.CRS.from_user_input(text)
        flat = system.sub_crs_list[0] if system.is_compound else system
        axis = flat.axis_info[0] if flat.axis_info else None
        unit = axis.unit_conversion_factor if axis is not None and not flat.is_geographic else 1.0
        return ReferenceSystem(text, flat.to_epsg(), flat.to_wkt("WKT1_GDAL"), unit or 1.0, bool(flat.is_geographic))
    except pyproj.exceptions.ProjError:
        return None


def _by_text(text: str) -> ReferenceSystem:
    if text.upper().startswith("EPSG:") and text[5:].isdecimal():
        code = int(text[5:])
        return ReferenceSystem(text, code, None, 1.0, 4000 <= code < 5000)  # the range EPSG reserves for degrees
    inner = _projected_part(text)
    codes = _CODE.search(inner)
    units = _UNIT.findall(inner)
    degrees = _PROJECTED.search(text) is None and _GEOGRAPHIC.match(text) is not None
    unit = float(units[-1]) if units and not degrees else 1.0
    return ReferenceSystem(text, int(codes[1]) if codes else None, inner, unit if unit > 0 else 1.0, degrees)


def _projected_part(text: str) -> str:
    """The projected system within a compound one, or the whole text."""
    start = _PROJECTED.search(text)
    if start is None:
        return text.strip()
    depth = 0
    for place in range(start.end() - 1, len(text)):
        depth += (text[place] == "[") - (text[place] == "]")
        if depth == 0:
            return text[start.start() : place + 1]
    return text.strip()
