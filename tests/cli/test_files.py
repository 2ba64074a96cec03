"""Which files the demo takes, and how it says that it cannot."""

from __future__ import annotations

import os
import sysconfig
from collections import Counter
from pathlib import Path

import pytest
import trio

from trimq._cli import _files
from trimq._cli._files import DemoError, choose_files, count_alone, read_blocks


def test_the_standard_library_by_default() -> None:
    """The running Python's, and nothing that was installed into it."""
    files = choose_files([])
    names = {path.relative_to(sysconfig.get_path("stdlib")).as_posix() for path in files}
    assert {"os.py", "json/decoder.py"} <= names
    assert not [name for name in names if "-packages/" in name or not name.endswith(".py")]


def test_no_standard_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python whose library is not in files."""
    monkeypatch.setattr(_files.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(DemoError, match=r"no \.py files in .*: name some files"):
        choose_files([])


def test_named_files_as_they_are_named(tmp_path: Path) -> None:
    """In their order, and as often as they are named."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    other.touch()
    assert choose_files([other, one, other]) == [other, one, other]


def test_blocks_are_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole lines; the last may lack its end."""
    monkeypatch.setattr(_files, "_BLOCK", 100)
    path = tmp_path / "file"
    path.write_bytes(b"\n" + b"a line\n" * 100 + b"the end")
    blocks = list(read_blocks(path))
    assert len(blocks) > 5
    assert b"".join(line for block in blocks for line in block) == path.read_bytes()


async def test_count_alone(tmp_path: Path) -> None:
    """In a thread of trio's, over several files; a file that is gone by then is told."""
    path = tmp_path / "file"
    path.write_text("spam egg\nspam")
    assert await trio.to_thread.run_sync(count_alone, [path, path]) == Counter(spam=4, egg=2)
    with pytest.raises(DemoError, match="cannot read .*gone: No such file"):
        await trio.to_thread.run_sync(count_alone, [tmp_path / "gone"])


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """Each is told by name, before anything starts; a named pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    for name, complaint in [
        ("missing", "cannot read .*missing: No such file or directory"),
        ("", "is not a file but a directory: name the files in it"),
        ("pipe", "pipe is not a file$"),
        ("x" * 300, "cannot read .*: File name too long"),
    ]:
        with pytest.raises(DemoError, match=complaint):
            choose_files([tmp_path / name])


@pytest.mark.skipif(os.geteuid() == 0, reason="platform: root may read everything")
def test_a_forbidden_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0)
    with pytest.raises(DemoError, match="cannot read .*secret: Permission denied"):
        choose_files([path])
