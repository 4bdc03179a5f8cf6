#!/usr/bin/env python3
"""Everything that proves the library: style, types, all tests with the slow ones, and every golden file."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT.parent / "shared" / "golden"


def golden_files() -> list[Path]:
    """All of them: a file that no model or metric of ours reads is a failure."""
    return sorted({*GOLDEN.glob("metrics/*"), *GOLDEN.glob("*/*.npz")})


def main() -> int:
    python = sys.executable
    steps = {
        "style": [python, "-m", "ruff", "check", "."],
        "format": [python, "-m", "ruff", "format", "--check", "."],
        "types": [python, "-m", "mypy", "perception"],
        "tests": [python, "-m", "pytest", "--durations=20"],
        "nodes": ["make", "--no-print-directory", "test-ros", f"PYTHON={python}", "ROS_TESTS="],
        "mmdet3d": ["make", "--no-print-directory", "test-mmdet3d", f"PYTHON={python}"],
        "golden files": [python, "tools/check_golden.py", "--failures", *map(str, golden_files())],
    }
    failed = []
    for name, command in steps.items():
        print(f"== {name}", flush=True)
        start = time.perf_counter()
        code = subprocess.run(command, cwd=ROOT).returncode
        print(f"== {name}: {'failed' if code else 'passed'} in {time.perf_counter() - start:.0f} s", flush=True)
        if code:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "everything holds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
