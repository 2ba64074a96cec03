"""Connections over vmci, vsock and tipc: lost and found again, cancelled, and with much to carry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from hashlib import blake2b
from typing import Any

import pytest
import trio
from cancellation.test_sampled import COUNT, NAMES, SMALL, agree, in_one_process
from interop import test_cancellation, test_reconnect, test_sizes
from interop.harness import Peer, Pool, running, together, until_left
from interop.test_reconnect import SOON, numbered, send_numbered
from trio.testing import MockClock

import trimq
from trimq.events import ConnectFailed, EventStream

each_transport = pytest.mark.parametrize("transport", ["vmci", "vsock", "tipc"])
Fresh = Callable[[str], str]


@pytest.fixture
def over_tipc(fresh: Fresh) -> Fresh:
    """For tests whose transport is as good as any."""
    return lambda _: fresh("tipc")


async def head(events: EventStream, kind: type[Any], count: int) -> AsyncIterator[Any]:
    """The first events of a kind."""
    async for event in events:
        if isinstance(event, kind):
            yield event
            count -= 1
        if not count:
            return


# Lost and found


@each_transport
async def test_connect_before_bind(transport: str, fresh: Fresh) -> None:
    """The order of bind and connect does not matter, and what was sent before waits (zmq_connect(3))."""
    async with running() as ctx:
        place = fresh(transport)
        push, pull = ctx.socket(trimq.Push, **SOON), ctx.socket(trimq.Pull)
        async with push.events() as events:
            push.connect(place)
            await send_numbered(push, b"early", 200)
            failed = [event async for event in head(events, ConnectFailed, 2)]
        assert all(f"cannot connect to {place}: " in str(event.cause) for event in failed)
        pull.bind(place)
        await numbered(pull, b"early", 200)


@each_transport
async def test_a_listener_that_goes_and_comes(transport: str, fresh: Fresh) -> None:
    """At once, at the same address, by another socket; what was sent meanwhile comes, in order (RFC 30)."""
    async with running() as ctx:
        place = fresh(transport)
        push = ctx.socket(trimq.Push, **SOON)
        push.connect(place)
        for turn in range(5):
            pull = ctx.socket(trimq.Pull)
            bound = pull.bind(place)
            await send_numbered(push, b"turn %d" % turn, 100)
            await numbered(pull, b"turn %d" % turn, 100)
            if turn % 2:
                pull.unbind(bound)  # the connections that came of it end, too
                await until_left(pull, 0)
            pull.close()
            await until_left(push, 0)


@each_transport
async def test_dialers_that_go_and_come(transport: str, fresh: Fresh) -> None:
    """What one had sent before it closed is received, all of it, before and after the next one came (RFC 30)."""
    async with running() as ctx:
        pull = ctx.socket(trimq.Pull)
        bound = pull.bind(fresh(transport))
        for turn in range(5):
            push = ctx.socket(trimq.Push, linger=20)
            push.connect(bound)
            await send_numbered(push, b"turn %d" % turn, 200)
            await push.aclose()
            await numbered(pull, b"turn %d" % turn, 200)
            await until_left(pull, 0)


@pytest.mark.parametrize("kind", [trimq.Push, trimq.Dealer])
async def test_a_libzmq_peer_that_was_killed(kind: type[Any], pool: Pool, fresh: Fresh) -> None:
    """tipc: what is sent meanwhile arrives at its successor."""
    await test_reconnect.test_queued_for_a_libzmq_peer_that_was_killed(kind, "tipc", pool, fresh)


async def test_a_listener_that_goes_and_comes_for_libzmq(peer: Peer, fresh: Fresh) -> None:
    """tipc: libzmq connects to it again."""
    await test_reconnect.test_trimq_binder_restarted("tipc", peer, fresh)


async def test_what_a_libzmq_peer_left(pool: Pool, fresh: Fresh) -> None:
    """tipc: libzmq closes without a shutdown, which looks like a reset; what it had sent is there all the same."""
    await test_reconnect.test_what_arrived_from_a_peer_that_left_can_be_received("tipc", pool, fresh)


async def test_round_robin_without_the_dead(pool: Pool, peer: Peer, over_tipc: Fresh) -> None:
    """tipc: who has died gets nothing more."""
    await test_reconnect.test_round_robin_without_the_dead(pool, peer, over_tipc)


# Cancelled


@pytest.mark.parametrize("transport", ["vmci", "tipc"])
@pytest.mark.parametrize("name", NAMES)
async def test_cancelled_on_both_sides(name: str, transport: str, fresh: Fresh) -> None:
    """Promise 1: under random deadlines on both sides nothing is lost, and nothing comes twice or out of order."""
    agree(name, await in_one_process(name, SMALL, "amortised", fresh(transport), COUNT))


@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
async def test_cancelled_with_libzmq(trimq_binds: bool, peer: Peer, over_tipc: Fresh) -> None:
    """tipc: the same of receives, and of sends, with libzmq on the other side."""
    await test_cancellation.test_cancelled_receives("guest", "receive", trimq_binds, "amortised", peer, over_tipc)
    await test_cancellation.test_cancelled_sends("guest", trimq_binds, "amortised", peer, over_tipc)


@each_transport
async def test_a_context_that_ends_while_it_connects(
    transport: str, fresh: Fresh, nothing_leaks: None, autojump_clock: MockClock
) -> None:
    """In whatever state the attempts are: nothing hangs, and no descriptor is left."""
    for moment in range(10):
        async with trimq.open_context(linger=0) as ctx:
            for _ in range(10):
                ctx.socket(trimq.Dealer).connect(fresh(transport))
            await trio.sleep(moment / 20)


# Much


@pytest.mark.parametrize("transport", ["vmci", "tipc"])
@pytest.mark.parametrize("size", [10_000, 1_000_000, 100_000_000])
async def test_100_mb(size: int, transport: str, fresh: Fresh) -> None:
    """100 MB pass unaltered, in small messages and in one."""
    sums = blake2b(), blake2b()
    block = bytes(range(251)) * 40_000

    async with running(60) as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        push.connect(pull.bind(fresh(transport)))

        async def send() -> None:
            for number in range(100_000_000 // size):
                start = number % 251
                message = block[start : start + size] if size <= 1_000_000 else block * 10
                sums[0].update(message[:size])
                await push.send(message[:size])

        async def receive() -> None:
            received = 0
            while received < 100_000_000:
                [frame] = await pull.receive()
                assert len(frame) == size
                sums[1].update(frame)
                received += size

        await together(send, receive)
    assert sums[0].digest() == sums[1].digest()


@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize("shapes", ["10-MB-among-small", "1000-frames", "mixed"])
async def test_shapes_with_libzmq(shapes: str, trimq_binds: bool, peer: Peer, fresh: Fresh) -> None:
    """tipc: large and small, many frames and few, both ways at once."""
    await test_sizes.test_shapes_both_ways(test_sizes.SHAPES[shapes], trimq_binds, "tipc", peer, fresh)


async def test_shapes_with_libzmq_over_vmci(relayed: Any, fresh: Fresh) -> None:
    """vmci: the same, behind a relay."""
    for trimq_binds in (True, False):
        await test_sizes.test_shapes_both_ways(test_sizes.SHAPES["mixed"], trimq_binds, "vmci", relayed, fresh)
