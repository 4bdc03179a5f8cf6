"""The image branch of Focals Conv-F: projection, reading of maps, and the official backbone's numbers on made images.

``focals_image_backbone.npz`` was made with the authors' code on a CPU: two clouds, the second flipped, turned and
enlarged after its image was taken; weights by rule; the merge as published, with a stable sort. The camera stands so
that no voxel projects closer to the border of two pixels than rounding.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from weights_by_rule import tensor_of

from perception.backbones.focal import FocalOptions, ImageFocalEncoder, ViewedTensor
from perception.backbones.image import ImageBranch, interpolate_at
from perception.camera import CameraView
from perception.errors import PerceptionError
from perception.io.importers.openpcdet.importer import is_unused
from perception.io.importers.openpcdet.keys import IMAGE_FOCAL_ENCODER, translate
from perception.io.weights import load_strictly
from perception.sparse import Sites, SparseTensor, VoxelGrid

KITTI = VoxelGrid((0.0, -40.0, -3.0, 70.4, 40.0, 1.0), (0.05, 0.05, 0.1))
LENS = np.array([[100.0, 0, 60, 0], [0, 100, 20, 0], [0, 0, 1, 0]])
AHEAD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "golden" / "focals_image_backbone.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def encoder(stored: dict[str, np.ndarray]) -> ImageFocalEncoder:
    holder = nn.Module()
    holder.backbone = ImageFocalEncoder(4, KITTI, FocalOptions(enlarge=None, merge="float32_stable"))
    shapes = [tuple(int(n) for n in text.split(",") if n) for text in stored["shapes"]]
    official = {key: shape for key, shape in zip(stored["keys"].tolist(), shapes) if not is_unused(key)}
    assert len(official) < len(shapes)  # DeepLab's later layers and its classifier are in the checkpoint for nothing
    tensors = {translate(key, IMAGE_FOCAL_ENCODER)[0]: tensor_of(key, shape) for key, shape in official.items()}
    load_strictly(holder, tensors, "weights by rule")
    return holder.backbone.eval()


@pytest.fixture(scope="module")
def views(stored: dict[str, np.ndarray]) -> list[CameraView]:
    rigid = np.vstack([stored["lidar_to_camera"], [0, 0, 0, 1]])
    images = torch.from_numpy(stored["images"]).float() / 255
    cos, sin = math.cos(0.3), math.sin(0.3)
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    turn = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    enlarge = np.diag([1.04, 1.04, 1.04, 1.0])
    first, second = (CameraView(image, rigid, stored["projection"]) for image in images)
    return [first, second.moved(enlarge @ turn @ flip)]


def test_the_map_of_the_official_network(
    encoder: ImageFocalEncoder, views: list[CameraView], stored: dict[str, np.ndarray]
) -> None:
    with torch.inference_mode():
        maps = encoder.image(views).maps
    ours = torch.stack([values for values in maps if values is not None])[:, :, ::4, ::5].numpy()
    np.testing.assert_allclose(ours, stored["image_map"], atol=1e-5, rtol=1e-4)


def test_the_stages_of_the_official_backbone(
    encoder: ImageFocalEncoder, views: list[CameraView], stored: dict[str, np.ndarray]
) -> None:
    x = SparseTensor.of(
        torch.from_numpy(stored["features"]).float(), torch.from_numpy(stored["coordinates"]), (41, 1600, 1408), 2
    )
    with torch.inference_mode():
        maps = encoder.stages(ViewedTensor(x.features, x.sites, views))
        maps.append(encoder.out(maps[-1]))
    for name, stage in zip(("x_conv1", "x_conv2", "x_conv3", "x_conv4", "encoded"), maps):
        coordinates = np.ascontiguousarray(stage.coordinates.numpy(), "<i4")
        assert hashlib.sha256(coordinates.tobytes()).hexdigest() == str(stored[f"{name}/sha256"]), name
        allowed = 2e-4 * np.sqrt((stored[f"{name}/deviation"] ** 2).mean())
        ours = stage.features.numpy()
        np.testing.assert_allclose(ours[stored[f"{name}/rows"]], stored[f"{name}/values"], atol=allowed)
        np.testing.assert_allclose(ours.mean(0), stored[f"{name}/mean"], atol=allowed)
        np.testing.assert_allclose(ours.std(0), stored[f"{name}/deviation"], atol=allowed)


def test_reading_at_pixels_is_reading_the_enlarged_map() -> None:
    features = torch.randn(5, 9, 17, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(features[None], (37, 66), mode="bilinear")[0]
    pixels = torch.cartesian_prod(torch.arange(66), torch.arange(37))
    torch.testing.assert_close(interpolate_at(features, pixels, (37, 66)), whole[:, pixels[:, 1], pixels[:, 0]].T)


def test_only_what_is_ahead_and_inside_is_seen() -> None:
    view = CameraView(torch.zeros(3, 40, 120), AHEAD, LENS)
    points = torch.tensor([[10.0, 0, 0], [-10, 0, 0], [10, 6.0, 0], [10, 6.05, 0], [10, 6.2, 0], [10, 0, -2.1]])
    pixels, seen = view.pixels(points)
    assert seen.tolist() == [True, False, True, True, False, False]
    # The fourth is half a pixel left of the image, which cutting fractions off counts as its first column.
    assert pixels[seen].tolist() == [[60, 20], [0, 20], [0, 20]]


def test_the_view_of_a_moved_cloud_sees_the_same_pixels() -> None:
    view = CameraView(torch.zeros(3, 40, 120), AHEAD, LENS)
    points = torch.tensor([[10.0, 1, 0.5], [20, -3, -1]])
    moved = np.array([[0, -2.0, 0, 1], [2, 0, 0, -4], [0, 0, 2, 0.5], [0, 0, 0, 1]])
    elsewhere = points @ torch.from_numpy(moved[:3, :3]).float().T + torch.from_numpy(moved[:3, 3]).float()
    assert torch.equal(view.moved(moved).pixels(elsewhere)[0], view.pixels(points)[0])


def test_images_of_different_sizes_and_none() -> None:
    branch = ImageBranch(KITTI, 16).eval()
    tall, wide = torch.rand(3, 40, 60), torch.rand(3, 32, 100)
    views = [CameraView(wide, AHEAD, LENS), None, CameraView(tall, AHEAD, LENS)]
    sites = Sites.of(torch.tensor([[b, 30, 800, 200] for b in range(3)]), (41, 1600, 1408), 3)
    with torch.inference_mode():
        together = branch(views).at(sites)
        assert (together[1] == 0).all()
        for sample in (0, 2):
            alone = branch([views[sample]]).at(Sites.of(torch.tensor([[0, 30, 800, 200]]), (41, 1600, 1408), 1))
            torch.testing.assert_close(together[sample], alone[0])


def test_a_model_of_images_wants_one_for_each_cloud() -> None:
    x = SparseTensor.of(torch.ones(1, 4), torch.tensor([[0, 20, 32, 0]]), (41, 64, 64), 2)
    with pytest.raises(PerceptionError, match="2 clouds with 0 camera views"):
        ImageFocalEncoder(4, KITTI).stages(x)


def bad_view(**changes: object) -> CameraView:
    values: dict[str, object] = {"image": torch.zeros(3, 4, 5), "to_camera": AHEAD, "projection": LENS}
    return CameraView(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"image": torch.zeros(4, 5, 3)}, r"shape \(4, 5, 3\)"),
        ({"image": torch.zeros(3, 4, 5, dtype=torch.uint8)}, "uint8"),
        ({"to_camera": AHEAD[:3]}, r"to_camera of shape \(3, 4\)"),
        ({"projection": np.full((3, 4), np.nan)}, "projection"),
    ],
)
def test_views_that_are_none(changes: dict[str, Tensor], found: str) -> None:
    with pytest.raises(PerceptionError, match=found):
        bad_view(**changes)
