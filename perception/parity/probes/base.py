"""What a probe is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from perception.parity.checks import Check
from perception.parity.stages import Stage


class Probe:
    """``paths``: official stage name -> submodule whose output is that stage. Families refine the methods.

    ``own`` stages are compared by ``further`` alone. Of the final boxes ``final_share`` must be there.
    """

    own: frozenset[str] = frozenset()
    final_share = 0.99

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = dict(paths)

    def configure(self, defaults: Any, meta: Mapping[str, Any]) -> Any:
        """The model's configuration for a file: the catalogue's defaults with the file's score threshold."""
        selection = replace(defaults.selection, score_threshold=float(meta["score_thresh_used"][0]))
        return replace(defaults, selection=selection)

    def classes(self, meta: Mapping[str, Any]) -> tuple[str, ...]:
        """The classes that a file's model should have."""
        return tuple(meta["class_names"])

    def voxels(self, voxels: Any) -> Any:
        """The voxels that the file stores, of those that the model makes."""
        return voxels

    def further(self, model: Any, predictions: Any, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
        """Comparisons of arrays that are stored whole (kind ``table``), and of more than the stages show."""
        return iter(())

    def stages(self, model: Any, predictions: Any, stored: Mapping[str, np.ndarray]) -> dict[str, Stage]:
        """Stages that are no submodule's output."""
        return {}

    def final(self, sample: int, result: Any, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
        """Comparisons of what a sample's result holds besides its boxes."""
        return iter(())

    def derived(self, model: Any, stages: Mapping[str, Stage]) -> dict[str, Stage]:
        """Stages that follow from those that were captured."""
        return {}

    def suppression(
        self,
        number: int,
        facts: Mapping[str, Any],
        stored: Mapping[str, np.ndarray],
        stages: Mapping[str, Stage],
    ) -> Iterator[Check]:
        """Our suppression on the stored candidates of call ``number``, and our candidates against them."""
        raise NotImplementedError
