"""Run a script of mmdet3d on our operators: python -m perception.interop.mmdet3d tools/test.py CONFIG CHECKPOINT"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

USAGE = "python -m perception.interop.mmdet3d SCRIPT [its arguments]"


def main() -> int:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{USAGE}\n\nruns a script, such as mmdet3d's tools/train.py or tools/test.py, on our operators")
        return 0 if arguments else 2
    if not Path(arguments[0]).is_file():
        print(f"{arguments[0]} is no file\n  expected: {USAGE}", file=sys.stderr)
        return 2
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))  # as python SCRIPT would
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
