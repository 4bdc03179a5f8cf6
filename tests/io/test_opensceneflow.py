"""Checkpoints of OpenSceneFlow: Lightning files whose hyper-parameters are OmegaConf's objects."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from perception.errors import PerceptionError
from perception.io.importers.checkpoint import open_checkpoint
from perception.io.importers.importing import import_checkpoint
from perception.io.importers.omegaconf_globals import plain_values
from perception.io.importers.opensceneflow import importer as opensceneflow
from perception.models.catalogue import MODELS

TARGET = {
    "_target_": "src.models.DeFlow",
    "voxel_size": [0.4, 0.4, 6],
    "point_cloud_range": "${point_cloud_range}",
    "num_iters": 2,
    "decoder_option": "gru",
}
SETTINGS = {"lr": 2e-4, "point_cloud_range": [-25.6, -25.6, -3, 25.6, 25.6, 3], "model": {"target": TARGET}}


def official_state(name: str) -> dict[str, torch.Tensor]:
    """Keys as the published modules have them, by turning our own back."""
    small = replace(MODELS[name].defaults, point_range=(-6.4, -6.4, -3.0, 6.4, 6.4, 3.0))
    state = {}
    for key, value in MODELS[name].make(small).state_dict().items():
        for ours, theirs in BACK:
            if key.startswith(ours):
                key = theirs + key.removeprefix(ours)
                break
        state[f"model.{key}"] = value.unsqueeze(-1) if "gru.conv" in key and value.ndim == 2 else value
    return state


BACK = [
    ("encoder.layer.linear.", "embedder.feature_net.pfn_layers.0.0."),
    ("encoder.layer.norm.", "embedder.feature_net.pfn_layers.0.1."),
    *[
        (f"backbone.encoder.{level}.{place}.{ours}.", f"backbone.encoder_step_{level + 1}.{place}.{theirs}.")
        for level in range(3)
        for place in range(6)
        for ours, theirs in (("conv", "conv"), ("norm", "batchnorm"))
    ],
    *[
        (f"backbone.decoder.{step}.{ours}.", f"backbone.decoder_step{step + 1}.{theirs}.")
        for step in range(3)
        for ours, theirs in (("reduce", "u1_u2.0"), ("skip", "u3"), ("first", "u4_u5.0"), ("second", "u4_u5.1"))
    ],
    ("backbone.out.", "backbone.decoder_step4."),
    ("head.offset.", "head.offset_encoder."),
    ("head.update.", "head.gru.convz."),
    ("head.reset.", "head.gru.convr."),
    ("head.candidate.", "head.gru.convq."),
    ("head.mlp.hidden.", "head.decoder.0."),
    ("head.mlp.out.", "head.decoder.2."),
    ("head.mlp.", "head.decoder."),
]


class Pickled:
    """Writes like OmegaConf's containers and nodes: attributes alone, under the names of its modules."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def as_omegaconf(value: Any, kinds: dict[str, type]) -> Any:
    if isinstance(value, dict):
        content = {key: as_omegaconf(below, kinds) for key, below in value.items()}
        return kinds["DictConfig"](_content=content, _metadata=kinds["ContainerMetadata"](key_type=kinds["Any"]))
    if isinstance(value, list):
        return kinds["ListConfig"](_content=[as_omegaconf(below, kinds) for below in value])
    return kinds["AnyNode"](_val=value, _metadata=kinds["Metadata"](optional=True))


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    places = {
        "DictConfig": "omegaconf.dictconfig",
        "ListConfig": "omegaconf.listconfig",
        "AnyNode": "omegaconf.nodes",
        "ContainerMetadata": "omegaconf.base",
        "Metadata": "omegaconf.base",
    }
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    kinds: dict[str, Any] = {"Any": Any}
    for kind, module in places.items():
        monkeypatch.setitem(sys.modules, module, sys.modules.get(module) or types.ModuleType(module))
        kinds[kind] = type(kind, (Pickled,), {"__module__": module})
        monkeypatch.setattr(sys.modules[module], kind, kinds[kind], raising=False)
    path = tmp_path / "deflow.ckpt"
    content = {
        "epoch": 14,
        "state_dict": official_state("deflow"),
        "hyper_parameters": {"cfg": as_omegaconf(SETTINGS, kinds), "eval": False},
    }
    torch.save(content, path)
    for module in {"omegaconf", *places.values()}:
        monkeypatch.delitem(sys.modules, module)
    return path


def test_a_lightning_file_is_read_with_its_configuration(checkpoint: Path) -> None:
    found = open_checkpoint(checkpoint)
    plain = plain_values(found.extra["hyper_parameters"]["cfg"])
    assert plain["model"]["target"]["point_cloud_range"] == SETTINGS["point_cloud_range"]
    plan = opensceneflow.plan(found.tensors, None, None, str(checkpoint), found.extra)
    assert (plan.name, plan.config.iterations) == ("deflow", 2)
    assert plan.config.voxel_size == (0.4, 0.4, 6.0)
    assert plan.config.point_range == (-25.6, -25.6, -3.0, 25.6, 25.6, 3.0)
    model = plan.make()
    report = plan.load(model, found.tensors, str(checkpoint))
    assert len(report.mapped) == len(model.state_dict())
    weight = found.tensors["model.head.gru.convq.weight"].squeeze(-1)
    assert torch.equal(model.state_dict()["head.candidate.weight"], weight)


def test_the_import_command_recognises_it(checkpoint: Path) -> None:
    imported = import_checkpoint(checkpoint)
    assert (imported.family, imported.name) == ("opensceneflow", "deflow")
    assert imported.model.config.iterations == 2


def test_missing_and_spare_keys_are_named() -> None:
    state = official_state("fastflow3d")
    state["model.head.more"] = state.pop("model.head.decoder.2.bias")
    plan = opensceneflow.plan(state, "fastflow3d", None, "a file", {})
    with pytest.raises(PerceptionError, match=r"missing head\.mlp\.out\.bias.*spare model\.head\.more"):
        plan.load(plan.make(), state, "a file")


def test_another_model_is_refused() -> None:
    with pytest.raises(PerceptionError, match="has the layers of fastflow3d"):
        opensceneflow.plan(official_state("fastflow3d"), "deflow", None, "a file", {})
    with pytest.raises(PerceptionError, match="none of the models of scene flow"):
        opensceneflow.plan({"model.x": torch.zeros(1)}, None, None, "a file", {})


@pytest.mark.parametrize(("reach", "name"), [(51.2, "ssf"), (204.8, "ssf-long")])
def test_official_ssf_gets_the_look_up_it_was_trained_with(reach: float, name: str, shared_golden: Path) -> None:
    lines = (shared_golden / "keys" / "ssf.txt").read_text().splitlines()
    shapes = [line.split(" ", 1) for line in lines if line.strip()]
    state = {
        f"model.{key}": torch.zeros([int(n) for n in shape.strip("()").split(",") if n.strip()])
        for key, shape in shapes
    }
    target = {"point_cloud_range": [-reach, -reach, -3, reach, reach, 3], "voxel_size": [0.2, 0.2, 6]}
    plan = opensceneflow.plan(state, None, None, "a file", {"cfg": {"model": {"target": target}}})
    assert (plan.name, plan.config.offset_lookup) == (name, "official_voxel_row")
    assert len(plan.load(plan.make(), state, "a file").mapped) == 252
