"""Which frames a KITTI object folder holds, and whether each of them is complete."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perception.datasets.kitti.text import read_text
from perception.errors import PerceptionError

LAYOUT = "<root>/training/{velodyne,calib,label_2} (and testing/ without label_2; ImageSets/*.txt for splits)"
CLOUD_FOLDERS = ("velodyne", "velodyne_reduced")
_SPLIT_FOLDERS = {"train": "training", "val": "training", "trainval": "training", "test": "testing"}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class KittiFolder:
    """``training`` or ``testing``: the identifiers (file stems) found in each of its folders."""

    path: Path
    clouds: frozenset[str]
    calibrations: frozenset[str]
    labels: frozenset[str]

    @property
    def labelled(self) -> bool:
        return (self.path / "label_2").is_dir()

    def missing(self, identifier: str) -> list[str]:
        """The files that a frame lacks, relative to the folder."""
        lacking = []
        if identifier not in self.clouds:
            lacking.append(f"velodyne/{identifier}.bin")
        if identifier not in self.calibrations:
            lacking.append(f"calib/{identifier}.txt")
        if self.labelled and identifier not in self.labels:
            lacking.append(f"label_2/{identifier}.txt")
        return lacking

    def cloud_path(self, identifier: str) -> Path:
        """The scan of a frame: the full one, else the one already cropped to the camera's view."""
        paths = [self.path / folder / f"{identifier}.bin" for folder in CLOUD_FOLDERS]
        return next((path for path in paths if path.is_file()), paths[0])


def scan_folder(root: str | Path, split: str) -> KittiFolder:
    """What is there for ``split``: training, testing, or a split that ImageSets lists (train, val, trainval, test)."""
    root = Path(root)
    path = root / _SPLIT_FOLDERS.get(split, split if split in ("training", "testing") else "training")
    if not path.is_dir():
        found = f"{root} is not a folder" if not root.is_dir() else f"{root} has no folder {path.name}/"
        inside = (root / "velodyne").is_dir() or (root / "label_2").is_dir()
        hint = f"pass {root.resolve().parent}" if inside else "pass the folder that holds training/ and testing/"
        raise PerceptionError(found, f"the published KITTI layout: {LAYOUT}", hint)
    clouds = frozenset().union(*(_stems(path / folder, ".bin") for folder in CLOUD_FOLDERS))
    if not clouds:
        raise PerceptionError(
            f"{path} has no scans in velodyne/*.bin",
            f"the published KITTI layout: {LAYOUT}",
            "unpack the lidar archive",
        )
    return KittiFolder(path, clouds, _stems(path / "calib", ".txt"), _stems(path / "label_2", ".txt"))


def choose_frames(root: str | Path, split: str, folder: KittiFolder, wanted: Iterable[str] | None) -> tuple[str, ...]:
    """The frames to use, each of them complete, else one error that names them.

    Those ``wanted``, else those that ``ImageSets/<split>.txt`` lists; for ``training`` all labelled scans, for
    ``testing`` all scans.
    """
    if isinstance(wanted, str):
        raise PerceptionError(f"identifiers={wanted!r}, a single text", "a list of identifiers", f"pass [{wanted!r}]")
    if wanted is not None:
        frames, source = [str(identifier) for identifier in wanted], "the identifiers given"
    elif split in ("training", "testing"):
        frames, source = sorted(folder.labels if folder.labelled else folder.clouds), str(folder.path)
    else:
        path = Path(root) / "ImageSets" / f"{split}.txt"
        frames, source = read_split(path), str(path)
    _require_complete(folder, frames, source)
    return tuple(frames)


def read_split(path: str | Path) -> list[str]:
    """Identifiers in a split file, one a line."""
    lines = [line.strip() for line in read_text(path, "a split: one identifier a line").splitlines()]
    frames = [line for line in lines if line]
    bad = next((line for line in frames if not re.fullmatch(r"[\w.-]{1,64}", line)), None)
    if bad is not None or not frames:
        found = f"{path} holds {bad[:60]!r}" if bad is not None else f"{path} is empty"
        raise PerceptionError(found, "one frame identifier a line, such as 000008", "use the published split file")
    return frames


def read_png_size(path: str | Path) -> tuple[int, int]:
    """Width and height in the header of a PNG file (its IHDR chunk, PNG specification section 11.2.2)."""
    with Path(path).open("rb") as handle:
        header = handle.read(24)
    if len(header) < 24 or header[:8] != _PNG_SIGNATURE or header[12:16] != b"IHDR":
        raise PerceptionError(f"{path} is not a PNG image", "the image of the frame", "download it again or remove it")
    width, height = struct.unpack(">II", header[16:24])
    if not (0 < width <= 100_000 and 0 < height <= 100_000):
        raise PerceptionError(f"{path} claims {width} x {height} pixels", "the image of the frame", "download it again")
    return width, height


def _require_complete(folder: KittiFolder, frames: Sequence[str], source: str) -> None:
    if not frames:
        raise PerceptionError(
            f"{source}: no frames ({len(folder.clouds)} scans, {len(folder.labels)} labels in {folder.path})",
            f"at least one complete frame of the published layout: {LAYOUT}",
            "unpack the archives for scans, calibration and labels into one folder",
        )
    lacking = [(frame, missing) for frame in frames if (missing := folder.missing(frame))]
    if lacking:
        frame, missing = lacking[0]
        raise PerceptionError(
            f"{source}: frame {frame!r} lacks {', '.join(missing)} in {folder.path} "
            f"({len(lacking)} of {len(frames)} frames are incomplete)",
            "a scan and a calibration for every frame, and a label where there is label_2",
            "complete the folder (tools/prepare_kitti.py lists the gaps), or pass identifiers without that frame",
        )


def _stems(folder: Path, suffix: str) -> frozenset[str]:
    if not folder.is_dir():
        return frozenset()
    return frozenset(path.stem for path in folder.iterdir() if path.suffix == suffix)
