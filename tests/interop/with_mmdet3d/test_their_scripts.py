"""mmdet3d's own scripts on our operators: the info files that it makes of real frames, read by ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "mmengine", reason="mmdet3d is not installed here: make test-mmdet3d runs these tests in an environment of its own"
)

import cv2
import mmdet3d
import numpy as np
import torch
from mmdet3d.evaluation.functional.kitti_utils.eval import bev_box_overlap
from shapely import affinity, geometry

from perception.datasets.kitti.dataset import KittiDetection
from perception.interop.kitti_infos import KittiInfos

SCRIPTS = Path(mmdet3d.__file__).parent / ".mim" / "tools"
FRAMES = ("000000", "000001", "000002", "000003")
SPLITS = {"train": FRAMES[:2], "val": FRAMES[2:], "trainval": FRAMES, "test": FRAMES[:1]}


@pytest.fixture
def root(shared_data: Path, tmp_path: Path) -> Path:
    """Frames of KITTI in its layout; pictures are black, as only their sizes are asked for."""
    source = shared_data / "kitti_object" / "training"
    for part, frames in (("training", FRAMES), ("testing", SPLITS["test"])):
        for folder, suffix in (("velodyne", "bin"), ("calib", "txt"), ("label_2", "txt")):
            (tmp_path / part / folder).mkdir(parents=True)
            for frame in frames:
                shutil.copy(source / folder / f"{frame}.{suffix}", tmp_path / part / folder)
        (tmp_path / part / "image_2").mkdir()
        for frame in frames:
            cv2.imwrite(str(tmp_path / part / "image_2" / f"{frame}.png"), np.zeros((375, 1242, 3), np.uint8))
    (tmp_path / "ImageSets").mkdir()
    for split, frames in SPLITS.items():
        (tmp_path / "ImageSets" / f"{split}.txt").write_text("\n".join(frames) + "\n")
    return tmp_path


def test_info_files_that_mmdet3d_makes(root: Path) -> None:
    command = [sys.executable, "-m", "perception.interop.mmdet3d", str(SCRIPTS / "create_data.py"), "kitti"]
    command += ["--root-path", str(root), "--out-dir", str(root), "--extra-tag", "kitti"]
    path = os.pathsep.join([str(SCRIPTS.parent), str(Path.cwd())])
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-2000:]
    assert (root / "kitti_dbinfos_train.pkl").is_file()  # made with points_in_boxes
    for split in ("train", "val"):
        infos, texts = KittiInfos(root, f"kitti_infos_{split}.pkl"), KittiDetection(root, split)
        assert infos.identifiers == list(SPLITS[split])
        for mine, wanted in zip(infos, texts, strict=True):  # type: ignore[call-overload]
            assert np.array_equal(mine.cloud.xyz, wanted.cloud.xyz)
            assert mine.objects.names.tolist() == wanted.objects.names.tolist()
            torch.testing.assert_close(mine.objects.boxes.values, wanted.objects.boxes.values, rtol=0, atol=1e-5)


@pytest.mark.parametrize("criterion", [-1, 0, 1, 2])
def test_overlaps_of_its_metric_need_no_gpu(criterion: int) -> None:
    generator = np.random.default_rng(0)
    boxes, queries = (generator.uniform([0, 0, 1, 1, -4], [9, 9, 5, 3, 4], (number, 5)) for number in (12, 7))
    found = bev_box_overlap(boxes, queries, criterion)
    assert found.dtype == np.float32
    for box, row in zip(boxes, found):
        for query, value in zip(queries, row):
            one, other = outline(box), outline(query)
            shared = one.intersection(other).area
            below = {-1: one.union(other).area, 0: other.area, 1: one.area, 2: 1}[criterion]
            assert value == pytest.approx(shared / below, abs=1e-5)
    assert bev_box_overlap(boxes[:0], queries, criterion).shape == (0, 7)


def outline(flat: np.ndarray) -> geometry.Polygon:
    x, y, length, width, clockwise = flat
    box = geometry.box(x - length / 2, y - width / 2, x + length / 2, y + width / 2)
    return affinity.rotate(box, -clockwise, use_radians=True)
