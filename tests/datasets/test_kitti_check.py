import pytest
from test_kitti import root  # noqa: F401 (a fixture)

from perception.datasets.kitti.check import check_kitti
from perception.errors import PerceptionError


def test_a_whole_folder(root):  # noqa: F811
    told = []
    report = check_kitti(root, on_frame=lambda done, total: told.append((done, total)))
    assert report.counts == {"scans": 3, "calibrations": 3, "labels": 3}
    assert report.problems == {}
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_every_problem_is_counted(root):  # noqa: F811
    training = root / "training"
    (training / "calib/000000.txt").unlink()
    (training / "velodyne/000001.bin").unlink()
    (training / "label_2/000002.txt").write_text("Car is not a label\n")
    (training / "velodyne/000002.bin").write_bytes(bytes(17))
    (training / "calib/000002.txt").write_text("P2: 1\n")
    (training / "velodyne/000009.bin").write_bytes(bytes(16))
    (root / "ImageSets").mkdir()
    (root / "ImageSets/train.txt").write_text("000001\n000002\n")
    (root / "ImageSets/val.txt").write_text("")
    (root / "ImageSets/test.txt").write_text("000077\n")
    problems = check_kitti(root).problems
    assert {kind: len(texts) for kind, texts in problems.items()} == {
        "missing calib": 2,
        "missing velodyne": 1,
        "missing label_2": 1,
        "damaged label": 1,
        "damaged scan": 1,
        "damaged calibration": 1,
        "damaged split": 1,
        "split names an incomplete frame": 1,
    }


def test_another_layout(tmp_path):
    with pytest.raises(PerceptionError, match="published KITTI layout"):
        check_kitti(tmp_path)
