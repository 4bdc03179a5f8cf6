"""Which models of the catalogue a checkpoint's keys and shapes are those of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers.families import FAMILIES
from perception.io.importers.key_rules import translate
from perception.io.importers.plan import Plan
from perception.models.catalogue import entry

OURS = re.compile(r"model\.|(bev|head|encoder|stages)\.")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Likeness:
    """How a checkpoint's keys compare with a model's: ``strange`` names, and ``shapes`` that differ, by our key."""

    name: str
    strange: int
    shapes: Mapping[str, tuple[Shape, Shape]]

    @property
    def exact(self) -> bool:
        return not self.strange and not self.shapes


def likenesses(family: str, tensors: Mapping[str, Tensor]) -> list[Likeness]:
    """All models that the family has checkpoints of, the most alike first."""
    found = [compare(plan, tensors) for plan in FAMILIES[family].published()]
    return sorted(found, key=lambda like: (like.strange, len(like.shapes)))


def compare(plan: Plan, tensors: Mapping[str, Tensor]) -> Likeness:
    wanted = _shapes(plan.name, plan.config)
    shapes, strange, seen = {}, 0, set()
    for official, tensor in tensors.items():
        if plan.unused(official):
            continue
        ours, convert = translate(official, plan.rules)
        if ours not in wanted:
            strange += 1
            continue
        seen.add(ours)
        shape = tuple(tensor.shape)
        if convert is not None:
            try:
                shape = tuple(convert(torch.empty(shape, device="meta")).shape)
            except (RuntimeError, IndexError, ValueError):
                shapes[ours] = (shape, wanted[ours])
                continue
        turned = (shape[-1], *shape[:-1]) if len(shape) == 5 else shape  # spconv 1.x
        if wanted[ours] not in (shape, turned):
            shapes[ours] = (shape, wanted[ours])
    strange += sum(1 for key in wanted if key not in seen and not (plan.zeros and plan.zeros.search(key)))
    return Likeness(plan.name, strange, shapes)


@lru_cache(maxsize=64)
def _shapes(name: str, config: object) -> dict[str, Shape]:
    try:
        with torch.device("meta"):
            model = entry(name).make(config)
    except NotImplementedError:  # it reads numbers while it is made, which tensors without memory do not have
        model = entry(name).make(config)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def unknown_family(tensors: Mapping[str, Tensor], where: str) -> PerceptionError:
    """The error for a checkpoint of no family that can be imported."""
    parts = list(dict.fromkeys(key.split(".")[0] for key in tensors))[:6]
    if all(OURS.match(key) for key in tensors):
        return PerceptionError(
            f"{where} looks like a training state of this library (parts {', '.join(parts)})",
            "a checkpoint of another library",
            "the weights beside it (.safetensors) need no import",
        )
    return PerceptionError(
        f"{where} has parts {', '.join(parts)}",
        f"the names of one of {', '.join(FAMILIES)}",
        "`perception models` lists what can be imported from where",
    )
