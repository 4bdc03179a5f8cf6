"""Maps of places as one file: a safetensors container, written atomically and checked before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.places.describe import SCAN_CONTEXT, DescriberFacts
from perception.places.index import VectorIndex
from perception.places.place_map import PlaceMap, searched_vectors

FORMAT = "lidar-perception-map/1"
_EXPECTED = "a map that `perception places build` made"


def save_map(path: str | Path, places: PlaceMap) -> None:
    """Write a map; one that is there is replaced in one step."""
    facts = places.facts
    header = {
        "format": FORMAT,
        "method": facts.method,
        "model": facts.model,
        "fingerprint": facts.fingerprint,
        "settings": json.dumps(dict(facts.settings)),
        "drives": json.dumps(list(places.drive_names)),
        "size": json.dumps([len(places), places.vectors.shape[1]]),
    }
    tensors: dict[str, np.ndarray] = {
        "poses": np.ascontiguousarray(places.poses, np.float64),
        "drives": np.ascontiguousarray(places.drives, np.int32),
        "scans": np.frombuffer(json.dumps(list(places.scans)).encode(), np.uint8),
    }
    graph = places.index.to_bytes()
    if graph is not None:
        tensors["graph"] = graph
    if graph is None or facts.method == SCAN_CONTEXT:  # a graph holds its vectors
        tensors["vectors"] = places.vectors
    with write_atomically(path, "wb") as file:
        file.write(save(tensors, metadata=header))


def load_map(path: str | Path) -> PlaceMap:
    """Read a map. Raises PerceptionError for a file that is missing, cut short, damaged, or no map."""
    path = Path(path)
    if not path.is_file():
        raise PerceptionError(
            f"no map {path}", "a file that `perception places build` made", "check the path, or build one"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise PerceptionError(f"{path} is a safetensors file, but no map of places", _EXPECTED)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise PerceptionError(f"{path} is cut short or no map: {reason}", _EXPECTED, "build it again") from None
    try:
        return _map_of(header, tensors)
    except PerceptionError as error:
        raise PerceptionError(f"{path}: {error.found}", error.expected or _EXPECTED, error.fix) from None
    except (KeyError, TypeError, ValueError, AttributeError, UnicodeDecodeError) as error:
        raise PerceptionError(f"{path} has a damaged content: {error!r:.120}", _EXPECTED, "build it again") from None


def _map_of(header: dict[str, str], tensors: dict[str, Any]) -> PlaceMap:
    count, size = (int(value) for value in json.loads(header["size"]))
    facts = DescriberFacts(
        header["method"], header["model"], header["fingerprint"], dict(json.loads(header["settings"]))
    )
    names, scans = json.loads(header["drives"]), json.loads(tensors["scans"].tobytes())
    poses, drives = tensors["poses"], tensors["drives"]
    if facts.method not in ("model", SCAN_CONTEXT) or count < 1 or size < 1:
        raise PerceptionError(f"method {facts.method!r:.40}, {count} places of {size} numbers", _EXPECTED)
    if not all(isinstance(text, str) for text in (*names, *scans)) or len(scans) != count:
        raise PerceptionError(f"{len(scans)} scans for {count} places", "a path for each")
    _check(poses, np.float64, (count, 4, 4), "poses")
    _check(drives, np.int32, (count,), "drives")
    if drives.min() < 0 or drives.max() >= len(names):
        raise PerceptionError(f"drives {drives.min()} to {drives.max()} of {len(names)}", "drives that have names")
    vectors = tensors.get("vectors")
    if vectors is not None:
        _check(vectors, np.float32, (count, size), "vectors")
    if "graph" in tensors:
        searched = size if vectors is None else searched_vectors(facts, vectors[:1]).shape[1]
        index = VectorIndex.from_bytes(tensors["graph"], count, searched)
        vectors = index.vectors if vectors is None else vectors
    elif vectors is None:
        raise PerceptionError("neither vectors nor an index", _EXPECTED)
    else:
        index = VectorIndex(searched_vectors(facts, vectors))
    return PlaceMap(facts, vectors, poses, drives, tuple(names), tuple(scans), index)


def _check(values: Any, kind: type, shape: tuple[int, ...], name: str) -> None:
    if values.dtype != kind or values.shape != shape or not np.isfinite(values).all():
        raise PerceptionError(f"{name} {values.dtype} {values.shape}", f"finite numbers, {kind.__name__} {shape}")
