"""The official models and evaluators, as stored: through our importers, models and metrics to the same numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.parity.files import check_file, read_golden

FILES = [
    "detection_keypoints/second.npz",
    "detection_keypoints/second_b2.npz",
    "detection_keypoints/pointpillar.npz",
    "detection_keypoints/centerpoint_nusc.npz",
    "detection_keypoints/centerpoint_waymo.npz",
    "detection_keypoints/voxelnext.npz",
    "detection_keypoints/voxelnext_b2.npz",
    "detection_keypoints/voxel_rcnn_car.npz",
    "detection_keypoints/pv_rcnn.npz",
    "detection_keypoints/focal_pv_rcnn.npz",
    "detection_keypoints/focal_pv_rcnn_exactmerge.npz",
    "detection_keypoints/focal_voxel_rcnn.npz",
    "detection_keypoints/focal_voxel_rcnn_exactmerge.npz",
    "metrics/iou_nms.npz",
    "metrics/kitti_ap_open.json",
    "detection_keypoints/transfusion.npz",
    "trees_places_flow/ssf_a.npz",
    "trees_places_flow/ssf_b.npz",
    "trees_places_flow/ssf_sparse0.npz",
    "trees_places_flow/ssf_batch2.npz",
    "trees_places_flow/hotformerloc_cs-wild-places_a.npz",
    "trees_places_flow/hotformerloc_cs-wild-places_b.npz",
    "trees_places_flow/hotformerloc_cs-wild-places_batch3.npz",
    "trees_places_flow/hotformerloc_wild-places_a.npz",
    "trees_places_flow/hotformerloc_wild-places_b.npz",
    "trees_places_flow/hotformerloc_wild-places_batch3.npz",
    "trees_places_flow/hotformerloc_oxford_a.npz",
    "trees_places_flow/hotformerloc_oxford_b.npz",
    "trees_places_flow/hotformerloc_oxford_batch3.npz",
    pytest.param("detection_keypoints/voxelkp.npz", marks=pytest.mark.slow),
    "trees_places_flow/segmentanytree_a.npz",
    "trees_places_flow/segmentanytree_b_negative_coords.npz",
    "trees_places_flow/segmentanytree_batch2.npz",
    pytest.param("detection_keypoints/dsvt_pillar.npz", marks=pytest.mark.slow),
    pytest.param("detection_keypoints/dsvt_pillar_b2.npz", marks=pytest.mark.slow),
    pytest.param("detection_keypoints/dsvt_voxel.npz", marks=pytest.mark.slow),
    pytest.param("detection_keypoints/dsvt_voxel_b2.npz", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", FILES)
def test_equal_to_the_official_answers(shared_golden: Path, name: str) -> None:
    checks = list(check_file(shared_golden / name, shared_golden))
    wrong = [check for check in checks if not check.passed]
    assert not wrong
    assert sum(check.compared for check in checks) > 30


def test_a_changed_output_is_found(shared_golden: Path, tmp_path: Path) -> None:
    arrays, meta = read_golden(shared_golden / "detection_keypoints/pointpillar.npz")
    changed = dict(arrays)
    changed["head.cls_preds/vals"] = changed["head.cls_preds/vals"] + 0.01
    changed["spatial_features/extra"] = np.zeros(3)
    path = tmp_path / "changed.npz"
    np.savez(path, meta=json.dumps(meta), **changed)
    failed = {check.name for check in check_file(path, shared_golden) if not check.passed}
    assert failed == {"head.cls_preds values", "spatial_features/extra"}


def test_a_changed_flow_is_found(shared_golden: Path, tmp_path: Path) -> None:
    arrays, meta = read_golden(shared_golden / "trees_places_flow/ssf_sparse0.npz")
    changed = {**arrays, "flow_total": arrays["flow_total"] + 0.01, "more": np.zeros(3)}
    path = tmp_path / "changed.npz"
    np.savez(path, meta=json.dumps(meta), **changed)
    failed = {check.name for check in check_file(path, shared_golden) if not check.passed}
    assert failed == {"flow_total", "more"}


def test_another_key_list_is_refused(shared_golden: Path, tmp_path: Path) -> None:
    arrays, meta = read_golden(shared_golden / "detection_keypoints/pointpillar.npz")
    meta["key_list"] = "pcdet_kitti__second.txt"
    path = tmp_path / "other.npz"
    np.savez(path, meta=json.dumps(meta), **arrays)
    with pytest.raises(PerceptionError, match="does not fit PointPillars"):
        list(check_file(path, shared_golden))


def test_the_tool_answers_with_its_exit_code(shared_golden: Path, tmp_path: Path) -> None:
    tool = [
        sys.executable,
        str(Path(__file__).parents[2] / "tools" / "check_golden.py"),
        "--golden",
        str(shared_golden),
    ]
    good = subprocess.run([*tool, str(shared_golden / "metrics/iou_nms.npz")], capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    assert "1 of 1 files hold" in good.stdout
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK not really")
    bad = subprocess.run([*tool, str(broken)], capture_output=True, text=True)
    assert bad.returncode == 1
    assert "cannot be read" in bad.stdout
