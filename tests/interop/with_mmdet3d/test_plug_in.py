"""What importing the plug-in does in the real mmdet3d."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "mmengine", reason="mmdet3d is not installed here: make test-mmdet3d runs these tests in an environment of its own"
)

import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.registry import MODELS as EVERY_MODEL
from mmengine.registry import init_default_scope

import perception.interop.mmdet3d  # noqa: F401
from perception.boxes import Boxes3D
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.interop.data_samples import data_sample_of, detections_of, labelled_sample_of, objects_of
from perception.interop.mmcv.__main__ import place
from perception.results import Detections

SHAPE = [41, 64, 64]


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope("mmdet3d")


def voxels(columns: int, depth: int = 41) -> tuple[torch.Tensor, torch.Tensor]:
    cells = torch.stack([torch.randint(0, size, (300,)) for size in (2, depth, 64, 64)], 1).unique(dim=0)
    return torch.randn(len(cells), columns, requires_grad=True), cells.int()


@pytest.mark.parametrize(
    ("settings", "channels"),
    [
        ({"type": "FocalsConvEncoder", "in_channels": 4, "sparse_shape": SHAPE}, 256),
        ({"type": "FocalsConvEncoder", "in_channels": 4, "sparse_shape": SHAPE, "residual": True}, 256),
        ({"type": "VoxelNeXtEncoder", "in_channels": 4, "sparse_shape": SHAPE}, 128),
        ({"type": "DSVTEncoder", "in_channels": 32, "sparse_shape": [1, 64, 64], "stages": [{"blocks": 1}]}, 32),
        ({"type": "SparseEncoder", "in_channels": 4, "sparse_shape": SHAPE, "order": ("act", "conv", "norm")}, 256),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_middle_encoders_give_a_map_and_learn(settings: dict, channels: int) -> None:
    features, cells = voxels(settings["in_channels"], settings["sparse_shape"][0])
    encoder = MODELS.build(settings)
    dense = encoder(features, cells, 2)
    assert dense.shape[:2] == (2, channels)
    dense.square().mean().backward()
    assert features.grad is not None
    assert all(p.grad is not None for p in encoder.parameters())
    order = torch.randperm(len(cells))
    encoder.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(features[order], cells[order], 2), encoder(features, cells, 2), rtol=1e-4, atol=1e-5
        )


def test_middle_features_are_those_of_the_stages() -> None:
    features, cells = voxels(4)
    encoder = MODELS.build(
        {"type": "SparseEncoder", "in_channels": 4, "sparse_shape": SHAPE, "return_middle_feats": True}
    )
    dense, stages = encoder(features, cells, 2)
    assert [stage.spatial_shape for stage in stages] == [(41, 64, 64), (21, 32, 32), (11, 16, 16), (5, 8, 8)]
    assert all(len(stage.features) == len(stage.indices) for stage in stages)
    assert stages[-1].dense().shape == (2, 64, 5, 8, 8)
    assert dense.shape == (2, 256, 8, 8)


def test_weights_of_both_layouts_load() -> None:
    """mmcv's spconv 1.x kept (kz, ky, kx, in, out)."""
    settings = {"type": "SparseEncoder", "in_channels": 4, "sparse_shape": SHAPE}
    encoder, other = MODELS.build(settings), MODELS.build(settings)
    old = {k: v.permute(1, 2, 3, 4, 0).clone() if v.ndim == 5 else v for k, v in encoder.state_dict().items()}
    other.load_state_dict(old)
    for mine, theirs in zip(other.state_dict().values(), encoder.state_dict().values()):
        assert torch.equal(mine, theirs)


def test_what_is_saved_says_its_layout_to_mmdet3d() -> None:
    pytest.importorskip("spconv", reason="spconv is mmdet3d's side of the comparison")
    from mmdet3d.models.middle_encoders import SparseEncoder as Official

    encoder, official = MODELS.get("SparseEncoder")(4, SHAPE), Official(4, SHAPE)
    official.load_state_dict(encoder.state_dict())
    assert list(official.state_dict()) == list(encoder.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(official.state_dict().values(), encoder.state_dict().values()))


def test_a_checkpoint_that_does_not_fit_names_the_key() -> None:
    settings = {"type": "SparseEncoder", "in_channels": 4, "sparse_shape": SHAPE}
    state = MODELS.build(settings).state_dict()
    with pytest.raises(RuntimeError, match=r"conv_input\.0\.weight"):
        MODELS.build({**settings, "in_channels": 5}).load_state_dict(state)


@pytest.mark.parametrize("registry", [MODELS, EVERY_MODEL])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("VoxelBackBone8xFocal", "FocalsConvEncoder"),
        ("SparseEncodr", "SparseEncoder"),
        ("Xyzzy", "custom_imports"),
        ("TransFusionHead", "transfusion-lidar"),
    ],
)
def test_a_type_that_is_not_there(registry: object, name: str, said: str) -> None:
    with pytest.raises(PerceptionError, match=said):
        registry.build({"type": name})  # type: ignore[attr-defined]


