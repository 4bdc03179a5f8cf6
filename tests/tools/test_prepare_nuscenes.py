from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perception.datasets.ground_truth_database import read_database
from perception.training.settings import read_experiment

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from nuscenes_files import write_nuscenes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prepare() -> Callable[[list[str]], int]:
    specification = importlib.util.spec_from_file_location("prepare_nuscenes", ROOT / "tools/prepare_nuscenes.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    found: Callable[[list[str]], int] = module.main
    return found


def test_counts_cache_and_database(
    prepare: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write_nuscenes(tmp_path / "data", frames=3)
    command = [str(made.root), "--split", "mini_val", "--cache", str(tmp_path / "index.npz")]
    assert prepare([*command, "--database", str(tmp_path / "objects.npz"), "--every", "2"]) == 0
    output = capsys.readouterr().out
    assert "2 scenes, 6 keyframes" in output
    assert (tmp_path / "index.npz").is_file()
    database = read_database(tmp_path / "objects.npz")
    assert sorted(database.fields) == ["intensity", "time"]
    assert database.velocity is not None
    assert set(database.identifiers.tolist()) == {"scene-0103/000", "scene-0103/002", "scene-0916/001"}
    gone = made.root / made.samples["scene-0103/001"]["file"]
    gone.unlink()
    assert prepare(command) == 1
    assert gone.name in capsys.readouterr().out
    assert prepare([str(tmp_path)]) == 2
    assert "no folder v1.0-trainval" in capsys.readouterr().out


def test_the_configuration(tmp_path: Path) -> None:
    experiment = read_experiment(ROOT / "configs/detection/centerpoint_nuscenes.yaml")
    assert experiment.data.train[0].options["balanced"] is True
