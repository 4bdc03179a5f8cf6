"""`perception info`, `models`, `import`, `demo` and the help."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from perception import __version__
from perception.cli import COMMANDS, main
from perception.demo.flow import flow
from perception.demo.people import people
from perception.demo.places import places
from perception.demo.trees import trees
from perception.models.catalogue import MODELS
from perception.models.loading import load


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert COMMANDS[command].split()[-1] in capsys.readouterr().out


def test_version_and_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert __version__ in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["detct"])
    assert stop.value.code == 2


def test_models_lists_every_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in MODELS)
    assert main(["models", "second"]) == 0
    assert "voxel_size" in capsys.readouterr().out
    assert main(["models", "third"]) == 1


def test_info_on_clouds_weights_and_checkpoints(
    weights: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "checkpoint.pth"
    torch.save({"model_state": {"backbone_3d.conv.weight": torch.zeros(3)}}, checkpoint)
    assert main(["info", str(scan), str(weights), str(checkpoint)]) == 0
    told = capsys.readouterr().out
    for word in ("500", "intensity", "weights of pointpillars-small", "Car, Pedestrian, Cyclist", "backbone_3d"):
        assert word in told
    scan.write_bytes(scan.read_bytes()[:-1])
    assert main(["info", str(scan), str(weights)]) == 1
    captured = capsys.readouterr()
    assert "weights of pointpillars-small" in captured.out
    assert str(scan) in captured.err.replace("\n", "")


def test_import_writes_weights_that_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = MODELS["pointpillars"].make(MODELS["pointpillars"].defaults)
    state = {_official(key): value for key, value in model.state_dict().items()}
    checkpoint, out = tmp_path / "pp.pth", tmp_path / "pp.safetensors"
    torch.save({"model_state": {**state, "global_step": torch.zeros(1)}}, checkpoint)
    assert main(["import", str(checkpoint), "--model", "pointpillars", "--out", str(out)]) == 0
    assert "global_step" in capsys.readouterr().out
    again = load(out)
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    wrong = tmp_path / "wrong.safetensors"
    assert main(["import", str(checkpoint), "--model", "second", "--out", str(wrong)]) == 1
    assert "does not fit SECOND" in capsys.readouterr().err
    assert not wrong.exists()


def _official(key: str) -> str:
    head = {"score": "conv_cls", "residual": "conv_box", "direction": "conv_dir_cls"}
    part, rest = key.split(".", 1)
    if part == "encoder":
        return f"vfe.pfn_layers.0.{rest}"
    if part == "head":
        name, tail = rest.split(".")
        return f"dense_head.{head[name]}.{tail}"
    kind, level, index, tail = rest.split(".")
    if kind == "blocks":
        return f"backbone_2d.blocks.{level}.{int(index) + 1}.{tail}"
    return f"backbone_2d.deblocks.{level}.{index}.{tail}"


def test_unknown_config_key_on_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("voxel_sise: [0.1, 0.1, 0.1]\n")
    arguments = ["--model", "second", "--out", str(tmp_path / "w.safetensors"), "--config", str(config)]
    assert main(["import", str(tmp_path / "x.pth"), *arguments]) == 1
    told = capsys.readouterr().err
    assert "voxel_sise" in told
    assert "'voxel_size'" in told


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    assert "Car" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {"birds_eye.png", "perspective.png", "report.html", "detections.json"}
    for name in ("birds_eye.png", "perspective.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    report = (out / "report.html").read_text()
    assert "Car" in report
    for chapter in ("People and their joints", "Individual trees", "Scene flow", "Places seen again"):
        assert f"<h2>{chapter}</h2>" in report
    assert report.count("data:image/png") == 7


def test_what_the_demo_shows_is_right() -> None:
    """The scenes are made, so that the demo's claims can be held against them."""
    assert "19 trees found of 19" in trees().text
    text = flow().text
    assert float(text.split("move are ")[1].split(" cm")[0]) < 5
    found, of = _two_numbers(r"(\d+) of (\d+) scans", places().text)
    assert (of, found >= 8) == (16, True)
    found, of = _two_numbers(r"(\d+) people found of (\d+)", people().text)
    assert (of, found >= 11) == (14, True)


def _two_numbers(pattern: str, text: str) -> tuple[int, int]:
    found = re.match(pattern, text)
    assert found, text
    return int(found[1]), int(found[2])


def test_a_mistyped_option_meets_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["detect", "cloud.bin", "--out", "x", "--modle", "second"])
    told = capsys.readouterr().err
    assert stop.value.code == 2
    assert "usage: perception detect" in told
    assert "--modle second; did you mean --model?" in told
