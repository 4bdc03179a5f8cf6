"""What is written beside an exported network, so that a program without this library's models can run it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from perception.config import config, parse, to_plain
from perception.errors import PerceptionError
from perception.heads.centre_selection import CentreSelection
from perception.heads.selection import Selection
from perception.io.files import write_atomically

FORMAT = "lidar-perception-export/1"
MANIFEST = "export.json"
LARGEST_MANIFEST = 4_000_000
Axes = tuple[int, ...]
Range = tuple[float, float, float, float, float, float]


@config
class TensorSpec:
    """One input or output of a graph: a name in ``shape`` is a length that changes from cloud to cloud."""

    name: str
    dtype: Literal["float32", "int32", "int64", "bool"]
    shape: tuple[int | str, ...]
    meaning: str


@config
class Segment:
    """A file that runs on its own: graphs whose sites depend on features are cut where they do."""

    file: str
    bytes: int
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@config
class VoxelRule:
    """How points become voxels. ``dynamic``: all of them; ``hard``: ``max_points`` of the first ``max_voxels``.

    ``point_range`` x y z low, then high, and ``voxel_size`` x y z in metres are those of the cells in which points are
    counted; ``shape`` is the grid (z, y, x) that coordinates refer to.
    """

    kind: Literal["dynamic", "hard"]
    point_range: Range
    voxel_size: tuple[float, float, float]
    shape: tuple[int, int, int]
    max_points: int = 0
    max_voxels: int = 0


@config
class TableRule:
    """Neighbour rows (outputs, taps) of a sparse convolution from the sites ``source`` to the sites ``target``.

    ``submanifold``: target equals source; tap (a, b, c) reads the cell at + (a - k // 2, ...) * dilation.
    ``strided``: a target cell wherever an input reaches, at target * stride - padding + tap * dilation.
    Taps are in the order z, y, x with x fastest. A tap without an input reads the row that is one past the last.
    """

    name: str
    kind: Literal["submanifold", "strided"]
    kernel: Axes
    source: str
    target: str
    stride: Axes = ()
    padding: Axes = ()
    dilation: Axes = ()


@config
class SetRule:
    """Sets of ``size`` voxels in windows (z y x) moved by ``shift``: DSVT (Wang et al. 2023), equation 3."""

    name: str
    size: int
    window: tuple[int, int, int]
    shift: tuple[int, int, int]


@config
class FocalRule:
    """Growth between two segments: which cells propose their neighbours (Chen et al. 2022, section 3.2)."""

    source: str
    target: str
    kernel: int
    threshold: float
    top: bool
    average: bool
    merge: str


@config
class Limits:
    """The most rows that the file accepts; what is beyond is dropped, counted and said."""

    points: int
    voxels: int


@config
class CheckReport:
    """How far the boxes of the file were from torch's when it was written, on all ``clouds`` together.

    ``boxes`` of torch; of those and of the file's, ``unmatched`` have no partner within the tolerance even before
    suppression, and ``reordered`` have one that suppression treated otherwise: near equal scores, the last digit
    decides which of two overlapping boxes stays. ``worst_box`` (metres, radians) and ``worst_score`` are of partners.
    """

    clouds: int
    boxes: int
    unmatched: int
    reordered: int
    worst_box: float
    worst_score: float
    box_tolerance: float
    score_tolerance: float
    share_tolerance: float


@config
class Manifest:
    """Everything about an exported model. ``anchors`` or ``centres`` says how outputs become results."""

    model: str
    classes: tuple[str, ...]
    point_fields: tuple[str, ...]
    point_range: Range
    voxel_size: tuple[float, float, float]
    voxels: VoxelRule
    limits: Limits
    segments: tuple[Segment, ...]
    target: Literal["onnx", "aoti", "engine"]
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    format: str = FORMAT
    velocity: bool = False
    ground_height: float = -1.73
    opset: int | None = None
    tables: tuple[TableRule, ...] = ()
    sets: tuple[SetRule, ...] = ()
    focals: tuple[FocalRule, ...] = ()
    anchors: Selection | None = None
    centres: CentreSelection | None = None
    tasks: int = 1
    units: str = "metres, radians, metres per second; x forward, y left, z up; heading counter-clockwise from +x"
    steps: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    weights: str = ""
    trained_on: str = "unknown"
    licence: str = "unknown"
    check: CheckReport | None = None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    with write_atomically(folder / MANIFEST, "w") as file:
        json.dump(to_plain(manifest), file, indent=1)
        file.write("\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder whose files are whole; PerceptionError for anything missing, cut short or changed."""
    path = folder / MANIFEST
    values = _read_json(path)
    if values.get("format") != FORMAT:
        raise PerceptionError(
            f"{path} has the format {values.get('format')!r}", FORMAT, "export the model again with this version"
        )
    from perception.export.manifest_checks import check_file, check_sense

    manifest = parse(Manifest, values, str(path))
    check_sense(manifest, path)
    for segment in manifest.segments:
        check_file(folder, segment)
    return manifest


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _plain(file)


def _plain(file: Any) -> str:
    found = hashlib.sha256()
    while block := file.read(1 << 20):
        found.update(block)
    return found.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise PerceptionError(f"{path} has {path.stat().st_size:,} bytes", f"at most {LARGEST_MANIFEST:,}")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PerceptionError(f"no file {path}", "a folder that `perception export` wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise PerceptionError(f"{path} is no readable JSON: {error}", "an undamaged manifest") from None
    if not isinstance(values, dict):
        raise PerceptionError(f"{path} holds {type(values).__name__}", "a JSON object")
    return values
