"""Which decoded boxes become results."""

from __future__ import annotations

from perception.config import config


@config
class Selection:
    """Score floor, candidates, overlap and number of the survivors of NMS."""

    score_threshold: float = 0.1
    candidates: int = 4096
    nms_overlap: float = 0.01
    maximum: int = 500
