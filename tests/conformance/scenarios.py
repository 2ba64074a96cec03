"""What the tests of the RFCs' clauses share: peers made by hand, and clauses that several socket types have in common.

Everything here runs over a network in memory with a clock that jumps (sockets/helpers.py); nothing here builds what a peer
says with the code under test.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from sockets.helpers import RawPeer, all_of, fill, level, nothing, opened as _opened, raw_connect, settle, zmtp_message

import trimq
from trimq import Dealer, Pair, Pull, Push, Rep, Req, Router, Sub, XSub
from trimq.testing import MemoryTransport

PLACE = "tcp://place:1"

PEERS: dict[type[trimq.Socket], type[trimq.Socket]] = {
    Req: Rep, Dealer: Router, Router: Dealer, Push: Pull, Pull: Push, Pair: Pair, Sub: trimq.Pub, XSub: trimq.XPub,
    trimq.Pub: Sub, trimq.XPub: XSub, Rep: Req,
}  # fmt: skip
"""For each type, one that it talks to."""


def by_hand(kind: type[trimq.Socket]) -> bytes:
    """The socket type that a peer of this one announces."""
    return PEERS[kind].socket_type.encode()


def opened(network: MemoryTransport | None = None, **defaults: Any) -> AbstractAsyncContextManager[trimq.Context]:
    """A context on a memory network. No heartbeats: the clock jumps, and a peer made by hand would see PINGs."""
    return _opened(network, **{"heartbeat_interval": math.inf, **defaults})


@asynccontextmanager
async def bound(kind: type[Any], **options: Any) -> AsyncIterator[tuple[Any, MemoryTransport]]:
    """A socket of this type, bound at `PLACE`, on a network whose connections hold little."""
    network = MemoryTransport(buffer=200)
    async with opened(network) as ctx:
        socket = ctx.socket(kind, **options)
        socket.bind(PLACE)
        if kind is Sub:
            socket.subscribe(b"")
        yield socket, network


async def raw(network: MemoryTransport, kind: type[trimq.Socket], **handshake: Any) -> RawPeer:
    """A peer made by hand of a bound socket of this type, its handshake complete."""
    peer = RawPeer(await raw_connect(network))
    await peer.handshake(by_hand(kind), **handshake)
    await settle()
    return peer


async def say(peer: RawPeer, *frames: bytes) -> None:
    """The peer sends one message, and it has arrived."""
    await peer.stream.send_all(zmtp_message(*frames))
    await settle()


def to(kind: type[trimq.Socket], body: bytes, peer: bytes = b"P") -> Any:
    """What is sent with this type so that its peer, called ``peer``, gets the body."""
    return [peer, body] if kind is Router else [body]


def from_(kind: type[trimq.Socket], message: list[bytes]) -> bytes:
    """The body of what was received with this type."""
    return message[-1]


# Queues: the clauses that RFC 28, 29, 30 and 31 have in common


async def queue_at_connect(kind: type[Any]) -> None:
    """A queue is there from `connect` on, before anybody listens: what is sent into it arrives, once somebody does."""
    network = MemoryTransport()
    async with opened(network, send_hwm=3) as ctx:
        socket = ctx.socket(kind)
        if kind is Router:  # a queue that is sent to by its id needs one
            socket.connect(PLACE, routing_id=b"P")
            for n in range(3):
                socket.send_nowait(to(kind, b"%d" % n))
            socket.mandatory = True
            with pytest.raises(trio.WouldBlock):
                socket.send_nowait(to(kind, b"no room"))
        else:
            assert fill(socket) == 0
            socket.connect(PLACE)
            for n in range(3):
                socket.send_nowait(b"%d" % n)
            assert fill(socket) == 0
        await settle()
        other = ctx.socket(PEERS[kind])
        other.bind(PLACE)
        assert [from_(kind, await other.receive()) for _ in range(3)] == [b"0", b"1", b"2"]


async def queue_through_a_loss(kind: type[Any]) -> None:
    """The queue of a connecting socket stays while there is no connection, and what is in it goes to the next one."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        socket, other = ctx.socket(kind), ctx.socket(PEERS[kind])
        endpoint = other.bind(PLACE)
        await (socket.connect(PLACE, routing_id=b"P") if kind is Router else socket.connect(PLACE)).ready()
        socket.send_nowait(to(kind, b"before"))
        assert from_(kind, await other.receive()) == b"before"
        other.unbind(endpoint)
        await settle()
        assert socket.peers == ()
        socket.send_nowait(to(kind, b"meanwhile"))
        await settle()
        other.bind(PLACE)
        assert from_(kind, await other.receive()) == b"meanwhile"


