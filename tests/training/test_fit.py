from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from perception.errors import PerceptionError
from perception.models.loading import load_with_header
from perception.training.data import collate
from perception.training.fit import build, train
from perception.training.settings import check_experiment


def test_the_loss_falls_and_everything_is_written(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["data"] = {"train": [{"name": "street", "options": {"length": 2}}]}
    tiny["data"]["validate"] = tiny["data"]["train"]
    tiny["augment"] = {"flip_x": 0.0, "rotation": [0, 0], "scaling": [1, 1]}
    tiny["training"] |= {"epochs": 25, "learning_rate": 0.01, "validate_every": 25, "picture_every": 25}
    experiment = check_experiment(tiny, "test")
    module = build(experiment)
    batch = collate([module.train_data[(0, i)] for i in range(2)])
    before = module.losses(batch)["loss"].item()
    outcome = train(experiment, tmp_path / "run", command="python tools/train.py test.yaml")
    assert outcome.weights is not None
    assert outcome.interrupted is None
    model, header = load_with_header(outcome.weights)
    assert header.model == "pointpillars-small"
    assert header.card.trained_on == "street seed 0: 2 scenes"
    assert header.card.command == "python tools/train.py test.yaml"
    module.model.load_state_dict(model.state_dict())
    module.model.train()
    assert module.losses(batch)["loss"].item() < before / 4
    written = {path.relative_to(outcome.folder).as_posix() for path in outcome.folder.rglob("*") if path.is_file()}
    assert {"experiment.yaml", "best.safetensors", "logs/version_0/metrics.csv", "pictures/epoch_025.png"} <= written


def test_a_loss_that_is_not_finite_names_the_frames(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["training"] |= {"learning_rate": 1e30, "gradient_clip": 0.0}
    with pytest.raises(PerceptionError, match=r"not finite at batch \d+ .*street_"):
        train(check_experiment(tiny, "test"), tmp_path / "run")


def test_the_same_seed_gives_the_same_start(tiny: dict[str, Any]) -> None:
    experiment = check_experiment(tiny, "test")
    first, second = build(experiment).model.state_dict(), build(experiment).model.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_batch_without_objects_has_a_finite_loss_and_gradients(tiny: dict[str, Any]) -> None:
    module = build(check_experiment({**tiny, "minimum_points": 10**6}, "test"))
    loss = module.losses(collate([module.train_data[(0, 0)]]))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())
