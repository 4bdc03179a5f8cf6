"""From clouds to vectors that are near for one place: by a network, or by Scan Context."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from perception.config import merge, parse, to_plain
from perception.errors import PerceptionError
from perception.models.catalogue import MODELS, entry
from perception.models.loading import load_with_header, shipped_weights
from perception.models.place_model import PlaceModel
from perception.pipeline import perceive
from perception.places.scan_context import ScanContextConfig, scan_context
from perception.points import PointCloud
from perception.results import PlaceDescriptor

SCAN_CONTEXT = "scan-context"
FEWEST = 100
"""Points of a cloud from which a place can be told at all."""


@dataclass(frozen=True)
class DescriberFacts:
    """What vectors were made by: vectors of different ``fingerprint`` cannot be compared.

    ``method`` is ``model`` or ``scan-context``; ``model`` the name or the path that the user gave, ``settings`` the
    plain values of the configuration.
    """

    method: str
    model: str
    fingerprint: str
    settings: Mapping[str, Any]


class Describer(Protocol):
    """Clouds to vectors (B, D) float32."""

    @property
    def facts(self) -> DescriberFacts: ...

    def __call__(self, clouds: Sequence[PointCloud]) -> np.ndarray: ...


class NetworkDescriber:
    """Descriptors of a model, each as the cloud alone gives it."""

    def __init__(self, model: PlaceModel, name: str) -> None:
        self.model = per_cloud(model).eval()
        self.facts = DescriberFacts("model", name, fingerprint(self.model), to_plain(self.model.config))

    def __call__(self, clouds: Sequence[PointCloud]) -> np.ndarray:
        enough(clouds)
        found = [r.descriptor for r in perceive(self.model, clouds) if isinstance(r, PlaceDescriptor)]
        return torch.stack(found).cpu().numpy() if found else np.zeros((0, 1), np.float32)


class ScanContextDescriber:
    """Scan contexts as vectors of rings times sectors; nearness is that of ``context_distances``."""

    def __init__(self, settings: ScanContextConfig | None = None) -> None:
        self.settings = settings or ScanContextConfig()
        plain = to_plain(self.settings)
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
        self.facts = DescriberFacts(SCAN_CONTEXT, "", digest, plain)

    def __call__(self, clouds: Sequence[PointCloud]) -> np.ndarray:
        enough(clouds)
        size = self.settings.rings * self.settings.sectors
        found = [scan_context(cloud, self.settings) for cloud in clouds]
        for number, context in enumerate(found):
            if not context.any():
                raise PerceptionError(
                    f"cloud {number} of {len(clouds)} has nothing above the ground within {self.settings.radius:g} m",
                    "a scan in the frame of its sensor, in metres, z up",
                    "subtract the sensor's position",
                )
        return torch.stack(found).reshape(-1, size).numpy() if found else np.zeros((0, size), np.float32)


def enough(clouds: Sequence[PointCloud]) -> None:
    """Raise PerceptionError for a cloud of so few points that its place is a guess."""
    for number, cloud in enumerate(clouds):
        if len(cloud) < FEWEST:
            raise PerceptionError(
                f"cloud {number} of {len(clouds)} has {len(cloud)} points",
                f"{FEWEST} or more to tell a place by",
                "leave it out, or join several scans to a submap",
            )


def per_cloud(model: PlaceModel) -> PlaceModel:
    """The same model with windows that end with their cloud: a descriptor depends on nothing beside it."""
    if getattr(model.config, "windows", "cloud") == "cloud":
        return model
    alone = type(model)(replace(model.config, windows="cloud"))
    alone.load_state_dict(model.state_dict())
    return alone.to(model.device).train(model.training)


def fingerprint(model: PlaceModel) -> str:
    """A digest of configuration and weights."""
    digest = hashlib.sha256(json.dumps(to_plain(model.config), sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def make_describer(
    name: str | None, device: torch.device | str = "cpu", settings: Mapping[str, Any] | None = None
) -> Describer:
    """By ``scan-context``, a model's name, or a weights file; None for the model whose weights come with the package.

    ``settings`` are those of Scan Context.
    """
    name = name or default_model()
    if name == SCAN_CONTEXT:
        return ScanContextDescriber(parse(ScanContextConfig, settings or {}, "settings of scan-context"))
    if name in MODELS and entry(name).task != "places":
        raise PerceptionError(
            f"{name} is a model for {entry(name).task}",
            f"one of {', '.join(known_methods())}",
            "see `perception models`",
        )
    model, _ = load_with_header(name, device)
    if not isinstance(model, PlaceModel):
        raise PerceptionError(f"{name} is a model for {model.task}", f"one of {', '.join(known_methods())}", "")
    return NetworkDescriber(model, name if name in MODELS else str(Path(name).absolute()))


def random_describer(name: str, seed: int = 0) -> NetworkDescriber:
    """A model of the catalogue with random weights: what a trained one has to be better than."""
    torch.manual_seed(seed)
    chosen = entry(name)
    model = chosen.make(merge(chosen.defaults, {}, name))
    assert isinstance(model, PlaceModel)
    return NetworkDescriber(model, f"{name}, random weights, seed {seed}")


def known_methods() -> list[str]:
    """Names of all models of places, and the method without one."""
    return [*(name for name, known in MODELS.items() if known.task == "places"), SCAN_CONTEXT]


def default_model() -> str:
    """The place model whose weights come with the package; else Scan Context."""
    shipped = [name for name in shipped_weights() if entry(name).task == "places"]
    return shipped[0] if shipped else SCAN_CONTEXT
