"""What is wrong with labelled data, found before training starts: most failures of training are failures of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from perception.datasets.sample import Dataset, Sample
from perception.geometry import bev_iou, points_in_boxes
from perception.training.conventions import CONVENTIONS, reread

EMPTY_SHARE, CUT_SHARE, OUTSIDE_SHARE, DOUBLE_OVERLAP = 0.2, 0.05, 0.05, 0.5
RARE_SHARE = 0.01  # of the most frequent class
BETTER, ENOUGH_BOXES, MOVING_SPEED = 1.5, 10, 1.0


@dataclass(frozen=True)
class Finding:
    """``level``: an ``error`` makes training useless, a ``warning`` makes it worse. ``what`` was found, ``fix`` it."""

    level: str
    what: str
    fix: str


@dataclass(frozen=True, eq=False)
class DataReport:
    """Counts over the frames looked at: objects and points by class, and what was found."""

    frames: int
    objects: Mapping[str, int]
    ignored: Mapping[str, int]
    median_points: Mapping[str, float]
    median_size: Mapping[str, tuple[float, float, float]]
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        return not any(finding.level == "error" for finding in self.findings)


@dataclass
class _Tally:
    """What is gathered frame by frame."""

    names: list[str] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    by_convention: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in CONVENTIONS})
    backwards: list[bool] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    without_points: list[str] = field(default_factory=list)
    in_range: list[float] = field(default_factory=list)


def check_data(
    dataset: Dataset,
    classes: Sequence[str],
    point_range: Sequence[float],
    renamed: Mapping[str, str] | None = None,
    maximum: int = 200,
    on_frame: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Look at up to ``maximum`` frames spread evenly over the data set, with a model's classes and range in mind.

    ``renamed`` maps labels to classes first. ``on_frame`` is told how many frames are done, and of how many.
    """
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(maximum, len(dataset))).astype(int))
    tally = _Tally()
    for number, index in enumerate(chosen, start=1):
        _look(tally, dataset[int(index)], point_range, renamed or {})
        if on_frame is not None:
            on_frame(number, len(chosen))
    return _conclude(tally, len(chosen), tuple(classes), np.asarray(point_range, np.float64))


def _look(tally: _Tally, sample: Sample, point_range: Sequence[float], renamed: Mapping[str, str]) -> None:
    xyz = sample.cloud.xyz
    low, high = np.asarray(point_range[:3]), np.asarray(point_range[3:])
    if len(xyz):
        tally.in_range.append(float(((xyz >= low) & (xyz < high)).all(1).mean()))
    else:
        tally.without_points.append(sample.identifier)
    if sample.objects is None:
        tally.broken.append(f"{sample.identifier}: no labels")
        return
    values = sample.objects.boxes.values.double().numpy()
    good = np.isfinite(values).all(1) & (values[:, 3:6] > 0).all(1)
    tally.broken += [f"{sample.identifier}, object {row}" for row in np.flatnonzero(~good)]
    objects, values = sample.objects.select(good), values[good]
    points = torch.from_numpy(xyz)
    for name in CONVENTIONS:
        inside = points_in_boxes(points, torch.from_numpy(reread(values, name))).sum(0)
        tally.by_convention[name] += inside.tolist()
    tally.counts += points_in_boxes(points, torch.from_numpy(values)).sum(0).tolist()
    tally.names += [renamed.get(str(name), str(name)) for name in objects.names]
    tally.boxes += list(values)
    overlap = bev_iou(torch.from_numpy(values), torch.from_numpy(values)).numpy()
    doubled = np.triu(overlap > DOUBLE_OVERLAP, 1).any(1)
    tally.doubled += [f"{sample.identifier}, object {row}" for row in np.flatnonzero(doubled)]
    velocity = objects.boxes.velocity
    if velocity is not None:
        speed = velocity.double().numpy()
        moving = np.linalg.norm(speed, axis=1) > MOVING_SPEED
        ahead = speed[:, 0] * np.cos(values[:, 6]) + speed[:, 1] * np.sin(values[:, 6])
        tally.backwards += (ahead[moving] < 0).tolist()


def _conclude(tally: _Tally, frames: int, classes: tuple[str, ...], point_range: np.ndarray) -> DataReport:
    names = np.array(tally.names, str)
    boxes = np.array(tally.boxes, np.float64).reshape(-1, 7)
    counts = np.array(tally.counts, np.int64)
    known = np.isin(names, classes)
    objects = {name: int((names == name).sum()) for name in classes}
    ignored = {str(n): int((names == n).sum()) for n in sorted(set(names[~known]))}
    findings = [
        *_broken_findings(tally),
        *_convention_findings(tally, known),
        *_class_findings(objects, ignored),
        *_range_findings(tally, boxes[known], names[known], point_range),
    ]
    return DataReport(
        frames,
        objects,
        ignored,
        {name: float(np.median(counts[names == name])) for name in classes if objects[name]},
        {name: _size(boxes[names == name]) for name in classes if objects[name]},
        tuple(sorted(findings, key=lambda finding: finding.level)),
    )


