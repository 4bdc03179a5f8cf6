"""Names, paths and damaged files on the way to a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from perception.errors import PerceptionError
from perception.io.weights import Card, read_header, save_weights
from perception.models.catalogue import MODELS
from perception.models.loading import load, shipped_weights


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(PerceptionError, match="'pointpillars'"):
        load("pointpillar")


def test_model_without_weights_says_how_to_get_them() -> None:
    with pytest.raises(PerceptionError, match="perception import FILE --model second"):
        load("second")


def test_missing_path() -> None:
    with pytest.raises(PerceptionError, match="no file"):
        load("nowhere/model.safetensors")


def test_shipped_weights_have_a_card() -> None:
    assert shipped_weights()
    for name, path in shipped_weights().items():
        header = read_header(path)
        assert header.model == name
        assert header.card.licence != "unknown"
        assert header.card.trained_on != "unknown"
        assert load(name).classes == header.classes


def test_foreign_and_damaged_files(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, str(foreign))
    with pytest.raises(PerceptionError, match="format"):
        load(foreign)
    model = MODELS["pointpillars-small"].make(MODELS["pointpillars-small"].defaults)
    good = tmp_path / "good.safetensors"
    save_weights(good, "pointpillars-small", model, Card())
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(good.read_bytes()[:-1000])
    with pytest.raises(PerceptionError, match="no readable safetensors"):
        load(damaged)
    mislabelled = tmp_path / "mislabelled.safetensors"
    save_weights(mislabelled, "second", model, Card())
    with pytest.raises(PerceptionError):
        load(mislabelled)
