"""The one exception that users of the library have to catch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PerceptionError(Exception):
    """Input, configuration or environment that the library cannot work with.

    Every instance answers three questions: what was found, what was expected and what the user can do about it.
    """

    def __init__(self, found: str, expected: str = "", fix: str = "") -> None:
        self.found = found
        self.expected = expected
        self.fix = fix
        parts = [found]
        if expected:
            parts.append(f"expected: {expected}")
        if fix:
            parts.append(f"what to do: {fix}")
        super().__init__("\n  ".join(parts))

    def __reduce__(self) -> tuple[type[PerceptionError], tuple[str, str, str]]:
        return type(self), (self.found, self.expected, self.fix)  # crosses process borders of data loaders whole


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest known one, or the list of all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(sorted(known))}"


def missing_extra(package: str, extra: str) -> PerceptionError:
    """The error for an optional dependency that is not installed."""
    return PerceptionError(
        f"the package {package!r} is not installed",
        f"the optional dependencies of {extra!r}",
        f"pip install 'lidar-perception[{extra}]'",
    )
