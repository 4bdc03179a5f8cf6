"""From refined proposals to detections."""

from __future__ import annotations

from perception.boxes import Boxes3D
from perception.heads.roi.proposals import Refined
from perception.heads.selection import Selection, survivors
from perception.results import Detections


def detections(refined: Refined, selection: Selection, classes: tuple[str, ...]) -> list[Detections]:
    """One Detections a sample, best first: the second stage's score and box, the first stage's class."""
    scores, boxes = refined.scores.float().sigmoid(), refined.boxes
    answers = []
    for sample in range(refined.proposals.batch_size):
        rows = ((refined.proposals.sample == sample) & (scores > selection.score_threshold)).nonzero()[:, 0]
        rows = rows[scores[rows].topk(min(selection.candidates, len(rows))).indices]
        labels = refined.proposals.labels
        kept = rows[survivors(boxes[rows], scores[rows], labels[rows], selection)]
        answers.append(Detections(Boxes3D(boxes[kept]), scores[kept], labels[kept], classes))
    return answers
