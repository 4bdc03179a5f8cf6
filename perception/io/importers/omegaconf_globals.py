"""Configurations that OmegaConf pickled into checkpoints, read as plain values without OmegaConf.

Its objects become ``Node``, which keeps their attributes and does nothing else.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Mapping
from typing import Any

from perception.io.importers.inert_globals import Inert

CONTAINERS = ("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig")
NODES = tuple(
    f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Integer", "Float", "Boolean", "String", "Path", "Bytes", "Enum")
)
RECORDS = ("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "typing.Any")
DEEPEST = 32


class Node:
    """The attributes of a container (``_content``) or of a value (``_val``)."""

    def __new__(cls, *arguments: Any, **named: Any) -> Node:
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, Mapping) else {}


def omegaconf_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """For ``torch.serialization.safe_globals``."""
    named: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [(Node, name) for name in (*CONTAINERS, *NODES)]
    named += [(Inert, name) for name in RECORDS]
    named += [(kind, f"builtins.{kind.__name__}") for kind in (dict, list, int, float, bool, str)]
    return [*named, collections.defaultdict]


def plain_values(value: Any) -> Any:
    """Nested mappings, lists and scalars; ``${path}`` stands for the value there and is replaced where it is found."""
    plain = _plain(value, 0)
    return _resolved(plain, plain, 0)


def _plain(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        return None
    if isinstance(value, Node):
        state = getattr(value, "state", {})
        return _plain(state.get("_content", state.get("_val")), depth + 1)
    if isinstance(value, Mapping):
        return {str(key): _plain(below, depth + 1) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below, depth + 1) for below in value]
    return value if isinstance(value, str | int | float | bool) else None


def _resolved(value: Any, root: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolved(below, root, depth) for key, below in value.items()}
    if isinstance(value, list):
        return [_resolved(below, root, depth) for below in value]
    named = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    if named is None or depth > DEEPEST:
        return value
    found: Any = root
    for part in named[1].split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return _resolved(found, root, depth + 1)
