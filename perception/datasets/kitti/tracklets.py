"""Tracklets of KITTI raw drives: objects with one size and a pose for every frame they are seen in.

Raw data development kit, "Tracklets" in its readme and ``tracklets.h``: size h, w, l; pose tx, ty, tz with tz at the
**bottom** of the box, in the lidar frame; only the rotation about z is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from perception.datasets.kitti.text import MEGABYTE, read_text
from perception.errors import PerceptionError

_POSE_KEYS = ("tx", "ty", "tz", "rz")
_LARGEST = 1e6  # metres or frames; numbers beyond would overflow float32 further on
_FLAGS = ("state", "occlusion", "truncation")


@dataclass(frozen=True, eq=False)
class Tracklet:
    """One object: ``name`` as labelled, ``boxes`` (M, 7) float64 in the library's convention for M frames on end.

    ``first_frame`` is the number of the first of them. (M,) int64 each, -1 for unset: ``state`` (1 interpolated,
    2 labelled), ``occlusion`` (0 visible, 1 partly, 2 fully) and ``truncation`` (0 in the image, 1 truncated, 2 out of
    the image, 99 behind it).
    """

    name: str
    first_frame: int
    boxes: np.ndarray
    state: np.ndarray
    occlusion: np.ndarray
    truncation: np.ndarray

    def row(self, frame: int) -> int | None:
        """The row of ``boxes`` for a frame number, None where the object is not seen."""
        row = frame - self.first_frame
        return row if 0 <= row < len(self.boxes) else None


def read_tracklets(path: str | Path) -> list[Tracklet]:
    """All tracklets of a ``tracklet_labels.xml``.

    Raises PerceptionError for anything that is not such a file; documents that declare a type or entities are refused
    unread, for entities can expand without bound.
    """
    text = read_text(path, "a tracklet_labels.xml", limit=64 * MEGABYTE)
    for declaration in ("<!DOCTYPE", "<!ENTITY"):
        if declaration in text.upper():
            raise PerceptionError(f"{path} contains {declaration}", "plain XML as published", "do not trust this file")
    try:
        document = ElementTree.fromstring(text.strip())
    except (ElementTree.ParseError, RecursionError, ValueError) as error:
        raise _damaged(path, f"is not XML ({error})") from None
    tracklets = document.find("tracklets") if document.tag != "tracklets" else document
    if tracklets is None:
        raise _damaged(path, f"has no <tracklets> in <{document.tag[:40]}>")
    items = tracklets.findall("item")
    _check_count(tracklets, len(items), f"{path}: tracklets")
    return [_tracklet(item, f"{path}: tracklet {number}") for number, item in enumerate(items)]


def _tracklet(item: ElementTree.Element, where: str) -> Tracklet:
    name = (item.findtext("objectType") or "").strip()
    height, width, length = (_number(item, key, where) for key in ("h", "w", "l"))
    first_frame = _number(item, "first_frame", where)
    if not name or min(height, width, length) <= 0 or first_frame < 0 or first_frame % 1:
        raise _damaged(where, f"has type {name!r}, size {height} {width} {length}, first frame {first_frame}")
    poses = item.find("poses")
    rows = [] if poses is None else poses.findall("item")
    if poses is not None:
        _check_count(poses, len(rows), f"{where}: poses")
    pose = np.array([[_number(row, key, where) for key in _POSE_KEYS] for row in rows]).reshape(-1, 4)
    flags = np.array([[_number(row, key, where, -1) for key in _FLAGS] for row in rows]).reshape(-1, 3)
    size = np.tile([length, width, height], (len(rows), 1))
    centre = pose[:, :3] + np.array([0, 0, height / 2])
    boxes = np.column_stack([centre, size, np.remainder(pose[:, 3] + np.pi, 2 * np.pi) - np.pi])
    state, occlusion, truncation = np.clip(flags, -1, 99).astype(np.int64).T
    return Tracklet(name, int(first_frame), boxes, state, occlusion, truncation)


def _number(element: ElementTree.Element, key: str, where: str, default: float | None = None) -> float:
    text = element.findtext(key)
    if text is None and default is not None:
        return default
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) < _LARGEST:  # not a number either
        raise _damaged(where, f"has <{key}> {text!r}")
    return value


def _check_count(element: ElementTree.Element, found: int, where: str) -> None:
    count = element.findtext("count")
    if count is not None and count.strip() != str(found):
        raise _damaged(where, f"claims {count[:20]} items and has {found}")


def _damaged(where: str | Path, found: str) -> PerceptionError:
    return PerceptionError(
        f"{where} {found}", "tracklets as the KITTI raw data publishes them", "the file is damaged: download it again"
    )
