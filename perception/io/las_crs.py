"""The coordinate reference system a LAS file states: WKT, or the EPSG code among its GeoTIFF keys."""

from __future__ import annotations

import numpy as np

PROJECTED, GEOGRAPHIC = 3072, 2048  # GeoTIFF 1.1: ProjectedCRSGeoKey, GeodeticCRSGeoKey
USER_DEFINED = 32767


def reference_system(wkt: bytes, keys: bytes, prefer_wkt: bool) -> str | None:
    """The WKT text or "EPSG:<code>"; None where the file has neither. ``prefer_wkt``: the header's own choice."""
    text = wkt.split(b"\0")[0].decode("utf-8", "replace").strip() or None
    code = _code(keys)
    return (text or code) if prefer_wkt else (code or text)


def _code(keys: bytes) -> str | None:
    entries = np.frombuffer(keys[: len(keys) // 8 * 8], "<u2").reshape(-1, 4)[1:]
    # Location 0: the value itself stands in the entry, not in another record.
    codes = {int(key): int(value) for key, location, _, value in entries if location == 0}
    for key in (PROJECTED, GEOGRAPHIC):
        if codes.get(key, 0) not in (0, USER_DEFINED):
            return f"EPSG:{codes[key]}"
    return None
