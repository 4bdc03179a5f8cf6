"""OpenPCDet's own YAML files: turned into our configuration, or refused with what ours cannot be."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from perception.errors import PerceptionError
from perception.io.importers.openpcdet.plan import plan
from perception.models.catalogue import MODELS

DATA: dict[str, Any] = {
    "POINT_CLOUD_RANGE": [0, -40, -3, 70.4, 40, 1],
    "POINT_FEATURE_ENCODING": {
        "encoding_type": "absolute_coordinates_encoding",
        "used_feature_list": ["x", "y", "z", "intensity"],
    },
    "DATA_PROCESSOR": [
        {"NAME": "shuffle_points"},
        {
            "NAME": "transform_points_to_voxels",
            "VOXEL_SIZE": [0.05, 0.05, 0.1],
            "MAX_POINTS_PER_VOXEL": 5,
            "MAX_NUMBER_OF_VOXELS": {"train": 16000, "test": 40000},
        },
    ],
}


def anchor(name: str, size: list[float], bottom: float, matched: float, unmatched: float) -> dict[str, Any]:
    return {
        "class_name": name,
        "anchor_sizes": [size],
        "anchor_rotations": [0, 1.57],
        "anchor_bottom_heights": [bottom],
        "align_center": False,
        "matched_threshold": matched,
        "unmatched_threshold": unmatched,
    }


MAP = {
    "NAME": "BaseBEVBackbone",
    "LAYER_NUMS": [5, 5],
    "LAYER_STRIDES": [1, 2],
    "NUM_FILTERS": [128, 256],
    "UPSAMPLE_STRIDES": [1, 2],
    "NUM_UPSAMPLE_FILTERS": [256, 256],
}
SECOND: dict[str, Any] = {
    "CLASS_NAMES": ["Car", "Pedestrian", "Cyclist"],
    "DATA_CONFIG": {"_BASE_CONFIG_": "cfgs/dataset_configs/kitti_dataset.yaml"},
    "MODEL": {
        "NAME": "SECONDNet",
        "VFE": {"NAME": "MeanVFE"},
        "BACKBONE_3D": {"NAME": "VoxelBackBone8x"},
        "BACKBONE_2D": MAP,
        "DENSE_HEAD": {
            "NAME": "AnchorHeadSingle",
            "DIR_OFFSET": 0.78539,
            "ANCHOR_GENERATOR_CONFIG": [
                anchor("Car", [3.9, 1.6, 1.56], -1.78, 0.6, 0.45),
                anchor("Pedestrian", [0.8, 0.6, 1.73], -0.6, 0.5, 0.35),
                anchor("Cyclist", [1.76, 0.6, 1.73], -0.6, 0.5, 0.35),
            ],
        },
        "POST_PROCESSING": {
            "SCORE_THRESH": 0.1,
            "NMS_CONFIG": {"NMS_THRESH": 0.01, "NMS_PRE_MAXSIZE": 4096, "NMS_POST_MAXSIZE": 500},
        },
    },
    "OPTIMIZATION": {"LR": 0.003},
}
CENTRES: dict[str, Any] = {
    "CLASS_NAMES": ["car", "truck"],
    "DATA_CONFIG": {
        "_BASE_CONFIG_": "cfgs/dataset_configs/kitti_dataset.yaml",
        "POINT_FEATURE_ENCODING": {"used_feature_list": ["x", "y", "z", "intensity", "timestamp"]},
    },
    "MODEL": {
        "NAME": "CenterPoint",
        "VFE": {"NAME": "MeanVFE"},
        "BACKBONE_3D": {"NAME": "VoxelResBackBone8x"},
        "BACKBONE_2D": MAP,
        "DENSE_HEAD": {
            "NAME": "CenterHead",
            "CLASS_NAMES_EACH_HEAD": [["car"], ["truck"]],
            "SEPARATE_HEAD_CFG": {
                "HEAD_DICT": {
                    name: {"out_channels": 2, "num_conv": 2} for name in ("center", "center_z", "dim", "rot", "vel")
                }
            },
            "LOSS_CONFIG": {"LOSS_WEIGHTS": {"loc_weight": 0.25, "code_weights": [1.0] * 10}},
            "POST_PROCESSING": {
                "SCORE_THRESH": 0.1,
                "POST_CENTER_LIMIT_RANGE": [0, -40, -5, 70, 40, 5],
                "MAX_OBJ_PER_SAMPLE": 300,
                "NMS_CONFIG": {
                    "NMS_TYPE": "nms_gpu",
                    "NMS_THRESH": 0.2,
                    "NMS_PRE_MAXSIZE": 900,
                    "NMS_POST_MAXSIZE": 80,
                },
            },
        },
    },
}


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder like OpenPCDet's `tools`, with the data set's file."""
    (tmp_path / "cfgs" / "dataset_configs").mkdir(parents=True)
    (tmp_path / "cfgs" / "kitti_models").mkdir()
    (tmp_path / "cfgs" / "dataset_configs" / "kitti_dataset.yaml").write_text(yaml.safe_dump(DATA))
    return tmp_path


