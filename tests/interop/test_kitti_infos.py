from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from info_writers import kitti, kitti_1

from perception.datasets.kitti.dataset import KittiDetection
from perception.errors import PerceptionError
from perception.interop.kitti_infos import KittiInfos

CALIBRATION = """P2: 700 0 600 45 0 700 170 0.2 0 0 1 0.003
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27
"""
LABELS = """Car 0.00 0 1.85 387.63 181.54 423.81 223.12 1.67 1.87 3.69 -2.0 1.7 20.0 1.57
DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10
Cyclist 0.20 1 -1.65 676.60 163.95 688.98 193.93 1.86 0.60 2.02 4.59 1.32 25.84 -1.55
"""
FRAMES = ["000000", "000003"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for frame in FRAMES:
        for name, content in (("calib", CALIBRATION), ("label_2", LABELS)):
            path = tmp_path / "training" / name / f"{frame}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        (tmp_path / "training/velodyne").mkdir(exist_ok=True)
        points = np.array([[20, 2, -1, 0.3], [-20, 2, -1, 0.5], [30, -5, 0, 1.0]], "<f4")
        points.tofile(tmp_path / "training/velodyne" / f"{frame}.bin")
    return tmp_path


def save(root: Path, content: Any) -> str:
    (root / "infos.pkl").write_bytes(pickle.dumps(content))
    return "infos.pkl"


def compare(root: Path, infos: KittiInfos, layout: KittiDetection) -> None:
    assert infos.identifiers == list(layout.identifiers)
    for i in range(len(layout)):
        ours, theirs = infos[i], layout[i]
        assert ours.objects is not None
        assert theirs.objects is not None
        assert np.array_equal(ours.cloud.xyz, theirs.cloud.xyz)
        np.testing.assert_allclose(ours.objects.boxes.values, theirs.objects.boxes.values, atol=1e-6)
        assert ours.objects.names.tolist() == theirs.objects.names.tolist()
        for key, values in theirs.objects.attributes.items():
            assert np.array_equal(ours.objects.attributes[key], values), key
        assert infos.labels(i).names.tolist() == layout.labels(i).names.tolist()
        assert np.array_equal(infos.labels(i).dimensions, layout.labels(i).dimensions)


@pytest.mark.parametrize("form", ["openpcdet", "mmdet3d_0", "mmdet3d_1"])
def test_samples_are_those_of_the_layout(root: Path, form: str) -> None:
    content: Any = kitti(root, FRAMES, velodyne_path=form == "mmdet3d_0")
    path = save(root, kitti_1(content) if form == "mmdet3d_1" else content)
    compare(root, KittiInfos(root, path), KittiDetection(root))


def test_real_frames(shared_data: Path, tmp_path: Path) -> None:
    root, frames = shared_data / "kitti_object", ["000000", "000003", "000008"]
    for form in (kitti(root, frames), kitti_1(kitti(root, frames))):
        (tmp_path / "i.pkl").write_bytes(pickle.dumps(form))
        infos = KittiInfos(root, tmp_path / "i.pkl", camera_view=False)
        compare(root, infos, KittiDetection(root, identifiers=frames, camera_view=False))


def test_infos_of_the_testing_split(root: Path) -> None:
    (root / "training").rename(root / "testing")
    (root / "testing").rename(root / "training")
    content = kitti(root, FRAMES)
    (root / "training").rename(root / "testing")
    for info in content:
        del info["annos"]
    infos = KittiInfos(root, save(root, content))
    assert infos[0].objects is None
    with pytest.raises(PerceptionError, match="has no labels"):
        infos.labels(0)


def test_bad_infos(root: Path) -> None:
    infos = kitti(root, FRAMES)
    for content, match in (
        ({"infos": infos}, "no list of KITTI infos"),
        ([{"lidar_path": "x", "token": "y"}], "no list of KITTI infos"),
        ([infos[0], {**infos[1], "calib": {}}], "frame 1: KeyError 'P2'"),
        ([{**infos[0], "point_cloud": {"lidar_idx": "../../etc/passwd"}}], "frame 0: ValueError the scan"),
        ([{**infos[0], "annos": {**infos[0]["annos"], "location": np.zeros((1, 3))}}], "frame 0: ValueError"),
    ):
        with pytest.raises(PerceptionError, match=match):
            KittiInfos(root, save(root, content))
