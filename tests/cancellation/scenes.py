"""Scenes: every async call of a socket, set up so that it waits, with the means to let it go on.

All of them run on inproc and on a network in memory, so that every wait is trio's own and the autojump clock serves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq.testing import MemoryTransport

MINE = b"mine"  # what the scene's call sends, or is to receive
LONG = 60.0  # seconds (of a clock that jumps) after which nothing more will come


@attrs.define
class Scene:
    """A call that waits, and what belongs to it."""

    socket: Any  # that the call is made on
    call: Callable[[], Awaitable[Any]]
    unblock: Callable[[], Awaitable[None]]  # after it the call can return
    got: list[bytes] = attrs.field(factory=list[bytes])  # last frames of what the peer got of us, in order
    sends: bool = False
    arrive: Callable[[], None] | None = None  # as `unblock`, but the peer has sent when it returns


Make = Callable[[trimq.Context, str], Awaitable[Scene]]


@asynccontextmanager
async def scene_context(**options: Any) -> AsyncIterator[trimq.Context]:
    """A context whose tcp is in memory. What is still queued at its end is of no interest. A hang fails in virtual time."""
    with trio.fail_after(100 * LONG):
        async with trimq.open_context(transports=[MemoryTransport(buffer=64)], linger=0.0, **options) as context:
            yield context


async def joined(socket: Any, peer: Any, address: str) -> None:
    """Binds the one, connects the other, and waits until both know."""
    peer.connect(socket.bind(address))
    await socket.wait_for_peers(1)
    await peer.wait_for_peers(1)


def _text(message: Any) -> bytes:
    text: bytes = message[-1] if isinstance(message, list) else message.body
    return text


async def drain(socket: Any, into: list[bytes]) -> None:
    """Receives until nothing more comes."""
    while True:
        with trio.move_on_after(LONG) as scope:
            into.append(_text(await socket.receive()))
        if scope.cancelled_caught:
            return


async def fill(socket: Any, message: Any) -> int:
    """Sends until there is no room left, in the queues and on the way; returns how many that were."""
    sent = 0
    while True:
        try:
            socket.send_nowait(message)
            sent += 1
        except trio.WouldBlock:
            await wait_all_tasks_blocked()
            try:
                socket.send_nowait(message)
                sent += 1
            except trio.WouldBlock:
                return sent


ROUTED = (trimq.Server, trimq.Peer)  # whose messages have a number
SINGLE = (trimq.Client, trimq.Scatter, trimq.Channel)  # what they send is one frame


def of(socket: Any, text: bytes, prefix: tuple[Any, ...] = ()) -> Any:
    """The message that the socket sends with this text."""
    if isinstance(socket, SINGLE):
        return text
    if isinstance(socket, ROUTED):
        return trimq.RoutedMessage(prefix[0], text)
    return [*prefix, text] if prefix else text


# Who waits for a message


async def _receiving(
    kind: Any, peer_kind: Any, context: trimq.Context, address: str, *, dials: bool = False
) -> tuple[Any, Callable[[], Awaitable[None]], Callable[[], None]]:
    socket, peer = context.socket(kind), context.socket(peer_kind)
    if kind in (trimq.Sub, trimq.XSub):
        socket.subscribe(b"")
    if dials:
        await joined(peer, socket, address)
    else:
        await joined(socket, peer, address)
    if kind in (trimq.Sub, trimq.XSub):
        await peer.wait_for_subscribers(1, b"")
    prefix: tuple[Any, ...] = ()
    if peer_kind in ROUTED:
        prefix = tuple(peer._by_id.remotes)
    if kind is trimq.Stream:
        await socket.receive()  # the connection is told
        prefix = ((await peer.receive())[0],)
    if kind is trimq.Req:
        await socket.send(b"question")
        prefix = tuple((await peer.receive())[:2])

    async def unblock() -> None:
        await peer.send(of(peer, MINE, prefix))

    def arrive() -> None:
        with suppress(trimq.HostUnreachable):  # it may be closed by now
            peer.send_nowait(of(peer, MINE, prefix))

    return socket, unblock, arrive


def receive(kind: Any, peer_kind: Any, *, dials: bool = False) -> Make:
    async def make(context: trimq.Context, address: str) -> Scene:
        socket, unblock, arrive = await _receiving(kind, peer_kind, context, address, dials=dials)

        async def body() -> list[bytes]:
            return [_text(await socket.receive())]

        return Scene(socket, body if kind in ROUTED else socket.receive, unblock, arrive=arrive)

    return make


def receive_many(kind: Any, peer_kind: Any) -> Make:
    async def make(context: trimq.Context, address: str) -> Scene:
        socket, unblock, arrive = await _receiving(kind, peer_kind, context, address)

        async def call() -> Any:
            [message] = await socket.receive_many()
            return [_text(message)] if kind in ROUTED else message

        return Scene(socket, call, unblock, arrive=arrive)

    return make


def async_for(kind: Any, peer_kind: Any) -> Make:
    async def make(context: trimq.Context, address: str) -> Scene:
        socket, unblock, arrive = await _receiving(kind, peer_kind, context, address)

        async def call() -> Any:
            async for message in socket:
                return message
            raise AssertionError("async for over a socket never ends by itself")

        return Scene(socket, call, unblock, arrive=arrive)

    return make


def receivable(*, many: bool) -> Make:
    async def make(context: trimq.Context, address: str) -> Scene:
        socket, unblock, arrive = await _receiving(trimq.Pull, trimq.Push, context, address)
        other = context.socket(trimq.Sub)

        async def any_of_two() -> None:
            assert await trimq.wait_any(other, socket) == [socket]

        return Scene(socket, any_of_two if many else socket.wait_receivable, unblock, arrive=arrive)

    return make


# Who waits for room


async def _full(kind: Any, peer_kind: Any, context: trimq.Context, address: str) -> tuple[Scene, tuple[Any, ...]]:
    """A connected socket whose queue is full before there is anybody."""
    socket, peer = context.socket(kind, send_hwm=1), context.socket(peer_kind)
    scene = Scene(socket, socket.flush, socket.flush, sends=True)
    prefix: tuple[Any, ...] = ()
    if kind is trimq.Router:
        socket.mandatory = True
        prefix = (b"them",)
        socket.connect(address, routing_id=b"them")
    else:
        endpoint = socket.connect(address)
        if kind in ROUTED:
            prefix = (endpoint.routing_id,)
    socket.send_nowait(of(socket, b"first", prefix))

    async def unblock() -> None:
        if not peer.endpoints:
            peer.bind(address)
        await drain(peer, scene.got)

    scene.unblock = unblock
    return scene, prefix


async def _subscriber_full(
    kind: Any, peer_kind: Any, context: trimq.Context, address: str
) -> tuple[Scene, tuple[Any, ...]]:
    """A publisher that may drop nothing, and a subscriber that reads nothing."""
    socket, peer = context.socket(kind, nodrop=True, send_hwm=1), context.socket(peer_kind, receive_hwm=1)
    peer.subscribe(b"")
    await joined(socket, peer, address)
    await socket.wait_for_subscribers(1, b"")
    scene = Scene(socket, socket.flush, socket.flush, sends=True)
    assert await fill(socket, b"first") > 1

    async def unblock() -> None:
        await drain(peer, scene.got)

    scene.unblock = unblock
    return scene, ()


async def _nobody(kind: Any, peer_kind: Any, context: trimq.Context, address: str) -> tuple[Scene, tuple[Any, ...]]:
    """A bound socket without peers: mute (zmq_connect(3))."""
    socket, peer = context.socket(kind), context.socket(peer_kind)
    endpoint = socket.bind(address)
    scene = Scene(socket, socket.flush, socket.flush, sends=True)

    async def unblock() -> None:
        if not peer.endpoints:
            peer.connect(endpoint)
        await drain(peer, scene.got)

    scene.unblock = unblock
    return scene, ()


async def _stream_full(
    kind: Any, peer_kind: Any, context: trimq.Context, address: str
) -> tuple[Scene, tuple[Any, ...]]:
    socket, peer = context.socket(kind, send_hwm=1), context.socket(peer_kind, receive_hwm=1, notify=False)
    await joined(socket, peer, address)
    prefix = ((await socket.receive())[0],)
    scene = Scene(socket, socket.flush, socket.flush, sends=True)
    assert await fill(socket, [*prefix, b"-" * 64]) > 1
    pieces: list[bytes] = []

    async def unblock() -> None:
        await drain(peer, pieces)  # a stream has no messages: take the filling out of it
        scene.got[:] = [rest] if (rest := b"".join(pieces).replace(b"-", b"")) else []

    scene.unblock = unblock
    return scene, prefix


Fill = Callable[[Any, Any, trimq.Context, str], Awaitable[tuple[Scene, tuple[Any, ...]]]]
FULL: dict[Any, Fill] = {
    trimq.Pub: _subscriber_full,
    trimq.XPub: _subscriber_full,
    trimq.Req: _nobody,
    trimq.Stream: _stream_full,
}


def send(kind: Any, peer_kind: Any, full: Fill | None = None) -> Make:
    async def make(context: trimq.Context, address: str) -> Scene:
        scene, prefix = await (full or FULL.get(kind, _full))(kind, peer_kind, context, address)
        scene.call = lambda: scene.socket.send(of(scene.socket, MINE, prefix))
        return scene

    return make


def send_many(kind: Any, peer_kind: Any) -> Make:
    async def make(context: trimq.Context, address: str) -> Scene:
        scene, _ = await FULL.get(kind, _full)(kind, peer_kind, context, address)
        scene.call = lambda: scene.socket.send_many([MINE])
        return scene

    return make


def sendable(kind: Any, peer_kind: Any) -> Make:
    async def make(context: trimq.Context, address: str) -> Scene:
        scene, _ = await FULL.get(kind, _full)(kind, peer_kind, context, address)
        scene.call = scene.socket.wait_sendable
        scene.sends = False
        return scene

    return make


# Who waits for something else


async def flush(context: trimq.Context, address: str) -> Scene:
    scene, _ = await _full(trimq.Push, trimq.Pull, context, address)
    scene.call, scene.sends = scene.socket.flush, False
    return scene


async def ready(context: trimq.Context, address: str) -> Scene:
    scene, _ = await _full(trimq.Push, trimq.Pull, context, address)
    [endpoint] = scene.socket.endpoints
    scene.call, scene.sends = endpoint.ready, False
    return scene


async def peers(context: trimq.Context, address: str) -> Scene:
    scene, _ = await _nobody(trimq.Push, trimq.Pull, context, address)
    scene.call, scene.sends = scene.socket.wait_for_peers, False
    return scene


async def subscribers(context: trimq.Context, address: str) -> Scene:
    socket, peer = context.socket(trimq.Pub), context.socket(trimq.Sub)
    await joined(socket, peer, address)

    def arrive() -> None:
        peer.subscribe(b"topic")

    async def unblock() -> None:
        arrive()

    return Scene(socket, lambda: socket.wait_for_subscribers(1, b"topic.sub"), unblock, arrive=arrive)


# Calls of several steps, and sockets that have dialled


async def request(context: trimq.Context, address: str) -> Scene:
    """A question that goes out at once, and an answer that is waited for."""
    socket, peer = context.socket(trimq.Req), context.socket(trimq.Rep)
    await joined(socket, peer, address)

    def arrive() -> None:
        peer.receive_nowait()
        peer.send_nowait(MINE)

    async def unblock() -> None:
        await peer.receive()
        await peer.send(MINE)

    return Scene(socket, lambda: socket.request(b"question"), unblock, arrive=arrive)


async def receive_from(context: trimq.Context, address: str) -> Scene:
    """A receive that also says from whom."""
    socket, unblock, arrive = await _receiving(trimq.Pull, trimq.Push, context, address)

    async def call() -> Any:
        message, _ = await socket.receive_from()
        return message

    return Scene(socket, call, unblock, arrive=arrive)


async def any_of_many(context: trimq.Context, address: str) -> Scene:
    """wait_any over sockets of several types, the one with a message among them."""
    socket, unblock, arrive = await _receiving(trimq.Dealer, trimq.Dealer, context, address)
    others = [context.socket(kind) for kind in (trimq.Sub, trimq.Router, trimq.Pair)]

    async def call() -> Any:
        return await trimq.wait_any(*others, socket)

    return Scene(socket, call, unblock, arrive=arrive)


RECEIVE = {
    "Pull.receive": receive(trimq.Pull, trimq.Push),
    "Dealer.receive": receive(trimq.Dealer, trimq.Dealer),
    "Router.receive": receive(trimq.Router, trimq.Dealer),
    "Sub.receive": receive(trimq.Sub, trimq.Pub),
    "XPub.receive": receive(trimq.XPub, trimq.XSub),
    "XSub.receive": receive(trimq.XSub, trimq.Pub),
    "Pair.receive": receive(trimq.Pair, trimq.Pair),
    "Req.receive": receive(trimq.Req, trimq.Router),
    "Rep.receive": receive(trimq.Rep, trimq.Req),
    "Stream.receive": receive(trimq.Stream, trimq.Stream),
    "Client.receive": receive(trimq.Client, trimq.Server),
    "Server.receive": receive(trimq.Server, trimq.Client),
    "Gather.receive": receive(trimq.Gather, trimq.Scatter),
    "Channel.receive": receive(trimq.Channel, trimq.Channel),
    "Peer.receive": receive(trimq.Peer, trimq.Peer),
    "Client.receive_many": receive_many(trimq.Client, trimq.Server),
    "Server.receive_many": receive_many(trimq.Server, trimq.Client),
    "Gather.receive_many": receive_many(trimq.Gather, trimq.Scatter),
    "Channel.receive_many": receive_many(trimq.Channel, trimq.Channel),
    "Peer.receive_many": receive_many(trimq.Peer, trimq.Peer),
    "Pull.receive_many": receive_many(trimq.Pull, trimq.Push),
    "Dealer.receive_many": receive_many(trimq.Dealer, trimq.Dealer),
    "Router.receive_many": receive_many(trimq.Router, trimq.Dealer),
    "Sub.receive_many": receive_many(trimq.Sub, trimq.Pub),
    "XPub.receive_many": receive_many(trimq.XPub, trimq.XSub),
    "XSub.receive_many": receive_many(trimq.XSub, trimq.Pub),
    "Pair.receive_many": receive_many(trimq.Pair, trimq.Pair),
    "Req.receive_many": receive_many(trimq.Req, trimq.Router),
    "Rep.receive_many": receive_many(trimq.Rep, trimq.Req),
    "Stream.receive_many": receive_many(trimq.Stream, trimq.Stream),
    "Pull.receive_from": receive_from,
    "async for Pull": async_for(trimq.Pull, trimq.Push),
    "async for Sub": async_for(trimq.Sub, trimq.Pub),
}

SEND = {
    "Push.send": send(trimq.Push, trimq.Pull),
    "Push.send, nobody": send(trimq.Push, trimq.Pull, _nobody),
    "Dealer.send": send(trimq.Dealer, trimq.Dealer),
    "Pair.send": send(trimq.Pair, trimq.Pair),
    "Req.send": send(trimq.Req, trimq.Router),
    "Router.send": send(trimq.Router, trimq.Dealer),
    "Pub.send": send(trimq.Pub, trimq.Sub),
    "XPub.send": send(trimq.XPub, trimq.Sub),
    "Stream.send": send(trimq.Stream, trimq.Stream),
    "Client.send": send(trimq.Client, trimq.Server),
    "Server.send": send(trimq.Server, trimq.Client),
    "Scatter.send": send(trimq.Scatter, trimq.Gather),
    "Scatter.send, nobody": send(trimq.Scatter, trimq.Gather, _nobody),
    "Channel.send": send(trimq.Channel, trimq.Channel),
    "Peer.send": send(trimq.Peer, trimq.Peer),
    "Client.send_many": send_many(trimq.Client, trimq.Server),
    "Scatter.send_many": send_many(trimq.Scatter, trimq.Gather),
    "Channel.send_many": send_many(trimq.Channel, trimq.Channel),
    "Push.send_many": send_many(trimq.Push, trimq.Pull),
    "Dealer.send_many": send_many(trimq.Dealer, trimq.Dealer),
    "Pair.send_many": send_many(trimq.Pair, trimq.Pair),
    "Pub.send_many": send_many(trimq.Pub, trimq.Sub),
    "XPub.send_many": send_many(trimq.XPub, trimq.Sub),
}

LEVEL = {
    "wait_receivable": receivable(many=False),
    "wait_any": receivable(many=True),
    "Push.wait_sendable": sendable(trimq.Push, trimq.Pull),
    "Req.wait_sendable": sendable(trimq.Req, trimq.Router),
    "Router.wait_sendable": sendable(trimq.Router, trimq.Dealer),
    "Server.wait_sendable": sendable(trimq.Server, trimq.Client),
    "Channel.wait_sendable": sendable(trimq.Channel, trimq.Channel),
    "Pub.wait_sendable": sendable(trimq.Pub, trimq.Sub),
    "flush": flush,
    "ready": ready,
    "wait_for_peers": peers,
    "wait_for_subscribers": subscribers,
}

STEPS = {
    "request": request,
    "Pull.receive, dialled": receive(trimq.Pull, trimq.Push, dials=True),
    "Dealer.receive, dialled": receive(trimq.Dealer, trimq.Dealer, dials=True),
    "Sub.receive, dialled": receive(trimq.Sub, trimq.Pub, dials=True),
    "Pair.receive, dialled": receive(trimq.Pair, trimq.Pair, dials=True),
    "wait_any of four": any_of_many,
}

ADDRESSES = {"inproc": "inproc://scene", "memory": "tcp://scene:1"}


def cases(*groups: dict[str, Make]) -> dict[str, tuple[Make, str]]:
    """Every scene of these groups on every transport that can carry it."""
    return {
        f"{name}-{transport}": (make, address)
        for group in groups
        for name, make in group.items()
        for transport, address in ADDRESSES.items()
        if not (transport == "inproc" and "Stream" in name)
    }
