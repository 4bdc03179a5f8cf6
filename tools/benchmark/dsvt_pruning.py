"""What leaving weak sets out of DSVT saves and changes, on generated streets.

python tools/benchmark/dsvt_pruning.py [WEIGHTS.safetensors]     without weights: random ones, of a narrow model
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import nn

from perception.datasets.catalogue import make_dataset
from perception.models.catalogue import MODELS
from perception.models.loading import load
from perception.pipeline import perceive
from perception.results import Detections

SHARES = (0.0, 0.1, 0.3, 0.5, 0.7)
NARROW = {
    "point_range": (0.0, -12.8, -2.0, 25.6, 12.8, 4.0),
    "channels": 96,
    "feedforward": 192,
    "point_fields": ("intensity",),
}
CLOUDS, REPEATS, NEAR = 3, 2, 0.5


def main() -> int:
    torch.set_num_threads(1)
    model: Any = load(sys.argv[1]) if len(sys.argv) > 1 else _random()
    streets = make_dataset("street", {"length": CLOUDS, "seed": 7001}, "here")
    clouds = [streets[number].cloud for number in range(CLOUDS)]
    whole: list[Any] = []
    print(f"{'pruned':>8}{'backbone ms':>13}{'all ms':>9}{'boxes':>8}{'of the whole model within 0.5 m, %':>36}")
    for share in SHARES:
        for block in model.backbone.stages[0].blocks:
            block.pruned = share
        found: list[Any] = [perceive(model, [cloud])[0] for cloud in clouds]
        whole = whole or found
        inner, outer = zip(*(_times(model, cloud) for _ in range(REPEATS) for cloud in clouds))
        kept, boxes = sum(map(_kept, whole, found)), sum(map(len, whole))
        print(
            f"{share:>8.0%}{1e3 * median(inner):>13.0f}{1e3 * median(outer):>9.0f}{sum(map(len, found)):>8}"
            f"{100 * kept / max(boxes, 1):>36.1f}"
        )
    return 0


def _random() -> Any:
    torch.manual_seed(1)
    chosen: Any = MODELS["dsvt-pillar"]
    model = chosen.make(replace(chosen.defaults, **NARROW)).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, -1, 0.5)
    return model


@torch.inference_mode()
def _times(model: Any, cloud: Any) -> tuple[float, float]:
    """Seconds of processor time of the sets' blocks, and from points to boxes."""
    inner: list[float] = []
    before = model.backbone.register_forward_pre_hook(lambda *_: inner.append(time.process_time()))
    after = model.backbone.register_forward_hook(lambda *_: inner.append(time.process_time()))
    begun = time.process_time()
    perceive(model, [cloud])
    ended = time.process_time()
    before.remove()
    after.remove()
    return inner[1] - inner[0], ended - begun


def _kept(one: Detections, other: Detections) -> int:
    """How many boxes have one of their class in the other, with the centre within ``NEAR`` metres."""
    if not len(one) or not len(other):
        return 0
    gaps = torch.cdist(one.boxes.centre, other.boxes.centre)
    gaps[one.labels[:, None] != other.labels[None]] = torch.inf
    return int((gaps.amin(1) <= NEAR).sum())


if __name__ == "__main__":
    sys.exit(main())
