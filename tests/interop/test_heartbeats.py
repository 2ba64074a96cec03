"""Heartbeats with libzmq at the other end: it lives, it stands still, it has no room, and so do we (design.md 2; RFC 37).

That our PONGs come whatever we do is in test_faults.py. Intervals are short, and limits as long as a busy machine needs.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from interop.harness import Peer, PeerSocket, join, running, until_left
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq._flusher import Flusher
from trimq._heart import Heart
from trimq._link import Link
from trimq._options import Settings
from trimq._pace import Pace
from trimq._pipe import Pipe
from trimq._transports._system import SystemStream

pytestmark = pytest.mark.pyzmq

BEAT = 0.05  # seconds
LONG = 5.0  # seconds that nobody on a machine in order needs to answer
QUIET = 0.6  # seconds for which nothing is to happen
SIZE = 300_000  # bytes of a message, of which few fill what the system holds
COUNT = 20

roles = pytest.mark.parametrize("trimq_binds", [True, False], ids=["bound", "connected"])


@contextmanager
def stopped(peer: Peer) -> Iterator[None]:
    """The peer's process stands still."""
    peer.process.send_signal(signal.SIGSTOP)
    os.waitpid(peer.process.pid, os.WUNTRACED)  # its threads may run for a moment more
    try:
        yield
    finally:
        peer.process.send_signal(signal.SIGCONT)


