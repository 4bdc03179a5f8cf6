"""Plans of imports from OpenPCDet: by a name, by our own configuration file, or by OpenPCDet's YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from perception.config import merge, read_yaml
from perception.errors import PerceptionError
from perception.io.importers.openpcdet.config import our_values
from perception.io.importers.openpcdet.importer import is_unused
from perception.io.importers.openpcdet.keys import RULES
from perception.io.importers.openpcdet.yaml import candidates, is_openpcdet, read_openpcdet_yaml
from perception.io.importers.plan import Plan, configured
from perception.models.catalogue import entry


def published(name: str) -> Plan:
    """The plan of a checkpoint of the published configuration."""
    return Plan("openpcdet", name, entry(name).defaults, RULES[name], unused=is_unused)


def plan(
    state: Mapping[str, Tensor], name: str | None, config: Path | None, where: str, extra: Mapping[str, Any]
) -> Plan:
    values = read_yaml(config) if config else {}
    if config and is_openpcdet(values):
        return _from_yaml(name, config)
    if name is None:
        raise PerceptionError(
            f"{config or 'no configuration'} with no --model", "a model's name or OpenPCDet's own YAML as --config"
        )
    if name not in RULES:
        raise PerceptionError(f"no OpenPCDet importer for {name!r}", f"one of {', '.join(sorted(RULES))}")
    made = merge(entry(name).defaults, values, str(config))
    return Plan("openpcdet", name, made, RULES[name], unused=is_unused)


def _from_yaml(name: str | None, config: Path) -> Plan:
    source = read_openpcdet_yaml(config)
    names = candidates(source)
    if name is not None and name not in names:
        raise PerceptionError(
            f"{config} describes {' or '.join(names)}", f"the configuration of {name}", "leave out --model"
        )
    first = None
    for chosen in [name] if name else names:
        attempt = read_openpcdet_yaml(config)
        values = our_values(attempt, chosen)
        first = first or attempt
        if not attempt.differences:
            made = configured(chosen, values, str(config))
            return Plan(
                "openpcdet", chosen, made, RULES[chosen], unused=is_unused, notes=(f"configured by {config.name}",)
            )
    assert first is not None
    first.check()
    raise AssertionError("a configuration without differences was passed over")
