"""Backbones of sets: what DSVT's files hold besides those of its heads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from perception.models.dsvt import SetDetector
from perception.parity.probes.centre import CentreProbe
from perception.parity.stages import Stage
from perception.sparse import Sites

DSVT = {"vfe": "encoder", "dsvt.out": "backbone", "spatial_features": "scatter", "spatial_features_2d": "bev"}


def block_paths(blocks: tuple[int, ...]) -> dict[str, str]:
    """Names of the blocks of each stage, as the files have them, and where ours are."""
    return {
        f"dsvt.stage{stage}.block{block}": f"backbone.stages.{stage}.blocks.{block}"
        for stage, number in enumerate(blocks)
        for block in range(number)
    }


class DSVTProbe(CentreProbe):
    def derived(self, model: SetDetector, stages: Mapping[str, Stage]) -> dict[str, Stage]:
        """Of both partitions of each stage: how many sets there are, slots that repeat a voxel, and voxels."""
        found = {}
        for number, stage in enumerate(model.config.stages):
            seen = stages[f"dsvt.stage{number}.block0"]
            assert seen.coordinates is not None
            assert seen.spatial_shape is not None
            batch = int(seen.coordinates[:, 0].max(initial=0)) + 1
            sites = Sites.of(torch.from_numpy(seen.coordinates), seen.spatial_shape, batch)
            for shift, sets in enumerate(stage.partitions(sites)):
                facts = [sets.rows.shape[1], int(sets.repeated.sum()), len(sites)]
                found[f"dsvt.sets.{number}.{shift}"] = Stage(np.asarray(facts))
        return found
