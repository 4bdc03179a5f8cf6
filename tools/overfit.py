#!/usr/bin/env python3
"""Let a detector learn one real frame by heart: python tools/overfit.py second --data ../shared/data/kitti_object

Data, targets, losses, decoding and suppression agree only if the model then finds every visible car of that frame at
a 3D overlap of 0.7. That is a proof of the parts and no measure of accuracy. The model is made for KITTI's classes and
a range about the labelled cars; everything else of it is as published. Exits with 1 if cars are missed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, TextColumn

from perception.config import merge, to_plain
from perception.datasets.kitti.dataset import KittiDetection
from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.geometry import iou_3d
from perception.io.files import write_atomically
from perception.models.catalogue import MODELS, entry
from perception.pipeline import perceive
from perception.results import Detections
from perception.training.targets import Targets
from perception.view.birds_eye import birds_eye

CLASSES = ("Car", "Pedestrian", "Cyclist")
SIZE = (44.8, 38.4)  # metres along x and y: enough for cars that can be learned, little enough for a CPU
OVERLAP, VISIBLE = 0.7, 10


def settings(name: str) -> Any:
    """The model's published configuration for KITTI's classes and intensities, and a smaller range."""
    defaults = entry(name).defaults
    known = {field.name for field in fields(defaults)}
    changes: dict[str, Any] = {}
    if "tasks" in known:
        changes |= {"tasks": [list(CLASSES)], "velocity": False, "loss": {"codes": [1.0] * 8}}
    elif isinstance(defaults.classes[0], str):
        changes["classes"] = list(CLASSES)
    elif defaults.classes[0].name != "Car":
        raise PerceptionError(f"{name} has anchors of {defaults.classes[0].name}", "a model of KITTI's classes")
    if defaults.point_fields:
        changes["point_fields"] = ["intensity"]
    if "suppressed" in to_plain(defaults.selection):
        changes |= {"selection": {"suppressed": []}, "head": {"every_cell": []}}
    changes["point_range"] = _range(defaults)
    return merge(defaults, changes, f"overfit {name}")


def _range(defaults: Any) -> list[float]:
    """In x and y about the cars, by whole cells of 16 voxels; in z as wide as published, with the road within."""
    size = defaults.voxel_size
    wide, deep = (math.ceil(length / (16 * cell)) * 16 * cell for length, cell in zip(SIZE, size))
    low, high = defaults.point_range[2], defaults.point_range[5]
    bottom = low if low <= -3 else -3.0
    return [0.0, -deep / 2, bottom, wide, deep / 2, bottom + high - low]


def learn(model: Any, sample: Sample, steps: int, rate: float, every: int, console: Console) -> dict[str, Any]:
    """Train on the one frame until all visible cars are found, or for so many steps."""
    targets = Targets(tuple(model.classes), model.config.point_range, {}, VISIBLE, velocity=model.velocity)
    boxes, labels = targets(sample.cloud, sample.objects, sample.identifier)
    cars = boxes[labels == list(model.classes).index("Car"), :7]
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.1  # published rates of 0.01 take hundreds of steps to forget the start
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1, pct_start=0.3)
    begun, recall, loss, step = time.perf_counter(), 0.0, float("nan"), 0
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("learning", total=steps, state="")
        for step in range(1, steps + 1):
            model.train()
            losses = model.loss(model(model.voxelise(model.points([sample.cloud]))), [boxes], [labels])
            optimiser.zero_grad()
            losses["loss"].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()
            schedule.step()
            loss = losses["loss"].item()
            if step % every == 0 or step == steps:
                recall = found_share(model, sample, cars)
                if recall == 1:
                    break
            progress.update(task, completed=step, state=f"loss {loss:.3f}, recall {recall:.2f}")
    seconds = time.perf_counter() - begun
    return {"cars": len(cars), "recall": recall, "steps": step, "seconds": round(seconds, 1), "loss": round(loss, 4)}


def found_share(model: Any, sample: Sample, cars: torch.Tensor) -> float:
    """Share of the cars that a detected car overlaps enough."""
    (found,) = perceive(model.eval(), [sample.cloud])
    assert isinstance(found, Detections)
    detected = found.boxes.values[found.labels == list(model.classes).index("Car")]
    if not len(detected):
        return 0.0
    return float((iou_3d(cars.double(), detected.double()).amax(1) >= OVERLAP).double().mean())


def main() -> int:
    options = _options()
    console = Console(soft_wrap=True, highlight=False)
    if options.threads:
        torch.set_num_threads(options.threads)
    report, missed = {}, False
    try:
        dataset = KittiDetection(options.data, "training", [options.frame])
        sample = dataset[0]
        for name in options.models or [n for n, e in MODELS.items() if e.task == "detection"]:
            torch.manual_seed(0)
            model = entry(name).make(settings(name))
            found = learn(model, sample, options.steps, options.rate, options.every, console)
            report[name] = found
            missed |= found["recall"] < 1
            console.print(
                f"{name}: {found['recall']:.0%} of {found['cars']} cars after {found['steps']} steps, "
                f"{found['seconds']:.0f} s"
            )
            if options.pictures:
                options.pictures.mkdir(parents=True, exist_ok=True)
                (answer,) = perceive(model.eval(), [sample.cloud])
                title = f"{name}, learned by heart"
                birds_eye(sample.cloud, answer, sample.objects, options.pictures / f"{name}.png", title=title)  # type: ignore[arg-type]
            if options.json:
                with write_atomically(options.json, "w") as file:
                    json.dump({"frame": options.frame, "overlap": OVERLAP, "models": report}, file, indent=1)
    except PerceptionError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names of the catalogue; default: all detectors")
    parser.add_argument("--data", type=Path, required=True, help="a KITTI object folder")
    parser.add_argument("--frame", default="000008", help="default: %(default)s, with six cars")
    parser.add_argument("--steps", type=int, default=300, help="at most; default: %(default)s")
    parser.add_argument("--rate", type=float, default=0.003, help="highest learning rate; default: %(default)s")
    parser.add_argument("--every", type=int, default=20, help="steps between looks at the recall; default: %(default)s")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw the frame with boxes and labels")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
