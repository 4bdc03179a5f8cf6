"""Info files (.pkl) of OpenPCDet and mmdet3d, read without running what a pickle may ask for.

A pickle is a program: it names functions and calls them. Here only stand-ins that build NumPy arrays and plain
containers can be called; every other name is refused before anything happens.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from perception.errors import PerceptionError
from perception.io.source import checked_file

EXPECTED = "an info file that OpenPCDet or mmdet3d made: NumPy arrays, numbers, texts, lists and dicts"


class _Array:
    """Stands where a pickle names the array type: it can be passed on, not called."""

    def __new__(cls, *_: object) -> _Array:
        raise pickle.UnpicklingError("an array that is made directly")


def _reconstruct(kind: object, shape: object, _: object) -> np.ndarray:
    """The empty array whose content follows; a pickle of an array never asks for another one."""
    if kind is not _Array or shape != (0,):
        raise pickle.UnpicklingError("an array that does not begin empty")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _from_buffer(content: bytes | bytearray, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> np.ndarray:
    """An array of protocol 5; its content is in the file, so that no more is allocated than was read."""
    if dtype.hasobject or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array of objects as bytes")
    return np.frombuffer(bytearray(content), dtype).reshape(shape, order="C" if order == "C" else "F")


def _encode(text: str, encoding: str) -> bytes:
    """How pickles of protocol 2 write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r:.40}")
    return text.encode("latin1")


def _no_bytes(*arguments: object) -> bytes:
    """The content of an empty array in protocol 2."""
    if arguments:
        raise pickle.UnpicklingError("bytes made of something else")
    return b""


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    found: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): OrderedDict,
    }
    scalar: Any = np.float64(0).__reduce__()[0]  # its module has another name in each NumPy
    for core in ("numpy.core", "numpy._core"):
        found[f"{core}.multiarray", "_reconstruct"] = _reconstruct
        found[f"{core}.multiarray", "scalar"] = scalar
        found[f"{core}.numeric", "_frombuffer"] = _from_buffer
    for builtins in ("builtins", "__builtin__"):
        found[builtins, "bytes"] = _no_bytes
        found.update({(builtins, kind.__name__): kind for kind in (set, frozenset, list, dict, tuple)})
    return found


_ALLOWED = _allowed()


class _Restricted(pickle.Unpickler):
    def __init__(self, file: IO[bytes], expected: str, stand_ins: Mapping[str, type]) -> None:
        super().__init__(file)
        self.expected, self.stand_ins = expected, stand_ins

    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module, name), self.stand_ins.get(name))
        if allowed is None:
            raise PerceptionError(
                f"the pickle asks for {module[:60]}.{name[:60]}",
                self.expected,
                "do not load this file with other tools: it may run programs on your machine",
            )
        return allowed


def read_info_file(path: str | Path) -> Any:
    """The content of an info file: plain containers, texts, numbers and NumPy arrays.

    Raises PerceptionError that names a global which the pickle asks for and which is not needed for these.
    """
    return read_plain_pickle(path, EXPECTED, {})


def read_plain_pickle(path: str | Path, expected: str, stand_ins: Mapping[str, type]) -> Any:
    """``read_info_file`` for other plain content; ``stand_ins``: empty classes in place of those that it names."""
    path, _ = checked_file(path)
    try:
        with path.open("rb") as file:
            return _Restricted(file, expected, stand_ins).load()
    except PerceptionError as error:
        raise PerceptionError(f"{path}: {error.found}", error.expected, error.fix) from None
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        reason = " ".join(str(error).split())[:200]
        raise PerceptionError(f"{path} cannot be read: {type(error).__name__} {reason}", expected) from None


def class_names(content: Mapping[str, Any], where: Path) -> dict[int, str]:
    """Names of the class numbers in an mmdet3d 1.x file: ``categories`` of its metainfo, in early ones ``CLASSES``."""
    facts = content.get("metainfo")
    facts = facts if isinstance(facts, Mapping) else {}
    categories = facts.get("categories")
    if isinstance(categories, Mapping):
        return {int(number): str(name) for name, number in categories.items() if int(number) >= 0}
    listed = facts.get("classes", facts.get("CLASSES"))
    if isinstance(listed, (list, tuple)):
        return {number: str(name) for number, name in enumerate(listed)}
    raise PerceptionError(f"{where}: metainfo names no classes", "categories, or CLASSES", "make the info file again")
