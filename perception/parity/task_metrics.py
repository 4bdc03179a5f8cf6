"""Files of the metrics of trees, places and scene flow: every stored number beside ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from perception.metrics import scene_flow
from perception.metrics.places import place_recall
from perception.metrics.scene_flow import FlowFrame
from perception.metrics.trees import TreeScores, tree_overlaps
from perception.parity.checks import Check, Tolerance, close, equal, failed

EXACT = Tolerance(absolute=1e-9, relative=1e-9)
FLOW_INPUTS = ("pc0", "pose_flow", "gt_flow", "est_flow", "category", "is_valid")


def check_trees(stored: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Iterator[Check]:
    """Overlaps, ids and the scores of each matching."""
    for case, result in meta["results"].items():
        names = [f"{case}_gt", f"{case}_pred"]
        yield _input(f"{case} labels", names)
        overlaps = tree_overlaps(stored[names[0]], stored[names[1]])
        yield close(f"{case}_iou", overlaps.iou, stored[f"{case}_iou"], EXACT, keys=(f"{case}_iou",))
        for key, ids in ((f"{case}_gt_ids", overlaps.true_ids), (f"{case}_pred_ids", overlaps.predicted_ids)):
            yield equal(key, ids, stored[key], (key,))
        yield _numbers(f"{case} trees", [overlaps.iou.shape], [[result["n_gt"], result["n_pred"]]])
        for name, scores in (
            ("hungarian_on_iou_above_half", overlaps.scores()),
            ("hungarian_all_then_filter", overlaps.scores("filtered")),
            ("compat_not_one_to_one", overlaps.scores_not_one_to_one()),
        ):
            yield from _tree_scores(f"{case} {name}", scores, result[name])
        ours = [overlaps.coverage(), overlaps.coverage(weighted=True)]
        yield _numbers(f"{case} coverage", ours, [result["coverage"], result["weighted_coverage"]])


def _tree_scores(name: str, scores: TreeScores, wanted: Mapping[str, Any]) -> Iterator[Check]:
    hits = len(scores.pairs)
    ours = {
        "tp": hits,
        "fp": scores.predicted - hits,
        "fn": scores.true - hits,
        "precision": scores.precision,
        "recall": scores.recall,
        "f1": scores.f1,
        "rq": scores.f1,
        "sq": scores.segmentation_quality,
        "pq": scores.panoptic_quality,
        "pairs": sorted(scores.pairs),
    }
    for key, value in wanted.items():
        yield _numbers(f"{name}: {key}", ours[key], sorted(value) if key == "pairs" else value)


def check_places(stored: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Iterator[Check]:
    """Every pair of runs, the numbers of true neighbours, and the averages."""
    for case, result in meta["results"].items():
        kind = "query" if f"{case}_query0_pos" in stored else "db"
        used = sorted(key for key in stored if re.fullmatch(rf"{case}_(db|query)\d+_(pos|desc)", key))
        yield _input(f"{case} runs", used)

        def run(query: int, database: int, case: str = case, kind: str = kind, radius: float = result["radius"]) -> Any:
            names = (f"{case}_db{database}", f"{case}_{kind}{query}")
            arrays = [stored[f"{name}_{part}"] for name in names for part in ("pos", "desc")]
            return place_recall(arrays[0], arrays[1], arrays[2], arrays[3], radius)

        pairs = [(pair, run(pair["query"], pair["db"])) for pair in result["pairs"]]
        for pair, found in pairs:
            name = f"{case} {pair['query']} in {pair['db']}"
            yield _numbers(f"{name}: recall", found.recall, pair["recall_at_1_to_25"])
            ours = {
                "one_percent": found.one_percent,
                "mrr_hits_only": found.mrr,
                "n_evaluated": found.evaluated,
                "threshold_1pct": found.threshold,
                "exact_one_percent": found.exact_one_percent,
                "exact_mrr_top25_misses_zero": found.mrr_misses_zero,
                "exact_mrr_full": found.mrr_full,
            }
            for key, value in ours.items():
                yield _numbers(f"{name}: {key}", value, pair[key])
        for key, values in (
            ("ave_recall", [found.recall for _, found in pairs]),
            ("ave_one_percent_recall", [found.one_percent for _, found in pairs]),
            ("ave_mrr", [found.mrr for _, found in pairs]),
        ):
            yield _numbers(f"{case} {key}", np.mean(values, axis=0), result[key])
        for key in stored:
            if match := re.fullmatch(rf"{case}_true_count_q(\d+)_db(\d+)", key):
                yield equal(key, run(int(match[1]), int(match[2])).neighbours, stored[key], (key,))


def check_scene_flow(stored: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Iterator[Check]:
    """Three-way scores by frame and together, the cells by speed and by range, and the tables made of them."""
    number, results = int(stored["n_frames"]), meta["results"]
    yield _input("frames", ["n_frames", *(f"{name}_{i}" for name in FLOW_INPUTS for i in range(number))])
    frames = [FlowFrame(*(stored[f"{name}_{i}"] for name in FLOW_INPUTS)) for i in range(number)]
    scores = [scene_flow.three_way(frame) for frame in frames]
    for i, (ours, wanted) in enumerate(zip(scores, results["per_frame"])):
        for key, value in wanted["three_way"].items():
            yield _numbers(f"frame {i} {key}", ours[key], value)
        cells = scene_flow.range_cells([frames[i]])
        for kind, (low, _), *values in wanted["ssf"]:
            place = int(kind == "Dynamic"), int(np.searchsorted(scene_flow.RANGES, low))
            told = [cells.error[place], cells.about[place], cells.count[place]]
            yield _numbers(f"frame {i} {kind} from {low} m", told, values)
    together = scene_flow.mean_three_way(scores)
    for key, value in results["three_way"].items():
        yield _numbers(f"three-way {key}", together[key], value)
    classes = {name: meta["metacategories"][name] for name in meta["bucket_classes"]}
    speeds, ranges = scene_flow.speed_cells(frames, classes), scene_flow.range_cells(frames)
    for key, values in (
        ("bucket_epe", speeds.error),
        ("bucket_speed", speeds.about),
        ("bucket_count", speeds.count),
        ("ssf_epe", ranges.error),
        ("ssf_distance", ranges.about),
        ("ssf_count", ranges.count),
    ):
        yield _numbers(key, values, stored[key], (key,))
    table = scene_flow.bucketed(speeds, list(classes))
    for name, row in results["bucketed"].items():
        yield _numbers(f"bucketed {name}", [table[name][key] for key in row], [_known(value) for value in row.values()])
    for column, row in zip((*range(len(scene_flow.RANGES) - 1), None), results["ssf"].values()):
        chosen = slice(None) if column is None else slice(column, column + 1)
        errors = np.array([ranges.error[kind, chosen].mean() for kind in (0, 1)])
        yield _numbers(f"range {column}", errors, [row["Static"], row["Dynamic"]])
        if column is not None:
            yield _numbers(f"points {column}", ranges.count[:, column], [row["#Static"], row["#Dynamic"]])


def _input(name: str, keys: Sequence[str]) -> Check:
    return Check(name, True, 0.0, 0.0, 0, "the input", tuple(keys))


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def _numbers(name: str, ours: Any, wanted: Any, keys: tuple[str, ...] = ()) -> Check:
    """What is no number must be none on both sides, the others close."""
    left, right = (np.atleast_1d(np.array(values, np.float64)) for values in (ours, wanted))
    if left.shape == right.shape and not np.array_equal(np.isnan(left), np.isnan(right)):
        return failed(name, "empty cells differ", keys)
    return close(name, np.nan_to_num(left, nan=0.0), np.nan_to_num(right, nan=0.0), EXACT, keys=keys)
