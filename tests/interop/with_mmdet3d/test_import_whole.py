"""Checkpoints of the real mmdet3d with its published configurations through `perception import`: the same boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "mmengine", reason="mmdet3d is not installed here: make test-mmdet3d runs these tests in an environment of its own"
)
pytest.importorskip("spconv", reason="spconv is mmdet3d's side of the comparison: make test-mmdet3d")

import torch
from both_ways import CENTRES, CIRCLES, CONFIGS, PILLAR_CENTRES, PILLARS, SECOND, Case, model_of, plain_operators
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

from perception.cli import main
from perception.interop.data_samples import detections_of
from perception.io.weights import read_model
from perception.points import PointCloud
from perception.results import Detections


@pytest.mark.parametrize("case", [SECOND, PILLARS, CENTRES, PILLAR_CENTRES, CIRCLES], ids=lambda case: case.name)
def test_an_imported_checkpoint_finds_the_same_boxes(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = case.cloud(3000)
    official = model_of(case.config, ours=False).eval()
    with plain_operators():
        quiet_where_it_is_empty(official, points)
        theirs = detections_of(predicted(official, points), case.classes)
    assert len(theirs) >= 10
    assert len(set(theirs.names)) > 1

    checkpoint, out = tmp_path / "epoch_1.pth", tmp_path / "ours.safetensors"
    written = {"meta": {"epoch": 1, "iter": np.int64(7)}, "state_dict": official.state_dict()}
    torch.save({**written, "message_hub": {"loss": HistoryBuffer([1.0], [1])}}, checkpoint)
    config = str(CONFIGS / case.config)
    assert main(["import", str(checkpoint), "--from", "mmdet3d", "--config", config, "--out", str(out)]) == 0
    assert "none missing, none left over" in capsys.readouterr().out
    model, _ = read_model(out)
    cloud = PointCloud(points[:, :3].numpy(), {name: points[:, 3 + i].numpy() for i, name in enumerate(case.fields)})
    model.eval()
    with torch.inference_mode():
        (ours,) = model.results(model(model.voxelise(model.points([cloud]))))
    same(ours, theirs)


def same(ours: Detections, theirs: Detections) -> None:
    """As many boxes of each class, each with its partner: equally good ones may come in another order."""
    assert sorted(ours.names) == sorted(theirs.names)
    for name in sorted(set(theirs.names)):
        mine, wanted = (found.select(torch.tensor([n == name for n in found.names])) for found in (ours, theirs))
        a, b = rows(mine), rows(wanted)
        partner = torch.cdist(a, b).argmin(1)
        assert partner.unique().numel() == len(a)
        torch.testing.assert_close(a, b[partner], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(mine.scores, wanted.scores[partner], rtol=1e-3, atol=1e-4)


def rows(found: Detections) -> Tensor:
    """Centres, sizes, cosine and sine of the headings, velocities if there are any."""
    values = found.boxes.values
    turned = [values[:, :6], values[:, 6:].cos(), values[:, 6:].sin()]
    return torch.cat([*turned, *([] if found.boxes.velocity is None else [found.boxes.velocity])], 1)


def predicted(model: nn.Module, points: Tensor) -> Any:
    sample = Det3DDataSample(metainfo={"box_type_3d": LiDARInstance3DBoxes})
    data = {"inputs": {"points": [points]}, "data_samples": [sample]}
    with torch.no_grad():
        return model(**model.data_preprocessor(data, False), mode="predict")[0]


def quiet_where_it_is_empty(model: nn.Module, points: Tensor) -> None:
    """Biases of the scores such that most of the map, where all cells are alike, falls below the threshold.

    Equal scores have no order, so that either side might take any of them; half of what the best cell has above the
    usual one is left below the threshold of 0.1.
    """
    if hasattr(model, "bbox_head"):
        layers = [model.bbox_head.conv_cls]
    else:
        layers = [task.heatmap[-1] for task in model.pts_bbox_head.task_heads]
    seen: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, _: object, scores: Tensor) -> None:
        seen[layer] = scores[0].flatten(1)

    handles = [layer.register_forward_hook(keep) for layer in layers]
    predicted(model, points)
    for handle, layer in zip(handles, layers):
        handle.remove()
        usual, best = seen[layer].median(1).values, seen[layer].amax(1)
        with torch.no_grad():
            layer.bias -= (usual + best) / 2 + np.log(0.9 / 0.1)
