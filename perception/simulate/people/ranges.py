"""Which people, postures and surroundings generated scenes are drawn from: for training, and others kept for tests.

The bands of the two splits do not overlap, so a test shows sizes of bodies, phases of movements, postures and
obstacles that training never had.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.errors import PerceptionError, nearest
from perception.simulate.people.body import Body, body, draw_outfit
from perception.simulate.people.postures import draw_action
from perception.simulate.people.skeleton import BodySize
from perception.simulate.shapes import Shape

Bands = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class PeopleRanges:
    """Bands (low, high) of ``statures`` in metres, ``builds`` and ``phases`` of postures; ``actions`` of
    ``postures.ACTIONS``; ``obstacles``, kinds of things that may hide people; ``offset`` of the seeds."""

    statures: Bands
    builds: Bands
    phases: Bands
    actions: tuple[str, ...]
    obstacles: tuple[str, ...]
    offset: int


TRAIN = PeopleRanges(
    statures=((0.95, 1.33), (1.45, 1.62), (1.66, 1.76), (1.80, 1.95)),
    builds=((0.85, 1.0), (1.06, 1.3)),
    phases=((0.0, 0.2), (0.28, 0.48), (0.56, 0.76), (0.84, 1.0)),
    actions=(
        "standing", "standing", "walking", "walking", "walking", "running", "waving", "phoning", "carrying", "sitting",
        "pushing",
    ),
    obstacles=("car", "pole", "wall", "bollard"),
    offset=0,
)  # fmt: skip
TEST = PeopleRanges(
    statures=((1.33, 1.45), (1.62, 1.66), (1.76, 1.80), (1.95, 2.02)),
    builds=((1.0, 1.06), (1.3, 1.42)),
    phases=((0.2, 0.28), (0.48, 0.56), (0.76, 0.84)),
    actions=(
        "standing", "walking", "walking", "running", "waving", "phoning", "carrying", "sitting", "pushing", "pointing",
        "stooping",
    ),
    obstacles=("van", "tree", "hedge", "bin", "bush"),
    offset=1 << 40,
)  # fmt: skip
SPLITS = {"train": TRAIN, "test": TEST}


def ranges_named(split: str) -> PeopleRanges:
    """The ranges of a split, or an error with the nearest name."""
    if split not in SPLITS:
        raise PerceptionError(
            f"no split of generated people is called {split!r}", "train or test", nearest(split, SPLITS)
        )
    return SPLITS[split]


def draw_person(ranges: PeopleRanges, rng: np.random.Generator) -> tuple[Body, BodySize, str]:
    """A body, its size and the name of what it does. Adults of middle stature are the most frequent."""
    # a triangle over the bands, children one in seven
    adults = [band for band in ranges.statures if band[1] > 1.46] if rng.random() < 0.86 else list(ranges.statures[:1])
    wanted = 1.71 + 0.24 * (rng.random() + rng.random() - 1)
    stature = _into(tuple(adults), wanted, rng)
    size = BodySize(
        stature,
        _within(ranges.builds, rng),
        0.93 + 0.14 * rng.random(),
        0.97 + 0.06 * rng.random(),
    )
    name = ranges.actions[int(rng.random() * len(ranges.actions))]
    action = draw_action(name, size, _within(ranges.phases, rng), rng)
    return body(size, action, draw_outfit(rng)), size, name


def articulated_walker(rng: np.random.Generator) -> tuple[tuple[float, float, float], tuple[Shape, ...]]:
    """Size and parts of a person of the training ranges who needs neither bench nor pram, for streets."""
    while True:
        person, _, _ = draw_person(TRAIN, rng)
        if not person.props:
            return person.size, person.parts


def _within(bands: Bands, rng: np.random.Generator) -> float:
    """A number even over the bands."""
    widths = np.array([high - low for low, high in bands])
    at = rng.random() * widths.sum()
    for (low, _), width in zip(bands, widths):
        if at < width:
            return float(low + at)
        at -= width
    return float(bands[-1][1])


def _into(bands: Bands, wanted: float, rng: np.random.Generator) -> float:
    """The wanted number if a band has it, else one of the bands."""
    return wanted if any(low <= wanted < high for low, high in bands) else _within(bands, rng)
