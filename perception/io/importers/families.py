"""The libraries whose checkpoints can be imported: how their names look, and how an import of each is planned."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from perception.io.importers import minkloc, treelearn
from perception.io.importers.det3d import importer as det3d
from perception.io.importers.hotformerloc import importer as hotformerloc
from perception.io.importers.hotformerloc.keys import HOTFORMERLOC
from perception.io.importers.mmdet3d import importer as mmdet3d
from perception.io.importers.openpcdet import plan as openpcdet_plan
from perception.io.importers.openpcdet.keys import RULES
from perception.io.importers.opensceneflow import importer as opensceneflow
from perception.io.importers.plan import Plan
from perception.io.importers.segmentanytree import importer as segmentanytree
from perception.io.importers.segmentanytree.keys import SEGMENTANYTREE, UNUSED
from perception.models.catalogue import entry

Planner = Callable[[Mapping[str, Tensor], str | None, Path | None, str, Mapping[str, Any]], Plan]


@dataclass(frozen=True)
class Family:
    """``sign`` fits the beginning of keys that only this family has; ``published`` are the plans of all its models.

    ``plan`` takes the tensors, the model's name or None, the configuration file or None, what errors call the
    checkpoint, and all that was saved beside the tensors. ``names_models``: the tensors alone tell which model it is.
    """

    plan: Planner
    sign: str
    published: Callable[[], Iterator[Plan]]
    names_models: bool = False


def _flow_plans() -> Iterator[Plan]:
    for name in opensceneflow.NAMES:
        yield Plan("opensceneflow", name, entry(name).defaults, opensceneflow.RULES[name])


def _place_plans() -> Iterator[Plan]:
    for name in hotformerloc.NAMES.values():
        yield Plan("hotformerloc", name, entry(name).defaults, HOTFORMERLOC)


def _minkloc_plans() -> Iterator[Plan]:
    yield Plan("minkloc", minkloc.NAME, entry(minkloc.NAME).defaults, minkloc.MINKLOC)


def _tree_plans() -> Iterator[Plan]:
    for name in segmentanytree.NAMES:
        yield Plan("segmentanytree", name, entry(name).defaults, SEGMENTANYTREE, lambda key: bool(UNUSED.match(key)))


def _treelearn_plans() -> Iterator[Plan]:
    for name in treelearn.NAMES:
        yield Plan("treelearn", name, entry(name).defaults, treelearn.TREELEARN)


FAMILIES: dict[str, Family] = {
    "mmdet3d": Family(
        mmdet3d.plan,
        r"pts_\w+\.|middle_encoder\.|bbox_head\.conv_(cls|reg)\.|voxel_encoder\.pfn_layers\.|img_(backbone|neck)\.",
        lambda: map(mmdet3d.published, mmdet3d.NAMES),
    ),
    "openpcdet": Family(
        openpcdet_plan.plan,
        r"dense_head\.|backbone_3d\.|backbone_2d\.|vfe\.|roi_head\.|pfe\.|point_head\.|global_step$",
        lambda: map(openpcdet_plan.published, RULES),
    ),
    "det3d": Family(
        det3d.plan,
        r"(single_det\.)?(bbox_head\.tasks\.\d|neck\.blocks\.|reader\.pfn_layers\.|backbone\.extra_conv\.)",
        lambda: map(det3d.published, det3d.NAMES),
    ),
    "opensceneflow": Family(
        opensceneflow.plan,
        r"(model\.)?(embedder\.feature_net\.|backbone\.(encoder_layers\.|decoder_step|upsample_layer)|voxel_encoder\.vfe)",
        _flow_plans,
        names_models=True,
    ),
    "hotformerloc": Family(
        hotformerloc.plan, r"backbone\.backbone\.(octf|hotf)_stage\.", _place_plans, names_models=True
    ),
    "minkloc": Family(minkloc.plan, r"backbone\.conv0\.kernel", _minkloc_plans, names_models=True),
    "treelearn": Family(
        treelearn.plan, r"(input_conv\.0\.|unet\.(u\.)*blocks(_tail)?\.)", _treelearn_plans, names_models=True
    ),
    "segmentanytree": Family(
        segmentanytree.plan, r"(Backbone\.(down|up)_modules|ScorerUnet)\.", _tree_plans, names_models=True
    ),
}


def family_of(tensors: Mapping[str, Tensor]) -> str | None:
    """The library whose names these are, or None."""
    for name, family in FAMILIES.items():
        if any(re.match(family.sign, key) for key in tensors):
            return name
    return None
