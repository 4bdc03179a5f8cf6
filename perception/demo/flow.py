"""Scene flow."""

from __future__ import annotations

import numpy as np

from perception.scene_flow.methods import default_method, flow_method
from perception.simulate.flow import street_flow
from perception.timing import Stopwatch
from perception.view.flow_picture import flow_picture
from perception.view.report import Chapter

SEED = 4_000_005


def flow() -> Chapter:
    """Two scans of a generated street in motion, a tenth of a second apart."""
    sample, watch = street_flow(SEED), Stopwatch()
    method = flow_method(default_method())
    with watch.lap("flow"):
        found = method(sample.pair)
    moving = int(found.moving.sum())
    text = f"{moving:,} of {len(sample.pair.first):,} points move: {method.name}, {watch.seconds['flow']:.1f} s."
    truth = sample.truth()
    if truth.flow is not None:
        own = np.linalg.norm(truth.flow.numpy() - sample.pair.ego_flow(), axis=1) > 0.05
        error = np.linalg.norm((found.flow - truth.flow).numpy(), axis=1)
        text += f" Points that do move are {100 * np.nanmean(error[own]):.0f} cm off on average." if own.any() else ""
    picture = flow_picture(sample.pair, found, seconds=sample.seconds, title="A street in motion", subtitle=method.name)
    return Chapter("Scene flow", text, (("Where things will be in half a second", picture),))
