"""Every call of a Dgram, cancelled at every moment (promise 1), over datagrams in memory.

As test_everywhere.py: docs/explanation/cancellation.rst has a row for each, with the test that proves it. No datagram is
lost here but by the socket itself, so that all that was sent has to arrive, once and in order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from cancellation.everywhere import END, Take, body, by_iteration, every, everywhere_over, later, one, several
from testing.datagrams import MemoryDatagrams
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq.testing import Trial

HERE, THERE = "127.0.0.1:1", "127.0.0.1:2"


def everywhere(scenario: Callable[[Trial, Any, Any], Awaitable[None]]) -> None:
    """Runs it with two Dgrams that are bound."""

    async def opened(trial: Trial) -> None:
        one, other = (trial.context.socket(trimq.Dgram, send_hwm=1) for _ in range(2))
        one.bind(f"udp://{HERE}")
        other.bind(f"udp://{THERE}")
        await scenario(trial, one, other)

    everywhere_over(MemoryDatagrams, opened)


def to(place: str, n: int) -> list[bytes]:
    return [place.encode(), body(n)]


def number(received: list[bytes]) -> int:
    """Which message this is, and a look whether it is all there, and from whom."""
    n = int(received[1].partition(b":")[0])
    assert received in (to(HERE, n), to(THERE, n))
    return n


async def all_of(socket: Any) -> list[int]:
    """What arrives up to the last message."""
    got: list[int] = []
    with trio.fail_after(100):
        while END not in got:
            got.append(number(await socket.receive()))
    return got


@every(trimq.Dgram)
def test_datagram_send(kind: Any) -> None:
    """A send that returned has queued its message; one that was cancelled has not. It waits for room, too."""

    async def scenario(trial: Trial, socket: Any, other: Any) -> None:
        sent: list[int] = []
        with trial.cancelling():
            for n in range(5):
                await socket.send(to(THERE, n))
                sent.append(n)
        await socket.send(to(THERE, END))
        assert await all_of(other) == [*sent, END]

    everywhere(scenario)


@every(trimq.Dgram)
def test_datagram_send_many(kind: Any) -> None:
    """It has taken from its iterator exactly what it has queued."""

    async def scenario(trial: Trial, socket: Any, other: Any) -> None:
        taken: list[int] = []

        def values() -> Iterator[list[bytes]]:
            for n in range(5):
                taken.append(n)
                yield to(THERE, n)

        with trial.cancelling():
            await socket.send_many(values())
        await socket.send(to(THERE, END))
        assert await all_of(other) == [*taken, END]

    everywhere(scenario)


@every(trimq.Dgram)
def test_datagram_wait_sendable(kind: Any) -> None:
    """It queues nothing, and takes no room."""

    async def scenario(trial: Trial, socket: Any, other: Any) -> None:
        await socket.send(to(THERE, 0))
        sent = [0]
        with trial.cancelling():
            await socket.wait_sendable()
            socket.send_nowait(to(THERE, 1))
            sent.append(1)
        await socket.send(to(THERE, END))
        assert await all_of(other) == [*sent, END]

    everywhere(scenario)


@pytest.mark.parametrize("take", [one, several, by_iteration], ids=["receive", "receive_many", "async_for"])
@every(trimq.Dgram)
def test_datagram_receive(kind: Any, take: Take) -> None:
    """A receive that returned has taken its message; one that was cancelled has taken none."""

    async def scenario(trial: Trial, socket: Any, other: Any) -> None:
        got: list[int] = []

        async def send() -> None:
            for n in range(5):
                if n >= 2:
                    await later()
                await other.send(to(HERE, n))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            with trial.cancelling():
                while len(got) < 5:
                    got += map(number, await take(socket))
        await other.send(to(HERE, END))
        assert got + await all_of(socket) == [*range(5), END]

    everywhere(scenario)


@every(trimq.Dgram)
def test_datagram_receive_from(kind: Any) -> None:
    """It has taken its message; cancelled, it has taken none."""

    async def scenario(trial: Trial, socket: Any, other: Any) -> None:
        got: list[int] = []

        async def send() -> None:
            await later()
            await other.send(to(HERE, 0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with trial.cancelling():
                got.append(number((await socket.receive_from())[0]))
        await other.send(to(HERE, END))
        assert got + await all_of(socket) == [0, END]

    everywhere(scenario)


@every(trimq.Dgram)
def test_datagram_waits(kind: Any) -> None:
    """wait_receivable takes nothing; wait_for_peers waits for what never comes: nobody knows who is there."""

    async def scenario(trial: Trial, socket: Any, other: Any) -> None:
        async def send() -> None:
            await later()
            await other.send(to(HERE, END))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with trial.cancelling():
                await socket.wait_receivable()
                with trio.move_on_after(1):
                    await socket.wait_for_peers()
        assert await all_of(socket) == [END]

    everywhere(scenario)


@every(trimq.Dgram)
def test_datagram_flush(kind: Any) -> None:
    """What is queued stays queued, and is sent; one that returned has seen it sent."""

    async def scenario(trial: Trial, socket: Any, other: Any) -> None:
        socket.send_hwm = 10
        await socket.send_many(to(THERE, n) for n in range(3))
        with trial.cancelling() as scope:
            await socket.flush()
        if not scope.cancelled_caught:
            socket.linger = 0.0
            socket.close()  # what is sent needs no linger
        else:
            await socket.flush()
        assert [number(await other.receive()) for _ in range(3)] == [0, 1, 2]

    everywhere(scenario)


@pytest.mark.parametrize("way", ["aclose", "async_with"])
@every(trimq.Dgram)
def test_datagram_ends(kind: Any, way: str) -> None:
    """The socket is closed, and its address is free. What arrives is the beginning of what was queued."""

    async def scenario(trial: Trial, socket: Any, other: Any) -> None:
        socket.send_hwm = 10
        entered = way == "aclose"
        with trial.cancelling() as scope:
            if way == "aclose":
                await socket.send_many(to(THERE, n) for n in range(3))
                await socket.aclose()
            else:
                async with socket:
                    entered = True
                    await socket.send_many(to(THERE, n) for n in range(3))
        got: list[int] = []
        with trio.move_on_after(10):
            while True:
                got.append(number(await other.receive()))
        assert got == [*range(len(got))]
        assert scope.cancelled_caught or len(got) == 3
        if entered:
            socket.close()
            await wait_all_tasks_blocked()
            trial.context.socket(trimq.Dgram).bind(f"udp://{HERE}")

    everywhere(scenario)
