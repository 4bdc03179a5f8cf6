"""OpenPCDet checkpoints: strict names, both spconv layouts, foreign and damaged files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers.openpcdet.importer import load_official, read_checkpoint
from perception.models.catalogue import MODELS


def official_keys(shared_golden: Path, name: str) -> dict[str, Tensor]:
    """Random tensors under the official names and shapes."""
    state = {}
    for line in (shared_golden / "keys" / name).read_text().splitlines():
        key, shape = line.split(" ", 1)
        state[key] = torch.rand([int(n) for n in shape.strip("()").split(",") if n.strip()])
    return state


@pytest.fixture
def second(shared_golden: Path) -> dict[str, Tensor]:
    return official_keys(shared_golden, "pcdet_kitti__second.txt")


def make(name: str) -> torch.nn.Module:
    return MODELS[name].make(MODELS[name].defaults)


def test_every_official_key_is_used_once(second: dict[str, Tensor]) -> None:
    model = make("second")
    report = load_official(model, "second", second)
    assert report.unused == ("global_step",)
    assert sorted(report.mapped.values()) == sorted(model.state_dict())
    assert torch.equal(model.state_dict()["backbone.stage4.2.conv.weight"], second["backbone_3d.conv4.2.0.weight"])


def test_spconv_1_layout_is_turned(second: dict[str, Tensor]) -> None:
    old = {k: v.permute(1, 2, 3, 4, 0).contiguous() if v.ndim == 5 else v for k, v in second.items()}
    first, again = make("second"), make("second")
    load_official(first, "second", second)
    report = load_official(again, "second", old)
    assert len(report.permuted) == 12
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_missing_spare_and_misshapen_keys_are_named(second: dict[str, Tensor]) -> None:
    without = {k: v for k, v in second.items() if k != "dense_head.conv_cls.bias"}
    with pytest.raises(PerceptionError, match=r"missing head.score.bias"):
        load_official(make("second"), "second", without)
    with pytest.raises(PerceptionError, match=r"spare backbone_3d.conv9.0.weight"):
        load_official(make("second"), "second", {**second, "backbone_3d.conv9.0.weight": torch.zeros(1)})
    with pytest.raises(PerceptionError, match=r"head.score.weight \(2, 512, 1, 1\) instead of \(18, 512, 1, 1\)"):
        load_official(make("second"), "second", {**second, "dense_head.conv_cls.weight": torch.zeros(2, 512, 1, 1)})


def test_checkpoint_of_another_model(second: dict[str, Tensor]) -> None:
    with pytest.raises(PerceptionError, match="does not fit PointPillars"):
        load_official(make("pointpillars"), "pointpillars", second)


def test_files(second: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"model_state": second, "epoch": 80, "version": "pcdet+0.6"}, path)
    assert read_checkpoint(path).keys() == second.keys()
    torch.save({"epoch": 1}, path)
    with pytest.raises(PerceptionError, match="no tensors"):
        read_checkpoint(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(PerceptionError, match="cannot be opened"):
        read_checkpoint(path)
    with pytest.raises(PerceptionError, match="no file"):
        read_checkpoint(tmp_path / "none.pth")


def test_code_in_a_pickle_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "evil.pth"
    torch.save({"model_state": _Evil(str(marker))}, path)
    with pytest.raises(PerceptionError, match="cannot be opened"):
        read_checkpoint(path)
    assert not marker.exists()


class _Evil:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.marker, "w")
