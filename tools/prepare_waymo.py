"""Make Waymo segments fit for training: the lidar tables get one row group a frame, so that any frame is read at once.

python tools/prepare_waymo.py data/waymo/training

Each table is replaced whole or not at all, by one with the same rows; what is done is left alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.progress import track

from perception.datasets.waymo.prepare import LARGE, by_frame
from perception.errors import PerceptionError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path, help="the folder that holds lidar/ and lidar_pose/")
    options = parser.parse_args(arguments)
    try:
        paths = sorted(path for name in LARGE for path in (options.split / name).glob("*.parquet"))
        if not paths:
            raise PerceptionError(f"{options.split} has no tables in lidar/", "a split's folder", "pass .../training")
        written = sum(by_frame(path) for path in track(paths, "tables", disable=not sys.stderr.isatty()))
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{written} of {len(paths)} tables written again, a row group a frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
