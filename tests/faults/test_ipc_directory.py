"""An ipc endpoint whose directory is full, may not be written to, or is gone (wire.md has nothing on it; promise 4)."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.raw import eventually, running

import trimq
from trimq import EndpointState


def mounted(folder: Path, options: str) -> bool:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "trimq-test", str(folder)], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)


@pytest.fixture(params=["size=4k,nr_inodes=2", "ro"], ids=["full", "read-only"])
def unwritable(request: pytest.FixtureRequest, short: Path) -> Iterator[tuple[Path, int]]:
    """A directory in which no socket can be made, and the error number that says so."""
    if shutil.which("mount") is None or not mounted(short, request.param):
        pytest.skip("platform: no file system may be mounted here")
    try:
        if request.param != "ro":
            (short / "the only file").touch()
        yield short, errno.EROFS if request.param == "ro" else errno.ENOSPC
    finally:
        subprocess.run(["umount", "-l", str(short)], check=True)


async def test_no_socket_can_be_made(unwritable: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """bind raises at once, says where and why, leaves nothing; the socket goes on elsewhere, and there if it can be."""
    folder, number = unwritable
    async with running() as context:
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        push.connect(pull.bind("ipc://*"))
        before = os.listdir("/proc/self/fd")
        for _ in range(3):
            with pytest.raises(OSError, match=f"ipc://{folder}/socket.*{os.strerror(number)}") as caught:
                pull.bind(f"ipc://{folder}/socket")
            assert caught.value.errno == number
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with pytest.raises(OSError, match=f"ipc://\\*.*{os.strerror(number)}") as caught:
            pull.bind("ipc://*")
        assert caught.value.errno == number
        assert len(os.listdir("/proc/self/fd")) == len(before)
        assert len(pull.endpoints) == 1
        await push.send(b"goes on")
        assert await pull.receive() == [b"goes on"]
        endpoint = push.connect(f"ipc://{folder}/socket")
        await eventually(lambda: isinstance(endpoint.cause, FileNotFoundError))
        if number == errno.ENOSPC:
            (folder / "the only file").unlink()
            pull.bind(f"ipc://{folder}/socket")
            await endpoint.ready()


async def test_a_directory_that_goes(short: Path) -> None:
    """Who is connected stays so; nobody else comes in; closing raises nothing; where it comes again, so do the peers."""
    async with running(reconnect_interval_max=0.02) as context:
        pull, push, late = context.socket(trimq.Pull), context.socket(trimq.Push), context.socket(trimq.Push)
        folder = short / "gone"
        folder.mkdir()
        endpoint = pull.bind(f"ipc://{folder}/socket")
        push.connect(endpoint)
        await pull.wait_for_peers(1)
        shutil.rmtree(folder)
        await push.send(b"goes on")
        assert await pull.receive() == [b"goes on"]
        assert endpoint.state is EndpointState.READY
        waits = late.connect(endpoint)
        await late.send(b"late")
        await eventually(lambda: isinstance(waits.cause, FileNotFoundError))
        with pytest.raises(FileNotFoundError, match="make it first"):
            pull.bind(f"ipc://{folder}/socket")
        pull.unbind(endpoint)
        assert pull.endpoints == ()
        folder.mkdir()
        pull.bind(f"ipc://{folder}/socket")
        assert await pull.receive() == [b"late"]
        await pull.wait_for_peers(2)
        assert waits.state is EndpointState.READY


async def test_the_directory_of_a_wildcard_that_goes() -> None:
    """Closing misses nothing, whether the file is gone, or the directory, or somebody has put something there."""
    async with running() as context:
        for damage in ("file", "directory", "more"):
            pull = context.socket(trimq.Pull)
            path = Path(str(pull.bind("ipc://*")).removeprefix("ipc://"))
            if damage == "file":
                path.unlink()
            elif damage == "directory":
                shutil.rmtree(path.parent)
            else:
                (path.parent / "more").touch()
            pull.close()
            assert not path.exists()
            assert path.parent.exists() is (damage == "more")
            if damage == "more":
                shutil.rmtree(path.parent)
