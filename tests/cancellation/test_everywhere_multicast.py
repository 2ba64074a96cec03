"""Every call that sends or receives over reliable multicast, cancelled at every moment (promise 1), over PGM in memory.

As test_everywhere.py. Nothing is lost here for good: what a send that returned has queued arrives, once and in order, though
the network loses each fifth packet of data, which is asked for and repaired in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from cancellation.everywhere import (
    END,
    Take,
    by_iteration,
    every,
    everywhere_over,
    later,
    message,
    number,
    one,
    several,
)
from testing.multicast import MemoryMulticast, MulticastPort
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq._wire import _pgm_packets as packets
from trimq.testing import Trial

HERE = "epgm://here"


class Lossy(MemoryMulticast):
    """Each fifth packet of data does not arrive, but for its repair."""

    def __init__(self) -> None:
        super().__init__()
        self.data = 0
        self.loses = self.is_fifth

    def is_fifth(self, data: bytes, port: MulticastPort) -> bool:
        self.data += data[4] == packets.ODATA
        return data[4] == packets.ODATA and self.data % 5 == 4


def everywhere(
    publisher: Any, subscriber: Any, scenario: Callable[[Trial, Any, Any], Awaitable[None]], **options: Any
) -> None:
    """Runs it with a publisher that waits for room, and a subscriber that listens already."""

    async def opened(trial: Trial) -> None:
        pub = trial.context.socket(publisher, nodrop=True, rate=1_000_000, multicast_maxtpdu=300, **options)
        sub = trial.context.socket(subscriber, rate=1_000_000, multicast_maxtpdu=300)
        sub.subscribe(b"")
        sub.connect(HERE)
        pub.bind(HERE)
        await scenario(trial, pub, sub)

    everywhere_over(Lossy, opened)


PUBLISHERS, SUBSCRIBERS = (trimq.Pub, trimq.XPub), (trimq.Sub, trimq.XSub)


async def all_of(socket: Any) -> list[int]:
    """What arrives up to the last message."""
    got: list[int] = []
    with trio.fail_after(100):
        while END not in got:
            got.append(number(await socket.receive()))
    return got


@every(*PUBLISHERS)
def test_multicast_send(kind: Any) -> None:
    """A send that returned has queued its message; one that was cancelled has not. It waits for room, too."""

    async def scenario(trial: Trial, pub: Any, sub: Any) -> None:
        sent: list[int] = []
        with trial.cancelling():
            for n in range(8):
                await pub.send(message(n))
                sent.append(n)
        await pub.send(message(END))
        assert await all_of(sub) == [*sent, END]

    everywhere(kind, trimq.Sub, scenario, send_hwm=1)


@every(*PUBLISHERS)
def test_multicast_send_many(kind: Any) -> None:
    """It has taken from its iterator exactly what it has queued."""

    async def scenario(trial: Trial, pub: Any, sub: Any) -> None:
        taken: list[int] = []

        def values() -> Iterator[list[bytes]]:
            for n in range(8):
                taken.append(n)
                yield message(n)

        with trial.cancelling():
            await pub.send_many(values())
        await pub.send(message(END))
        assert await all_of(sub) == [*taken, END]

    everywhere(kind, trimq.Sub, scenario, send_hwm=1)


@pytest.mark.parametrize("take", [one, several, by_iteration], ids=["receive", "receive_many", "async_for"])
@every(*SUBSCRIBERS)
def test_multicast_receive(kind: Any, take: Take) -> None:
    """A receive that returned has taken its message; one that was cancelled has taken none."""

    async def scenario(trial: Trial, pub: Any, sub: Any) -> None:
        got: list[int] = []

        async def send() -> None:
            for n in range(8):
                if n % 2:
                    await later()
                await pub.send(message(n))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            with trial.cancelling():
                while len(got) < 8:
                    got += map(number, await take(sub))
        await pub.send(message(END))
        assert got + await all_of(sub) == [*range(8), END]

    everywhere(trimq.Pub, kind, scenario)


@every(*PUBLISHERS)
def test_multicast_flush(kind: Any) -> None:
    """What is queued stays queued, and is sent."""

    async def scenario(trial: Trial, pub: Any, sub: Any) -> None:
        await pub.send_many(message(n) for n in range(5))
        with trial.cancelling():
            await pub.flush()
        await pub.send(message(END))
        assert await all_of(sub) == [*range(5), END]

    everywhere(kind, trimq.Sub, scenario)


@pytest.mark.parametrize("way", ["aclose", "async_with"])
@every(*PUBLISHERS)
def test_multicast_ends(kind: Any, way: str) -> None:
    """The socket is closed, and its port. What arrives is the beginning of what was queued, and all where it lingered."""

    async def scenario(trial: Trial, pub: Any, sub: Any) -> None:
        entered = way == "aclose"
        with trial.cancelling() as scope:
            if way == "aclose":
                await pub.send_many(message(n) for n in range(5))
                await pub.aclose()
            else:
                async with pub:
                    entered = True
                    await pub.send_many(message(n) for n in range(5))
        got: list[int] = []
        with trio.move_on_after(10):
            while True:
                got.append(number(await sub.receive()))
        assert got == [*range(len(got))]
        assert scope.cancelled_caught or len(got) == 5
        if entered:
            pub.close()
            await wait_all_tasks_blocked()
            network: Any = trial.context._transports["epgm"]
            assert not any(port.publishes for port in network.ports)

    everywhere(kind, trimq.Sub, scenario, linger=5)
