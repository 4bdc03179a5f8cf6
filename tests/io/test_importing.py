"""The import as a whole: families recognised, what does not fit explained, the command and what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_weights import drawn, stored_keys
from torch import Tensor

from perception.cli import main
from perception.errors import PerceptionError
from perception.io.importers.families import FAMILIES, family_of
from perception.io.importers.importing import import_checkpoint
from perception.io.importers.recognise import likenesses
from perception.io.weights import read_model
from perception.models.catalogue import MODELS

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def foreign(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as archive:
        return {key: torch.from_numpy(value) for key, value in drawn(stored_keys(archive["keys"])).items()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "second.pth"
    torch.save({"meta": {"epoch": np.int64(80)}, "state_dict": foreign("mmdet3d-second")}, path)
    return path


@pytest.mark.parametrize(
    ("file", "family", "name"),
    [
        ("mmdet3d-second", "mmdet3d", "second"),
        ("mmdet3d-pointpillars", "mmdet3d", "pointpillars"),
        ("mmdet3d-centerpoint", "mmdet3d", "centerpoint"),
        ("mmdet3d-centerpoint-pillars", "mmdet3d", "centerpoint-nuscenes-pillars"),
        ("det3d-centerpoint", "det3d", "centerpoint"),
        ("det3d-centerpoint-waymo", "det3d", "centerpoint-waymo"),
        ("det3d-focals-centerpoint", "det3d", "focals-centerpoint"),
    ],
)
def test_families_and_models_are_recognised(file: str, family: str, name: str) -> None:
    state = foreign(file)
    assert family_of(state) == family
    assert name in [like.name for like in likenesses(family, state) if like.exact]


def test_official_key_lists_are_recognised(shared_golden: Path) -> None:
    for stem, name in {
        "pcdet_kitti__second": "second",
        "pcdet__dsvt_voxel": "dsvt-voxel",
        "vnext__voxelnext_ioubranch_large": "voxelnext-waymo-large",
        "focals__pv_rcnn_focal_lidar": "focals-pv-rcnn",
    }.items():
        lines = (line.split(" ", 1) for line in (shared_golden / "keys" / f"{stem}.txt").read_text().splitlines())
        state = {
            key: torch.empty([int(n) for n in shape.strip("()").split(",") if n.strip()], device="meta")
            for key, shape in lines
        }
        assert family_of(state) == "openpcdet"
        assert [like.name for like in likenesses("openpcdet", state) if like.exact] == [name]


def test_every_family_builds_the_plans_of_its_models() -> None:
    for name, family in FAMILIES.items():
        plans = list(family.published())
        assert plans
        for plan in plans:
            assert plan.family == name
            assert plan.name in MODELS


def test_the_command_converts_and_says_what_it_did(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "second.safetensors"
    assert main(["import", str(saved), "--model", "second", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for part in ("mmdet3d checkpoint of second: Car, Pedestrian, Cyclist", "162 tensors mapped", "as published"):
        assert part in said
    model, header = read_model(out)
    assert header.model == "second"
    assert header.card.source == "second.pth (mmdet3d)"
    assert model.config.direction_offset == pytest.approx(-np.pi / 2)
    assert main(["info", str(saved)]) == 0
    said = capsys.readouterr().out
    assert "a checkpoint of mmdet3d" in said
    assert "fits         second" in said


def test_a_checkpoint_that_carries_its_configuration_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "car.pth"
    state = foreign("mmdet3d-second")
    for key, rows in (("conv_cls", 2), ("conv_reg", 14), ("conv_dir_cls", 4)):
        for kind in ("weight", "bias"):
            state[f"bbox_head.{key}.{kind}"] = state[f"bbox_head.{key}.{kind}"][:rows].clone()
    config = """
model = dict(
    type='VoxelNet',
    data_preprocessor=dict(voxel_layer=dict(max_num_points=4, point_cloud_range=[0, -8, -3, 16, 8, 1],
                                            voxel_size=[0.05, 0.05, 0.1], max_voxels=(100, 200))),
    voxel_encoder=dict(type='HardSimpleVFE'),
    middle_encoder=dict(type='SparseEncoder', in_channels=4),
    backbone=dict(type='SECOND', layer_nums=[5, 5], layer_strides=[1, 2], out_channels=[128, 256]),
    neck=dict(type='SECONDFPN', upsample_strides=[1, 2], out_channels=[256, 256]),
    bbox_head=dict(type='Anchor3DHead', num_classes=1, dir_offset=0.7854, anchor_generator=dict(
        type='Anchor3DRangeGenerator', ranges=[[0, -8, -1.78, 16, 8, -1.78]], sizes=[[3.9, 1.6, 1.56]],
        rotations=[0, 1.57])),
    train_cfg=dict(assigner=dict(pos_iou_thr=0.6, neg_iou_thr=0.45)),
    test_cfg=dict(nms_thr=0.02, score_thr=0.1, nms_pre=100, max_num=50))
