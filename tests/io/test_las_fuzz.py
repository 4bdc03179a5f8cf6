"""More than 2,000 damaged files: refused with the one error, or read with the true count, or the doubt is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MUTANTS = Path(__file__).with_name("las_mutants.py")


def told(folder: Path, *files: Path) -> dict[str, Any]:
    command = [sys.executable, str(MUTANTS), str(folder), *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


def check(answer: dict[str, Any]) -> None:
    assert not answer["other"], "another exception than PerceptionError"
    assert not answer["silent"], "a wrong count without a word"
    assert answer["refused"] > answer["mutants"] // 5
    assert answer["slowest"] < 1
    assert answer["megabytes"] < 200


def test_damage_of_every_field_is_refused_or_harmless(tmp_path: Path) -> None:
    answer = told(tmp_path)
    assert answer["mutants"] > 2000
    check(answer)


@pytest.mark.slow
def test_damage_of_real_files(shared_data: Path, tmp_path: Path) -> None:
    names = ["simple.copc.laz", "fullwave.laz", "extra.laz", "1_4_w_evlr.laz", "vegetation_1_3.las"]
    names += ["permutations/1.0_0.las", "permutations/1.0_1.las", "simple1_1.las"]
    check(told(tmp_path, *(shared_data / "las_format" / name for name in names)))
