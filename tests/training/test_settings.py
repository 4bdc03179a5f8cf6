from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from perception.errors import PerceptionError
from perception.training.roots import parse_roots
from perception.training.settings import check_experiment, model_settings, read_experiment

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "detection").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path: Path) -> None:
    experiment = read_experiment(path)
    assert len(model_settings(experiment).point_range) == 6


@pytest.mark.parametrize(
    ("where", "key", "hint"),
    [
        (("training",), "learning_rat", "learning_rate"),
        (("overrides",), "voxel_sise", "voxel_size"),
        (("augment",), "rotatio", "rotation"),
        (("data", "train", 0), "optons", "options"),
        (("data", "train", 0, "options"), "lenth", "length"),
        ((), "trainin", "training"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    tiny: dict[str, Any], where: tuple[Any, ...], key: str, hint: str
) -> None:
    tiny["augment"] = {}
    below: Any = tiny
    for part in where:
        below = below[part]
    below[key] = 1
    with pytest.raises(PerceptionError, match=key) as caught:
        check_experiment(tiny, "test.yaml")
    assert f"did you mean '{hint}'" in str(caught.value)


def test_unknown_names_of_models_and_data_sets(tiny: dict[str, Any]) -> None:
    with pytest.raises(PerceptionError, match="did you mean 'street'"):
        check_experiment({**tiny, "data": {"train": [{"name": "stret"}]}}, "test.yaml")
    with pytest.raises(PerceptionError, match="did you mean 'pointpillars-small'"):
        check_experiment({**tiny, "model": "pointpillar-small"}, "test.yaml")


@pytest.mark.parametrize("change", ["epochs=0", "pct_start=1.0", "learning_rate=0", "precision=fp16", "epochs=many"])
def test_impossible_values_are_errors(tiny: dict[str, Any], tmp_path: Path, change: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(tiny))
    with pytest.raises(PerceptionError, match=change.split("=")[0]):
        read_experiment(path, [f"training.{change}"])


def test_changes_from_the_command_line_reach_lists_and_new_keys(tiny: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(tiny))
    changes = ["training.epochs=7", "data.train.0.options.length=9", "augment.flip_x=0.25", "classes.Van=Car"]
    experiment = read_experiment(path, changes)
    assert experiment.training.epochs == 7
    assert experiment.data.train[0].options["length"] == 9
    assert experiment.augment.flip_x == 0.25
    assert experiment.classes == {"Van": "Car"}
    for wrong in ("training.epochs", "training.epochs.more=1", "data.train.5.name=kitti", "data.train.x.name=kitti"):
        with pytest.raises(PerceptionError, match="--set"):
            read_experiment(path, [wrong])


def test_roots_are_given_by_name_or_to_the_only_data_set_with_files(tmp_path: Path) -> None:
    kitti = next(path for path in CONFIGS if path.stem == "second_kitti")
    roots = parse_roots([str(tmp_path)], kitti)
    assert roots == {"kitti": str(tmp_path)}
    assert read_experiment(kitti, roots=roots).data.train[0].options["root"] == str(tmp_path)
    both = next(path for path in CONFIGS if path.stem == "second_overfit")
    with pytest.raises(PerceptionError, match="kitti, kitti_raw"):
        parse_roots([str(tmp_path)], both)
    with pytest.raises(PerceptionError, match="kitti_raw"):
        read_experiment(kitti, roots={"kitti_raw": str(tmp_path)})
