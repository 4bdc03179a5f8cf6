"""Typed configurations: frozen dataclasses, checked by pydantic when made, read from YAML with helpful errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import dataclass_transform

from perception.errors import PerceptionError, nearest

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that checks its values' types and knows no other keys."""
    return pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))(cls)  # type: ignore[return-value]


def parse(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build ``cls`` from plain values; ``where`` names their source in errors (a file, a checkpoint)."""
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise _explain(cls, error, where) from None


def merge(defaults: T, values: Mapping[str, Any], where: str) -> T:
    """``defaults`` with the given keys changed; nested configurations merge likewise, lists are replaced whole."""
    return parse(type(defaults), _overlay(to_plain(defaults), values), where)


def _overlay(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(base)
    for key, value in values.items():
        below = base.get(key)
        changed[key] = _overlay(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return changed


def to_plain(value: Any) -> Any:
    """A configuration as dicts, lists and scalars, fit for YAML and JSON."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise PerceptionError(f"no file {path}", "a YAML configuration", "see configs/ for examples") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise PerceptionError(f"{path} cannot be read as YAML: {reason}", "a mapping of keys to values") from None
    if not isinstance(values, dict):
        raise PerceptionError(f"{path} holds {type(values).__name__}", "a mapping of keys to values")
    return values


def _explain(cls: type, error: ValidationError, where: str) -> PerceptionError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        hint = nearest(str(first["loc"][-1]), _fields_at(cls, first["loc"][:-1]))
        return PerceptionError(f"{where}: unknown key {key!r}", f"a key of {cls.__name__}", hint)
    return PerceptionError(
        f"{where}: {key or cls.__name__} = {first.get('input')!r}", first["msg"], f"correct the value of {key!r}"
    )


def _fields_at(cls: Any, path: tuple[Any, ...]) -> list[str]:
    for part in path:
        following = getattr(cls, "__pydantic_fields__", {}).get(part)
        if following is None:
            break
        choices = [following.annotation, *get_args(following.annotation)]  # looks through `X | None`
        cls = next((c for c in choices if hasattr(c, "__pydantic_fields__")), following.annotation)
    return list(getattr(cls, "__pydantic_fields__", {}))
