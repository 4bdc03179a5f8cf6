"""Model soups: one model of the averaged weights of several runs (Wortsman et al., ICML 2022)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from perception.config import to_plain
from perception.errors import PerceptionError
from perception.io.weights import Card, WeightsHeader, read_model
from perception.models.model import Model
from perception.points import PointCloud


@dataclass(frozen=True, eq=False)
class Ingredient:
    """One run's weights: the model in eval mode, and what its file says about itself."""

    path: Path
    model: Model
    header: WeightsHeader


def read_ingredients(paths: Sequence[str | Path]) -> list[Ingredient]:
    """Weights files of one model. PerceptionError for fewer than two, or where model, classes or settings differ."""
    if len(paths) < 2:
        raise PerceptionError(f"{len(paths)} weights files", "two or more", "name the runs to average")
    found = [Ingredient(Path(path), *read_model(path)) for path in paths]
    first = found[0]
    for other in found[1:]:
        pairs = [
            ("model", first.header.model, other.header.model),
            ("classes", first.header.classes, other.header.classes),
        ]
        one, another = to_plain(first.model.config), to_plain(other.model.config)
        if type(first.model.config) is type(other.model.config):
            pairs += [(f"config.{key}", one[key], another[key]) for key in one]
        for name, wanted, given in pairs:
            if wanted != given:
                raise PerceptionError(
                    f"{other.path} has the {name} {given}", f"{wanted}, as {first.path}", "average runs of one model"
                )
    return found


@torch.no_grad()
def averaged(models: Sequence[Model]) -> Model:
    """A new model, in eval mode, of the mean of all parameters and buffers; whole numbers are those of the first."""
    states = [model.state_dict() for model in models]
    soup = copy.deepcopy(models[0]).eval()
    means: dict[str, Tensor] = {}
    for key, value in states[0].items():
        floating = value.is_floating_point()
        means[key] = torch.stack([s[key].double() for s in states]).mean(0).to(value.dtype) if floating else value
        if not bool(torch.isfinite(means[key]).all()):
            raise PerceptionError(f"{key} is not finite in one of the runs", "finite weights", "leave that run out")
    soup.load_state_dict(means)
    return soup


@torch.no_grad()
def estimate_statistics(model: Model, clouds: Sequence[PointCloud], batch_size: int = 2) -> Model:
    """A copy whose batch normalisations have the statistics that these clouds give: a mean of runs' statistics does
    not belong to the mean of their weights. Everything else works as in use; batches count alike."""
    model = copy.deepcopy(model).eval()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True
    for start in range(0, len(clouds), batch_size):
        model(model.voxelise(model.points(clouds[start : start + batch_size])))
    if any(not norm.num_batches_tracked for norm in norms) or not _finite(norms):
        raise PerceptionError(
            f"{len(clouds)} clouds give no statistics of normalisation",
            "clouds with points in the model's range",
            "check --statistics",
        )
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    return model.eval()


def _finite(norms: Sequence[nn.Module]) -> bool:
    return all(bool(torch.isfinite(value).all()) for norm in norms for value in norm.buffers())


@dataclass(frozen=True, eq=False)
class Soup:
    """``chosen`` are the places of the runs that went in, ``scores`` what was tried: its name and score."""

    model: Model
    chosen: tuple[int, ...]
    scores: tuple[tuple[str, float], ...] = ()


def uniform_soup(models: Sequence[Model], finish: Callable[[Model], Model]) -> Soup:
    """All runs alike; ``finish`` re-estimates statistics."""
    return Soup(finish(averaged(models)), tuple(range(len(models))))


def greedy_soup(models: Sequence[Model], finish: Callable[[Model], Model], judge: Callable[[Model], float]) -> Soup:
    """Runs from the best on, each kept where the average is no worse with it (recipe 1 of the paper)."""
    alone = [judge(model) for model in models]
    tried = [(f"run {number + 1}", score) for number, score in enumerate(alone)]
    order = sorted(range(len(models)), key=lambda number: -alone[number])
    chosen, best, soup = [order[0]], alone[order[0]], models[order[0]]
    for number in order[1:]:
        mixed = finish(averaged([models[n] for n in (*chosen, number)]))
        score = judge(mixed)
        tried.append((" + ".join(f"run {n + 1}" for n in (*chosen, number)), score))
        if score >= best:
            chosen, best, soup = [*chosen, number], score, mixed
    return Soup(soup, tuple(chosen), tuple(tried))


def soup_card(ingredients: Sequence[Ingredient], soup: Soup, statistics: str, command: str) -> Card:
    """Which runs went in, each by its file's name and checksum, and all that they were trained on."""
    used = [ingredients[number] for number in soup.chosen]
    cards = [item.header.card for item in used]
    names = ", ".join(f"{item.path.parent.name}/{item.path.name} (sha256 {_digest(item.path)})" for item in used)
    source = f"average of the weights of {len(used)} of {len(ingredients)} runs: {names}; {statistics}"
    card = Card(source=source, command=command, limits=_distinct(card.limits for card in cards))
    trained = _distinct(part for card in cards for part in card.trained_on.split("; "))
    return replace(card, trained_on=trained, licence=_distinct(card.licence for card in cards))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _distinct(texts: Any) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))
