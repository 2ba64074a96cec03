"""Clocks that jump: trio's by hours, with back-off, hand-shakes and linger pending; the system's does not matter at all."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from faults.raw import eventually, running
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq import EndpointState
from trimq._options import Settings
from trimq.testing import MemoryTransport

HOURS = 3 * 3600.0


class Counting(MemoryTransport):
    """Counts how often it was dialled."""

    dialled = 0

    async def connect(self, *args: Any, **options: Any) -> Any:
        self.dialled += 1
        return await super().connect(*args, **options)


async def test_back_off(mock_clock: MockClock) -> None:
    """However far it jumps, what is due is done once: hours of missed attempts are not made up for."""
    network = Counting()
    async with trimq.open_context(transports=[network], linger=0.0) as context:
        push = context.socket(trimq.Push)
        endpoint = push.connect("tcp://there:1")
        await wait_all_tasks_blocked()
        for n in range(1, 20):
            assert network.dialled == n
            assert endpoint.state is EndpointState.WAITING
            mock_clock.jump(HOURS)
            await wait_all_tasks_blocked()
        pull = context.socket(trimq.Pull)
        pull.bind("tcp://there:1")
        await wait_all_tasks_blocked()
        assert push.peers == ()
        mock_clock.jump(HOURS)
        await endpoint.ready()
        await push.send(b"hi")
        assert await pull.receive() == [b"hi"]
        mock_clock.jump(1000 * HOURS)  # nothing is due on a connection that is there
        await wait_all_tasks_blocked()
        assert len(push.peers) == len(pull.peers) == 1
        assert network.dialled == 21


async def test_handshake_and_connect_timeout(mock_clock: MockClock) -> None:
    """A hand-shake that the jump has overtaken ends; so does an attempt; the next ones begin afresh."""
    network = MemoryTransport()
    async with trimq.open_context(transports=[network], linger=0.0, handshake_timeout=30.0) as context:
        pull = context.socket(trimq.Pull)
        pull.bind("tcp://there:1")
        stranger = await network.connect("there:1", Settings())
        await wait_all_tasks_blocked()
        mock_clock.jump(29.0)
        await wait_all_tasks_blocked()
        assert stranger.connected
        mock_clock.jump(HOURS)
        await wait_all_tasks_blocked()
        assert not stranger.connected
        push = context.socket(trimq.Push)
        push.connect("tcp://there:1")
        await push.send(b"hi")
        assert await pull.receive() == [b"hi"]


@pytest.mark.parametrize("linger", [1.0, HOURS - 1, HOURS + 1])
async def test_linger(linger: float, mock_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A linger that the jump has overtaken is over, and says what it dropped; a longer one is not."""
    left = trio.Event()

    async def leave() -> None:
        async with trimq.open_context(transports=[MemoryTransport()], linger=linger) as context:
            push = context.socket(trimq.Push)
            push.connect("tcp://nobody:1")
            await push.send(b"for nobody")
        left.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await wait_all_tasks_blocked()
        mock_clock.jump(HOURS)
        await wait_all_tasks_blocked()
        assert left.is_set() is (linger < HOURS)
        mock_clock.jump(2.0)
        await left.wait()
    assert "Push: 1 unsent messages for tcp://nobody:1 were dropped" in caplog.messages


async def test_the_systems_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It jumps by days, to and fro, at each look: connections, losses, back-off and time-outs take the time they took."""
    now, looks = time.time, [0]

    def jumping() -> float:
        looks[0] += 1
        return now() + (-1) ** looks[0] * 1e6

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    assert abs(time.time() - time.time()) > 1e6
    async with running(reconnect_interval_max=0.02) as context:
        push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
        address = str(pull.bind("tcp://127.0.0.1:*"))
        push.connect(address)
        start = time.perf_counter()
        for number in range(5):
            await push.send(b"%d" % number)
            assert await pull.receive() == [b"%d" % number]
            pull.close()
            await eventually(lambda: not push.peers)
            pull = context.socket(trimq.Pull)
            pull.bind(address)
            await push.wait_for_peers()
        assert time.perf_counter() - start < 5


def test_no_clock_of_the_system_is_read() -> None:
    """All of trimq's time is trio's, and `perf_counter` and `thread_time` where it is about yielding."""
    folder = Path(trimq.__file__).parent
    used: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        if "_cli" in path.parts:
            continue  # programs that measure
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
                used.setdefault(path.name, set()).update(alias.name for alias in node.names)
            elif isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"time", "datetime", "sched"}, path
    assert used
    assert set().union(*used.values()) <= {"perf_counter", "thread_time"}, used
