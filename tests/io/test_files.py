import os
import stat

import pytest

from perception.errors import PerceptionError
from perception.io.files import write_atomically


def test_bytes_and_text_arrive_whole(tmp_path):
    with write_atomically(tmp_path / "a.bin", "wb") as file:
        file.write(b"\x00\x01")
    with write_atomically(str(tmp_path / "a.txt"), "w") as file:
        file.write("Größe\n")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\x01"
    assert (tmp_path / "a.txt").read_bytes() == "Größe\n".encode()


def test_nothing_is_visible_before_the_end(tmp_path):
    with write_atomically(tmp_path / "a.bin") as file:
        file.write(b"half")
        file.flush()
        assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, exception):
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(exception), write_atomically(tmp_path / "a.bin") as file:  # noqa: PT012
        file.write(b"new")
        raise exception
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_error_of_another_file_in_the_block_keeps_its_own_type(tmp_path):
    with pytest.raises(FileNotFoundError), write_atomically(tmp_path / "a.bin"):
        (tmp_path / "missing").read_bytes()
    assert os.listdir(tmp_path) == []


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "plain").touch()
    with write_atomically(tmp_path / "new") as file:
        file.write(b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "plain").chmod(0o640)
    with write_atomically(tmp_path / "plain") as file:
        file.write(b"x")
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o640


def test_a_link_keeps_pointing_to_the_replaced_file(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with write_atomically(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_missing_folder_folder_as_file_and_wrong_mode_are_explained(tmp_path):
    (tmp_path / "file").touch()
    for path, word in [("none/a.bin", "create the folder"), ("file/a.bin", "not a folder"), ("", "is a folder")]:
        with pytest.raises(PerceptionError, match=word), write_atomically(tmp_path / path):
            pass
    with pytest.raises(PerceptionError, match="mode"), write_atomically(tmp_path / "a", "a"):
        pass
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write everywhere")
def test_unwritable_folder_is_explained(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PerceptionError, match="cannot be written"), write_atomically(tmp_path / "a.bin"):
        pass
