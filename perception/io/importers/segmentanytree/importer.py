"""Checkpoints of SegmentAnyTree (torch-points3d): state dicts under ``models``, of which the latest is taken.

The configuration inside a checkpoint rules over the published defaults, as in the published evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from perception.config import merge, read_yaml
from perception.errors import PerceptionError
from perception.io.importers.omegaconf_globals import plain_values
from perception.io.importers.plan import Plan, configured
from perception.io.importers.segmentanytree.keys import SEGMENTANYTREE, UNUSED

NAMES = ("segmentanytree",)
UNUSED_NOTE = "ScorerEncoder and ScorerMLP are left out: the published model never calls them"
MODEL = "PointGroup-PAPER"
VALUES = {
    "bandwidth": "bandwidth",
    "cluster_radius_search": "growing_radius",
    "prepare_epoch": "score_from_epoch",
}


def latest_weights(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The state dict of a training file's last epoch, beside which it keeps the best ones; None in other files."""
    models = content.get("models")
    latest = models.get("latest") if isinstance(models, Mapping) else None
    return latest if isinstance(latest, Mapping) else None


def plan(
    state: Mapping[str, Tensor], name: str | None, config: Path | None, where: str, meta: Mapping[str, Any]
) -> Plan:
    """``meta``: what the checkpoint holds beside the weights; ``config``: a YAML of changes to our configuration."""
    if name is not None and name not in NAMES:
        raise PerceptionError(f"no SegmentAnyTree importer for {name!r}", f"one of {', '.join(NAMES)}")
    values, notes = _run_values(meta, where)
    made = configured(NAMES[0], values, where)
    if config is not None:
        made = merge(made, read_yaml(config), str(config))
    unused = tuple(key for key in state if UNUSED.match(key))
    notes += (UNUSED_NOTE,) if unused else ()
    return Plan(
        "segmentanytree", NAMES[0], made, SEGMENTANYTREE, lambda key: UNUSED.match(key) is not None, notes=notes
    )


def _run_values(meta: Mapping[str, Any], where: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Our configuration's values in the run's own."""
    run = plain_values(meta.get("run_config"))
    if not isinstance(run, Mapping):
        return {}, ("taken to be configured as published",)
    values: dict[str, Any] = {}
    size = _below(run, "data").get("grid_size", _below(run, "data").get("first_subsampling"))
    if isinstance(size, int | float):
        values["voxel_size"] = float(size)
    model = _below(_below(run, "models"), str(run.get("model_name", MODEL)))
    for theirs, ours in VALUES.items():
        value = model.get(theirs)
        if isinstance(value, int | float):
            values[ours] = int(value) + 1 if theirs == "prepare_epoch" else float(value)
    if model.get("cluster_type", 5) != 5:
        raise PerceptionError(
            f"{where}: cluster_type {model['cluster_type']}",
            "5, regions of shifted points and modes of embeddings",
            "import the weights alone (the state dict under models.latest) to use them with clustering of type 5",
        )
    return values, ("configured by the checkpoint itself",)


def _below(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}
