"""All models by name. A new one adds its file, and an entry to the dict of its task in ``entries/``."""

from __future__ import annotations

from perception.errors import PerceptionError, nearest
from perception.models.entries.detection import DETECTION
from perception.models.entries.entry import Entry
from perception.models.entries.flow import FLOW
from perception.models.entries.keypoints import KEYPOINTS
from perception.models.entries.places import PLACES
from perception.models.entries.trees import TREES

MODELS: dict[str, Entry] = {**DETECTION, **KEYPOINTS, **FLOW, **PLACES, **TREES}


def entry(name: str) -> Entry:
    """The catalogue's entry, or an error with the nearest name."""
    if name not in MODELS:
        raise PerceptionError(
            f"no model is called {name!r}", "a name that `perception models` lists", nearest(name, MODELS)
        )
    return MODELS[name]
