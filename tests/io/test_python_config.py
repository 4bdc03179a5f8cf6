"""Python configurations are read from their text: what is plain is known, nothing is run, the rest is said to be."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from perception.errors import PerceptionError
from perception.io.importers.foreign_config import ForeignConfig
from perception.io.importers.python_config import Unread, parse_python_config, read_python_config


def test_plain_values() -> None:
    found = parse_python_config(
        """
'''A note.'''
import os
size = [0.1, 0.1, 0.2]
flat = size[:2]
low, high = -54, 54.0
model = dict(type='X', channels=sum([128, 256]), size=size, **dict(a=1))
model['b'] = {'c': (1, 2) * 2, 'd': not True, **{'e': None}}
offset = -np.pi / 2
count = 3
count += 4
text: str = 'a' + 'b'
name = model.type
""",
        "c.py",
    )
    assert found["flat"] == [0.1, 0.1]
    assert (found["low"], found["high"]) == (-54, 54.0)
    assert found["model"] == {
        "type": "X",
        "channels": 384,
        "size": [0.1, 0.1, 0.2],
        "a": 1,
        "b": {"c": (1, 2, 1, 2), "d": False, "e": None},
    }
    assert found["offset"] == -math.pi / 2
    assert (found["count"], found["text"], found["name"]) == (7, "ab", "X")


def test_nothing_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    found = parse_python_config(
        f"""
import os
a = open({str(marker)!r}, 'w')
b = __import__('os').system('touch {marker}')
c = [x for x in range(3)]
d = dict(e=os.environ, f=5)
os.system('touch {marker}')
print(1)
""",
        "c.py",
    )
    assert not marker.exists()
    assert isinstance(found["a"], Unread)
    assert isinstance(found["c"], Unread)
    assert found["d"]["f"] == 5
    assert isinstance(found["d"]["e"], Unread)


def test_what_a_statement_may_have_changed_is_no_longer_known() -> None:
    found = parse_python_config("a = 1\nb = [1]\nif a:\n    a = 2\nb.append(2)\nc = 3\n", "c.py")
    assert isinstance(found["a"], Unread)
    assert isinstance(found["b"], Unread)
    assert found["c"] == 3


def test_an_unread_value_is_an_error_for_who_needs_it() -> None:
    source = ForeignConfig(parse_python_config("a = f()\nb = dict(c=1, d=[g()])", "c.py"), "c.py")
    assert source.get("b.c") == 1
    assert source.get("a", 5) == 5
    source.get("b.d")
    with pytest.raises(PerceptionError, match=r"a is computed by `f\(\)`.*b\.d is computed by `g\(\)`"):
        source.check()


def test_base_files_merge_as_mmengine_merges_them(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.py").write_text("size = 3\nmodel = dict(type='A', head=dict(a=1, b=2), neck=dict(c=1))")
    (tmp_path / "base" / "data.py").write_text("data = dict(batch=4)")
    (tmp_path / "top.py").write_text(
        "_base_ = ['base/model.py', 'base/data.py']\n"
        "model = dict(head=dict(b=5), neck=dict(_delete_=True, d=2), size=_base_.size)"
    )
    assert read_python_config(tmp_path / "top.py") == {
        "size": 3,
        "data": {"batch": 4},
        "model": {"type": "A", "head": {"a": 1, "b": 5}, "neck": {"d": 2}, "size": 3},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = (", "no Python configuration"),
        ("a = " + "(" * 3000 + "1" + ")" * 3000, "c.py"),
        ("_base_ = 'missing.py'", "no file"),
        ("_base_ = 'c.py'", "name each other"),
        ("_base_ = 'mmdet::coco.py'", "builds on mmdet::coco.py"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.py").write_text(text)
    with pytest.raises(PerceptionError, match=message):
        read_python_config(tmp_path / "c.py")


def test_no_value_can_fill_the_memory() -> None:
    found = parse_python_config("a = [0] * 10**9\nb = 2 ** 2 ** 40\nc = 'x' * 10**9\nd = [0] * 5000\ne = d * 5000", "c")
    assert all(isinstance(found[name], Unread) for name in "abce")