async def queue_of_a_guest(kind: type[Any]) -> None:
    """A bound socket has a queue for each peer that connects, with marks of its own, and none before."""
    async with bound(kind, send_hwm=1) as (socket, network):
        if kind is Router:
            socket.mandatory = True
            with pytest.raises(trimq.HostUnreachable):
                socket.send_nowait(to(kind, b"nobody"))
        else:
            assert fill(socket) == 0
        peer = await raw(network, kind, identity=b"P")
        socket.send_nowait(to(kind, b"one"))
        assert await peer.exactly(5) == zmtp_message(b"one")
        if kind is Pair:
            return
        other = await raw(network, kind, identity=b"Q")
        sent = 0
        while True:
            await settle()
            try:
                socket.send_nowait(to(kind, b"x" * 100, b"P"))
            except trio.WouldBlock:
                break
            sent += 1
            assert sent < 100
        if kind is Router:  # P is full; Q is another queue
            socket.send_nowait(to(kind, b"two", b"Q"))
            assert await other.exactly(5) == zmtp_message(b"two")
        else:
            assert zmtp_message(b"x" * 100) in await peer.rest()
            assert zmtp_message(b"x" * 100) in await other.rest()


async def queue_destroyed(kind: type[Any]) -> None:
    """When a peer that had connected goes away, nothing more can be queued for it."""
    async with bound(kind) as (socket, network):
        peer = await raw(network, kind, identity=b"P")
        socket.send_nowait(to(kind, b"one"))
        await settle()
        peer.stream.cut()
        await settle()
        assert list(socket._remotes) == []
        if kind is Router:
            socket.mandatory = True
            with pytest.raises(trimq.HostUnreachable):
                socket.send_nowait(to(kind, b"gone"))
        else:
            assert fill(socket) == 0


async def queued_is_discarded(kind: type[Any]) -> None:
    """What was queued for a peer that had connected is discarded when it goes: the next one does not get it."""
    async with bound(kind) as (socket, network):
        peer = await raw(network, kind, identity=b"P")
        for _ in range(20):
            socket.send_nowait(to(kind, b"old" * 30))
        await settle()
        assert len(next(iter(socket._remotes)).outbox) > 5
        peer.stream.cut()
        await settle()
        peer = await raw(network, kind, identity=b"P")
        socket.send_nowait(to(kind, b"new"))
        await settle()
        assert await peer.rest() == zmtp_message(b"new")


async def unread_stays(kind: type[Any]) -> None:
    """The deviation: what came from a peer that went away can still be received (libzmq does not discard it, either)."""
    async with bound(kind) as (socket, network):
        peer = await raw(network, kind)
        for n in range(3):
            await say(peer, b"%d" % n)
        peer.stream.cut()
        await settle()
        assert socket.peers == ()
        assert [from_(kind, message) for message in await all_of(socket)] == [b"0", b"1", b"2"]
        assert socket._sources() == ()  # and now it is gone


async def double_queue(kind: type[Any]) -> None:
    """What goes out and what comes in wait independently: either way may be full, and the other goes on."""
    network = MemoryTransport(buffer=200)
    async with opened(network, send_hwm=2, receive_hwm=2) as ctx:
        socket = ctx.socket(kind, **({"mandatory": True} if kind is Router else {}))
        socket.bind(PLACE)
        peer = await raw(network, kind, identity=b"P")
        # it reads nothing: our way out fills up, what it says comes in
        sent = 0
        with pytest.raises(trio.WouldBlock):
            while sent < 100:
                socket.send_nowait(to(kind, b"out%03d" % sent + bytes(44)))
                sent += 1
                await settle()
        assert sent >= 4
        await say(peer, b"in")
        assert from_(kind, await socket.receive()) == b"in"
        # it floods us: our way in fills up, what we say goes out
        flood = zmtp_message(bytes(50)) * 50
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stream.send_all, flood)
            for n in range(sent):
                assert await peer.exactly(52) == zmtp_message(b"out%03d" % n + bytes(44))
            await settle()
            socket.send_nowait(to(kind, b"still"))
            assert await peer.exactly(7) == zmtp_message(b"still")
            assert len(next(iter(socket._remotes)).inbox) < 50
            nursery.cancel_scope.cancel()


# Routing: fair queueing, round robin, blocking


async def fair_queueing(kind: type[Any], before: tuple[bytes, ...] = ()) -> None:
    """Of three peers of which one has sent much, one is heard after the other, while they have something."""
    async with bound(kind) as (socket, network):
        peers = [await raw(network, kind) for _ in range(3)]
        for name, peer in zip(b"abc", peers, strict=True):
            for n in range({97: 5, 98: 2, 99: 3}[name]):
                await say(peer, *before, b"%c%d" % (name, n))
        heard: list[bytes] = []
        for _ in range(10):
            heard.append(from_(kind, await socket.receive()))
            if kind is Rep:
                await socket.send(b"")
        assert [name[:1] for name in heard[:6]] == [b"a", b"b", b"c"] * 2
        assert sorted(heard[6:]) == [b"a2", b"a3", b"a4", b"c2"]
        assert [name for name in heard if name[:1] == b"a"] == [b"a%d" % n for n in range(5)]


