"""Foreign tensors under our names and in our layouts, loaded strictly, with a report of what became of each key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.io.importers.key_rules import Rules, translate
from perception.io.weights import load_strictly


@dataclass(frozen=True)
class ImportReport:
    """What became of each key of a checkpoint: ``mapped`` official -> ours, ``permuted`` spconv 1.x, ``unused``.

    ``supplied`` are tensors of ours that the source has no need of: zeros, which change nothing.
    """

    mapped: Mapping[str, str]
    permuted: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    supplied: tuple[str, ...] = ()


def load_translated(
    model: nn.Module,
    state: Mapping[str, Tensor],
    rules: Rules,
    where: str,
    unused: Callable[[str], bool] = lambda key: False,
    zeros: re.Pattern[str] | None = None,
    notes: tuple[str, ...] = (),
) -> ImportReport:
    """Load foreign tensors by ``rules``; a missing, spare or misshapen key is an error that names it.

    ``unused`` tells keys that nothing reads. ``zeros`` fits our names of biases in front of a normalisation which the
    source leaves out.
    """
    wanted = model.state_dict()
    mapped: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    permuted = []
    for official, tensor in state.items():
        if unused(official):
            continue
        ours, convert = translate(official, rules)
        if ours in tensors:
            twice = next(key for key, name in mapped.items() if name == ours)
            raise PerceptionError(f"{where}: {official} and {twice} are both {ours}", "one key for each tensor")
        mapped[official] = ours
        if ours in wanted and tensor.ndim == 5 and (turned := _turned(tensor, wanted[ours])) is not None:
            tensor = turned
            permuted.append(official)
        tensors[ours] = tensor if convert is None else _converted(convert, tensor, official, where)
    supplied = tuple(key for key in wanted if zeros and key not in tensors and zeros.search(key))
    tensors |= {key: torch.zeros_like(wanted[key]) for key in supplied}
    load_strictly(model, tensors, where, {ours: official for official, ours in mapped.items()})
    return ImportReport(mapped, tuple(permuted), tuple(key for key in state if unused(key)), notes, supplied)


def _turned(tensor: Tensor, wanted: Tensor) -> Tensor | None:
    """A sparse kernel of spconv 1.x, (kz, ky, kx, in, out), as ours, (out, kz, ky, kx, in); None if it is ours."""
    turned = tensor.permute(4, 0, 1, 2, 3)
    fits = tensor.shape != wanted.shape and turned.shape == wanted.shape
    return turned.contiguous() if fits else None


def _converted(convert: Callable[[Tensor], Tensor], tensor: Tensor, key: str, where: str) -> Tensor:
    try:
        return convert(tensor)
    except (RuntimeError, IndexError, ValueError) as error:
        raise PerceptionError(
            f"{where}: {key} has the shape {tuple(tensor.shape)}: {error}",
            "a shape that fits the source's configuration, whose classes and sizes decide it",
            "give the configuration that belongs to this checkpoint with --config",
        ) from None
