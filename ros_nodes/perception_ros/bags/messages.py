"""Messages as rosbags has them: the same tasks write them that publish on a robot."""

from __future__ import annotations

from typing import Any

import numpy as np

from perception.errors import PerceptionError
from perception_ros.bags.definitions import VISION_MSGS

ARRAY, SEQUENCE, NAME = 3, 4, 2  # rosbags' kinds of fields


def typestore() -> Any:
    """rosbags' types of Jazzy, with vision_msgs. Raises PerceptionError where rosbags is not installed."""
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError:
        raise PerceptionError(
            "the package 'rosbags' is not installed", "rosbags, to read and write bags", "pip install rosbags"
        ) from None
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in VISION_MSGS.items():
        store.register(get_types_from_msg(text, name))
    return store


class BagMessages:
    """Makes messages of a rosbags typestore; see ``perception_ros.conversion.messages.Messages``."""

    def __init__(self, store: Any | None = None) -> None:
        self.store = typestore() if store is None else store

    def has(self, name: str) -> bool:
        return name in self.store.types

    def make(self, type_name: str, /, **fields: Any) -> Any:
        if not self.has(type_name):
            raise PerceptionError(f"no message {type_name}", "a message of the typestore")
        described = dict(self.store.fielddefs[type_name][1])
        unknown = set(fields) - set(described)
        if unknown:
            raise PerceptionError(f"{type_name} has no {sorted(unknown)}", f"its fields {sorted(described)}")
        values = {n: fields[n] if n in fields else self._default(kind) for n, kind in described.items()}
        return self.store.types[type_name](**values)

    def data(self, values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values).reshape(-1).view(np.uint8)

    def _default(self, kind: Any) -> Any:
        what, about = int(kind[0]), kind[1]
        if what == NAME:
            return self.make(about)
        if what in (ARRAY, SEQUENCE):
            element, number = about
            if int(element[0]) == NAME or element[1][0] == "string":
                return [self._default(element) for _ in range(number)] if what == ARRAY else []
            return np.zeros(number if what == ARRAY else 0, _dtype(element[1][0]))
        base = about[0]
        return {"string": "", "bool": False}.get(base, 0.0 if base.startswith("float") else 0)


def _dtype(name: str) -> str:
    return {"byte": "u1", "octet": "u1", "char": "u1", "bool": "?"}.get(name, name)
