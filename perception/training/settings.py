"""An experiment: which model learns from which data, and how. Files hold only what differs from these defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import yaml

from perception.config import config, merge, parse, read_yaml
from perception.datasets.augment import AugmentConfig
from perception.datasets.catalogue import DATASETS, dataset_entry
from perception.datasets.flow.augment import FlowAugmentConfig
from perception.datasets.places.augment import PlaceAugmentConfig
from perception.datasets.places.tuples import PlaceRadii
from perception.datasets.trees.augment import TreeAugmentConfig
from perception.errors import PerceptionError
from perception.models.catalogue import entry


@config
class DataEntry:
    """A data set of the catalogue by name, its options, and how often an epoch visits each of its samples."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    repeat: int = 1


@config
class DataConfig:
    """Several data sets are pooled in their order."""

    train: tuple[DataEntry, ...]
    validate: tuple[DataEntry, ...] = ()


@config
class TrainingConfig:
    """The recipe; defaults are OpenPCDet's for KITTI (adam_onecycle) where it has them.

    ``schedule``: one cycle of the learning rate, none, ``exponential`` by ``rate_decay`` an epoch, or ``cosine`` to
    zero after a linear rise over ``warm_up`` epochs; ``milestones`` after the same rise a tenth of the rate from each
    of these epochs on; ``beta2`` of Adam. ``coupled_decay``: Adam with weight decay as part of the gradient, not AdamW.
    ``norm_momentum_halved``: of trees' models, batch normalisation's momentum is halved every so many epochs down to a
    tenth, 0 for never.
    ``batch_size`` is that of one process. ``momentum``: Adam's beta1 before and after, and at the peak of, the
    learning rate, which rises for ``pct_start`` of all steps from ``learning_rate / div_factor``. ``decay_norms``:
    weight decay on normalisation layers and biases too. ``threads`` of torch, None for its own choice.
    ``frozen``: parts of the model, by the names of its modules, that keep their weights and statistics.
    ``two_of_four``: learn 2:4 sparse weights; the value is SR-STE's lambda (published: 0.0002), None for dense ones.
    ``average``: decay of the moving average of the weights that is validated and saved, None for the weights of the
    last step. ``checkpoint_steps`` None: only every ``checkpoint_minutes``. ``validate_every`` and ``picture_every``
    count epochs, 0 for never.
    """

    epochs: int = 80
    batch_size: int = 4
    learning_rate: float = 0.003
    schedule: Literal["one-cycle", "constant", "exponential", "cosine", "milestones"] = "one-cycle"
    rate_decay: float = 0.9885
    warm_up: float = 0.0
    milestones: tuple[int, ...] = ()
    coupled_decay: bool = False
    norm_momentum_halved: int = 0
    beta2: float = 0.99
    weight_decay: float = 0.01
    decay_norms: bool = True
    gradient_clip: float = 10.0
    momentum: tuple[float, float] = (0.95, 0.85)
    pct_start: float = 0.4
    div_factor: float = 10.0
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    accumulate: int = 1
    average: float | None = None
    workers: int = 2
    threads: int | None = None
    seed: int = 0
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int | None = None
    validate_every: int = 1
    picture_every: int = 0
    frozen: tuple[str, ...] = ()
    two_of_four: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise PerceptionError(f"training.{name} = {getattr(self, name)}", "1 or more", f"correct {name}")
        if not 0 < self.rate_decay <= 1 or self.warm_up < 0:
            raise PerceptionError(
                f"training.rate_decay {self.rate_decay}, warm_up {self.warm_up}", "a factor above 0, epochs from 0"
            )
        for name in ("seed", "workers", "validate_every", "picture_every", "norm_momentum_halved"):
            if getattr(self, name) < 0:
                raise PerceptionError(f"training.{name} = {getattr(self, name)}", "0 or more", f"correct {name}")
        if self.average is not None and not 0 <= self.average < 1:
            raise PerceptionError(f"training.average = {self.average}", "a decay from 0 to below 1, for example 0.999")
        if self.two_of_four is not None and (self.two_of_four < 0 or self.average is not None):
            raise PerceptionError(
                f"training.two_of_four = {self.two_of_four} with average = {self.average}",
                "a weight from 0, for example 0.0002, and no average: averages of sparse weights are dense",
            )
        if not 0 < self.pct_start < 1 or self.div_factor < 1 or self.learning_rate <= 0:
            raise PerceptionError(
                f"learning_rate {self.learning_rate}, pct_start {self.pct_start}, div_factor {self.div_factor}",
                "a positive rate, pct_start between 0 and 1, div_factor from 1",
            )


@config
class PlacesConfig:
    """How models of places learn: which recordings are of one place, and how many clouds go through at a time.

    A batch has ``training.batch_size`` pairs. ``distillation``: weight of the distance to the averaged model's
    descriptors (it needs ``training.average``), from the share ``distillation_from`` of all steps on.
    """

    radii: PlaceRadii = PlaceRadii()
    chunk: int = 128
    distillation: float = 0.0
    distillation_from: float = 0.15

    def __post_init__(self) -> None:
        if self.chunk < 2 or self.distillation < 0 or not 0 <= self.distillation_from <= 1:
            raise PerceptionError(
                f"places: chunk {self.chunk}, distillation {self.distillation} from {self.distillation_from}",
                "a chunk of 2 clouds or more, a weight from 0, a share from 0 to 1",
            )


