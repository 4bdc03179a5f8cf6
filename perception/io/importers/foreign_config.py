"""Reading another library's configuration: what ours can express, and a list of all that it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perception.errors import PerceptionError
from perception.io.importers.python_config import Unread

MISSING: Any = object()


class ForeignConfig:
    """Nested plain values with dotted paths. ``differences`` gathers what cannot be expressed, for one error."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where
        self.differences: list[str] = []

    def get(self, path: str, default: Any = MISSING) -> Any:
        """The value at the path, or the default; one that is neither there nor has a default is a difference."""
        found: Any = self.values
        for part in path.split("."):
            if isinstance(found, Unread):
                break
            found = found.get(part, MISSING) if isinstance(found, Mapping) else MISSING
            if found is MISSING:
                break
        if found is MISSING:
            if default is MISSING:
                self.refuse(f"{path} is missing")
                return None
            return default
        for value in _leaves(found):
            if isinstance(value, Unread):
                self.refuse(f"{path} is computed by `{value.source}`, which is not run: write its value there")
                return None if default is MISSING else default
        return found

    def expect(self, path: str, *allowed: Any, default: Any = None) -> Any:
        """The value, which must be one of those ``allowed``; where it is missing, ``default``."""
        found = self.get(path, default)
        if not any(_same(found, value) for value in allowed):
            self.refuse(f"{path} = {found!r} where ours is always {' or '.join(repr(value) for value in allowed)}")
        return found

    def numbers(self, path: str, count: int, default: Any = MISSING) -> tuple[float, ...]:
        """So many numbers as a tuple; anything else is a difference, and zeros."""
        found = self.get(path, default)
        fine = isinstance(found, list | tuple) and len(found) == count
        if found is not None and not (fine and all(isinstance(value, int | float) for value in found)):
            self.refuse(f"{path} = {found!r} where {count} numbers are meant")
        return tuple(map(float, found)) if fine else (0.0,) * count

    def refuse(self, difference: str) -> None:
        self.differences.append(difference)

    def check(self) -> None:
        """Raise one error with all the differences, if there are any."""
        if not self.differences:
            return
        shown = "; ".join(self.differences[:8])
        more = f"; and {len(self.differences) - 8} more" if len(self.differences) > 8 else ""
        raise PerceptionError(
            f"{self.where} describes a model that ours cannot be: {shown}{more}",
            "options that the models of the catalogue have",
            "`perception models NAME` shows a model's options",
        )


def our_names(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Class names as the catalogue writes them, where only capital letters differ."""
    table = {name.lower(): name for name in known}
    return tuple(table.get(name.lower(), name) for name in names)


def two(value: Any) -> tuple[int, int]:
    """A cap given once, or for training and use."""
    return (int(value), int(value)) if isinstance(value, int | float) else (int(value[0]), int(value[1]))


def _same(found: Any, value: Any) -> bool:
    if isinstance(found, list | tuple) and isinstance(value, list | tuple):
        return len(found) == len(value) and all(_same(a, b) for a, b in zip(found, value))
    if isinstance(found, float) or isinstance(value, float):
        return isinstance(found, int | float) and isinstance(value, int | float) and abs(found - value) < 1e-6
    return bool(found == value)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]
