"""Which recordings weights were trained on, as the one line that their card carries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_NUMBERED = re.compile(r"(.*?)(\d+)$")


def describe_frames(frames: Mapping[str, Sequence[str]]) -> str:
    """``kitti 000000-000004, 000007; kitti_raw drive/0000000000-0000000007``: runs of numbers are shortened."""
    return "; ".join(f"{name} {', '.join(_runs(identifiers))}" for name, identifiers in frames.items())


def frames_of(description: str) -> dict[str, set[str]]:
    """The inverse of ``describe_frames``; text of another kind gives no frames."""
    frames: dict[str, set[str]] = {}
    for part in description.split("; "):
        name, _, listed = part.partition(" ")
        for item in listed.split(", "):
            frames.setdefault(name, set()).update(_expand(item))
    return frames


def _runs(identifiers: Sequence[str]) -> list[str]:
    runs: list[tuple[str, str, int, int]] = []  # stem, first number as written, first and last number
    plain = []
    for identifier in sorted(set(identifiers)):
        match = _NUMBERED.match(identifier)
        if match is None:
            plain.append(identifier)
            continue
        stem, digits = match.groups()
        if runs and runs[-1][0] == stem and len(runs[-1][1]) == len(digits) and runs[-1][3] + 1 == int(digits):
            runs[-1] = (*runs[-1][:3], int(digits))
        else:
            runs.append((stem, digits, int(digits), int(digits)))
    shortened = [
        f"{stem}{digits}" + (f"-{last:0{len(digits)}d}" if last > first else "") for stem, digits, first, last in runs
    ]
    return plain + shortened


def _expand(item: str) -> list[str]:
    first, dash, last = item.rpartition("-")
    match = _NUMBERED.match(first) if dash else None
    if match is None or len(match[2]) != len(last) or not last.isdigit():
        return [item] if item else []
    return [f"{match[1]}{number:0{len(last)}d}" for number in range(int(match[2]), int(last) + 1)]
