"""The comparison with shapely runs, agrees with it, and writes what it prints. Speed itself is not a test's matter."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools/benchmark/nms.py"
    specification = importlib.util.spec_from_file_location("benchmark_nms", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["benchmark_nms"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def test_table_and_file_agree(benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--repeats", "1", "--out", str(tmp_path / "nms.json")]) == 0
    rows = json.loads((tmp_path / "nms.json").read_text())["rows"]
    printed = capsys.readouterr().out
    assert len(rows) == 8
    for row in rows:
        assert row["same_answer"]
        assert row["name"] in printed
        assert row["ratio"] == pytest.approx(row["peer_ms"] / row["ours_ms"])


def test_a_missing_folder_is_said_before_the_work(benchmark: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(["--out", str(tmp_path / "none" / "nms.json")])
    assert stopped.value.code == 2