async def blocks_without_peers(kind: type[Any], receive: str = "receive") -> None:
    """While there is nobody a send waits (or says so at once), takes nothing in, and goes on when somebody comes."""
    async with bound(kind) as (socket, network):
        with pytest.raises(trio.WouldBlock):
            socket.send_nowait(b"refused")
        assert not await level(lambda: socket.send(b"given up"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.send, b"kept")
            await settle()
            peer = await raw(network, kind)
        assert await peer.rest() == zmtp_message(*[b""] * (kind is Req), b"kept")


async def never_discards(kind: type[Any]) -> None:
    """With queues full up to the mark a send waits; all that was accepted arrives, nothing is dropped."""
    network = MemoryTransport(buffer=200)
    async with opened(network, send_hwm=2) as ctx:
        socket = ctx.socket(kind)
        socket.bind(PLACE)
        peer = await raw(network, kind)
        sent = 0
        while await level(lambda: socket.send(b"%02d" % sent + bytes(50))):  # noqa: B023
            sent += 1
            assert sent < 100
        with pytest.raises(trio.WouldBlock):
            socket.send_nowait(b"refused")
        assert [remote.dropped for remote in socket._remotes] == [0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.send, b"%02d" % sent + bytes(50))
            for n in range(sent + 1):
                assert await peer.exactly(54) == zmtp_message(b"%02d" % n + bytes(50))
        assert await peer.rest() == b""


async def available_while_not_full(kind: type[Any]) -> None:
    """A peer whose queue is full is passed over; it gets its share again when there is room."""
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        socket, full, quick = ctx.socket(kind), ctx.socket(PEERS[kind]), ctx.socket(PEERS[kind])
        socket.bind("inproc://place")
        for peer in (full, quick):
            await peer.connect("inproc://place").ready()
        for n in range(12):
            socket.send_nowait(b"%d" % n)
            if n >= 2:
                while await quick_one(quick):
                    pass
        assert [from_(kind, message) for message in await all_of(full)] == [b"0", b"2", b"4", b"6"]
        for n in range(12, 16):
            socket.send_nowait(b"%d" % n)
        assert len(await all_of(full)) == len(await all_of(quick)) == 2


async def quick_one(socket: Any) -> bool:
    """Takes a message, if there is one."""
    try:
        socket.receive_nowait()
    except trio.WouldBlock:
        return False
    return True


async def only_sends(kind: type[Any]) -> None:
    """It has no way to receive, and what a peer sends it is read and forgotten: nobody is held up, nothing is answered."""
    assert not hasattr(kind, "receive")
    assert not hasattr(kind, "receive_nowait")
    async with bound(kind, receive_hwm=1) as (socket, network):
        peer = await raw(network, kind)
        for _ in range(100):
            await say(peer, b"unasked" * 10)  # returns only since it is read
        assert len(socket.peers) == 1
        assert await peer.rest() == b""


async def only_receives(kind: type[Any]) -> None:
    """It has no way to send a message, and a peer of it hears none."""
    assert not hasattr(kind, "send")
    assert not hasattr(kind, "send_nowait")
    async with bound(kind) as (socket, network):
        peer = await raw(network, kind)
        heard = await peer.rest()
        await say(peer, b"a message")
        assert from_(kind, await socket.receive()) == b"a message"
        assert heard + await peer.rest() in (b"", b"\x04\x0a\x09SUBSCRIBE")
        await nothing(socket)


BODIES: tuple[list[bytes], ...] = (
    [b""],
    [b"one"],
    [b"\0\1\xff" * 5, b"", b"x" * 300],
    [b"a", b"", b"b", b""],
    [bytes(range(256)) * 10],
)
"""Messages to be carried as they are: empty frames first and last, every byte there is, short and long."""


# Queues of what comes in


async def inbox_at_connect(kind: type[Any]) -> None:
    """It is there from `connect` on, with its mark, before anybody listens; what comes then comes into it."""
    network = MemoryTransport()
    async with opened(network, receive_hwm=7) as ctx:
        socket, other = ctx.socket(kind), ctx.socket(PEERS[kind])
        socket.connect(PLACE)
        await settle()
        [remote] = socket._remotes
        assert (len(remote.inbox), remote.inbox.hwm) == (0, 7)
        other.bind(PLACE)
        await socket.wait_for_peers()
        await subscribe(socket, other)
        other.send_nowait(b"x")
        await settle()
        assert (list(socket._remotes), len(remote.inbox)) == ([remote], 1)


async def inbox_through_a_loss(kind: type[Any]) -> None:
    """It outlives a connection: what is in it stays, and what the next connection brings comes after it."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        socket, other = ctx.socket(kind), ctx.socket(PEERS[kind])
        other.bind(PLACE)
        await socket.connect(PLACE).ready()
        await subscribe(socket, other)
        other.send_nowait(b"0")
        other.send_nowait(b"1")
        await settle()
        [remote] = socket._remotes
        network.drop_all()
        await settle()
        assert socket.peers == ()
        assert (list(socket._remotes), len(remote.inbox)) == ([remote], 2)
        await socket.wait_for_peers()
        await subscribe(socket, other)
        other.send_nowait(b"2")
        await settle()
        assert (list(socket._remotes), len(remote.inbox)) == ([remote], 3)
        assert await all_of(socket) == [[b"0"], [b"1"], [b"2"]]


async def inbox_of_a_guest(kind: type[Any]) -> None:
    """One for each peer that connects: whoever floods fills only its own."""
    async with bound(kind, receive_hwm=2) as (socket, network):
        loud, quiet = await raw(network, kind), await raw(network, kind)
        assert len(socket._remotes) == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loud.stream.send_all, zmtp_message(b"loud" * 20) * 50)
            await settle()
            await say(quiet, b"quiet")
            waiting = [len(remote.inbox) for remote in socket._remotes]
            assert 2 <= waiting[0] < 20
            assert waiting[1] == 1
            assert [b"quiet"] in [await socket.receive() for _ in range(2)]
            nursery.cancel_scope.cancel()


async def subscribe(socket: Any, publisher: Any) -> None:
    """Subscribes, once, to everything, where that is needed, and waits until the other side knows."""
    if isinstance(socket, (Sub, XSub)):
        if not socket._topics:
            socket.subscribe(b"")
        await publisher.wait_for_subscribers(1, b"")
    await settle()


async def delivers_all(kind: type[Any]) -> None:
    """Every message reaches the program, once, in order."""
    async with bound(kind) as (socket, network):
        peer = await raw(network, kind)
        if kind is XSub:
            socket.subscribe(b"")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stream.send_all, b"".join(zmtp_message(b"%d" % n) for n in range(500)))
            assert [from_(kind, await socket.receive()) for _ in range(500)] == [b"%d" % n for n in range(500)]
        await nothing(socket)


async def receives_unchanged(kind: type[Any]) -> None:
    """Messages come as they are."""
    async with bound(kind) as (socket, network):
        peer = await raw(network, kind)
        for body in BODIES:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.stream.send_all, zmtp_message(*body))
                assert await socket.receive() == body


async def sends_unchanged(kind: type[Any]) -> None:
    """Messages go as they are."""
    async with bound(kind) as (socket, network):
        peer = await raw(network, kind)
        if kind in (trimq.Pub, trimq.XPub):
            await say(peer, b"\1")
        for body in BODIES:
            await socket.send(body)
            assert await peer.exactly(len(zmtp_message(*body))) == zmtp_message(*body)


async def nothing_beyond_the_queues(kind: type[Any]) -> None:
    """Nothing is taken in beyond what the queues of those who are there hold."""
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        socket, peers = ctx.socket(kind), [ctx.socket(PEERS[kind]) for _ in range(1 if kind is Pair else 3)]
        socket.bind("inproc://place")
        for peer in peers:
            await peer.connect("inproc://place").ready()
        for _ in range(4 * len(peers)):
            socket.send_nowait(b"")
        with pytest.raises(trio.WouldBlock):
            socket.send_nowait(b"")
        assert not await level(socket.wait_sendable)
        assert [len(await all_of(peer)) for peer in peers] == [4] * len(peers)


async def round_robin(kind: type[Any]) -> None:
    """One message to each in turn, whole."""
    async with bound(kind) as (socket, network):
        peers = [await raw(network, kind) for _ in range(3)]
        for n in range(7):
            await socket.send([b"%d" % n, b"x"])
        await settle()
        assert [await peer.rest() for peer in peers] == [
            b"".join(zmtp_message(b"%d" % n, b"x") for n in range(7) if n % 3 == turn) for turn in range(3)
        ]


async def queue_through_a_loss_upstream() -> None:
    """What an XSub sends while its connection is down goes out with the next one."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        xsub, xpub = ctx.socket(XSub), ctx.socket(trimq.XPub)
        endpoint = xpub.bind(PLACE)
        await xsub.connect(PLACE).ready()
        xpub.unbind(endpoint)
        await settle()
        assert xsub.peers == ()
        xsub.send_nowait(b"meanwhile")
        await settle()
        xpub.bind(PLACE)
        assert await xpub.receive() == [b"meanwhile"]
