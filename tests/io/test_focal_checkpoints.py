"""Checkpoints of Focals Conv: all official keys, strictly, in the layout of spconv 1 that its authors trained with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from perception.backbones.image import ImageEncoder
from perception.errors import PerceptionError
from perception.io.importers.openpcdet.importer import load_official
from perception.io.importers.torchvision import load_image_encoder
from perception.models.catalogue import MODELS

LISTS = {
    "focals-voxel-rcnn": "focals__voxel_rcnn_multiclasses_focalsconv_lidar",
    "focals-pv-rcnn": "focals__pv_rcnn_focal_lidar",
    "focals-centerpoint-waymo": "focals__centerpoint_without_resnet_focal_lidar",
}


def keys_of(path: Path) -> dict[str, tuple[int, ...]]:
    pairs = (line.strip().split(" ", 1) for line in path.read_text().splitlines() if line.strip())
    return {key: tuple(int(n) for n in shape.strip("()").split(",") if n.strip()) for key, shape in pairs}


def filled(keys: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {key: torch.rand(shape, generator=generator) for key, shape in keys.items()}


@pytest.mark.parametrize("name", LISTS)
def test_every_official_key_loads_in_both_layouts(shared_golden: Path, name: str) -> None:
    state = filled(keys_of(shared_golden / "keys" / f"{LISTS[name]}.txt"))
    model = MODELS[name].make(MODELS[name].defaults)
    report = load_official(model, name, state)
    assert report.unused == ("global_step",)
    assert not report.permuted
    new = {key: value.clone() for key, value in model.state_dict().items()}

    old = {key: value.permute(1, 2, 3, 4, 0) if value.ndim == 5 else value for key, value in state.items()}
    report = load_official(model, name, old)
    assert len(report.permuted) == sum(value.ndim == 5 for value in state.values())
    assert all(torch.equal(value, new[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "lidar"), [("focals-voxel-rcnn-images", "focals-voxel-rcnn"), ("focals-pv-rcnn-images", "focals-pv-rcnn")]
)
def test_the_parts_of_deeplab_that_are_not_read_are_reported(shared_golden: Path, name: str, lidar: str) -> None:
    keys = keys_of(shared_golden / "keys" / f"{LISTS[lidar]}.txt")
    keys = {key: shape for key, shape in keys.items() if not key.startswith("backbone_3d.")}
    with np.load(Path(__file__).parents[1] / "golden" / "focals_image_backbone.npz") as stored:
        official = dict(zip(stored["keys"].tolist(), stored["shapes"].tolist()))
    unread = ("layer2", "layer3", "layer4", "classifier")
    for key, text in official.items():
        shape = tuple(int(n) for n in text.split(",") if n)
        keys[key] = (1,) if any(part in key for part in unread) else shape
    report = load_official(MODELS[name].make(MODELS[name].defaults), name, filled(keys))
    assert set(report.unused) == {key for key in keys if any(part in key for part in unread)} | {"global_step"}
    assert len(report.mapped) + len(report.unused) == len(keys)


@pytest.mark.parametrize(("prefix", "further"), [("backbone.", ["classifier.4.weight"]), ("", ["fc.weight"])])
def test_weights_of_torchvision_for_the_image_branch(prefix: str, further: list[str]) -> None:
    encoder, source = ImageEncoder(), ImageEncoder()
    state = {f"{prefix}{key}": value for key, value in source.state_dict().items()}
    spare = [*further, f"{prefix}layer2.0.conv1.weight"]
    report = load_image_encoder(encoder, {**state, **{key: torch.zeros(2) for key in spare}})
    assert sorted(report.unused) == sorted(spare)
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in encoder.state_dict().items())
    state.pop(f"{prefix}layer1.2.conv3.weight")
    with pytest.raises(PerceptionError, match=r"layer1\.2\.conv3\.weight"):
        load_image_encoder(encoder, state)
