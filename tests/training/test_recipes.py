"""Every recipe that the project offers is one that training takes, for a model and data sets that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from perception.models.catalogue import entry
from perception.models.detector import class_names
from perception.training.settings import model_settings, read_experiment

RECIPES = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*/*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipe_is_understood(path: Path) -> None:
    experiment = read_experiment(path)
    assert model_settings(experiment) is not None


@pytest.mark.parametrize(
    "path", [path for path in RECIPES if path.parent.name in ("detection", "keypoints")], ids=lambda path: path.stem
)
def test_a_configuration_names_the_classes_of_its_model(path: Path) -> None:
    """Labels are checked against them before any model is made."""
    experiment = read_experiment(path)
    settings = model_settings(experiment)
    assert class_names(settings) == entry(experiment.model).make(settings).classes
