"""Training that starts from weights instead of from random numbers."""

from __future__ import annotations

from pathlib import Path

from perception.errors import PerceptionError
from perception.io.weights import WeightsHeader, load_strictly, read_tensors
from perception.models.model import Model


def warm_start(model: Model, path: str | Path, reinitialise_head: bool = False) -> str:
    """Load weights into the model, strictly; with ``reinitialise_head`` all but its heads. Answers what was done.

    Raises PerceptionError for weights that do not fit; for those of other classes it names both.
    """
    header, tensors = read_tensors(path)
    own = model.state_dict()
    if not reinitialise_head:
        _check_classes(model, header, path)
        load_strictly(model, tensors, str(path))
        return f"all {len(own)} tensors of {path}"
    fresh = {key for key in own if key.split(".", 1)[0] in model.heads}
    taken = {key: value for key, value in tensors.items() if key.split(".", 1)[0] not in model.heads}
    load_strictly(model, {**taken, **{key: own[key] for key in fresh}}, str(path))
    return f"{len(taken)} tensors of {path}, {len(fresh)} of the head made anew"


def _check_classes(model: Model, header: WeightsHeader, path: str | Path) -> None:
    if header.classes != model.classes:
        raise PerceptionError(
            f"{path} has the classes {', '.join(header.classes)}",
            f"those of the experiment: {', '.join(model.classes)}",
            "add --reinit-head to keep all but the head",
        )
