"""Official weights by the rule of the tasks beside detection: scene flow, places and trees."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.parity.checks import Check, equal

RULE = "golden_weights_extra.py"


def extra_weights(meta: Mapping[str, Any], golden: Path) -> tuple[dict[str, Tensor], Check]:
    """The stand-in checkpoint of a file (its ``key_list``, ``salt``, ``weights_kind``), and its digest's check."""
    rule = _rule(golden / RULE)
    keys = golden / "keys" / Path(meta["key_list"]).name
    if not keys.is_file():
        raise PerceptionError(
            f"no file {keys}", "the list of official keys", "point --golden to the folder above keys/"
        )
    arrays = rule.fill_state_dict(rule.read_keys(str(keys)), meta["salt"], meta["weights_kind"])
    check = equal("weights digest", rule.digest(arrays), meta["weights_sha256"])
    return {key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()}, check


def _rule(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise PerceptionError(
            f"no file {path}", "the rule that generates stand-in weights", "point --golden to its folder"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
