"""What the README shows works as it is written."""

from __future__ import annotations

import re
import shlex
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from perception.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The README's scan.bin: the sample, in the folder where the commands run."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(str(files("perception") / "samples" / "street_000.bin"), tmp_path / "scan.bin")
    return tmp_path


def test_the_example_in_python(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    assert "Car" in capsys.readouterr().out


def test_the_first_detection(scan: Path) -> None:
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if "detect scan.bin" in line]
    assert main(shlex.split(line, comments=True)[1:]) == 0
    assert {path.name for path in (scan / "results").iterdir()} >= {"scan.json", "scan.png"}


def test_every_command_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """Options too: each one that a line names is in the help of its command or tool."""
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    commands = [words for words in lines if words and words[0] == "perception"]
    assert len(commands) >= 4
    for words in commands:
        with pytest.raises(SystemExit) as stopped:
            main([words[1], "--help"])
        assert stopped.value.code == 0
        told = capsys.readouterr().out
        assert all(word in told for word in words if word.startswith("--"))
    scripts = [word for words in lines for word in words if word.startswith("tools/")]
    assert len(scripts) >= 3
    assert all((ROOT / script).is_file() for script in scripts)


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_first_command_is_the_makefile_s() -> None:
    first = blocks("sh")[0]
    assert "pip install . -c constraints.txt" in first
    assert "install . -c constraints.txt" in (ROOT / "Makefile").read_text()
    assert "make test" in README
    assert "make test" in (ROOT / ".ci" / "run").read_text()
