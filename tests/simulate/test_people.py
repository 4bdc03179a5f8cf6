"""Generated people: proportions, postures, what the lidar sees of them, and the two splits."""

from __future__ import annotations

import numpy as np
import pytest

from perception.datasets.catalogue import make_dataset
from perception.datasets.waymo.labels import JOINTS
from perception.errors import PerceptionError
from perception.simulate.dataset import StreetDataset
from perception.simulate.ground import Ground
from perception.simulate.people.body import Outfit, body
from perception.simulate.people.capsule import Capsule
from perception.simulate.people.dataset import PeopleDataset
from perception.simulate.people.postures import ACTIONS, draw_action, gait
from perception.simulate.people.ranges import SPLITS, TEST, TRAIN, draw_person
from perception.simulate.people.scene import FAR, NEAR, people_scene
from perception.simulate.people.skeleton import (
    ANKLE,
    ELBOW,
    HEAD,
    HIP,
    KNEE,
    NOSE,
    SHOULDER,
    WRIST,
    BodySize,
    Posture,
    pose_skeleton,
)
from perception.simulate.raycast import cast
from perception.simulate.sensor import OS1_128, SENSORS, WAYMO_TOP, Lidar
from perception.simulate.shapes import Material, Pose, cuboid
from perception.simulate.sightlines import free_sight

NAMES = list(JOINTS)
STONE = Material(0.5)
DENSE = Lidar(
    tuple(22 - 0.15 * i for i in range(260)),
    azimuth_step=0.15,
    sector=60,
    height=1.2,
    noise=0.0,
    dropout=0.0,
    fading=0.0,
)
FLAT = Ground(-1.2, (0, 0), np.zeros((0, 4)), 0.0, 0.0, road=4.0, kerb=0.0)


def test_joints_are_in_the_order_of_the_labels() -> None:
    joints = pose_skeleton(BodySize(1.75), Posture()).joints
    for row, name in enumerate(NAMES):
        side = 1 if name.startswith("left") else (-1 if name.startswith("right") else 0)
        assert np.sign(np.round(joints[row, 1], 6)) == side, name
    height = dict(zip(NAMES, joints[:, 2]))
    assert height["left_ankle"] < height["left_knee"] < height["left_hip"] < height["left_shoulder"] < height["nose"]
    assert height["nose"] < height["head_centre"] + 0.05
    assert joints[NOSE, 0] > joints[HEAD, 0] + 0.06, "the nose is ahead"


@pytest.mark.parametrize("name", list(ACTIONS))
def test_segments_keep_their_lengths_in_every_posture(name: str) -> None:
    """Drillis and Contini: upper arm 0.186, forearm 0.146, thigh 0.245, shank 0.246 of the stature."""
    for phase in np.linspace(0, 0.99, 7):
        size = BodySize(1.2 + 0.8 * phase)
        posture = draw_action(name, size, phase, np.random.default_rng(int(100 * phase))).posture
        s = pose_skeleton(size, posture)
        for a, b, share in ((SHOULDER, ELBOW, 0.186), (ELBOW, WRIST, 0.146), (HIP, KNEE, 0.245), (KNEE, ANKLE, 0.246)):
            for side in (0, 1):
                assert np.linalg.norm(s.joints[a + side] - s.joints[b + side]) == pytest.approx(share * size.stature)
        if posture.seat is None:
            lowest = min(
                s.joints[ANKLE : ANKLE + 2, 2].min() - 0.039 * size.stature, s.toes[:, 2].min() - 0.015 * size.stature
            )
            assert lowest == pytest.approx(0.0, abs=1e-9), "one foot is on the ground"
        assert s.crown[2] < 1.1 * size.stature


def test_a_person_who_stands_is_as_tall_as_the_stature() -> None:
    for stature in (1.1, 1.6, 1.9):
        assert pose_skeleton(BodySize(stature), Posture()).crown[2] == pytest.approx(stature, rel=0.02)


