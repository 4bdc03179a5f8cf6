"""How official names of a model's parts become ours.

A rule is a pattern of the official key's beginning and what replaces it: a template or a function of the match; the
first rule that fits is taken. ``Turned`` adds what must be done to the tensor itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Turned(NamedTuple):
    """A rule whose tensors are laid out otherwise than ours; ``convert`` makes ours of the official one."""

    pattern: str
    replacement: str | Callable[[re.Match[str]], str]
    convert: Callable[[Tensor], Tensor]


def reordered(*order: int) -> Callable[[Tensor], Tensor]:
    """Rows in another order: row i of ours is row ``order[i]`` of theirs; as many rows as there are, or ValueError."""

    def convert(rows: Tensor) -> Tensor:
        if len(rows) != len(order):
            raise ValueError(f"{len(rows)} rows where the configuration makes {len(order)}")
        return rows[list(order)]

    return convert


Rule = tuple[str, str | Callable[[re.Match[str]], str]] | Turned
Rules = tuple[Rule, ...]


def translate(key: str, rules: Rules) -> tuple[str, Callable[[Tensor], Tensor] | None]:
    """Our name of an official key and what to do to its tensor; a key that no rule knows stays as it is."""
    for pattern, replacement, *convert in rules:
        try:
            renamed, count = re.subn("^" + pattern, replacement, key)
        except KeyError:  # a part that the rule's own table does not have: no name of this model
            continue
        if count:
            return renamed, convert[0] if convert else None
    return key, None