@config
class Experiment:
    """``model`` is a catalogue name and ``overrides`` what changes in its configuration.

    ``classes`` renames labels before they are matched with the model's classes: ``{Van: Car}`` learns vans as cars.
    Labels of no class of the model are left out, as are boxes holding fewer than ``minimum_points`` points.
    ``augment`` is for clouds, ``flow_augment`` for pairs of scans, ``tree_augment`` for plots with trees,
    ``place_augment`` for recordings of places, whose pairs ``places`` describes.
    ``start_from`` is a weights file to begin with, all but the head of it with ``reinitialise_head``.
    """

    model: str
    data: DataConfig
    overrides: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    minimum_points: int = 0
    start_from: str | None = None
    reinitialise_head: bool = False
    augment: AugmentConfig = AugmentConfig()
    flow_augment: FlowAugmentConfig = FlowAugmentConfig()
    tree_augment: TreeAugmentConfig = TreeAugmentConfig()
    place_augment: PlaceAugmentConfig = PlaceAugmentConfig()
    places: PlacesConfig = PlacesConfig()
    training: TrainingConfig = TrainingConfig()


def read_experiment(
    path: str | Path, changes: Sequence[str] = (), roots: Mapping[str, str] | None = None
) -> Experiment:
    """The experiment in a YAML file with ``key.below=value`` changes and roots of data sets by name applied.

    Raises PerceptionError that names an unknown key and the nearest known one, before any data is touched.
    """
    values = read_yaml(path)
    for change in changes:
        _apply(values, change)
    return check_experiment(values, str(path), roots)


def check_experiment(values: Mapping[str, Any], where: str, roots: Mapping[str, str] | None = None) -> Experiment:
    """An Experiment from plain values, its model's and data sets' names and keys checked."""
    for part in ("train", "validate"):
        listed = values["data"].get(part) if isinstance(values.get("data"), Mapping) else None
        for number, item in enumerate(listed if isinstance(listed, (list, tuple)) else ()):
            if isinstance(item, Mapping):
                _check_data_entry(item, f"{where}: data.{part}[{number}]", roots or {})
    experiment = parse(Experiment, values, where)
    if experiment.reinitialise_head and experiment.start_from is None:
        raise PerceptionError(f"{where}: reinitialise_head without start_from", "weights whose head to leave out")
    model_settings(experiment, where)
    _check_task(experiment, where)
    unused = set(roots or {}) - {item.name for item in (*experiment.data.train, *experiment.data.validate)}
    if unused:
        raise PerceptionError(
            f"a root is given for {sorted(unused)}",
            f"one for a data set of the configuration: {sorted({item.name for item in experiment.data.train})}",
            "correct --data",
        )
    return experiment


def model_settings(experiment: Experiment, where: str = "the experiment") -> Any:
    """The configuration of the experiment's model: the catalogue's defaults with the overrides merged in."""
    return merge(entry(experiment.model).defaults, experiment.overrides, f"{where}: overrides of {experiment.model}")


def _check_task(experiment: Experiment, where: str) -> None:
    """Models of scene flow learn from pairs of scans, those of trees from plots, all others from clouds with boxes."""
    task = entry(experiment.model).task
    task = task if task in ("flow", "trees", "places") else "detection"
    for item in (*experiment.data.train, *experiment.data.validate):
        if dataset_entry(item.name).task != task:
            fitting = ", ".join(name for name, known in DATASETS.items() if known.task == task)
            raise PerceptionError(
                f"{where}: {experiment.model} with the data set {item.name}",
                f"for this model one of {fitting}",
                "name another data set, or another model",
            )
    if experiment.augment != AugmentConfig() and task != "detection":
        right = {"flow": "flow_augment", "trees": "tree_augment", "places": "place_augment"}[task]
        raise PerceptionError(f"{where}: augment for {experiment.model}", right, f"name these settings {right}")


def _check_data_entry(item: Mapping[str, Any], where: str, roots: Mapping[str, str]) -> None:
    checked = parse(DataEntry, item, where)
    chosen = dataset_entry(checked.name)
    if checked.name in roots and isinstance(item, dict):
        item["options"] = {**checked.options, "root": roots[checked.name]}
    parse(chosen.options, item.get("options", {}), f"{where}: options of {checked.name}")
    if checked.repeat < 1:
        raise PerceptionError(f"{where}: repeat = {checked.repeat}", "1 or more")


def _apply(values: dict[str, Any], change: str) -> None:
    """Set one ``a.b.0.c=value`` in nested dicts and lists; the value is read as YAML."""
    key, equals, text = change.partition("=")
    if not equals:
        raise PerceptionError(f"--set {change}", "key=value", "for example training.epochs=20")
    *parents, last = key.split(".")
    below: Any = values
    try:
        for part in parents:
            below = below[int(part)] if isinstance(below, list) else below.setdefault(part, {})
        below[int(last) if isinstance(below, list) else last] = yaml.safe_load(text)
    except (AttributeError, TypeError, ValueError, IndexError, yaml.YAMLError):
        raise PerceptionError(
            f"--set {change}", "the path of a key and a YAML value", "for example data.train.0.repeat=2"
        ) from None