def _broken_findings(tally: _Tally) -> list[Finding]:
    findings = []
    if tally.broken:
        what = f"{_examples(tally.broken)}: no labels, or boxes that are not finite or have no size"
        findings.append(Finding("error", what, "correct or remove these labels"))
    if tally.without_points:
        findings.append(Finding("warning", f"{_examples(tally.without_points)}: no points", "remove these frames"))
    if tally.doubled:
        what = f"{_examples(tally.doubled)}: overlaps another box by more than half"
        findings.append(Finding("warning", what, "remove labels that are there twice"))
    return findings


def _convention_findings(tally: _Tally, known: np.ndarray) -> list[Finding]:
    counts = np.array(tally.counts, np.int64)[known]
    if not len(counts):
        return []
    findings = []
    empty = float((counts == 0).mean())
    held = {name: int(np.array(values)[known].sum()) for name, values in tally.by_convention.items()}
    best = max(held, key=lambda name: held[name])
    if len(counts) >= ENOUGH_BOXES and held[best] > BETTER * max(int(counts.sum()), 1):
        what = f"boxes hold {counts.sum():,} points as they are, and {held[best]:,} if {CONVENTIONS[best][0]}"
        findings.append(Finding("error", what, CONVENTIONS[best][1]))
    elif empty == 1:
        findings.append(
            Finding("error", "no box holds a point", "boxes and clouds are in different frames, or of different frames")
        )
    elif empty > EMPTY_SHARE:
        what = f"{empty:.0%} of the boxes hold no point"
        findings.append(Finding("warning", what, "set minimum_points to leave them out, or check their frame"))
    backwards = np.array(tally.backwards)
    if len(backwards) >= ENOUGH_BOXES and backwards.mean() > 0.5:
        what = f"{backwards.mean():.0%} of {len(backwards)} moving objects move backwards"
        findings.append(Finding("error", what, "add pi to the headings"))
    return findings


def _class_findings(objects: Mapping[str, int], ignored: Mapping[str, int]) -> list[Finding]:
    findings = []
    most = max(objects.values(), default=0)
    unseen = ", ".join(f"{name} ({count})" for name, count in ignored.items())
    if not most:
        what = f"no label is of a class of the model; labels: {unseen or 'none'}"
        return [Finding("error", what, "rename labels with `classes:`, or set the model's classes with `overrides:`")]
    absent = [name for name, count in objects.items() if not count]
    if absent:
        findings.append(
            Finding("warning", f"no label of {', '.join(absent)}", "leave the class out, or look for its labels' name")
        )
    rare = [f"{name} ({count})" for name, count in objects.items() if 0 < count < RARE_SHARE * most]
    if rare:
        what = f"rare beside the most frequent class ({most}): {', '.join(rare)}"
        findings.append(Finding("warning", what, "repeat their frames, or paste them with ground_truth_sampling"))
    if ignored:
        findings.append(Finding("note", f"labels of no class of the model are left out: {unseen}", ""))
    return findings


def _range_findings(tally: _Tally, boxes: np.ndarray, names: np.ndarray, limits: np.ndarray) -> list[Finding]:
    findings = []
    shown = f"{', '.join(f'{v:g}' for v in limits[:3])} to {', '.join(f'{v:g}' for v in limits[3:])}"
    if tally.in_range and np.mean(tally.in_range) < 0.2:
        what = f"only {np.mean(tally.in_range):.0%} of the points lie in the model's range ({shown})"
        findings.append(Finding("warning", what, "set point_range with `overrides:`, or move the clouds"))
    if not len(boxes):
        return findings
    centre, half = boxes[:, :3], boxes[:, 3:6] / 2
    inside = np.asarray(((centre >= limits[:3]) & (centre < limits[3:])).all(1))
    if (~inside).mean() > OUTSIDE_SHARE:
        worst = ", ".join(f"{name} {(~inside[names == name]).mean():.0%}" for name in np.unique(names))
        what = f"{(~inside).mean():.0%} of the boxes have their centre outside the model's range ({shown}): {worst}"
        findings.append(
            Finding("error" if not inside.any() else "warning", what, "set point_range, or accept the loss")
        )
    tall = half[:, 2]
    cut = inside & ((centre[:, 2] - tall < limits[2] - 0.3) | (centre[:, 2] + tall > limits[5] + 0.3))
    if cut.mean() > CUT_SHARE:
        what = f"the range in z ({limits[2]:g} to {limits[5]:g}) cuts {cut.mean():.0%} of the boxes by over 0.3 m"
        findings.append(Finding("warning", what, "raise or lower the range in z, by whole voxels"))
    return findings


def _examples(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} and {len(texts) - 1} more"


def _size(boxes: np.ndarray) -> tuple[float, float, float]:
    length, width, height = np.median(boxes[:, 3:6], axis=0)
    return float(length), float(width), float(height)