def test_the_legs_of_a_walk_alternate_and_arms_swing_against_them() -> None:
    (left, right), (left_arm, right_arm) = gait(0.0, 1.0, False)
    (later, _), _ = gait(0.5, 1.0, False)
    assert left.raise_forward > 20 > 0 > right.raise_forward
    assert later.raise_forward == pytest.approx(right.raise_forward)
    assert left_arm < right_arm
    knees = [gait(p, 1.0, False)[0][0].bend for p in np.linspace(0, 1, 101)]
    assert 50 < max(knees) < 75
    assert 0.6 < np.argmax(knees) / 100 < 0.8, "most bent in the middle of the swing"


def test_hands_go_where_the_action_says() -> None:
    rng = np.random.default_rng(0)
    size = BodySize(1.7)
    for _ in range(20):
        phone = pose_skeleton(size, draw_action("phoning", size, 0.3, rng).posture)
        assert np.linalg.norm(phone.hands - phone.joints[HEAD], axis=1).min() < 0.17 * 1.7
        wave = pose_skeleton(size, draw_action("waving", size, 0.9, rng).posture)
        assert wave.hands[:, 2].max() > wave.joints[SHOULDER, 2]
        sit = pose_skeleton(size, draw_action("sitting", size, 0.3, rng).posture)
        assert sit.joints[HIP, 2] < 0.35 * 1.7
        push = pose_skeleton(size, draw_action("pushing", size, 0.3, rng).posture)
        assert (push.hands[:, 0] > 0.2).all()


