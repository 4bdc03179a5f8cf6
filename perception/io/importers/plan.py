"""What an import is about to do: which model of the catalogue, in which configuration, by which rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from perception.config import merge
from perception.errors import PerceptionError
from perception.io.importers.conversion import ImportReport, load_translated
from perception.io.importers.key_rules import Rules
from perception.models.catalogue import entry
from perception.models.model import Model

LOWEST_OF_VEHICLES = -2.5
SENSOR_GROUND = -1.73


@dataclass(frozen=True, eq=False)
class Plan:
    """``name`` and ``config`` make the model, ``rules`` and the rest are what ``load_translated`` takes."""

    family: str
    name: str
    config: Any
    rules: Rules
    unused: Callable[[str], bool] = lambda key: False
    zeros: re.Pattern[str] | None = None
    notes: tuple[str, ...] = ()

    def make(self) -> Model:
        return entry(self.name).make(self.config)

    def load(self, model: Model, state: Mapping[str, Tensor], where: str) -> ImportReport:
        return load_translated(model, state, self.rules, where, self.unused, self.zeros, self.notes)


def configured(name: str, values: Mapping[str, Any], where: str) -> Any:
    """The catalogue's configuration of that name with ``values`` over it, those that it has a field for."""
    defaults = entry(name).defaults
    known = getattr(type(defaults), "__pydantic_fields__", {})
    if "ground_height" in known and "point_range" in values:
        values = {"ground_height": _ground_height(defaults, values["point_range"]), **values}
    return merge(defaults, {key: value for key, value in values.items() if key in known}, where)


def _ground_height(defaults: Any, point_range: Sequence[float]) -> float:
    """Foreign files do not say how high the road is in their frame, but the range does.

    Sensors stand 1.7 m or more above it, so a range that begins higher than 2.5 m below the origin is one of a
    vehicle's frame, as Waymo's from -2 m on.
    """
    if point_range[2] > LOWEST_OF_VEHICLES:
        return 0.0
    return float(defaults.ground_height) or SENSOR_GROUND


def refuse_parts(state: Mapping[str, Tensor], parts: Sequence[tuple[str, str]], where: str) -> None:
    """An error if the checkpoint has a part that no model of the catalogue computes."""
    for pattern, reason in parts:
        found = next((key for key in state if re.match(pattern, key)), None)
        if found:
            raise PerceptionError(
                f"{where} has {reason} ({found})", "a model that the catalogue can be", "`perception models` lists them"
            )