def test_samples_there_and_back() -> None:
    rows = torch.tensor([[10.0, 2.0, -1.0, 4.0, 1.6, 1.5, 0.3], [5.0, -2.0, -0.5, 0.8, 0.6, 1.7, -2.0]])
    velocity = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    for boxes in (Boxes3D(rows), Boxes3D(rows, velocity)):
        made = Detections(boxes, torch.tensor([0.9, 0.4]), torch.tensor([1, 0]), ("Pedestrian", "Car"))
        sample = data_sample_of(made)
        assert isinstance(sample.pred_instances_3d.bboxes_3d, LiDARInstance3DBoxes)
        torch.testing.assert_close(sample.pred_instances_3d.bboxes_3d.gravity_center, rows[:, :3])
        torch.testing.assert_close(sample.pred_instances_3d.bboxes_3d.corners[0, 0, 2], torch.tensor(-1.75))
        again = detections_of(sample, made.classes)
        torch.testing.assert_close(again.boxes.values, rows)
        assert again.names == made.names
    labelled = labelled_sample_of(Objects(Boxes3D(rows), np.array(["Car", "Van"])), ("Pedestrian", "Car"))
    assert objects_of(labelled, ("Pedestrian", "Car")).names.tolist() == ["Car"]


def test_resuming_passes_the_weights_only_default(tmp_path: Path) -> None:
    """What mmengine keeps in ``message_hub`` is more than tensors."""
    from mmengine.logging import HistoryBuffer

    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    kept = {"meta": {"iter": np.int64(7), "x": np.float64(1.5)}, "message_hub": {"log_scalars": {"loss": buffer}}}
    torch.save(kept, tmp_path / "epoch_1.pth")
    again = torch.load(tmp_path / "epoch_1.pth")
    assert again["message_hub"]["log_scalars"]["loss"].mean() == 1.5
    torch.save({"function": HistoryBuffer.register_statistics}, tmp_path / "other.pth")
    with pytest.raises(Exception, match="register_statistics"):
        torch.load(tmp_path / "other.pth")


def test_scripts_run_on_our_operators(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nimport mmcv._ext\nfrom mmdet3d.registry import MODELS\n"
        "print(sys.argv[1:], type(mmcv._ext).__name__, MODELS.get('SparseEncoder').__module__)\n"
    )
    command = [sys.executable, "-m", "perception.interop.mmdet3d", str(script), "config.py", "--cfg-options", "a=1"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "['config.py', '--cfg-options', 'a=1'] StandIn perception.interop.mmdet3d.sparse_encoder" in told
    missing = subprocess.run([*command[:3], "nothing.py"], capture_output=True, text=True)
    assert missing.returncode == 2
    assert "nothing.py is no file" in missing.stderr


@pytest.fixture
def placed() -> Iterator[Path]:
    """The stand-in put into mmcv-lite by its command, for a while."""
    command = [sys.executable, "-m", "perception.interop.mmcv"]
    subprocess.run(command, capture_output=True, check=True)
    path = place()
    assert path.is_file()
    yield path
    told = subprocess.run([*command, "--remove"], capture_output=True, text=True, check=True).stdout
    assert told.startswith("removed")
    assert not path.exists()


def test_what_is_no_stand_in_of_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    found = PathFinder.find_spec("mmcv", [str(tmp_path)])
    monkeypatch.setattr("perception.interop.mmcv.__main__.find_spec", lambda _: found)
    assert place() == tmp_path / "mmcv" / "_ext.py"
    place().write_text("x = 1")
    with pytest.raises(PerceptionError, match="not from here"):
        place()
    (tmp_path / "mmcv" / f"_ext{EXTENSION_SUFFIXES[0]}").touch()
    with pytest.raises(PerceptionError, match="has its compiled operators"):
        place()


def test_custom_imports_alone_are_enough(tmp_path: Path, placed: Path) -> None:
    """As mmdet3d's tools/train.py begins, in a process that knows nothing of us."""
    import mmdet3d

    base = Path(mmdet3d.__file__).parent / ".mim/configs/second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py"
    config = tmp_path / "config.py"
    config.write_text(f"_base_ = [{str(base)!r}]\ncustom_imports = dict(imports=['perception.interop.mmdet3d'])\n")
    program = (
        "import sys\nfrom mmengine.config import Config\nfrom mmdet3d.utils import replace_ceph_backend\n"
        "from mmengine.registry import MODELS, init_default_scope\n"
        "config = Config.fromfile(sys.argv[1])\ninit_default_scope('mmdet3d')\n"
        "print(type(MODELS.build(config.model).middle_encoder).__module__)\n"
    )
    told = subprocess.run([sys.executable, "-c", program, str(config)], capture_output=True, text=True, check=True)
    assert "perception.interop.mmdet3d.sparse_encoder" in told.stdout


def test_the_examples_of_the_page_can_be_built() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "coming-from-mmdet3d.md"
    examples = [line for line in page.read_text().splitlines() if line.startswith("middle_encoder = ")]
    assert len(examples) == 3
    for example in examples:
        found: dict = {}
        exec(example, found)
        MODELS.build(found["middle_encoder"])
