"""Parameters of the nodes: types, ranges and descriptions are read from ``perception_ros/parameters/*.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from perception.config import read_yaml
from perception.errors import PerceptionError, nearest

FOLDER = Path(__file__).resolve().parents[1] / "parameters"
TYPES: dict[str, type] = {"bool": bool, "int": int, "double": float, "string": str}
LISTS = {"double_array": float, "string_array": str}


@dataclass(frozen=True)
class Parameter:
    """``type`` as ROS calls it; ``low`` and ``high`` bound a number, ``choices`` a string, ``length`` a list."""

    name: str
    type: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()

    def checked(self, value: Any) -> Any:
        """``value`` in the parameter's type; PerceptionError for one of another type or out of range."""
        if self.type in LISTS:
            kind = LISTS[self.type]
            values = [] if value is None else list(value)
            right = all(isinstance(v, (int, float) if kind is float else kind) for v in values)
            if not right or (self.lengths and len(values) not in self.lengths):
                raise self._wrong(value, f"{self.type} of {' or '.join(map(str, self.lengths)) or 'any'} values")
            return [kind(v) for v in values]
        kind = TYPES[self.type]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self._wrong(value, self.type)
        if self.low is not None and not self.low <= value <= (self.high if self.high is not None else value):
            raise self._wrong(value, f"{self.low:g} to {self.high:g}")
        if self.choices and value not in self.choices:
            raise PerceptionError(
                f"parameter {self.name} = {value!r}", f"one of {', '.join(self.choices)}", nearest(value, self.choices)
            )
        return value

    def _wrong(self, value: Any, expected: str) -> PerceptionError:
        return PerceptionError(f"parameter {self.name} = {value!r}", expected, self.description)


@cache
def parameters_of(task: str) -> dict[str, Parameter]:
    """All parameters of a node for ``task``, the common ones first."""
    path = FOLDER / f"{task}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in FOLDER.glob("*.yaml") if p.stem != "common")
        raise PerceptionError(f"no task {task!r}", f"one of {', '.join(known)}", nearest(task, known))
    found: dict[str, Parameter] = {}
    for source in (FOLDER / "common.yaml", path):
        for name, values in read_yaml(source).items():
            values = dict(values)
            low, high = values.pop("range", (None, None))
            parameter = Parameter(
                name,
                values.pop("type"),
                values.pop("default"),
                " ".join(values.pop("description").split()),
                low,
                high,
                tuple(values.pop("choices", ())),
                tuple(values.pop("lengths", ())),
            )
            if values:
                raise PerceptionError(f"{source}: {name} has the keys {sorted(values)}", "known keys")
            parameter.checked(parameter.default)
            found[name] = parameter
    return found


class Settings(Mapping[str, Any]):
    """Checked values of a task's parameters; what is not given has its default."""

    def __init__(self, task: str, values: Mapping[str, Any] | None = None) -> None:
        known = parameters_of(task)
        values = values or {}
        for name in values:
            if name not in known:
                raise PerceptionError(
                    f"unknown parameter {name!r}", f"a parameter of the {task} node", nearest(name, known)
                )
        self.task = task
        self._values = {name: p.checked(values.get(name, p.default)) for name, p in known.items()}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
