"""Checkpoints of OpenSceneFlow and of SSF's own repository: Lightning files with ``model.`` before every key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from perception.config import merge, read_yaml
from perception.errors import PerceptionError
from perception.io.importers.foreign_config import ForeignConfig
from perception.io.importers.omegaconf_globals import plain_values
from perception.io.importers.opensceneflow.keys import RULES
from perception.io.importers.plan import Plan, configured

NAMES = tuple(RULES)
LONG = 100.0  # metres: what reaches farther is the model for long ranges
OFFICIAL_LOOKUP = "offsets are looked up as in the published code, which these weights were trained with"


def plan(
    state: Mapping[str, Tensor], name: str | None, config: Path | None, where: str, meta: Mapping[str, Any]
) -> Plan:
    """``meta``: the checkpoint's ``hyper_parameters``, where it has them; ``config``: a YAML of changes to ours."""
    values, notes = _hyper_values(meta, where)
    found = _name(state, values, where)
    if name is not None and name not in NAMES:
        raise PerceptionError(f"no OpenSceneFlow importer for {name!r}", f"one of {', '.join(NAMES)}")
    if name is not None and _kind(name) != _kind(found):
        raise PerceptionError(f"{where} has the layers of {found}", f"those of {name}")
    name = name or found
    if _kind(name) == "ssf":
        values["offset_lookup"] = "official_voxel_row"
        notes += (OFFICIAL_LOOKUP,)
    made = configured(name, values, where)
    if config is not None:
        made = merge(made, read_yaml(config), str(config))
    return Plan("opensceneflow", name, made, RULES[name], notes=notes)


def _hyper_values(meta: Mapping[str, Any], where: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Our configuration's values in the file's own hyper-parameters."""
    plain = plain_values(meta.get("hyper_parameters", meta).get("cfg"))
    target = plain.get("model", {}).get("target") if isinstance(plain, Mapping) else None
    if not isinstance(target, Mapping):
        return {}, ("taken to be configured as published",)
    source = ForeignConfig(target, f"the configuration inside {where}")
    values: dict[str, Any] = {}
    for theirs, ours, count in (("voxel_size", "voxel_size", 3), ("point_cloud_range", "point_range", 6)):
        if source.get(theirs, None) is not None:
            values[ours] = source.numbers(theirs, count)
    if source.get("num_iters", None) is not None:
        values["iterations"] = source.get("num_iters")
    source.expect("decoder_option", "gru", "linear", None)
    source.expect("backbone_option", "simplesparse_unet", None)
    source.check()
    return values, ("configured by the checkpoint itself",)


def _name(state: Mapping[str, Tensor], values: Mapping[str, Any], where: str) -> str:
    """Which model the keys are of."""

    def has(pattern: str) -> bool:
        return any(re.match(rf"(?:model\.)?{pattern}", key) for key in state)

    if has(r"backbone\.conv_input\."):
        return "ssf-long" if values.get("point_range", (0.0,) * 6)[3] > LONG else "ssf"
    if has(r"embedder\.feature_net\.") and has(r"backbone\.decoder_step4\."):
        return "deflow" if has(r"head\.gru\.") else "fastflow3d"
    raise PerceptionError(
        f"{where} is of none of the models of scene flow that the catalogue has",
        "SSF, DeFlow (also trained by SeFlow) or FastFlow3D",
        "`perception models` lists them",
    )


def _kind(name: str) -> str:
    return name.removesuffix("-long")
