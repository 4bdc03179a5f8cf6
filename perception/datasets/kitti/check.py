"""What is wrong with a KITTI object folder: every file looked at once, every problem counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perception.datasets.kitti.calibration import read_object_calibration
from perception.datasets.kitti.labels import parse_label_lines
from perception.datasets.kitti.layout import KittiFolder, read_split, scan_folder
from perception.datasets.kitti.text import read_text
from perception.errors import PerceptionError


@dataclass(frozen=True)
class KittiReport:
    """``counts`` of files by kind, ``problems``: kind of problem -> what it concerns, one text each."""

    folder: Path
    counts: dict[str, int]
    problems: dict[str, list[str]]


def check_kitti(
    root: str | Path, split: str = "training", on_frame: Callable[[int, int], None] | None = None
) -> KittiReport:
    """Look at all scans, calibrations, labels and split lists of ``root/<split>``.

    ``split`` is "training" or "testing". ``on_frame`` is told the number of frames done and of all. Raises
    PerceptionError only where the layout is not KITTI's at all.
    """
    folder = scan_folder(root, split)
    problems: dict[str, list[str]] = {}
    frames = sorted(folder.clouds | folder.calibrations | folder.labels)
    for number, frame in enumerate(frames, start=1):
        for kind, text in _frame_problems(folder, frame):
            problems.setdefault(kind, []).append(text)
        if on_frame is not None:
            on_frame(number, len(frames))
    for kind, text in _split_problems(Path(root), folder):
        problems.setdefault(kind, []).append(text)
    counts = {"scans": len(folder.clouds), "calibrations": len(folder.calibrations), "labels": len(folder.labels)}
    return KittiReport(folder.path, counts, problems)


def _frame_problems(folder: KittiFolder, frame: str) -> Iterator[tuple[str, str]]:
    for missing in folder.missing(frame):
        yield f"missing {missing.partition('/')[0]}", missing
    if frame in folder.clouds:
        path = folder.cloud_path(frame)
        size = path.stat().st_size
        if not size or size % 16:
            yield "damaged scan", f"{path}: {size:,} bytes are not whole points of 16 bytes"
    if frame in folder.calibrations:
        try:
            read_object_calibration(folder.path / "calib" / f"{frame}.txt")
        except PerceptionError as error:
            yield "damaged calibration", error.found
    if frame in folder.labels:
        path = folder.path / "label_2" / f"{frame}.txt"
        try:
            parse_label_lines(read_text(path, "KITTI labels"), str(path))
        except PerceptionError as error:
            yield "damaged label", error.found


def _split_problems(root: Path, folder: KittiFolder) -> Iterator[tuple[str, str]]:
    for path in sorted((root / "ImageSets").glob("*.txt")):
        if (path.stem == "test") != (folder.path.name == "testing"):
            continue
        try:
            frames = read_split(path)
        except PerceptionError as error:
            yield "damaged split", error.found
            continue
        for frame in frames:
            if folder.missing(frame):
                yield "split names an incomplete frame", f"{path.name}: {frame}"
