from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from perception.config import to_plain
from perception.errors import PerceptionError
from perception.io.weights import Card, save_weights
from perception.models.catalogue import MODELS
from perception.models.loading import load_with_header
from perception.training.fit import build, train
from perception.training.provenance import frames_of
from perception.training.settings import check_experiment


@pytest.fixture
def weights(tiny: dict[str, Any], tmp_path: Path) -> Path:
    tiny["training"] |= {"seed": 5}
    path = tmp_path / "start.safetensors"
    save_weights(path, "pointpillars-small", build(check_experiment(tiny, "test")).model, Card())
    tiny["training"] |= {"seed": 0}
    return path


def other_classes(tiny: dict[str, Any]) -> dict[str, Any]:
    """The experiment with a fourth class."""
    changed = copy.deepcopy(tiny)
    kinds = to_plain(MODELS["pointpillars-small"].defaults)["classes"]
    changed["overrides"]["classes"] = [*kinds, {**kinds[0], "name": "Truck"}]
    return changed


def test_training_begins_with_the_given_weights(tiny: dict[str, Any], weights: Path) -> None:
    fresh = build(check_experiment(tiny, "test")).model.state_dict()
    begun = build(check_experiment({**tiny, "start_from": str(weights)}, "test")).model.state_dict()
    assert not torch.equal(fresh["encoder.linear.weight"], begun["encoder.linear.weight"])
    tiny["training"] |= {"seed": 5}
    same = build(check_experiment(tiny, "test")).model.state_dict()
    assert all(torch.equal(same[key], begun[key]) for key in same)


def test_other_classes_are_named_and_the_head_can_be_made_anew(tiny: dict[str, Any], weights: Path) -> None:
    changed = {**other_classes(tiny), "start_from": str(weights)}
    with pytest.raises(PerceptionError, match="Car, Pedestrian, Cyclist") as caught:
        build(check_experiment(changed, "test"))
    assert "Truck" in str(caught.value)
    assert "--reinit-head" in str(caught.value)
    begun = build(check_experiment({**changed, "reinitialise_head": True}, "test")).model
    tiny["training"] |= {"seed": 5}
    start = build(check_experiment(tiny, "test")).model.state_dict()
    for key, value in begun.state_dict().items():
        if not key.startswith("head."):
            assert torch.equal(value, start[key])
    assert begun.head.score.out_channels == 4 * 8


def test_what_cannot_be_started_from(tiny: dict[str, Any], weights: Path) -> None:
    with pytest.raises(PerceptionError, match="no file"):
        build(check_experiment({**tiny, "start_from": "nowhere.safetensors"}, "test"))
    with pytest.raises(PerceptionError, match="without start_from"):
        check_experiment({**tiny, "reinitialise_head": True}, "test")
    tiny["overrides"]["encoder_channels"] = 16
    with pytest.raises(PerceptionError, match=r"encoder.linear.weight"):
        build(check_experiment({**tiny, "start_from": str(weights)}, "test"))


def test_the_card_names_the_data_and_the_licence_of_the_beginning(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Weights that began with others are bound by what those learned from."""
    path = tmp_path / "begun.safetensors"
    model = build(check_experiment(tiny, "test")).model
    save_weights(path, "pointpillars-small", model, Card(trained_on="kitti 000000-000004", licence="CC BY-NC-SA 3.0"))
    outcome = train(check_experiment({**tiny, "start_from": str(path)}, "test"), tmp_path / "run")
    assert outcome.weights is not None
    card = load_with_header(outcome.weights)[1].card
    assert frames_of(card.trained_on)["kitti"] == {f"{number:06d}" for number in range(5)}
    assert "street" in card.trained_on
    assert "CC BY-NC-SA 3.0" in card.licence
