"""Cancelled means nothing happened (promise 1), with a libzmq peer that notices: nothing lost, nothing twice, all in order.

Deadlines are random, from a seed that pytest shows when a test fails, and so short that some calls are cancelled before
they begin, some while they wait, and some just as they are served.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import pytest
import trio
from interop.harness import Peer, join, running, together

import trimq

pytestmark = pytest.mark.pyzmq

COUNT = 5000
SEEDS = [20240229, 7]
Checkpoints = Literal["amortised", "every"]

CHECKPOINTS = pytest.mark.parametrize("checkpoints", ["amortised", "every"])


def deadlines(seed: int) -> Iterator[float]:
    """Seconds, mostly too few."""
    print("seed", seed)
    source = random.Random(seed)
    while True:
        yield source.choice([0.0, 1e-6, 2e-5, 5e-5, 2e-4, 1e-3]) * source.random()


def numbered(count: int) -> list[list[bytes]]:
    return [[b"%d" % number] for number in range(count)]


@CHECKPOINTS
@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize("verb", ["receive", "receive_many"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_cancelled_receives(
    seed: int, verb: str, trimq_binds: bool, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """5,000 numbered messages of a libzmq PUSH, every receive under a tiny deadline: each arrives once, in order."""
    delays = deadlines(seed)
    async with running(checkpoints=checkpoints, receive_hwm=50) as ctx:
        pull = ctx.socket(trimq.Pull)
        push = await peer.socket("PUSH")
        await join(pull, push, fresh("tcp"), trimq_binds=trimq_binds)
        received: list[list[bytes]] = []
        cancelled = 0

        async def receive() -> None:
            nonlocal cancelled
            while len(received) < COUNT:
                with trio.move_on_after(next(delays)) as scope:
                    if verb == "receive":
                        received.append(await pull.receive())
                    else:
                        received.extend(await pull.receive_many(20))
                cancelled += scope.cancelled_caught

        await together(receive, partial(push.send_numbered, COUNT, burst=100))
        assert received == numbered(COUNT)
        assert cancelled > 100  # else it proves nothing


@CHECKPOINTS
@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_cancelled_sends(
    seed: int, trimq_binds: bool, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """5,000 sends to a libzmq PULL, each under a tiny deadline: exactly those that returned arrive, in order."""
    delays = deadlines(seed)
    async with running(checkpoints=checkpoints, send_hwm=2) as ctx:
        push = ctx.socket(trimq.Push)
        pull = await peer.socket("PULL", RCVHWM=10)
        await join(push, pull, fresh("tcp"), trimq_binds=trimq_binds)
        returned: list[bytes] = []
        waited = 0

        async def send() -> None:
            nonlocal waited
            for [number] in numbered(COUNT):
                full = not push._sendable()
                with trio.move_on_after(next(delays)) as scope:
                    await push.send([number, bytes(10_000)])
                    returned.append(number)
                waited += full and scope.cancelled_caught
            await push.send(b"end")

        _, arrived = await together(send, partial(pull.collect, b"end"))
        assert arrived == returned
        assert 100 < len(returned) < COUNT
        assert waited > 100  # cancelled where there was no room, else it proves nothing


@CHECKPOINTS
@pytest.mark.parametrize("seed", SEEDS)
async def test_cancelled_send_many(
    seed: int, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """A cancelled `send_many` has taken from its iterator exactly what it queued: one iterator, many calls, all arrives."""
    delays = deadlines(seed)
    async with running(checkpoints=checkpoints, send_hwm=20) as ctx:
        push = ctx.socket(trimq.Push)
        pull = await peer.socket("PULL", RCVHWM=10)
        push.connect(await pull.bind(fresh("tcp")))
        padding = bytes(10_000)
        messages = iter([number, padding] for [number] in numbered(COUNT))
        calls = 0

        async def send() -> None:
            nonlocal calls
            over = False
            while not over:
                calls += 1
                with trio.move_on_after(next(delays)):
                    await push.send_many(messages)
                    over = True
            await push.send(b"end")

        _, arrived = await together(send, partial(pull.collect, b"end"))
        assert arrived == [number for [number] in numbered(COUNT)]
        assert calls > 20


@CHECKPOINTS
@pytest.mark.parametrize("seed", SEEDS)
async def test_cancelled_receivers_in_competition(
    seed: int, checkpoints: Checkpoints, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """Five tasks receive from one socket, each under tiny deadlines: together they get each message once, in order."""
    delays = deadlines(seed)
    async with running(checkpoints=checkpoints) as ctx:
        pull = ctx.socket(trimq.Pull)
        push = await peer.socket("PUSH")
        await push.connect(pull.bind(fresh("tcp")))
        received: list[list[list[bytes]]] = [[] for _ in range(5)]

        async def receive(mine: list[list[bytes]]) -> None:
            while sum(map(len, received)) < COUNT:
                with trio.move_on_after(next(delays)):
                    mine.append(await pull.receive())

        await together(
            *(partial(receive, mine) for mine in received),
            partial(push.send_numbered, COUNT, burst=100),
        )
        for mine in received:
            assert mine == sorted(mine, key=lambda message: int(message[0]))
        assert sorted((message for mine in received for message in mine), key=lambda m: int(m[0])) == numbered(COUNT)
