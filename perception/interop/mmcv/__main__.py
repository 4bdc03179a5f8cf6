"""Put the stand-in into mmcv-lite for good: python -m perception.interop.mmcv (--remove takes it away).

Scripts of mmdet3d import ``mmcv.ops`` before they read any configuration; after this they need no change at all.
"""

from __future__ import annotations

import argparse
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from perception.errors import PerceptionError, missing_extra

MARK = "# Written by `python -m perception.interop.mmcv`; `--remove` takes it away."
TEXT = f"""{MARK}
import sys

from perception.interop.mmcv.stand_in import StandIn

sys.modules[__name__] = StandIn()
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perception.interop.mmcv", description=__doc__)
    parser.add_argument("--remove", action="store_true", help="take it away again")
    options = parser.parse_args()
    try:
        path = place()
        if not options.remove:
            path.write_text(TEXT)
            print(f"wrote {path}: mmcv's operators are ours")
        elif path.exists():
            path.unlink()
            print(f"removed {path}")
        else:
            print(f"there is no {path}")
    except (PerceptionError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def place() -> Path:
    """Where the file goes; PerceptionError without mmcv, beside its compiled module, and where something else is."""
    spec = find_spec("mmcv")
    if spec is None or spec.origin is None:
        raise missing_extra("mmcv", "mmdet3d")
    folder = Path(spec.origin).parent
    compiled = [name for suffix in EXTENSION_SUFFIXES if (name := folder / f"_ext{suffix}").exists()]
    if compiled:
        raise PerceptionError(
            f"{compiled[0]}: this mmcv has its compiled operators",
            "mmcv-lite, which has none",
            "they serve as they are; if they do not load, start scripts by python -m perception.interop.mmdet3d SCRIPT",
        )
    path = folder / "_ext.py"
    if path.exists() and not path.read_text().startswith(MARK):
        raise PerceptionError(f"{path}, which is not from here", "no such file", "move it away first")
    return path


if __name__ == "__main__":
    sys.exit(main())
