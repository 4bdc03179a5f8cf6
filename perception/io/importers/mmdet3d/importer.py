"""Checkpoints of mmdet3d 1.x: SECOND, PointPillars and CenterPoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers.foreign_config import ForeignConfig
from perception.io.importers.key_rules import Rules
from perception.io.importers.mmdet3d import keys
from perception.io.importers.mmdet3d.anchors import anchor_values
from perception.io.importers.mmdet3d.centre import centre_values
from perception.io.importers.mmdet3d.published import PUBLISHED
from perception.io.importers.plan import Plan, configured, refuse_parts
from perception.io.importers.python_config import parse_python_config, read_python_config
from perception.models.catalogue import entry

NAMES = tuple(PUBLISHED)


def plan(
    state: Mapping[str, Tensor], name: str | None, config: Path | None, where: str, extra: Mapping[str, Any]
) -> Plan:
    meta = _meta(extra)
    refuse_parts(state, keys.FOREIGN_PARTS, where)
    version = str(meta.get("mmdet3d_version", ""))
    if version.startswith("0."):
        raise PerceptionError(
            f"{where} was written by mmdet3d {version}, whose boxes follow other conventions",
            "a checkpoint of mmdet3d 1.0 or later",
            "take the model of the same name from mmdet3d 1.x's model zoo",
        )
    source, origin = _source(name, config, where, meta)
    made = plan_of(source)
    if name is not None and name != made.name and not _same_kind(name, made.name):
        raise PerceptionError(f"{source.where} describes {made.name}", f"the configuration of {name}")
    return Plan(made.family, name or made.name, made.config, made.rules, made.unused, made.zeros, (origin, *made.notes))


def published(name: str) -> Plan:
    """The plan of a checkpoint of the published configuration."""
    return plan_of(ForeignConfig({"model": PUBLISHED[name]}, f"mmdet3d's published {name}"))


def _meta(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    found = extra.get("meta", extra)
    return found if isinstance(found, Mapping) else {}


def configures_itself(family: str, extra: Mapping[str, Any]) -> bool:
    """Whether the checkpoint carries the text of its configuration, as those of mmengine do."""
    meta = _meta(extra)
    text = meta.get("cfg", meta.get("config"))
    return family == "mmdet3d" and isinstance(text, str) and "model" in text


def _source(name: str | None, config: Path | None, where: str, meta: Mapping[str, Any]) -> tuple[ForeignConfig, str]:
    """The configuration that the checkpoint belongs to, and where it comes from."""
    if config is not None:
        return ForeignConfig(read_python_config(config), str(config)), f"configured by {config.name}"
    text = meta.get("cfg", meta.get("config"))
    if configures_itself("mmdet3d", meta):
        values = parse_python_config(str(text), f"the configuration inside {where}")
        return ForeignConfig(values, f"the configuration inside {where}"), "configured by the checkpoint itself"
    if name not in PUBLISHED:
        raise PerceptionError(
            f"no mmdet3d importer for {name!r}", f"one of {', '.join(NAMES)}, or --from mmdet3d --config FILE"
        )
    values = {"model": PUBLISHED[name]}
    return ForeignConfig(values, f"mmdet3d's published {name}"), "taken to be configured as published"


def plan_of(source: ForeignConfig) -> Plan:
    if source.expect("model.type", "VoxelNet", "CenterPoint") == "CenterPoint":
        return _centre_plan(source)
    return _anchor_plan(source)


def _anchor_plan(source: ForeignConfig) -> Plan:
    found = anchor_values(source)
    source.check()
    rules: Rules = keys.anchor_head(found.order, found.rotations) + keys.neck(found.conv_for_no_stride)
    rules += keys.PLAIN_ENCODER if found.name == "second" else keys.pillar_layers("encoder.", found.legacy_offsets)
    made = configured(found.name, found.values, source.where)
    return Plan("mmdet3d", found.name, made, rules)


def _centre_plan(source: ForeignConfig) -> Plan:
    found = centre_values(source)
    source.check()
    encoder: Rules = {
        "residual": keys.RESIDUAL_ENCODER,
        "plain": keys.PLAIN_ENCODER,
        "hard_pillars": keys.pillar_layers("encoder.layers.0.", found.legacy_offsets),
    }[found.values["backbone"]]
    rules = encoder + keys.neck(found.conv_for_no_stride) + keys.CENTRE_HEAD
    made = configured(found.name, found.values, source.where)
    return Plan("mmdet3d", found.name, made, rules, zeros=keys.ZERO_BIASES)


def _same_kind(name: str, other: str) -> bool:
    """Whether two names of the catalogue stand for one architecture that configurations tell apart."""
    return type(entry(name).defaults) is type(entry(other).defaults)
