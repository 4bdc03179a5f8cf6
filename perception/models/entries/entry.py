"""An entry of the catalogue of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perception.models.model import Model


@dataclass(frozen=True)
class Entry:
    """``make`` builds the model from ``config``; ``defaults`` is the configuration that a user's file changes.

    ``official`` names the published configurations whose checkpoints can be imported, by their family (a module of
    ``perception.io.importers``). The defaults equal OpenPCDet's; an import takes what the others have otherwise.
    """

    make: Callable[[Any], Model]
    defaults: Any
    task: str
    summary: str
    official: Mapping[str, str] = field(default_factory=dict)