class_names = ['Car']
"""
    torch.save({"meta": {"cfg": config}, "state_dict": state}, path)
    found = import_checkpoint(path)
    assert (found.family, found.name, found.model.classes) == ("mmdet3d", "second", ("Car",))
    assert found.model.config.direction_offset == 0.7854
    assert found.model.config.max_points == 4
    wrong = config.replace("ranges=[[0, -8, -1.78, 16, 8, -1.78]]", "ranges=[[0, -4, -1.78, 16, 4, -1.78]]")
    torch.save({"meta": {"cfg": wrong}, "state_dict": state}, path)
    with pytest.raises(PerceptionError, match=r"anchors of Car lie in \[0, -4, 16, 4\]"):
        import_checkpoint(path)
    torch.save({"meta": {"cfg": config}, "state_dict": foreign("mmdet3d-second")}, path)
    with pytest.raises(PerceptionError, match=r"conv_cls\.weight has the shape \(18, 512, 1, 1\): 18 rows where .* 2"):
        import_checkpoint(path)


def test_without_a_name_the_models_that_fit_are_named(saved: Path) -> None:
    with pytest.raises(PerceptionError, match=r"of which model is not said(.|\n)*those of second"):
        import_checkpoint(saved)


def test_a_checkpoint_of_another_model_or_family(saved: Path) -> None:
    with pytest.raises(PerceptionError, match=r"missing(.|\n)*its keys and shapes are those of second"):
        import_checkpoint(saved, "pointpillars")
    with pytest.raises(PerceptionError, match=r"has the names of mmdet3d(.|\n)*--from mmdet3d"):
        import_checkpoint(saved, "second", "openpcdet")
    with pytest.raises(PerceptionError, match="--from caffe"):
        import_checkpoint(saved, "second", "caffe")


def test_a_checkpoint_of_nothing_known(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save({"layer1.weight": torch.ones(1)}, path)
    with pytest.raises(PerceptionError, match=r"has parts layer1(.|\n)*mmdet3d"):
        import_checkpoint(path, "second")
    torch.save({"model.head.weight": torch.ones(1)}, path)
    with pytest.raises(PerceptionError, match="training state of this library"):
        import_checkpoint(path, "second")


def openpcdet(shared_golden: Path, stem: str) -> dict[str, Tensor]:
    lines = (line.split(" ", 1) for line in (shared_golden / "keys" / f"{stem}.txt").read_text().splitlines())
    return {key: torch.rand([int(n) for n in shape.strip("()").split(",") if n.strip()]) for key, shape in lines}


def test_other_classes_are_counted(shared_golden: Path, tmp_path: Path) -> None:
    path, changes = tmp_path / "c.pth", tmp_path / "changes.yaml"
    torch.save({"model_state": openpcdet(shared_golden, "pcdet_kitti__second")}, path)
    changes.write_text("classes: [{name: Car, size: [4, 2, 1.5], bottom: -1.7, matched: 0.6, unmatched: 0.45}]\n")
    with pytest.raises(PerceptionError, match=r"it has 3 classes, the model 1: Car(.|\n)*--config"):
        import_checkpoint(path, "second", config=changes)
    torch.save({"model_state": openpcdet(shared_golden, "pcdet_waymo__centerpoint")}, path)
    changes.write_text("tasks: [[Vehicle, Pedestrian, Cyclist, Sign]]\n")
    with pytest.raises(PerceptionError, match=r"its classes are 3 in task 0, the model's Vehicle, Pedestrian, Cyclist"):
        import_checkpoint(path, "centerpoint-waymo", config=changes)


def test_what_a_program_had_allowed_torch_to_load_stays_allowed(saved: Path) -> None:
    with torch.serialization.safe_globals([np.dtype]):
        before = set(torch.serialization.get_safe_globals())
        import_checkpoint(saved, "second")
        assert set(torch.serialization.get_safe_globals()) == before
