"""Pictures of clouds: whole files, not blank, right for empty clouds, map coordinates and odd boxes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from perception.boxes import Boxes3D
from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.results import Detections
from perception.simulate.dataset import StreetDataset
from perception.view.birds_eye import birds_eye
from perception.view.colours import THEMES, class_colour, point_colours, ramp, rgb
from perception.view.perspective import NEAR, Camera, _clip, perspective

PICTURES = [birds_eye, perspective]


@pytest.fixture(scope="module")
def sample() -> Sample:
    return StreetDataset(9)[8]


def detections(sample: Sample) -> Detections:
    names = sorted(set(sample.objects.names))
    labels = torch.tensor([names.index(name) for name in sample.objects.names])
    return Detections(sample.objects.boxes, torch.linspace(0.9, 0.3, len(labels)), labels, tuple(names))


def pixels(figure: Figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=figure.get_facecolor())
    buffer.seek(0)
    return (imread(buffer)[..., :3] * 255).round().astype(int)


def near_colour(image: np.ndarray, colour: str) -> int:
    return int((np.abs(image - rgb(colour).astype(int)).max(-1) < 12).sum())


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("theme", list(THEMES))
def test_a_street_is_drawn_with_its_boxes(picture, theme: str, sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    picture(sample.cloud, detections(sample), sample.objects, path, theme=theme)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert list(tmp_path.iterdir()) == [path], "nothing temporary is left"
    image = (imread(path)[..., :3] * 255).round().astype(int)
    background = rgb(THEMES[theme].background)
    assert 0.01 < (np.abs(image - background).max(-1) > 20).mean() < 0.6
    for name in ("Car", "Pedestrian", "Cyclist"):
        assert near_colour(image, class_colour(name, THEMES[theme])) > 50


@pytest.mark.parametrize("picture", PICTURES)
def test_nothing_at_all_is_a_picture_too(picture) -> None:
    image = pixels(picture(PointCloud(np.zeros((0, 3))), Detections.empty(("Car",))))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("picture", PICTURES)
def test_one_point_and_one_place(picture) -> None:
    for xyz in (np.zeros((1, 3)), np.full((5, 3), 7.0), np.array([[1e6, 0, 0], [0, 0, 0]])):
        assert pixels(picture(PointCloud(xyz))).std() > 0


@pytest.mark.parametrize("picture", PICTURES)
def test_map_coordinates_are_drawn_about_their_origin(picture, sample: Sample) -> None:
    rng = np.random.default_rng(0)
    cloud = PointCloud(rng.random((5000, 3)) * [90, 60, 20], origin=np.array([481_260.0, 4_812_345.0, 2500]))
    figure = picture(cloud)
    assert (np.abs(pixels(figure) - rgb(THEMES["dark"].background)).max(-1) > 20).mean() > 0.01
    if picture is birds_eye:
        assert "481260" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize("picture", PICTURES)
def test_boxes_that_are_not_finite_or_lie_at_the_eye_are_survived(picture, sample: Sample) -> None:
    values = torch.tensor([[5.0, 0, 0, 4, 2, 1.5, 0], [float("nan"), 0, 0, 4, 2, 1, 0], [-10, 0, 7, 4, 2, 2, 0]])
    found = Detections(Boxes3D(values), torch.full((3,), 0.5), torch.zeros(3, dtype=torch.int64), ("Car",))
    assert near_colour(pixels(picture(sample.cloud, found)), class_colour("Car", THEMES["dark"])) > 50


def test_a_point_is_drawn_where_it_is() -> None:
    """A white-hot point at (20, 10) m lands at its pixel of the axes, seen from above."""
    xyz = np.array([[20.0, 10, 5], *[[x, -10, 0] for x in range(-40, 41)]])
    figure = birds_eye(PointCloud(xyz), extent=(-40, 40, -25, 25))
    image = pixels(figure)
    column, row = figure.axes[0].transData.transform((20.04, 10.04))
    around = image[len(image) - int(row) - 2 : len(image) - int(row) + 2, int(column) - 2 : int(column) + 2]
    assert near_colour(around, THEMES["dark"].ramp[-1]) > 0


def test_nearer_points_hide_farther_ones() -> None:
    xyz = np.array([[4.0, 0, 0], [20.0, 0, 0]])
    cloud = PointCloud(xyz, {"mark": np.array([1.0, 0.0])})
    picture = perspective(cloud, colour_by="mark", eye=(-6, 0, 0), target=(4, 0, 0), size=(400, 300))
    middle = pixels(picture)[148:153, 198:203].reshape(-1, 3)
    assert (middle.min(-1) > 150).any(), "the near, bright point"
    assert near_colour(pixels(picture), THEMES["dark"].ramp[0]) == 0


def test_the_camera_sees_left_as_left_and_up_as_up() -> None:
    camera = Camera(np.zeros(3), np.array([1.0, 0, 0]), (200, 100))
    left_up = camera.project(camera.look(np.array([[10.0, 2, 1]])))[0]
    assert left_up[0] < 100
    assert left_up[1] < 50
    assert camera.project(camera.look(np.array([[10.0, 0, 0]])))[0].tolist() == [100, 50]


def test_edges_end_at_the_near_plane() -> None:
    segments = np.array([[[0, 0, -1.0], [0, 0, 3]], [[0, 0, -2.0], [0, 0, -1]], [[1, 0, 2.0], [0, 0, 3]]])
    cut = _clip(segments)
    assert len(cut) == 2
    assert cut[0, 0].tolist() == [0, 0, NEAR]
    assert cut[1].tolist() == segments[2].tolist()


def test_the_caller_may_own_the_axes(sample: Sample) -> None:
    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    assert birds_eye(sample.cloud, axes=axes, title="mine") is figure
    assert axes.get_title(loc="left") == "mine"


def test_wrong_names_are_explained(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match="did you mean 'intensity'"):
        birds_eye(sample.cloud, colour_by="intensty")
    with pytest.raises(PerceptionError, match="theme"):
        perspective(sample.cloud, theme="drak")
    with pytest.raises(PerceptionError):
        birds_eye(sample.cloud, path=tmp_path / "missing" / "a.png")


def test_colours_are_stable_and_span_the_values() -> None:
    look = THEMES["dark"]
    assert class_colour("Traffic_Cone", look) == class_colour("traffic cone", look)
    assert class_colour("unheard of", look) == class_colour("unheard of", look)
    assert ramp(np.array([0.0, 1.0]), look.ramp).tolist() == [rgb(look.ramp[0]).tolist(), rgb(look.ramp[-1]).tolist()]
    cloud = PointCloud(np.zeros((3, 3)), {"gap": np.array([np.nan, 1.0, 2.0])})
    _, colours, (low, high) = point_colours(cloud, "gap", look)
    assert colours.shape == (3, 3)
    assert 1 <= low < high <= 2


def test_real_scans_are_drawn(shared_data) -> None:
    points = np.fromfile(shared_data / "kitti_object/training/velodyne/000000.bin", np.float32).reshape(-1, 4)
    cloud = PointCloud(points[:, :3], {"intensity": points[:, 3]})
    for picture in PICTURES:
        image = pixels(picture(cloud, colour_by="intensity"))
        assert (np.abs(image - rgb(THEMES["dark"].background)).max(-1) > 20).mean() > 0.03
