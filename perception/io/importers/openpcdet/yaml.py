"""OpenPCDet's YAML files: reading them with their base files, and which model of the catalogue they describe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perception.config import read_yaml
from perception.errors import PerceptionError
from perception.io.importers.foreign_config import ForeignConfig
from perception.models.catalogue import MODELS, entry
from perception.models.detector import class_names

BASE = "_BASE_CONFIG_"
# Names of our models by those of the detector and of its parts that tell variants apart.
RESIDUAL, PLAIN, FOCAL = "VoxelResBackBone8x", "VoxelBackBone8x", "VoxelBackBone8xFocal"
SPARSE_NEXT, PLANAR_NEXT = "VoxelResBackBone8xVoxelNeXt", "VoxelResBackBone8xVoxelNeXt2D"
MODELS_OF: dict[tuple[str, str], tuple[str, ...]] = {
    ("SECONDNet", PLAIN): ("second",),
    ("PointPillar", ""): ("pointpillars",),
    ("VoxelRCNN", PLAIN): ("voxel-rcnn", "voxel-rcnn-car"),
    ("VoxelRCNN", FOCAL): ("focals-voxel-rcnn",),
    ("VoxelRCNN", FOCAL + "+images"): ("focals-voxel-rcnn-images", "focals-voxel-rcnn-car-images"),
    ("PVRCNN", PLAIN): ("pv-rcnn", "pv-rcnn-waymo"),
    ("PVRCNN", FOCAL): ("focals-pv-rcnn",),
    ("PVRCNN", FOCAL + "+images"): ("focals-pv-rcnn-images",),
    ("CenterPoint", RESIDUAL): ("centerpoint", "centerpoint-nuscenes-10cm", "centerpoint-waymo"),
    ("CenterPoint", PLAIN): ("centerpoint-waymo-plain",),
    ("CenterPoint", FOCAL): ("focals-centerpoint-waymo",),
    ("CenterPoint", ""): ("centerpoint-nuscenes-pillars", "centerpoint-waymo-pillars"),
    ("CenterPoint", "DSVT"): ("dsvt-pillar", "dsvt-voxel"),
    ("TransFusion", "DSVT"): ("dsvt-pillar-nuscenes",),
    ("TransFusion", RESIDUAL): ("transfusion-lidar",),
    ("VoxelNeXt", SPARSE_NEXT): (
        "voxelnext",
        "voxelnext-kernel3",
        "voxelnext-waymo",
        "voxelnext-waymo-large",
        "voxelnext-argoverse2",
    ),
    ("VoxelNeXt", PLANAR_NEXT): ("voxelnext-planar", "voxelnext-waymo-planar"),
}


def is_openpcdet(values: Mapping[str, Any]) -> bool:
    return "MODEL" in values and ("CLASS_NAMES" in values or "DATA_CONFIG" in values)


def read_openpcdet_yaml(path: Path) -> ForeignConfig:
    """The file's values upon those of its base files, which are looked for in the folders above it."""
    return ForeignConfig(_based(read_yaml(path), path, 0), str(path))


def _based(values: Mapping[str, Any], path: Path, depth: int) -> dict[str, Any]:
    if depth > 10:
        raise PerceptionError(f"{path}: {BASE} files name each other", "a chain of at most 10 files")
    base: dict[str, Any] = {}
    if BASE in values:
        below = _find(str(values[BASE]), path)
        base = _based(read_yaml(below), below, depth + 1)
    found = dict(base)
    for key, value in values.items():
        if key == BASE:
            continue
        if isinstance(value, Mapping):
            joined = _based(value, path, depth)
            under = base.get(key)
            found[key] = _laid(under, joined) if isinstance(under, Mapping) else joined
        else:
            found[key] = value
    return found


def _laid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` upon ``base``: mappings join, all else is replaced."""
    joined = dict(base)
    for key, value in over.items():
        below = joined.get(key)
        joined[key] = _laid(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return joined


def _find(name: str, path: Path) -> Path:
    for folder in path.resolve().parents:
        if (folder / name).is_file():
            return folder / name
    beside = path.parent / Path(name).name
    if beside.is_file():
        return beside
    raise PerceptionError(
        f"{path} builds on {name}, which is in no folder above it",
        "OpenPCDet's file of the data set",
        f"copy it to {beside}",
    )


def candidates(source: ForeignConfig) -> tuple[str, ...]:
    """Our models of the architecture that the configuration names, the one with its classes first."""
    detector = source.get("MODEL.NAME", "")
    backbone = source.get("MODEL.BACKBONE_3D.NAME", "") or ""
    images = "+images" if source.get("MODEL.BACKBONE_3D.USE_IMG", False) else ""
    found = MODELS_OF.get((detector, backbone + images))
    if found is None:
        raise PerceptionError(
            f"{source.where} describes {detector}{' on ' + backbone + images if backbone else ''}",
            "a model of the catalogue",
            "`perception models` lists what can be imported",
        )
    names = {str(name) for name in source.get("CLASS_NAMES", [])}
    stem = Path(source.where).name
    return tuple(sorted(found, key=lambda name: (Path(_official(name)).name != stem, -_shared(name, names))))


def _official(name: str) -> str:
    return MODELS[name].official.get("openpcdet", "")


def _shared(name: str, classes: set[str]) -> float:
    """How alike our model's classes and those are, from 0 to 1."""
    ours = set(class_names(entry(name).defaults))
    return len(ours & classes) / max(len(ours | classes), 1)
