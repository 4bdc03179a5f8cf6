"""The second look at each person: crops beside brute force, turning, losses and people that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.heads.person_refiner import BOX_VALUES, PersonRefiner, RefinerConfig, ScanPoints, turned
from perception.keypoints import KeypointTargets

JOINTS = 14


def refiner(**changes: object) -> PersonRefiner:
    torch.manual_seed(0)
    made = PersonRefiner(JOINTS, RefinerConfig(**changes)).eval()  # type: ignore[arg-type]
    for name, value in made.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return made


def scan(samples: int = 2, seed: int = 0) -> ScanPoints:
    draw = np.random.default_rng(seed)
    xyz = draw.uniform([5, -3, -2], [9, 3, 1], (900, 3)).astype(np.float32)
    return ScanPoints(torch.from_numpy(xyz), torch.from_numpy(np.sort(draw.integers(0, samples, 900))))


@pytest.mark.parametrize("points", [16, 400])
def test_a_crop_holds_the_points_about_its_centre(points: int) -> None:
    """As many as wanted, none of another sample; few are repeated, of many an even choice."""
    model, whole = refiner(points=points), scan()
    centre, sample = torch.tensor([[6.0, 1.0, -0.5], [8.0, -2.0, -0.5], [60.0, 0.0, 0.0]]), torch.tensor([0, 1, 1])
    crops = model.crop(whole, centre, sample)
    back = turned(crops.points, crops.azimuth) + centre[:, None]
    for person in range(3):
        away = (whole.xyz - centre[person]).abs()
        inside = (away[:, :2] < 0.9).all(1) & (away[:, 2] < 1.3) & (whole.sample == sample[person])
        assert int(crops.count[person]) == int(inside.sum())
        if not inside.any():
            assert not crops.points[person].any()
            continue
        there = torch.cdist(back[person], whole.xyz[inside], compute_mode="donot_use_mm_for_euclid_dist")
        assert float(there.amin(1).max()) < 1e-5
        used = len(there.argmin(1).unique())
        assert used == min(points, int(inside.sum()))


def test_turning_the_world_turns_the_answers() -> None:
    """The network sees people along the line of sight: a turn about the sensor changes nothing but the turn."""
    model, whole, angle = refiner(), scan(1), torch.tensor([1.1])
    centre, sample = torch.tensor([[6.0, 1.0, -0.5], [8.0, -2.0, -0.5]]), torch.zeros(2, dtype=torch.int64)

    def swung(points: torch.Tensor) -> torch.Tensor:
        return turned(points[None], angle)[0]

    crops = model.crop(whole, centre, sample)
    there = model(crops)
    # the same returns, not those of a square that did not turn
    same = type(crops)(crops.points, swung(centre), crops.azimuth + angle, crops.count)
    here = model(same)
    torch.testing.assert_close(here.joints, swung(there.joints.flatten(0, 1)).unflatten(0, (2, JOINTS)))
    torch.testing.assert_close(here.boxes[:, :3], swung(there.boxes[:, :3]))
    gap = here.boxes[:, 6] - there.boxes[:, 6] - angle
    torch.testing.assert_close(gap.cos(), torch.ones(2))


def test_the_loss_is_zero_for_true_answers_alone() -> None:
    """Answers that decode to the truth cost nothing but the score; unknown joints and visibilities cost nothing."""
    model, whole = refiner(noise=0.0), scan(1)
    boxes = torch.tensor([[6.0, 1.0, -0.5, 0.7, 0.6, 1.8, 2.5], [8.0, -2.0, -0.5, 0.9, 0.8, 1.6, -1.0]])
    sample = torch.zeros(2, dtype=torch.int64)
    positions = boxes[:, None, :3] + torch.linspace(-0.5, 0.5, 3 * JOINTS).view(1, JOINTS, 3)
    positions[1, 3] = torch.nan
    visible = torch.ones(2, JOINTS)
    visible[0, 5], visible[1, 3] = 0, torch.nan
    people = KeypointTargets(positions, visible)
    azimuth = torch.atan2(boxes[:, 1], boxes[:, 0])
    joints = turned((positions - boxes[:, None, :3]).nan_to_num(0.0), -azimuth)
    levels = torch.where(torch.isfinite(positions).all(2), 1 + visible.nan_to_num(0.0), 0.0)
    target = model._box_target(boxes, boxes[:, :3], azimuth)
    answers = torch.cat([joints.flatten(1), levels, target, torch.full((2, 1), 9.0)], 1)
    assert answers.shape[1] == 4 * JOINTS + BOX_VALUES
    decoded = model._decode(answers, model.crop(whole, boxes[:, :3], sample))
    torch.testing.assert_close(decoded.boxes, boxes)
    known = torch.isfinite(positions)
    torch.testing.assert_close(decoded.joints[known], positions[known])
    model.forward = lambda crops: model._decode(answers, crops)  # type: ignore[method-assign]
    none = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)
    parts = model.loss(whole, boxes, sample, people, *none)
    for name in ("second joints", "second visibility", "second box"):
        assert float(parts[name]) < 1e-5, name
    answers = answers + 0.1
    worse = model.loss(whole, boxes, sample, people, *none)
    assert all(float(worse[name]) > 0.01 for name in ("second joints", "second visibility", "second box"))


def test_places_without_a_person_teach_the_score_alone() -> None:
    model, whole = refiner().train(), scan(1)
    nobody = torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64), KeypointTargets.unknown(0, JOINTS)
    empty = torch.tensor([[6.0, 1.0, -0.5], [7.0, -1.0, 0.0]])
    parts = model.loss(whole, *nobody, empty, torch.zeros(2, dtype=torch.int64))
    assert float(parts["person"].detach()) > 0
    assert all(float(value.detach()) == 0 for name, value in parts.items() if name != "person")
    torch.stack(list(parts.values())).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_no_people_and_no_points() -> None:
    model = refiner()
    none = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)
    assert model.refine(scan(), *none).boxes.shape == (0, 7)
    found = model.refine(ScanPoints(*none), torch.tensor([[5.0, 0.0, 0.0]]), torch.zeros(1, dtype=torch.int64))
    assert torch.isfinite(found.joints).all()
