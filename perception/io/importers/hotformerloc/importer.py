"""Checkpoints of HOTFormerLoc (csiro-robotics/HOTFormerLoc): a state_dict, or a training file that holds one.

The published code and weights come under CSIRO's licence, for research and education without commercial use; what is
imported stays under it, and the import says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from perception.config import merge, read_yaml
from perception.errors import PerceptionError
from perception.io.importers.hotformerloc.keys import HOTFORMERLOC
from perception.io.importers.plan import Plan, configured

# What the shapes tell: rows of the first position table (the window), tokens pooled of the finest level, and whether
# relay tokens know the distribution of their nodes.
NAMES = {
    (309, 74, True): "hotformerloc-cs-wild-places",
    (309, 148, True): "hotformerloc-cs-campus3d",
    (231, 74, True): "hotformerloc-oxford",
    (231, 148, False): "hotformerloc-wild-places",
}
LICENCE = "CSIRO's licence of HOTFormerLoc: non-commercial research and education only, for the weights too"

_TABLE = "backbone.backbone.octf_stage.0.blocks.0.attention.rpe.rpe_table"
_QUERY = "pooling.pooling.attpool.0.query"
_DISTRIBUTION = "backbone.backbone.hotf_stage.rt_adape.mlp.fc1.weight"


def plan(
    state: Mapping[str, Tensor],
    name: str | None,
    config: Path | None,
    where: str,
    meta: Mapping[str, Any] | None = None,
) -> Plan:
    """``name`` None: as the shapes tell. ``config``: a YAML of what differs from the catalogue's configuration."""
    if _TABLE not in state or _QUERY not in state:
        raise PerceptionError(f"{where} has no {_TABLE if _TABLE not in state else _QUERY}", "the keys of HOTFormerLoc")
    found = NAMES.get((len(state[_TABLE]), len(state[_QUERY]), _DISTRIBUTION in state))
    name = name or found
    if name not in NAMES.values():
        raise PerceptionError(
            f"{where} is of no published configuration" if name is None else f"no HOTFormerLoc importer for {name!r}",
            f"one of {', '.join(NAMES.values())}",
            "name the nearest with --model and give what differs with --config",
        )
    assert name is not None
    made = configured(name, {}, where)
    made = merge(made, read_yaml(config), str(config)) if config else made
    return Plan("hotformerloc", name, made, HOTFORMERLOC, notes=(LICENCE,))
