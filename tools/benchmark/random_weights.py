"""Random numbers that keep a detector as busy as trained ones do."""

from __future__ import annotations

import torch
from torch import nn

from perception.errors import PerceptionError
from perception.models.catalogue import entry
from perception.models.detector import AnchorDetector, Detector
from perception.models.two_stage import TwoStageDetector
from perception.points import PointCloud


def random_model(name: str, cloud: PointCloud, candidates: int) -> Detector:
    """The catalogue's model with random numbers whose activations have the size that a trained model's have."""
    torch.manual_seed(0)
    chosen = entry(name)
    model = chosen.make(chosen.defaults)
    if not isinstance(model, Detector):
        raise PerceptionError(f"{name} is a model for {model.task}", "a detector", "see `perception models`")
    points = model.points([cloud])
    if not bool(model.grid.cells(points.xyz)[1].any()):
        raise PerceptionError(
            f"no point of the cloud is in the range of {name}", f"points within {model.config.point_range}"
        )
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    usual = [norm.momentum for norm in norms]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0  # the statistics of this one cloud, whole
        model.train()(model.voxelise(points))
        for norm, momentum in zip(norms, usual):
            norm.momentum = momentum
        predictions = model.eval()(model.voxelise(points))
        # A second stage always gets its number of proposals, whatever their scores.
        if isinstance(model, AnchorDetector) and not isinstance(model, TwoStageDetector):
            best = predictions.scores[0].amax(1)
            last = best.topk(min(candidates, len(best))).values[-1]
            wanted = torch.logit(torch.tensor(model.config.selection.score_threshold))
            model.head.score.bias += wanted - last + 1e-6
    return model
