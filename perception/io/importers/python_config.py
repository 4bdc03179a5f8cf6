"""Configurations written as Python files (mmengine, det3d), read without running them.

Only what can be told from the text alone is read: literals, arithmetic, names set earlier, ``dict(...)`` and the like.
Anything else becomes ``Unread``, which is an error for whoever needs that value and for nobody else.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.errors import PerceptionError

MAX_BYTES, MAX_LENGTH, MAX_BASES = 1_000_000, 10_000, 20
ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
UNARY: dict[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
CALLS: dict[str, Callable[..., Any]] = {
    "dict": dict,
    "ConfigDict": dict,
    "list": list,
    "tuple": tuple,
    "sum": sum,
    "len": len,
    "int": int,
    "float": float,
}


@dataclass(frozen=True)
class Unread:
    """A value that only running the file could tell; ``source`` is its text."""

    source: str


def read_python_config(path: str | Path, depth: int = 0) -> dict[str, Any]:
    """The values that the file sets, with those of its ``_base_`` files beneath them as mmengine merges them."""
    path = Path(path)
    if depth > MAX_BASES:
        raise PerceptionError(f"{path}: _base_ files name each other", "a chain of at most 20 files")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PerceptionError(f"{path} is larger than a configuration", "a Python file under 1 MB")
        text = path.read_text()
    except FileNotFoundError:
        raise PerceptionError(f"no file {path}", "a Python configuration and the files of its _base_") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PerceptionError(f"{path} cannot be read: {error}", "a Python configuration") from None
    return parse_python_config(text, str(path), path.parent, depth)


def parse_python_config(text: str, where: str, folder: Path | None = None, depth: int = 0) -> dict[str, Any]:
    """The same of a text; ``folder`` is where relative ``_base_`` files lie, if it may have any."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise PerceptionError(f"{where} is no Python configuration: {error}", "assignments of plain values") from None
    reader = _Reader()
    try:
        reader.run(tree.body)
    except RecursionError:
        raise PerceptionError(f"{where} nests its values too deeply", "assignments of plain values") from None
    base: dict[str, Any] = {}
    named = reader.values.pop("_base_", [])
    for name in [named] if isinstance(named, str) else named:
        if not isinstance(name, str) or folder is None or "::" in name:
            raise PerceptionError(f"{where} builds on {name}", "_base_ files that lie on this disk")
        base = _merged(base, read_python_config(folder / name, depth + 1))
    if "_base_." in text:  # an expression that reads the values of the files beneath
        reader = _Reader(base)
        reader.run(tree.body)
        reader.values.pop("_base_", None)
    return _merged(base, reader.values)


def _merged(base: Any, over: Any) -> Any:
    """``over`` laid upon ``base``: mappings join, unless ``_delete_`` asks for the upper one alone."""
    if not isinstance(over, Mapping):
        return over
    below = base if isinstance(base, Mapping) and not over.get("_delete_") else {}
    joined = dict(below)
    for key, value in over.items():
        if key != "_delete_":
            joined[key] = _merged(below.get(key), value)
    return joined


class _Reader:
    """Runs through the statements of one file and keeps what it can tell of each name."""

    def __init__(self, base: Mapping[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = {}
        self.base = base

    def run(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, ast.Assign):
                value = self.value(statement.value)
                for target in statement.targets:
                    self._set(target, value)
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                self._set(statement.target, self.value(statement.value))
            elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
                self._set(statement.target, self.value(ast.BinOp(statement.target, statement.op, statement.value)))
            elif not isinstance(statement, ast.Import | ast.ImportFrom) and not _is_text(statement):
                self._forget(statement)

    def _set(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.values[target.id] = value
        elif isinstance(target, ast.Subscript):
            holder, key = self.value(target.value), self.value(target.slice)
            if isinstance(holder, dict) and isinstance(key, str):
                holder[key] = value
            else:
                self._forget(target)
        elif isinstance(target, ast.Tuple) and isinstance(value, tuple | list) and len(value) == len(target.elts):
            for part, one in zip(target.elts, value):
                self._set(part, one)
        else:
            self._forget(target)

    def _forget(self, node: ast.AST) -> None:
        """Whatever a statement that is not understood may have changed is no longer known."""
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id not in CALLS:
                self.values[part.id] = Unread(ast.unparse(node)[:80])

    def value(self, node: ast.expr) -> Any:
        try:
            return self._value(node)
        except (TypeError, ValueError, KeyError, IndexError, ArithmeticError, AttributeError):
            return Unread(ast.unparse(node)[:80])

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List):
            return [self.value(part) for part in node.elts]
        if isinstance(node, ast.Tuple):
            return tuple(self.value(part) for part in node.elts)
        if isinstance(node, ast.Dict):
            return self._mapping(node)
        if isinstance(node, ast.Name):
            return self.values[node.id]
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Subscript):
            return self.value(node.value)[self._index(node.slice)]
        if isinstance(node, ast.UnaryOp):
            return UNARY[type(node.op)](self.value(node.operand))
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            return self._call(CALLS[node.func.id], node)
        raise ValueError

    def _mapping(self, node: ast.Dict) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values):
            found.update(self.value(value) if key is None else {self.value(key): self.value(value)})
        return found

    def _attribute(self, node: ast.Attribute) -> Any:
        if node.attr == "pi" and isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy", "math"):
            return math.pi
        if isinstance(node.value, ast.Name) and node.value.id == "_base_" and self.base is not None:
            return self.base[node.attr]
        found = self.value(node.value)
        if isinstance(found, dict):
            return found[node.attr]
        raise ValueError

    def _index(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Slice):
            return slice(*(None if part is None else self.value(part) for part in (node.lower, node.upper, node.step)))
        return self.value(node)

    def _arithmetic(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        joined = isinstance(node.op, ast.Add) and type(left) is type(right) and isinstance(left, list | tuple | str)
        repeated = isinstance(node.op, ast.Mult) and isinstance(left, list | tuple) and isinstance(right, int)
        if not numbers and not joined and not (repeated and len(left) * right <= MAX_LENGTH):
            raise ValueError
        return ARITHMETIC[type(node.op)](left, right)

    def _call(self, function: Callable[..., Any], node: ast.Call) -> Any:
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value)
            named.update(value if keyword.arg is None else {keyword.arg: value})
        return function(*(self.value(argument) for argument in node.args), **named)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
