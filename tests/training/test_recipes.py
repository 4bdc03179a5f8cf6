"""Every recipe that the project offers is one that training takes, for a model and data sets that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from perception.training.settings import model_settings, read_experiment

RECIPES = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*/*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipe_is_understood(path: Path) -> None:
    experiment = read_experiment(path)
    assert model_settings(experiment) is not None
