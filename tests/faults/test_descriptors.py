"""Descriptors exhausted while accepting, connecting and binding: told, no CPU burnt, who is there is served; it recovers.

In a process of its own (descriptors.py), whose limit the test may set (promise 4).
"""

from __future__ import annotations

import errno
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from faults.raw import running
from programs import run

import trimq

PROGRAM = Path(__file__).with_name("descriptors.py")


@pytest.mark.skipif(sys.platform != "linux", reason="platform: needs /proc")
@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
@pytest.mark.parametrize("what", ["accepting", "connecting"])
def test_out_of_descriptors(what: str, scheme: str) -> None:
    done = run([str(PROGRAM), what, scheme])
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:*",
        "ipc:///tmp/trimq-no-descriptor",
    ],
)
async def test_bind_names_the_endpoint(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Design 1: an OSError at once if it cannot bind, and it says where."""
    async with running() as context:
        pull = context.socket(trimq.Pull)

        def full(*args: Any, **options: Any) -> socket.socket:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", full)
            with pytest.raises(OSError) as caught:
                pull.bind(address)
        assert caught.value.errno == errno.EMFILE
        assert address in str(caught.value)
