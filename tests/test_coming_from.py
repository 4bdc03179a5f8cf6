"""The pages for users of mmdet3d and OpenPCDet: each command, option, setting, name and link of ours exists."""

from __future__ import annotations

import importlib
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from perception.cli import main
from perception.training.settings import Experiment

ROOT = Path(__file__).resolve().parents[1]
PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("coming-from-mmdet3d.md", "coming-from-openpcdet.md")}
pages = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def lines(page: str) -> list[list[str]]:
    """Commands of ours: in blocks of the shell, and in the last column of the tables."""
    blocks = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    cells = [row.rsplit("|", 2)[1] for row in page.splitlines() if row.startswith("| ")]
    return [shlex.split(line) for line in [*blocks, *(c for cell in cells for c in re.findall(r"`([^`]+)`", cell))]]


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    return {}


@pages
def test_commands_and_their_options(page: str, told: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    found = [words for words in lines(page) if words[0] == "perception"]
    assert len(found) >= 3
    for words in found:
        if words[1] not in told:
            with pytest.raises(SystemExit) as stopped:
                main([words[1], "--help"])
            assert stopped.value.code == 0
            told[words[1]] = capsys.readouterr().out
        assert all(word in told[words[1]] for word in words if word.startswith("--"))


@pages
def test_tools_and_their_options(page: str) -> None:
    found = [words for words in lines(page) if any(word.startswith("tools/") for word in words[:-1])]
    own = [words for words in found if "-m" not in words]  # the rest are scripts of mmdet3d
    assert len(own) >= 5
    for words in own:
        (at,) = [place for place, word in enumerate(words) if word.startswith("tools/")]
        source = (ROOT / words[at]).read_text()
        assert all(f'"{word}"' in source for word in words[at + 1 :] if word.startswith("--")), words
        assert all((ROOT / word).is_file() for word in words if word.startswith("configs/"))


@pages
def test_settings(page: str) -> None:
    fields: dict[str, Any] = Experiment.__annotations__
    assert {"training", "augment", "model"} <= set(fields)
    for key in re.findall(r"--set (training\.\w+)=", page):
        training = importlib.import_module("perception.training.settings").TrainingConfig
        assert key.split(".")[1] in training.__annotations__


@pages
def test_names_of_python(page: str) -> None:
    names = set(re.findall(r"`(perception(?:\.\w+)+)`", page))
    assert len(names) >= 8
    assert [name for name in names if not _found(name)] == []


@pages
def test_links(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page)
    assert targets
    assert all((ROOT / "docs" / target).is_file() for target in targets)


def _exists(name: str) -> bool:
    """Whether it is a module, or what a module holds. The plug-in itself needs mmdet3d: it has tests of its own."""
    module, _, last = name.rpartition(".")
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module, no package
        return hasattr(importlib.import_module(module), last)


def _found(name: str) -> bool:
    module, _, last = name.rpartition(".")
    return _exists(name) or hasattr(importlib.import_module(module), last)
