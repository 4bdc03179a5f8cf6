"""What the keypoint head learns and answers, against the plain rules of VoxelNeXt's targets."""

from __future__ import annotations

import math

import pytest
import torch

from perception.heads.centre_grid import CentreGrid
from perception.heads.centre_selection import CentreSelection
from perception.heads.keypoint_head import KeypointHead, KeypointLossWeights
from perception.keypoints import KeypointTargets, Skeleton
from perception.losses.keypoints import joint_loss
from perception.sparse import SparseTensor

STICK = Skeleton(
    ("head", "left_hand", "right_hand"),
    (("head", "left_hand"), ("head", "right_hand")),
    (("left_hand", "right_hand"),),
    (1.0, 3.0, 3.0),
    (0.1, 0.1, 0.1),
)
GRID = CentreGrid((-8.0, -8.0), (0.1, 0.1), 8)


@pytest.fixture
def features() -> SparseTensor:
    """Every third cell of a 20 x 20 map, in two samples."""
    cells = torch.cartesian_prod(torch.arange(2), torch.arange(0, 20, 3), torch.arange(20))
    return SparseTensor.of(torch.randn(len(cells), 8), cells, (20, 20), 2)


@pytest.fixture
def head() -> KeypointHead:
    return KeypointHead(8, STICK, GRID, "Human")


def truth() -> tuple[list[torch.Tensor], list[torch.Tensor], list[KeypointTargets]]:
    """Sample 0: a person, a row of another class, a person without labels. Sample 1: a person."""
    boxes = [
        torch.tensor([[0.3, 0.5, 0, 0.8, 0.7, 1.7, 0.5], [1, 1, 0, 4, 2, 2, 0], [5.0, -5, 0, 0.8, 0.7, 1.7, 0]]),
        torch.tensor([[-3.1, 2.2, 0.1, 0.7, 0.7, 1.8, -1.0]]),
    ]
    labels = [torch.tensor([0, -1, 0]), torch.tensor([0])]
    joints = [KeypointTargets.unknown(3, 3), KeypointTargets.unknown(1, 3)]
    joints[0].positions[0] = torch.tensor([[0.3, 0.5, 0.8], [0.3, 0.9, 0.1], [0.3, 0.1, 0.1]])
    joints[0].visible[0] = torch.tensor([1.0, 0.0, 1.0])
    joints[1].positions[0, 0] = torch.tensor([-3.0, 2.3, 0.9])
    joints[1].visible[0, 0] = 1.0
    return boxes, labels, joints


def test_the_nearest_voxel_learns_the_joints(head: KeypointHead, features: SparseTensor) -> None:
    boxes, labels, joints = truth()
    predictions = head.train()(features)
    parts = head.loss(predictions, boxes, labels, joints, KeypointLossWeights())
    coordinates, wanted, rows = features.coordinates.tolist(), [], []
    for sample in range(2):
        x, y = ((boxes[sample][0, :2] + 8) / 0.8).tolist()
        distance = [(cx - x) ** 2 + (cy - y) ** 2 if b == sample else math.inf for b, cy, cx in coordinates]
        row = distance.index(min(distance))
        rows.append(row)
        place = (joints[sample].positions[0, :, :2] + 8) / 0.8
        place = place - torch.tensor([coordinates[row][2], coordinates[row][1]])
        wanted.append(torch.cat([place, joints[sample].positions[0, :, 2:]], 1))
    answers = head.at(predictions, torch.tensor(rows))
    expected = joint_loss(answers.joints, torch.stack(wanted), torch.tensor(STICK.weights))
    torch.testing.assert_close(parts["joints"], expected)
    levels = torch.tensor([[2.0, 1, 2], [2, 0, 0]])
    torch.testing.assert_close(parts["visibility"], (answers.visibility - levels).abs().mean())
    torch.testing.assert_close(parts["loss"], sum(v for k, v in parts.items() if k != "loss"))


def test_perfect_answers_cost_nothing(head: KeypointHead, features: SparseTensor) -> None:
    """Joints decoded are the joints that were encoded."""
    _, _, joints = truth()
    cells = torch.tensor([[10.0, 10.0]])
    places = joints[0].positions[:1]
    encoded = torch.cat([GRID.to_cells(places[..., :2]) - cells[:, None], places[..., 2:]], 2)
    torch.testing.assert_close(head.place(cells, encoded), places)


def test_people_in_use_equal_those_in_training(head: KeypointHead, features: SparseTensor) -> None:
    head.eval()
    rule = CentreSelection(score_threshold=0.0, rectifier=(0.5,))
    with_everything = head(features)
    assert with_everything.values is not None
    with torch.inference_mode():
        peaks_only = head(features)
        assert peaks_only.values is None
        pairs = list(zip(head.results(with_everything, rule), head.results(peaks_only, rule)))
    for first, second in pairs:
        assert len(first) > 10
        torch.testing.assert_close(first.keypoints, second.keypoints, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(first.visibility, second.visibility, atol=1e-4, rtol=1e-4)


def test_validation_has_the_loss_of_training(head: KeypointHead, features: SparseTensor) -> None:
    """Without gradients only the rows of people are computed."""
    head.eval()
    everything = head.loss(head(features), *truth(), KeypointLossWeights())
    with torch.no_grad():
        few = head.loss(head(features), *truth(), KeypointLossWeights())
    for name, value in everything.items():
        torch.testing.assert_close(few[name], value.detach(), atol=1e-4, rtol=1e-4)
