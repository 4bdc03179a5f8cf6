"""Where a built engine is kept: an engine is good for one GPU, one TensorRT version, one precision and one graph."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from perception.errors import PerceptionError
from perception.export.manifest import digest
from perception.export.tensorrt.profiles import Profile
from perception.io.files import write_atomically


@dataclass(frozen=True)
class EngineKey:
    """``graph`` is the sha256 of the ONNX file, ``profile`` that of the shapes."""

    gpu: str
    tensorrt: str
    precision: str
    graph: str
    profile: str

    @classmethod
    def of(cls, onnx: Path, gpu: str, tensorrt: str, precision: str, profile: Profile) -> EngineKey:
        shapes = json.dumps(profile.shapes, sort_keys=True)
        return cls(gpu, tensorrt, precision, digest(onnx), hashlib.sha256(shapes.encode()).hexdigest())

    @property
    def name(self) -> str:
        """A file name that tells the machine by eye and the rest by a checksum."""
        whole = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        gpu = re.sub(r"[^A-Za-z0-9]+", "-", self.gpu).strip("-").lower()[:40] or "gpu"
        return f"{gpu}_trt{self.tensorrt}_{self.precision}_{whole[:16]}.plan"


def cache_folder() -> Path:
    """PERCEPTION_ENGINE_CACHE, or the user's cache folder."""
    wanted = os.environ.get("PERCEPTION_ENGINE_CACHE")
    base = Path(wanted) if wanted else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "perception"
    return base if wanted else base / "engines"


def find(key: EngineKey, folder: Path) -> Path | None:
    """A kept engine whose description says that it was made for exactly this key and is whole."""
    path = folder / key.name
    note = path.with_suffix(".json")
    try:
        said = json.loads(note.read_text())
    except (OSError, ValueError):
        return None
    if not path.is_file() or not isinstance(said, dict) or said.get("key") != asdict(key):
        return None
    return path if said.get("sha256") == digest(path) else None


def keep(key: EngineKey, engine: bytes, folder: Path) -> Path:
    """Write an engine and its description; the description last, so that half an engine is never found."""
    if not engine:
        raise PerceptionError("TensorRT built an empty engine", "a serialised engine", "see its messages above")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / key.name
    with write_atomically(path, "wb") as file:
        file.write(engine)
    with write_atomically(path.with_suffix(".json"), "w") as note:
        json.dump({"key": asdict(key), "sha256": digest(path)}, note, indent=1)
    return path
