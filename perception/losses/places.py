"""Losses of place recognition."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from perception.errors import PerceptionError

Similarity = Literal["euclidean", "cosine"]


def truncated_smooth_ap(
    descriptors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    temperature: float = 0.01,
    closest: int = 4,
    similarity: Similarity = "euclidean",
) -> Tensor:
    """One minus a smooth average precision of the ``closest`` positives of each query: a scalar.

    ``descriptors`` (B, D); ``positives`` and ``negatives`` (B, B) bool at [query, other], a query neither to itself.
    The rank of a positive p among a set is 1 + the sum of sigmoid((s(q, z) - s(q, p)) / temperature) over its other
    members z; precision at p is its rank among positives over that among positives and negatives. Queries without
    positives do not count; without any query the loss is zero. ``euclidean`` similarity is minus the distance.

    MinkLoc3Dv2 (Komorowski 2022, section III), after Patel et al. 2022, equations 2 and 5.
    """
    _check(descriptors, positives, negatives)
    positives, negatives = positives.to(descriptors.device), negatives.to(descriptors.device)
    alike = _similarity(descriptors.float(), similarity)
    number = min(closest, len(alike))
    chosen = alike.detach().masked_fill(~positives, -torch.inf).topk(number, 1).indices
    valid = positives.gather(1, chosen)
    queries = valid.any(1).nonzero()[:, 0]
    if not len(queries):
        return descriptors.sum() * 0.0
    chosen, valid, alike = chosen[queries], valid[queries], alike[queries]
    above = ((alike[:, None] - alike.gather(1, chosen)[..., None]) / temperature).clamp(-50, 50).sigmoid()
    others = positives[queries, None].expand_as(above).scatter(2, chosen[..., None], False)
    among_positives = 1 + (above * others).sum(2)
    among_all = among_positives + (above * negatives[queries, None]).sum(2)
    precision = (among_positives / among_all * valid).sum(1) / valid.sum(1)
    return 1 - precision.mean()


def self_distillation(descriptors: Tensor, averaged: Tensor, temperature: float = 3.0, weight: float = 50.0) -> Tensor:
    """How far descriptors (B, D) are from those of the averaged weights: a divergence of their softmaxes, a scalar.

    MESA (Du et al. 2022, Sharpness-Aware Training for Free), as HOTFormerLoc's recipe for CS-Wild-Places uses it.
    """
    ours = F.log_softmax(descriptors / temperature, 1)
    theirs = F.log_softmax(averaged.detach() / temperature, 1)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * weight


def _similarity(descriptors: Tensor, kind: Similarity) -> Tensor:
    if kind == "cosine":
        return descriptors @ descriptors.T
    if kind != "euclidean":
        raise PerceptionError(f"similarity {kind!r}", "'euclidean' or 'cosine'")
    # By products of matrices the distance of near descriptors loses half of its digits.
    return -torch.cdist(descriptors, descriptors, compute_mode="donot_use_mm_for_euclid_dist")


def _check(descriptors: Tensor, positives: Tensor, negatives: Tensor) -> None:
    shape = (len(descriptors),) * 2
    for name, mask in (("positives", positives), ("negatives", negatives)):
        if mask.shape != shape or mask.dtype != torch.bool:
            raise PerceptionError(
                f"{name} of shape {tuple(mask.shape)}, {mask.dtype}, for {len(descriptors)} descriptors",
                f"{shape} bool: [query, other]",
            )
