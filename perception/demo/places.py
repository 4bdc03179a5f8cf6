"""Place recognition."""

from __future__ import annotations

import numpy as np

from perception.places.describe import make_describer
from perception.simulate.loops.dataset import LoopDataset
from perception.timing import Stopwatch
from perception.view.place_pictures import similarity_matrices
from perception.view.report import Chapter

LENGTH, SPACING, REACH = 160.0, 10.0, 12.0


def places() -> Chapter:
    """A generated street driven around once each way: does the way back know the places of the way out?"""
    loop = LoopDataset(1, seed=9, length=LENGTH, spacing=SPACING, kinds=("street",), sensors=("hdl64",), split="test")
    samples, watch = [loop[index] for index in range(len(loop))], Stopwatch()
    describer = make_describer(None)
    with watch.lap("places"):
        vectors = describer([sample.cloud for sample in samples])
    lap, position = loop.lap, np.stack([sample.position for sample in samples])
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    first, back = np.flatnonzero(lap == 0), np.flatnonzero(lap == 1)
    nearest = first[distances[np.ix_(back, first)].argmin(1)]
    right = int((np.linalg.norm(position[nearest] - position[back], axis=1) < REACH).sum())
    name = describer.facts.model or describer.facts.method
    text = (
        f"{right} of {len(back)} scans of the way back find a scan of the way out within {REACH:.0f} m first: {name}, "
        f"{1000 * watch.seconds['places'] / len(samples):.0f} ms a scan."
    )
    picture = similarity_matrices([distances], [name], [f"{i}" for i in range(len(samples))], None, (0, int(back[0])))
    return Chapter(
        "Places seen again",
        text,
        (("Distances between descriptors, dark where near: the way out, then back", picture),),
    )