@pytest.mark.parametrize("name", list(ACTIONS))
@pytest.mark.parametrize("style", ["plain", "skirt", "coat"])
def test_joints_lie_inside_the_box_and_below_the_surface(name: str, style: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        size = BodySize(1.1 + 0.25 * seed, 0.9 + 0.15 * seed)
        b = body(size, draw_action(name, size, rng.random(), rng), Outfit(0.02, style, seed % 2 == 0, seed == 1))
        assert (np.abs(b.joints[:, :2]) <= np.array(b.size[:2]) / 2 + 1e-9).all()
        assert (b.joints[:, 2] >= 0).all()
        assert (b.joints[:, 2] <= b.size[2]).all()
        corners = np.concatenate([part.corners() for part in b.parts])
        assert np.abs(np.abs(corners[:, :2]).max(0) - np.array(b.size[:2]) / 2).max() < 1e-6, "the box is tight"
        # a returned point lies within the limb's thickness of every joint that is seen
        pose = Pose(5.0, 0.2, -1.2, 6.28 * rng.random())
        parts = tuple(part.placed(pose) for part in b.parts)
        returns = cast([parts], FLAT, DENSE, rng)
        joints = pose.apply(b.joints)
        seen = free_sight(joints, b.depths, [parts])
        assert seen.any()
        own = returns.xyz[returns.owner == 0]
        gap = np.linalg.norm(own[:, None] - joints, axis=2).min(0)
        assert (gap[seen] < b.depths[seen] + 0.09).all(), [
            NAMES[i] for i in np.flatnonzero(seen & (gap > b.depths + 0.09))
        ]


def test_the_far_side_and_what_stands_behind_a_wall_are_not_seen() -> None:
    person = body(BodySize(1.75), draw_action("standing", BodySize(1.75), 0.3, np.random.default_rng(1)), Outfit(0.01))
    facing, away = Pose(6, 0, -1.7, np.pi), Pose(6, 0, -1.7, 0.0)
    for pose, wanted in ((facing, True), (away, False)):
        parts = tuple(part.placed(pose) for part in person.parts)
        seen = free_sight(pose.apply(person.joints), person.depths, [parts])
        assert seen[NOSE] == wanted
        assert seen[[SHOULDER, SHOULDER + 1, KNEE, ANKLE]].all()
    wall = cuboid((0.2, 6, 1.2), STONE, Pose(3, 0, -1.7))
    parts = tuple(part.placed(facing) for part in person.parts)
    seen = free_sight(facing.apply(person.joints), person.depths, [parts, (wall,)])
    assert not seen[[KNEE, KNEE + 1, ANKLE, ANKLE + 1]].any()
    assert seen[[NOSE, HEAD]].all()
    assert free_sight(np.zeros((0, 3)), np.zeros(0), []).shape == (0,)


def test_capsules_are_crossed_where_geometry_says() -> None:
    ahead = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0]], np.float32)
    for capsule, enter, leave in (
        (Capsule(np.array([10.0, 0, -1]), np.array([10.0, 0, 1]), (0.5, 0.5), STONE), 9.5, 10.5),
        (Capsule(np.array([9.0, 0, 0]), np.array([11.0, 0, 0]), (0.5, 0.25), STONE), 8.5, 11.25),
        (Capsule(np.array([10.0, -1, 0]), np.array([10.0, 3, 0]), (0.2, 0.6), STONE), 9.7, 10.3),
        (Capsule(np.array([10.0, 0, 0]), np.array([10.0, 0, 0]), (0.4, 0.4), STONE), 9.6, 10.4),
    ):
        crossing = capsule.cross(ahead)
        assert crossing.enter[0] == pytest.approx(enter, abs=0.01)
        assert crossing.leave[0] == pytest.approx(leave, abs=0.01)
        assert np.isinf(crossing.enter[1:]).all()
        assert crossing.cosine[0] > 0.9
        moved = capsule.placed(Pose(0, 0, 0, np.pi / 2)).cross(ahead)
        assert moved.enter[2] == pytest.approx(enter, abs=0.01)
    rng = np.random.default_rng(0)
    d = np.array([1, 0, 0]) + 0.15 * rng.standard_normal((20_000, 3))
    d = (d / np.linalg.norm(d, axis=1, keepdims=True)).astype(np.float32)
    a, b, radii = np.array([9.0, -0.5, 0.3]), np.array([11.0, 0.8, -0.4]), (0.5, 0.3)
    enter = Capsule(a, b, radii, STONE).cross(d).enter
    t = np.linspace(7, 13, 3000)
    for row in range(0, 20_000, 400):
        p = d[row].astype(float) * t[:, None]
        share = np.clip((p - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        inside = np.linalg.norm(p - a - share[:, None] * (b - a), axis=1) <= radii[0] + share * (radii[1] - radii[0])
        assert inside.any() == np.isfinite(enter[row])
        if inside.any():
            assert enter[row] == pytest.approx(t[np.argmax(inside)], abs=0.02)


@pytest.mark.parametrize("sensor", list(SENSORS))
def test_scenes_are_pure_and_true(sensor: str) -> None:
    sample, again = people_scene(3, sensor), people_scene(3, sensor)
    assert sample.cloud.xyz.tobytes() == again.cloud.xyz.tobytes()
    objects = sample.objects
    assert objects is not None
    assert again.objects is not None
    values = objects.attributes
    assert values["keypoints"].shape == (len(objects), 14, 3)
    assert values["keypoints"].dtype == np.float32
    assert values["keypoints_visible"].dtype == bool
    assert np.array_equal(values["keypoints"], again.objects.attributes["keypoints"])
    assert set(objects.names) == {"Pedestrian"}
    owner = sample.cloud.fields["object"]
    boxes = objects.boxes.values.numpy()
    assert (np.hypot(boxes[:, 0], boxes[:, 1]) < FAR + 0.5).all()
    for row, box in enumerate(boxes):
        own = sample.cloud.xyz[owner == row]
        assert len(own) == values["points"][row] > 0
        cos, sin = np.cos(box[6]), np.sin(box[6])
        for points, slack in ((values["keypoints"][row], 0.03), (own, 0.15)):
            offset = points - box[:3]
            local = np.stack(
                [offset[:, 0] * cos + offset[:, 1] * sin, offset[:, 1] * cos - offset[:, 0] * sin, offset[:, 2]], -1
            )
            assert (np.abs(local) <= box[3:6] / 2 + slack).all()
        nose, head = values["keypoints"][row, NOSE], values["keypoints"][row, HEAD]
        assert (nose - head)[:2] @ [cos, sin] > 0 or values["action"][row] == "stooping", "people look ahead"
        near = np.linalg.norm(own[:, None] - values["keypoints"][row], axis=2) < 0.2
        assert np.abs(near.sum(0) - values["keypoints_points"][row]).max() <= 1
    assert abs(np.median(sample.cloud.xyz[owner < 0, 2])) < 1.5, "the ground is at height 0"
    sunk = people_scene(3, sensor, grounded=False)
    assert np.allclose(sunk.cloud.xyz[:, 2] + SENSORS[sensor].height, sample.cloud.xyz[:, 2], atol=1e-5)


def test_people_are_many_and_few_near_and_far_hidden_and_not() -> None:
    samples = [people_scene(seed) for seed in range(40)]
    counts = [len(s.objects) for s in samples if s.objects is not None]
    assert min(counts) <= 2
    assert max(counts) >= 9
    boxes = np.concatenate([s.objects.boxes.values.numpy() for s in samples if s.objects is not None])
    reach = np.hypot(boxes[:, 0], boxes[:, 1])
    assert reach.min() < 2 * NEAR + 1
    assert reach.max() > 45
    assert np.histogram(boxes[:, 6], 4, (-np.pi, np.pi))[0].min() > 0.1 * len(boxes)
    visible = np.concatenate([s.objects.attributes["keypoints_visible"] for s in samples if s.objects is not None])
    assert 0.4 < visible.mean() < 0.95
    assert (visible.mean(0) > 0.3).all()
    hidden = np.concatenate([s.objects.attributes["occlusion"] for s in samples if s.objects is not None])
    assert 0.05 < (hidden > 0.3).mean() < 0.6
    actions = np.concatenate([s.objects.attributes["action"] for s in samples if s.objects is not None])
    assert set(actions) == set(TRAIN.actions)


def test_the_splits_share_nothing() -> None:
    for bands in ("statures", "builds", "phases"):
        for low, high in getattr(TRAIN, bands):
            for first, last in getattr(TEST, bands):
                assert high <= first or last <= low, bands
    assert not set(TRAIN.obstacles) & set(TEST.obstacles)
    assert set(TEST.actions) - set(TRAIN.actions) == {"pointing", "stooping"}
    for ranges in SPLITS.values():
        rng = np.random.default_rng(0)
        for _ in range(200):
            _, size, name = draw_person(ranges, rng)
            assert any(low <= size.stature <= high for low, high in ranges.statures)
            assert any(low <= size.build <= high for low, high in ranges.builds)
            assert name in ranges.actions
    assert people_scene(1, "hdl32", TEST).cloud.xyz.shape != people_scene(1, "hdl32", TRAIN).cloud.xyz.shape


def test_samples_are_found_by_name_and_index() -> None:
    scenes = make_dataset("people", {"length": 3, "sensors": ["os1_128", "hdl32"], "split": "test"}, "test")
    assert np.array_equal(scenes[1].cloud.xyz, people_scene(1, "hdl32", TEST).cloud.xyz)
    with pytest.raises(IndexError):
        scenes[3]
    for arguments in (
        {"length": -1},
        {"length": 1, "sensors": ()},
        {"length": 1, "sensors": ("os2",)},
        {"length": 1, "split": "val"},
    ):
        with pytest.raises(PerceptionError):
            PeopleDataset(**arguments)  # type: ignore[arg-type]
    with pytest.raises(PerceptionError, match="seed"):
        people_scene(-1)


def test_published_beams() -> None:
    assert (len(WAYMO_TOP.elevations), len(OS1_128.elevations)) == (64, 128)
    assert WAYMO_TOP.elevations[0] == 2.4
    assert WAYMO_TOP.elevations[-1] == pytest.approx(-17.6, abs=0.01)
    assert OS1_128.elevations[0] - OS1_128.elevations[-1] == pytest.approx(45)


def test_streets_have_bodies_only_where_asked() -> None:
    plain, other = StreetDataset(8), StreetDataset(8, articulated=True)
    found = 0
    for i in range(8):
        a, b = plain[i], other[i]
        assert a.objects is not None
        assert b.objects is not None
        if np.array_equal(a.cloud.xyz, b.cloud.xyz):
            assert "Pedestrian" not in a.objects.names
        found += int((b.objects.names == "Pedestrian").sum())
    assert found > 0
