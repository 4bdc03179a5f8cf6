"""By which benchmark a data set is evaluated: a plain dict. A new protocol adds its file and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from perception.errors import PerceptionError
from perception.training.evaluation_argoverse2 import evaluate_argoverse2
from perception.training.evaluation_kitti import evaluate_kitti
from perception.training.evaluation_nuscenes import evaluate_nuscenes
from perception.training.evaluation_overlap import evaluate_by_overlap
from perception.training.evaluation_waymo import evaluate_waymo


class Evaluation(Protocol):
    """What an evaluation tells, whatever its benchmark: ``trained_on`` counts the frames that the model has learned."""

    @property
    def frames(self) -> int: ...

    @property
    def trained_on(self) -> int: ...

    @property
    def title(self) -> str: ...

    def as_dict(self) -> dict[str, Any]: ...

    def table(self) -> str: ...

    def write_results(self, path: Path) -> None: ...


# By data set: (model, data sets, the card's line of frames trained on, progress) -> Evaluation.
PROTOCOLS: dict[str, Callable[..., Evaluation]] = {
    "kitti": evaluate_kitti,
    "kitti_raw": evaluate_kitti,
    "kitti_infos": evaluate_kitti,
    "nuscenes": evaluate_nuscenes,
    "argoverse2": evaluate_argoverse2,
    "waymo": evaluate_waymo,
    "folder": evaluate_by_overlap,
}


def protocol_of(names: Sequence[str]) -> Callable[..., Evaluation]:
    """The one protocol of data sets by their catalogue names, or an error where there is none or more than one."""
    for name in names:
        if name not in PROTOCOLS:
            raise PerceptionError(f"no benchmark is known for the data set {name!r}", f"one of {', '.join(PROTOCOLS)}")
    found = {PROTOCOLS[name] for name in names}
    if len(found) != 1:
        raise PerceptionError(
            f"data sets of {len(found)} benchmarks: {', '.join(names)}", "one benchmark", "evaluate them one by one"
        )
    return found.pop()
