"""Everything that answers scene flow by one call: models with weights, and baselines without learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from perception.errors import PerceptionError, nearest
from perception.flow_pipeline import perceive_flow
from perception.models.catalogue import MODELS
from perception.models.flow_model import FlowModel
from perception.models.loading import load_with_header, shipped_weights
from perception.results import SceneFlow
from perception.scan_pair import ScanPair
from perception.scene_flow.ground import pair_with_ground
from perception.scene_flow.icp_clusters import cluster_flow
from perception.scene_flow.nearest import nearest_flow

BASELINES: dict[str, Callable[[ScanPair], SceneFlow]] = {"nearest": nearest_flow, "icp-clusters": cluster_flow}
FALLBACK = "icp-clusters"


@dataclass(frozen=True)
class FlowMethod:
    """``name`` for results; ``call``: a pair to the flow of its first scan, on the CPU; ``trained_on`` as the weights'
    card tells it."""

    name: str
    call: Callable[[ScanPair], SceneFlow]
    trained_on: str = ""

    def __call__(self, pair: ScanPair) -> SceneFlow:
        """Flow of every point; the ground is estimated where the clouds have no field ``ground``."""
        found = self.call(pair_with_ground(pair))
        return SceneFlow(found.flow.cpu(), found.moving.cpu())


def flow_method(name: str, device: torch.device | str = "cpu") -> FlowMethod:
    """A baseline by its name, or the model of a weights file or of shipped weights."""
    if name in BASELINES:
        return FlowMethod(name, BASELINES[name])
    plain = not Path(name).suffix and len(Path(name).parts) == 1 and not Path(name).is_file()
    known = [*BASELINES, *(model for model, entry in MODELS.items() if entry.task == "flow")]
    if plain and name not in MODELS:
        raise PerceptionError(
            f"no method of scene flow is called {name!r}", "a .safetensors file, or a name", nearest(name, known)
        )
    if name in known and name not in shipped_weights():
        raise PerceptionError(
            f"no weights of {name!r} come with the package",
            f"a .safetensors file, or one of the methods without learning: {', '.join(BASELINES)}",
            f"train it (tools/train.py) or import a checkpoint (perception import FILE --model {name})",
        )
    model, header = load_with_header(name, device)
    if not isinstance(model, FlowModel):
        raise PerceptionError(
            f"{name} is a model for {model.task}",
            f"a model for scene flow, or one of {', '.join(BASELINES)}",
            "see `perception models`",
        )

    def call(pair: ScanPair) -> SceneFlow:
        return perceive_flow(model, [pair])[0]

    return FlowMethod(header.model, call, header.card.trained_on)


def default_method() -> str:
    """The first model of scene flow whose weights are shipped, else the best baseline."""
    shipped = shipped_weights()
    return next((name for name, known in MODELS.items() if known.task == "flow" and name in shipped), FALLBACK)
