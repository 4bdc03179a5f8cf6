"""From a foreign checkpoint to a model of the catalogue: what `perception import` does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from perception.config import merge, read_yaml
from perception.errors import PerceptionError
from perception.io.importers.checkpoint import Checkpoint, open_checkpoint
from perception.io.importers.conversion import ImportReport
from perception.io.importers.families import FAMILIES, family_of
from perception.io.importers.mmdet3d.importer import configures_itself
from perception.io.importers.openpcdet.yaml import is_openpcdet
from perception.io.importers.plan import Plan
from perception.io.importers.recognise import Likeness, compare, likenesses, unknown_family
from perception.models.catalogue import entry
from perception.models.model import Model

HEADS = re.compile(r"head\.(tasks\.\d+\.heatmap|score|residual|direction|heatmap|class_encoding|branches\.score)\b")
HEATMAPS = re.compile(r"head\.tasks\.(\d+)\.heatmap\.(3|out)\.weight")


@dataclass(frozen=True, eq=False)
class Imported:
    """A model with the checkpoint's weights, in evaluation mode, and how it came by them."""

    model: Model
    name: str
    family: str
    report: ImportReport


def import_checkpoint(
    path: str | Path, name: str | None = None, family: str | None = None, config: str | Path | None = None
) -> Imported:
    """Load a checkpoint of ``family`` (recognised if None) as the model ``name`` or the one that ``config`` describes.

    ``config``: the source's own configuration (OpenPCDet's YAML, a Python file of mmdet3d or det3d) or, for OpenPCDet,
    a YAML of what differs from our model's defaults. Any key that is missing, spare or misshapen is a PerceptionError.
    """
    if family is not None and family not in FAMILIES:
        raise PerceptionError(f"--from {family}", f"one of {', '.join(FAMILIES)}")
    _check_words(name, None if config is None else Path(config))
    checkpoint = open_checkpoint(path)
    where = str(checkpoint.path)
    found = family_of(checkpoint.tensors)
    if family is None and found is None:
        raise unknown_family(checkpoint.tensors, where)
    if family is not None and found not in (None, family):
        raise PerceptionError(f"{where} has the names of {found}", f"a checkpoint of {family}", f"--from {found}")
    family = family or found
    assert family is not None
    told = FAMILIES[family].names_models or configures_itself(family, checkpoint.extra)
    if name is None and config is None and not told:
        raise _which_model(family, checkpoint)
    plan = _plan(family, checkpoint, name, None if config is None else Path(config))
    model = _make(plan, where)
    try:
        report = plan.load(model, checkpoint.tensors, where)
    except PerceptionError as error:
        raise _explained(error, plan, checkpoint.tensors) from None
    return Imported(model.eval(), plan.name, family, report)


def _check_words(name: str | None, config: Path | None) -> None:
    """Misspelt names and keys are told before a large file is read."""
    if name is not None:
        entry(name)
    if config is not None and config.suffix != ".py":
        values = read_yaml(config)
        if name is not None and not is_openpcdet(values):
            merge(entry(name).defaults, values, str(config))


def _plan(family: str, checkpoint: Checkpoint, name: str | None, config: Path | None) -> Plan:
    where = str(checkpoint.path)
    try:
        return FAMILIES[family].plan(checkpoint.tensors, name, config, where, checkpoint.extra)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise PerceptionError(
            f"{config or where}: the configuration cannot be understood ({type(error).__name__}: {error})",
            f"a configuration as {family} writes it",
        ) from None


def _make(plan: Plan, where: str) -> Model:
    try:
        return plan.make()
    except (RuntimeError, TypeError, ValueError, ArithmeticError, IndexError) as error:
        raise PerceptionError(
            f"{where}: its configuration makes no {plan.name}: {str(error).splitlines()[0]}",
            "sizes that fit together",
            "`perception models NAME` shows a configuration that does",
        ) from None


def _which_model(family: str, checkpoint: Checkpoint) -> PerceptionError:
    fits = [like.name for like in likenesses(family, checkpoint.tensors) if like.exact]
    hint = f"its keys and shapes are those of {' and '.join(fits)}" if fits else "`perception models` lists the names"
    return PerceptionError(
        f"{checkpoint.path} is a checkpoint of {family}, of which model is not said",
        "--model NAME, or --config FILE with the source's configuration",
        hint,
    )


def _explained(error: PerceptionError, plan: Plan, tensors: Mapping[str, Tensor]) -> PerceptionError:
    """The error of a checkpoint that does not fit, with what it seems to be instead."""
    own = compare(plan, tensors)
    heads = (*own.shapes,) if not own.strange else ()
    if heads and all(HEADS.match(key) for key in heads):
        return PerceptionError(
            f"{error.found}; {_classes(own, plan.make().classes)}",
            error.expected,
            "give the classes that it was trained on with --config",
        )
    alike = likenesses(plan.family, tensors)
    exact = [like.name for like in alike if like.exact]
    if exact:
        return PerceptionError(error.found, error.expected, f"its keys and shapes are those of {' and '.join(exact)}")
    if alike[0].strange < own.strange:
        return PerceptionError(error.found, error.expected, f"its keys are most like those of {alike[0].name}")
    return error


def _classes(like: Likeness, names: Sequence[str]) -> str:
    """How many classes the checkpoint has, of the shapes of its heads."""
    for key, (found, _) in like.shapes.items():
        if key == "head.score.weight":  # anchors x classes, with two anchors a class
            return f"it has {round((found[0] / 2) ** 0.5)} classes, the model {len(names)}: {', '.join(names)}"
    heads = {}
    for key, (found, _) in like.shapes.items():
        if task := HEATMAPS.match(key):
            heads[int(task[1])] = found[0]
    counts = ", ".join(f"{count} in task {task}" for task, count in sorted(heads.items()))
    return f"its classes are {counts or 'others'}, the model's {', '.join(names)}"
