"""Compiled matching of detections with labels, as the KITTI evaluator counts it.

Frames lie one after the other in flat arrays; frame f has labels ``first_label[f]`` to ``first_label[f + 1]``,
likewise detections and overlaps, the latter row by row of detections.
"""

from __future__ import annotations

import numpy as np

from perception.compiled import compiled

# What a label or a detection is for one class and difficulty.
COUNTS, TOLERATED, OTHER = 0, 1, -1


@compiled
def matched_scores(
    overlap: np.ndarray,
    first_overlap: np.ndarray,
    label_state: np.ndarray,
    first_label: np.ndarray,
    detection_state: np.ndarray,
    first_detection: np.ndarray,
    score: np.ndarray,
    minimum: float,
) -> np.ndarray:
    """Scores at which labels that count are found: each takes the best-scored free detection that overlaps enough."""
    found = np.empty(len(label_state))
    number = 0
    taken = np.zeros(len(detection_state), np.bool_)
    for frame in range(len(first_label) - 1):
        labels = first_label[frame + 1] - first_label[frame]
        for i in range(labels):
            state = label_state[first_label[frame] + i]
            if state == OTHER:
                continue
            best, best_score = -1, -1e7
            for j in range(first_detection[frame], first_detection[frame + 1]):
                if detection_state[j] == OTHER or taken[j]:
                    continue
                shared = overlap[first_overlap[frame] + (j - first_detection[frame]) * labels + i]
                if shared > minimum and score[j] > best_score:
                    best, best_score = j, score[j]
            if best >= 0:
                taken[best] = True
                if state == COUNTS and detection_state[best] == COUNTS:
                    found[number] = best_score
                    number += 1
    return found[:number]


@compiled
def count(
    overlap: np.ndarray,
    first_overlap: np.ndarray,
    label_state: np.ndarray,
    first_label: np.ndarray,
    detection_state: np.ndarray,
    first_detection: np.ndarray,
    score: np.ndarray,
    minimum: float,
    threshold: float,
    label_alpha: np.ndarray,
    detection_alpha: np.ndarray,
    in_dont_care: np.ndarray,
) -> tuple[int, int, float]:
    """True positives, false positives and the summed orientation similarity of detections at or above a score.

    A label takes the free detection that overlaps most, one that counts before one that is tolerated. ``in_dont_care``
    marks detections that are not held against the detector when they match nothing.
    """
    true_positives, false_positives, similarity = 0, 0, 0.0
    taken = np.zeros(len(detection_state), np.bool_)
    for frame in range(len(first_label) - 1):
        labels = first_label[frame + 1] - first_label[frame]
        for i in range(labels):
            row = first_label[frame] + i
            if label_state[row] == OTHER:
                continue
            best, best_overlap, tolerated = -1, 0.0, False
            for j in range(first_detection[frame], first_detection[frame + 1]):
                if detection_state[j] == OTHER or taken[j] or score[j] < threshold:
                    continue
                shared = overlap[first_overlap[frame] + (j - first_detection[frame]) * labels + i]
                if not shared > minimum:
                    continue
                if detection_state[j] == COUNTS and (shared > best_overlap or tolerated):
                    best, best_overlap, tolerated = j, shared, False
                elif detection_state[j] == TOLERATED and best < 0:
                    best, tolerated = j, True
            if best >= 0:
                taken[best] = True
                if label_state[row] == COUNTS and detection_state[best] == COUNTS:
                    true_positives += 1
                    similarity += (1 + np.cos(label_alpha[row] - detection_alpha[best])) / 2
        for j in range(first_detection[frame], first_detection[frame + 1]):
            if detection_state[j] == COUNTS and not taken[j] and score[j] >= threshold and not in_dont_care[j]:
                false_positives += 1
    return true_positives, false_positives, similarity
