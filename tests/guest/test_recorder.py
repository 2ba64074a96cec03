"""Connections over vmci and tipc recorded as those of any transport."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import trimq
from trimq.testing import Recorder


@pytest.mark.parametrize("scheme", ["vmci", "vsock", "tipc"])
async def test_recorder(scheme: str, fresh: Callable[[str], str]) -> None:
    """Both sides of one, with what was said; the trimq.testing tool for any stream transport."""
    recorder = Recorder(scheme)
    async with trimq.open_context(transports=[recorder]) as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        push.connect(pull.bind(fresh(scheme)))
        await push.send(b"hello")
        assert await pull.receive() == [b"hello"]
    assert sorted(one.where.split(" ")[0] for one in recorder.recordings) == ["accepted", "connected"]
    assert recorder.show().count("hello") == 2