def written(tools: Path, values: dict[str, Any], **changes: Any) -> Path:
    """``changes`` are dotted paths with __ for the dot."""
    values = copy.deepcopy(values)
    for path, value in changes.items():
        *above, last = path.split("__")
        place = values
        for part in above:
            place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
        place[last] = value
    file = tools / "cfgs" / "kitti_models" / "second.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_the_published_configuration_is_our_default(tools: Path) -> None:
    made = plan({}, None, written(tools, SECOND), "c", {})
    assert made.name == "second"
    assert made.config == MODELS["second"].defaults


def test_what_differs_is_taken_over(tools: Path) -> None:
    changes: dict[str, Any] = {
        "DATA_CONFIG__POINT_CLOUD_RANGE": [0, -20, -3, 35.2, 20, 1],
        "MODEL__BACKBONE_2D__NUM_FILTERS": [64, 128],
        "MODEL__DENSE_HEAD__DIR_OFFSET": 0.5,
        "MODEL__POST_PROCESSING__NMS_CONFIG__NMS_THRESH": 0.3,
        "MODEL__DENSE_HEAD__ANCHOR_GENERATOR_CONFIG": [
            anchor("Car", [4, 2, 1.5], -1.8, 0.6, 0.45) | {"align_center": True}
        ],
        "CLASS_NAMES": ["Car"],
    }
    config = plan({}, None, written(tools, SECOND, **changes), "c", {}).config
    assert config.point_range == (0, -20, -3, 35.2, 20, 1)
    assert config.voxel_size == (0.05, 0.05, 0.1)
    assert config.filters == (64, 128)
    assert config.direction_offset == 0.5
    assert config.centred_anchors
    assert config.selection.nms_overlap == 0.3
    assert [(kind.name, kind.size) for kind in config.classes] == [("Car", (4, 2, 1.5))]


def test_tasks_of_centre_heads(tools: Path) -> None:
    made = plan({}, None, written(tools, CENTRES), "c", {})
    assert made.name.startswith("centerpoint")
    assert made.config.tasks == (("car",), ("truck",))
    assert made.config.velocity
    assert made.config.point_fields == ("intensity", "time")
    assert made.config.selection.peaks == 300
    assert made.config.selection.suppression[0].candidates == 900


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("MODEL__VFE__NAME", "DynMeanVFE", r"MODEL\.VFE\.NAME = 'DynMeanVFE'"),
        ("MODEL__DENSE_HEAD__NAME", "AnchorHeadMulti", "AnchorHeadMulti"),
        ("MODEL__DENSE_HEAD__DIR_LIMIT_OFFSET", 0.5, "DIR_LIMIT_OFFSET = 0.5"),
        ("MODEL__POST_PROCESSING__NMS_CONFIG__MULTI_CLASSES_NMS", True, "MULTI_CLASSES_NMS = True"),
        ("MODEL__BACKBONE_2D__USE_CONV_FOR_NO_STRIDE", True, "USE_CONV_FOR_NO_STRIDE = True"),
        ("DATA_CONFIG__POINT_FEATURE_ENCODING", {"used_feature_list": ["x", "y", "z", "radar"]}, "'radar'"),
        ("DATA_CONFIG__DATA_PROCESSOR", [], "makes no voxels"),
        ("CLASS_NAMES", ["Pedestrian", "Car", "Cyclist"], "anchors of"),
        ("MODEL__NAME", "CaDDN", "describes CaDDN"),
        ("DATA_CONFIG___BASE_CONFIG_", "cfgs/dataset_configs/other.yaml", "in no folder above it"),
    ],
)
def test_what_ours_cannot_be_is_named(tools: Path, path: str, value: Any, message: str) -> None:
    with pytest.raises(PerceptionError, match=message):
        plan({}, None, written(tools, SECOND, **{path: value}), "c", {})


def test_normalisation_that_no_shape_tells(tools: Path) -> None:
    with pytest.raises(PerceptionError, match=r"BN_EPS = 0\.001"):
        plan({}, None, written(tools, CENTRES, MODEL__DENSE_HEAD__BN_EPS=1e-3), "c", {})


def test_a_configuration_of_another_model_than_asked_for(tools: Path) -> None:
    with pytest.raises(PerceptionError, match="describes second"):
        plan({}, "pointpillars", written(tools, SECOND), "c", {})


def test_our_own_file_of_changes(tmp_path: Path) -> None:
    file = tmp_path / "changes.yaml"
    file.write_text("max_points: 7\n")
    assert plan({}, "second", file, "c", {}).config.max_points == 7
    with pytest.raises(PerceptionError, match="with no --model"):
        plan({}, None, file, "c", {})