async def until_told(caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Waits until the log says this."""
    while not any(words in record.getMessage() for record in caplog.records):
        await trio.sleep(0.005)


def came(mine: trimq.Socket) -> int:
    """Bytes from the only peer."""
    [remote] = mine._remotes
    return int(remote.inbox.bytes)


async def until_came(mine: trimq.Socket, count: int) -> None:
    """Waits until so many more bytes have come: PINGs or PONGs, where nothing else is sent."""
    target = came(mine) + count
    while came(mine) < target:
        await trio.sleep(0.005)


async def stays(mine: trimq.Socket, seconds: float = QUIET) -> bool:
    """Whether the only peer does not go, for a while."""
    [before] = mine.peers
    with trio.move_on_after(seconds):
        await until_left(mine, 0)
    return mine.peers == (before,)


@roles
@pytest.mark.parametrize("kinds", [(trimq.Dealer, "DEALER"), (trimq.Sub, "PUB"), (trimq.Push, "PULL")])
async def test_libzmq_answers(
    kinds: tuple[Any, str], trimq_binds: bool, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """One PONG for each PING (9 and 7 bytes), and nobody is taken for dead, for many intervals."""
    async with running() as ctx:
        mine: trimq.Socket = ctx.socket(kinds[0], heartbeat_interval=BEAT, heartbeat_timeout=LONG)
        theirs = await peer.socket(kinds[1])
        await join(mine, theirs, fresh("tcp"), trimq_binds=trimq_binds)
        await mine.wait_for_peers()
        peers = mine.peers
        await until_came(mine, 10 * 7)
        assert mine.peers == peers


@roles
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
async def test_libzmq_stands_still(
    transport: str, trimq_binds: bool, peer: Peer, fresh: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    """heartbeat_timeout=...: the connection ends, whatever the peer did before. When it goes on, it is a peer again."""
    caplog.set_level(logging.DEBUG, "trimq")
    async with running() as ctx:
        mine = ctx.socket(trimq.Dealer, heartbeat_interval=BEAT, heartbeat_timeout=0.5)
        theirs = await peer.socket("DEALER", RECONNECT_IVL=10)
        await join(mine, theirs, fresh(transport), trimq_binds=trimq_binds)
        await mine.wait_for_peers()
        assert await stays(mine)
        with stopped(peer):
            await until_left(mine, 0)
        await mine.wait_for_peers()
        await theirs.send(b"back")
        assert await mine.receive() == [b"back"]
        await until_told(caplog, "no answer to a PING within 0.5 s")


@roles
async def test_libzmq_stands_still_and_has_never_pinged(
    trimq_binds: bool, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """By default it stays a peer: it looks like one that has no room. And what it was sent arrives in the end."""
    async with running() as ctx:
        mine = ctx.socket(trimq.Dealer, heartbeat_interval=BEAT)
        theirs = await peer.socket("DEALER")
        await join(mine, theirs, fresh("tcp"), trimq_binds=trimq_binds)
        await mine.wait_for_peers()
        with stopped(peer):
            await mine.send(b"patience")
            assert await stays(mine)
            peers = mine.peers
        assert await theirs.receive() == [b"patience"]
        assert mine.peers == peers


@roles
async def test_libzmq_stands_still_and_has_pinged(trimq_binds: bool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """By default, too, that is the end: it would go on sending PINGs if it lived, whatever its reader does."""
    async with running() as ctx:
        mine = ctx.socket(trimq.Dealer, heartbeat_interval=0.3)
        theirs = await peer.socket("DEALER", HEARTBEAT_IVL=50, HEARTBEAT_TIMEOUT=20_000)
        await join(mine, theirs, fresh("tcp"), trimq_binds=trimq_binds)
        await mine.wait_for_peers()
        await until_came(mine, 20 * 9)
        with stopped(peer):
            await until_left(mine, 0)


@roles
async def test_the_ttl_that_libzmq_announces(
    trimq_binds: bool, peer: Peer, fresh: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    """ZMQ_HEARTBEAT_TTL: held also where we send no PINGs, and only if nothing comes."""
    caplog.set_level(logging.DEBUG, "trimq")
    async with running() as ctx:
        mine = ctx.socket(trimq.Pull, heartbeat_interval=float("inf"))
        theirs = await peer.socket("PUSH", HEARTBEAT_IVL=50, HEARTBEAT_TTL=500, HEARTBEAT_TIMEOUT=20_000)
        await join(mine, theirs, fresh("tcp"), trimq_binds=trimq_binds)
        await mine.wait_for_peers()
        assert await stays(mine)
        with stopped(peer):
            await until_left(mine, 0)
        await until_told(caplog, "nothing came for the 0.5 s that the peer announced")


@pytest.mark.slow
@roles
async def test_the_ttl_that_we_announce(trimq_binds: bool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """heartbeat_ttl: libzmq ends the connection if we stand still, and not before; nor while it is the one who talks."""
    async with running() as ctx:
        mine = ctx.socket(trimq.Pull, heartbeat_ttl=0.8)
        theirs = await peer.socket("PUSH", RECONNECT_IVL=10)
        await theirs.monitor()
        await join(mine, theirs, fresh("tcp"), trimq_binds=trimq_binds)
        await mine.wait_for_peers()
        assert await theirs.wait_event("HANDSHAKE_SUCCEEDED")
        start, number = trio.current_time(), 0
        while trio.current_time() < start + 1.7:
            await theirs.send(b"%d" % number)
            assert await mine.receive() == [b"%d" % number]
            number += 1
        assert await theirs.wait_event("DISCONNECTED", seconds=0.01) is None
        time.sleep(1.5)  # noqa: ASYNC251 - the program stands still
        assert await theirs.wait_event("DISCONNECTED")


async def flood(theirs: PeerSocket) -> None:
    """More than fits anywhere."""
    await theirs.exchange(send=[[SIZE]] * COUNT, seed="flood")


@pytest.mark.slow
@roles
@pytest.mark.parametrize("interval", [15.0, float("inf")])
async def test_we_have_no_room(interval: float, trimq_binds: bool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A Pull that is full sees no PING of libzmq's, and answers none: that it sends its own keeps the connection, and all
    that was sent arrives. (Where it may send none, libzmq ends it: the test can fail.)
    """
    async with running() as ctx:
        mine = ctx.socket(trimq.Pull, receive_hwm=1, heartbeat_interval=interval)
        theirs = await peer.socket("PUSH", HEARTBEAT_IVL=100, HEARTBEAT_TIMEOUT=400, HEARTBEAT_TTL=300)
        await theirs.monitor()
        await join(mine, theirs, fresh("tcp"), trimq_binds=trimq_binds)
        await mine.wait_for_peers()
        await until_came(mine, 10 * 9)
        await flood(theirs)
        if interval == float("inf"):
            assert await theirs.wait_event("DISCONNECTED")
            return
        assert await theirs.wait_event("DISCONNECTED", seconds=1.5) is None
        for _ in range(COUNT):
            [message] = await mine.receive()
            assert len(message) == SIZE
        assert await theirs.wait_event("DISCONNECTED", seconds=0.1) is None


@pytest.mark.slow
@roles
@pytest.mark.parametrize("pings", [{}, {"HEARTBEAT_IVL": 50, "HEARTBEAT_TIMEOUT": 20_000}], ids=["silent", "pinging"])
async def test_libzmq_has_no_room(
    pings: dict[str, int], trimq_binds: bool, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """At its high-water mark libzmq answers no PING. By default that ends nothing, whether it sends PINGs or not, and all
    messages arrive (libzmq with its own heartbeats: 14 of 20).
    """
    async with running() as ctx:
        mine = ctx.socket(trimq.Push, heartbeat_interval=0.3)
        theirs = await peer.socket("PULL", RCVHWM=1, **pings)
        await join(mine, theirs, fresh("tcp"), trimq_binds=trimq_binds)
        await mine.wait_for_peers()
        for number in range(COUNT):
            await mine.send(b"%d" % number + bytes(SIZE))
        assert await stays(mine, 1.2)
        for number in range(COUNT):
            [message] = await theirs.receive()
            assert message.rstrip(b"\0") == b"%d" % number
        assert len(mine.peers) == 1


async def test_confirm(peer: Peer, fresh: Callable[[str], str]) -> None:
    """`Link.confirm`: libzmq gives our context back, behind all that it has read before."""
    with trio.fail_after(10):
        theirs = await peer.socket("PULL")
        host, port = (await theirs.bind(fresh("tcp"))).removeprefix("tcp://").split(":")
        stream = SystemStream(socket.create_connection((host, int(port))))
        flusher, outbox = Flusher(Pace()), Pipe(1000)
        async with running() as ctx, trio.open_nursery() as nursery:
            nursery.start_soon(flusher.run)
            wire = ctx.socket(trimq.Push)._wire(Settings())
            link = Link(stream, wire, flusher, Heart(nursery.start_soon), Settings())
            await link.handshake()
            for number in range(300):
                outbox.put(b"%d" % number)
            nursery.start_soon(link.run, Pipe(1000), outbox)
            await wait_all_tasks_blocked(0.01)
            assert await link.confirm() is True
            assert outbox.passed == 300
            for number in range(300):
                assert await theirs.receive() == [b"%d" % number]
            outbox.put(b"x")
            confirmed: list[bool] = []

            async def ask() -> None:
                confirmed.append(await link.confirm())

            with stopped(peer):
                nursery.start_soon(ask)
                await wait_all_tasks_blocked(0.05)
                assert confirmed == []
            while not confirmed:
                await trio.sleep(0.005)
            assert confirmed == [True]
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)
