"""The scores on a card, from evaluation.json files: a name with its unit, and a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Evaluation = Mapping[str, Any]


def card_scores(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Scores of all evaluations; those with frames that the weights were trained on say so."""
    scores: dict[str, float] = {}
    for evaluation in evaluations:
        scores |= next(score(evaluation) for key, score in _KINDS.items() if key in evaluation)
    return scores


def _detection(evaluation: Evaluation) -> dict[str, float]:
    """Average precision at R40 beside what perfect boxes reach on the same frames."""
    found = {}
    for kind in ("Car", "Pedestrian", "Cyclist"):
        for metric in ("bev", "3d"):
            key = f"{kind}_{metric}/moderate_R40"
            value, best = evaluation["average_precision"].get(key), evaluation["perfect_boxes"].get(key)
            if best:  # 0 where the frames have too few objects for any recall of R40
                name = f"{kind}, {metric}, moderate, R40 in %, of {best:.1f} possible; {_frames(evaluation, 'frames')}"
                found[name] = value
    return found


def _trees(evaluation: Evaluation) -> dict[str, float]:
    """Of these weights, and of the methods without weights that were evaluated beside them."""
    where, values = f"{evaluation['data']}; {_frames(evaluation, 'plots')}", evaluation["one_to_one"]
    names = ("F1", "f1"), ("coverage", "coverage")
    return {f"{name} in %, {_method(evaluation)}; {where}": 100 * values[key] for name, key in names}


def _keypoints(evaluation: Evaluation) -> dict[str, float]:
    """The mean error of joints in centimetres, and how many people are found, by distance."""
    where = f"{evaluation['data']}; {_frames(evaluation, 'scenes')}"
    found = {f"joint error in cm; {where}": 100 * evaluation["keypoints"]["mpjpe"]["all"]}
    for band in evaluation["by_distance"]:
        if band["people"]:
            at = f"{band['near']:g} to {band['far']:g} m"
            found[f"people found in %, {at}, of {band['people']}"] = 100 * band["matched"] / band["people"]
            if band["matched"]:
                found[f"joint error in cm, {at}"] = 100 * band["mpjpe"]
    return found


def _flow(evaluation: Evaluation) -> dict[str, float]:
    """The three-way end-point errors in centimetres, of these weights and of methods without weights."""
    where, values = f"{evaluation['data']}; {_frames(evaluation, 'pairs')}", evaluation["three_way"]
    names = ("moving things", "EPE_FD"), ("things that stand", "EPE_FS"), ("background", "EPE_BS")
    return {f"error in cm on {name}, {_method(evaluation)}; {where}": 100 * values[key] for name, key in names}


def _places(evaluation: Evaluation) -> dict[str, float]:
    """Recall on unseen loops in the opposite direction, and how many recordings find their own place."""
    asked = evaluation["opposite direction"]
    where = f"{asked['queries']} scans in the opposite direction ask {asked['places']} unseen generated places"
    found = {f"recall@1 in %, {m}; {where}": f["recall@1, %"] for m, f in asked["figures"].items()}
    real = evaluation.get("recordings")
    if real:
        where = f"{real['clouds']} recordings turned by random angles among {real['distractors']} generated ones"
        key = "nearest is its own place, %"
        found |= {f"nearest is its own place in %, {m}; {where}": f[key] for m, f in real["places"].items()}
    return found


def _method(evaluation: Evaluation) -> str:
    return "these weights" if evaluation["method"].endswith(".safetensors") else evaluation["method"]


def _frames(evaluation: Evaluation, kind: str) -> str:
    trained = evaluation["frames_trained_on"]
    return f"{evaluation['frames']} {kind}, {f'{trained} of them TRAINED ON' if trained else 'none trained on'}"


# By a key that only such an evaluation has.
_KINDS = {
    "average_precision": _detection,
    "one_to_one": _trees,
    "keypoints": _keypoints,
    "three_way": _flow,
    "opposite direction": _places,
}
