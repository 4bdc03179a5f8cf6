"""TransFusion's head: TransFusion-L and DSVT on nuScenes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.heads.transfusion_head import QueryPredictions
from perception.parity.probes.base import Probe
from perception.parity.stages import Stage

CODES = {"center": slice(0, 2), "height": slice(2, 3), "dim": slice(3, 6), "rot": slice(6, 8), "vel": slice(8, 10)}
# Scores of the heatmap that are so near may change places among the queries.
TIE = 1e-5


class TransFusionProbe(Probe):
    def stages(self, model: Any, predictions: QueryPredictions, stored: Mapping[str, np.ndarray]) -> dict[str, Stage]:
        order = _official_order(predictions, stored)

        def rows(values: Tensor) -> Stage:
            """(B, P, C) in the official order, as the official (B, C, P)."""
            turned = torch.stack([sample[places] for sample, places in zip(values, order)])
            return Stage(turned.transpose(1, 2).numpy())

        found = {f"head.{name}": rows(predictions.codes[..., columns]) for name, columns in CODES.items()}
        found["head.heatmap"] = rows(predictions.scores)
        found["head.query_heatmap_score"] = rows(predictions.peak)
        found["head.query_labels"] = Stage(rows(predictions.label[..., None]).values[:, 0])
        found["head.dense_heatmap"] = Stage(predictions.heatmap.numpy())
        if predictions.overlap is not None:
            found["head.iou"] = rows(predictions.overlap[..., None])
        return found


def _official_order(predictions: QueryPredictions, stored: Mapping[str, np.ndarray]) -> Tensor:
    """Our query (B, P) in the place of each stored one: moved among equal scores only, else left as they are."""
    batch, number = predictions.label.shape
    same = torch.arange(number).expand(batch, -1)
    centres, labels = stored.get("head.center"), stored.get("head.query_labels")
    if centres is None or labels is None or labels.shape != (batch, number):
        return same
    wanted = torch.from_numpy(np.concatenate([centres.transpose(0, 2, 1), 1e3 * labels[..., None]], -1)).float()
    ours = torch.cat([predictions.codes[..., :2], 1e3 * predictions.label[..., None]], -1).float()
    order = torch.cdist(wanted, ours).argmin(-1)
    score = predictions.peak.gather(-1, predictions.label[..., None])[..., 0]
    moved = (score.gather(1, order) - score).abs() > TIE
    unique = (order.sort(1).values == same).all()
    return same if bool(moved.any()) or not bool(unique) else order
