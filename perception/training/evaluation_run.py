"""A detector over whole data sets, frame by frame: what every benchmark's evaluation begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from perception.datasets.sample import Dataset, Sample
from perception.pipeline import perceive
from perception.results import Detections
from perception.training.provenance import frames_of

Progress = Callable[[Iterable[tuple[int, int]]], Iterable[tuple[int, int]]]


def of_classes(detections: Detections, names: Sequence[str]) -> Detections:
    """The detections of the named classes: results must not hold what their benchmark does not know."""
    return detections.select(torch.tensor([name in names for name in detections.names], dtype=torch.bool))


@dataclass(frozen=True, eq=False)
class Found:
    """``detections`` on the CPU of frame ``index`` of data set ``number``; ``trained_on``: the model has learned it, as
    far as its card tells."""

    number: int
    index: int
    sample: Sample
    detections: Detections
    trained_on: bool


def detect_frames(
    model: nn.Module, datasets: Sequence[Dataset], trained_on: str = "", progress: Progress = iter
) -> Iterator[Found]:
    """Run the model, in eval mode, over every frame; ``trained_on`` is the line of the weights' card."""
    seen: set[str] = set().union(*frames_of(trained_on).values())
    for number, index in progress([(d, i) for d, dataset in enumerate(datasets) for i in range(len(dataset))]):
        sample = datasets[number][index]
        views = [sample.view] if getattr(model, "reads_images", False) else None
        detections: Any = perceive(model, [sample.cloud], views=views)[0]  # type: ignore[arg-type]
        yield Found(number, index, sample, detections.cpu(), sample.identifier in seen)
