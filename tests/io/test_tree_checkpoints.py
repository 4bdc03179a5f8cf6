"""Checkpoints of SegmentAnyTree and TreeLearn: every key has its place, in the right layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers import treelearn
from perception.io.importers.checkpoint import open_checkpoint
from perception.io.importers.importing import import_checkpoint
from perception.io.importers.segmentanytree import importer as segmentanytree
from perception.models.segmentanytree import SegmentAnyTreeConfig
from perception.models.treelearn import TreeLearnConfig


def official_trees(shared_golden: Path) -> dict[str, Tensor]:
    state = {}
    for line in (shared_golden / "keys/segmentanytree.txt").read_text().splitlines():
        key, shape = line.split(" ", 1)
        size = tuple(int(part) for part in shape.strip("()").split(",") if part.strip())
        state[key] = torch.ones((), dtype=torch.int64) if key.endswith("tracked") else torch.randn(size)
    return state


def official_treelearn(channels: int = 6, levels: int = 3) -> dict[str, Tensor]:
    """The published names, by the nesting of its blocks."""
    state: dict[str, Tensor] = {"input_conv.0.weight": torch.randn(channels, 3, 3, 3, 4)}

    def norm(key: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{key}.{part}"] = torch.rand(width)
        state[f"{key}.num_batches_tracked"] = torch.tensor(3)

    def block(key: str, inputs: int, outputs: int) -> None:
        if inputs != outputs:
            state[f"{key}.i_branch.0.weight"] = torch.randn(outputs, 1, 1, 1, inputs)
        norm(f"{key}.conv_branch.0", inputs)
        state[f"{key}.conv_branch.2.weight"] = torch.randn(outputs, 3, 3, 3, inputs)
        norm(f"{key}.conv_branch.3", outputs)
        state[f"{key}.conv_branch.5.weight"] = torch.randn(outputs, 3, 3, 3, outputs)

    for level in range(levels):
        here, width = "unet." + "u." * level, channels * (level + 1)
        for number in range(2):
            block(f"{here}blocks.block{number}", width, width)
        if level + 1 < levels:
            below = width + channels
            norm(f"{here}conv.0", width)
            state[f"{here}conv.2.weight"] = torch.randn(below, 2, 2, 2, width)
            norm(f"{here}deconv.0", below)
            state[f"{here}deconv.2.weight"] = torch.randn(width, 2, 2, 2, below)
            for number in range(2):
                block(f"{here}blocks_tail.block{number}", width * (2 - number), width)
    norm("output_layer.0", channels)
    for head, outputs in (("semantic_linear", 2), ("offset_linear", 3)):
        for place, size in (("0", channels), ("3", outputs)):
            state[f"{head}.{place}.weight"] = torch.randn(size, channels)
            state[f"{head}.{place}.bias"] = torch.randn(size)
        norm(f"{head}.1", channels)
    return state


def test_all_official_keys_are_used_or_known_to_be_idle(shared_golden: Path) -> None:
    state = official_trees(shared_golden)
    plan = segmentanytree.plan(state, None, None, "checkpoint", {})
    model = plan.make()
    report = plan.load(model, state, "checkpoint")
    assert set(report.mapped.values()) == set(model.state_dict())
    assert set(report.unused) == {key for key in state if key.startswith(("ScorerEncoder.", "ScorerMLP."))}
    kernel = state["Backbone.up_modules.2.blocks.0.block.3.kernel"]
    ours = model.state_dict()["backbone.ups.2.blocks.0.second.conv.weight"]
    x, y, z = 2, 0, 1
    assert torch.equal(ours[:, z, y, x], kernel[x + 3 * y + 9 * z].T)


def test_a_missing_and_a_spare_key_are_named(shared_golden: Path) -> None:
    state = official_trees(shared_golden)
    plan = segmentanytree.plan(state, None, None, "checkpoint", {})
    lost = {key: value for key, value in state.items() if key != "ScorerHead.0.bias"}
    with pytest.raises(PerceptionError, match=r"missing score\.out\.bias"):
        plan.load(plan.make(), lost, "checkpoint")
    with pytest.raises(PerceptionError, match="spare Backbone"):
        plan.load(plan.make(), {**state, "Backbone.more": torch.zeros(1)}, "checkpoint")


def test_the_latest_weights_of_a_training_file_and_its_own_configuration(shared_golden: Path, tmp_path: Path) -> None:
    state = official_trees(shared_golden)
    run = {
        "data": {"grid_size": 0.25},
        "model_name": "PointGroup-PAPER",
        "models": {"PointGroup-PAPER": {"bandwidth": 0.5, "prepare_epoch": 20, "cluster_radius_search": "1.5 * 0.2"}},
    }
    best = {key: value * 0 for key, value in state.items()}
    path = tmp_path / "PointGroup-PAPER.pt"
    torch.save({"models": {"best_acc": best, "latest": state}, "optimizer": ["Adam", {}], "run_config": run}, path)
    checkpoint = open_checkpoint(path)
    assert torch.equal(checkpoint.tensors["Offset.1.bias"], state["Offset.1.bias"])
    found = import_checkpoint(path)
    assert found.name == "segmentanytree"
    assert found.model.config == SegmentAnyTreeConfig(voxel_size=0.25, bandwidth=0.5, score_from_epoch=21)
    run["models"]["PointGroup-PAPER"]["cluster_type"] = 3  # type: ignore[index]
    with pytest.raises(PerceptionError, match="cluster_type 3"):
        segmentanytree.plan(state, None, None, "checkpoint", {"run_config": run})


def test_treelearns_nested_blocks(tmp_path: Path) -> None:
    state = official_treelearn()
    path = tmp_path / "weights.pth"
    torch.save({"net": state, "epoch": 3}, path)
    found = import_checkpoint(path)
    assert found.name == "treelearn"
    assert found.model.config == TreeLearnConfig(channels=6, levels=3)
    assert set(found.report.mapped.values()) == set(found.model.state_dict())
    ours = found.model.state_dict()
    deep = state["unet.u.u.blocks.block1.conv_branch.5.weight"]
    assert torch.equal(ours["backbone.levels.2.1.second.weight"][:, 0, 1, 2], deep[:, 2, 1, 0])
    tail = state["unet.u.blocks_tail.block0.i_branch.0.weight"]
    assert torch.equal(ours["backbone.steps.1.tail.0.shortcut.weight"], tail[:, 0, 0, 0])
    with pytest.raises(PerceptionError, match=r"input_conv"):
        treelearn.plan({}, None, None, "checkpoint", {})
