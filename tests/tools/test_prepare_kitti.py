import importlib.util
from pathlib import Path

import pytest

from perception.datasets.ground_truth_database import read_database


@pytest.fixture(scope="module")
def prepare():
    path = Path(__file__).resolve().parents[2] / "tools/prepare_kitti.py"
    specification = importlib.util.spec_from_file_location("prepare_kitti", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.main


def test_report_and_database(prepare, shared_data, tmp_path, capsys):
    path = tmp_path / "objects.npz"
    assert prepare([str(shared_data / "kitti_object"), "--database", str(path)]) == 1
    output = capsys.readouterr().out
    assert "9 scans, 7 calibrations, 7 labels" in output
    assert "missing calib" in output
    assert "Pedestrian" in output
    assert len(read_database(path)) == 17


def test_wrong_folder(prepare, tmp_path, capsys):
    assert prepare([str(tmp_path)]) == 2
    assert "published KITTI layout" in capsys.readouterr().out
