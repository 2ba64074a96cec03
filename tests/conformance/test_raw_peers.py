"""libzmq's own tests with peers that are made by hand (libzmq.md 7): heartbeats, subscriptions on the wire, and rubbish.

Each test bears the name of libzmq's program. Where it talks over tcp it is asked of trimq and of libzmq by the same lines
(see sides.py); where it is about time, of trimq alone, over a network in memory whose clock jumps.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from conformance.sides import Either, End
from sockets.helpers import RawPeer, jumping, opened, raw_connect, zmtp_command

import trimq
from trimq.events import Accepted, Disconnected, Event, EventStream
from trimq.testing import MemoryTransport

Fresh = Callable[[str], str]


# Rubbish


def rubbish(seed: int) -> bytes:
    """Anything, or something that begins as it should."""
    source = random.Random(seed)
    greeting = b"\xff\0\0\0\0\0\0\0\1\x7f\3\1NULL".ljust(64, b"\0")
    ready = zmtp_command(b"READY", b"\x0bSocket-Type\0\0\0\x03SUB")
    noise = source.randbytes(source.choice([1, 10, 100, 1000, 10_000]))
    return [noise, greeting[: source.randrange(11, 64)] + noise, greeting + noise, greeting + ready + noise][seed % 4]


async def connected_to(address: str) -> trio.SocketStream:
    """A client of what is bound there."""
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    return await trio.open_tcp_stream(host, int(port))


async def says(stream: trio.SocketStream, data: bytes) -> None:
    """Says it, and goes."""
    try:
        await stream.send_all(data)
        await stream.send_eof()
    except (trio.BrokenResourceError, OSError):
        pass
    await stream.aclose()


async def test_bind_null_fuzzer(either: Either, fresh: Fresh) -> None:
    """Clients that talk rubbish to a PUB: its subscriber is served all the same."""
    async with either() as library:
        pub, sub = await library.socket("XPUB", max_message_size=64 << 20), await library.socket("SUB")
        address = await pub.bind(fresh("tcp"))
        await sub.subscribe(b"")
        await sub.connect(address)
        assert await pub.receive() == [b"\1"]
        for seed in range(16):
            await says(await connected_to(address), rubbish(seed))
        await pub.send(b"HELLO")
        assert await sub.receive() == [b"HELLO"]


async def test_bind_stream_fuzzer(either: Either, fresh: Fresh) -> None:
    """Clients of a STREAM may say anything; who comes then is told, with an id and an address of its own."""
    async with either() as library:
        server = await library.socket("STREAM")
        address = await server.bind(fresh("tcp"))
        seen: set[bytes] = set()
        for seed in range(8):
            await says(await connected_to(address), rubbish(seed))
        client = await library.socket("DEALER")
        await client.connect(address)
        while len(seen) < 9:  # one more than those
            [name, data], known = await server.receive_with("Peer-Address")
            assert known == ["127.0.0.1"]
            if name not in seen:
                assert data == b""  # the first that is heard of somebody
            seen.add(name)


async def test_connect_null_fuzzer(either: Either, fresh: Fresh) -> None:
    """A server that talks rubbish to a SUB that connects: what else that one is connected to is heard all the same."""
    await _rubbish_from_servers("SUB", either, fresh)


async def test_connect_stream_fuzzer(either: Either, fresh: Fresh) -> None:
    """The same to a STREAM, which takes it for what it is."""
    await _rubbish_from_servers("STREAM", either, fresh)


async def _rubbish_from_servers(kind: str, either: Either, fresh: Fresh) -> None:
    async with either() as library, trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        served = trio.Semaphore(0)

        async def serve(stream: trio.SocketStream) -> None:
            await says(stream, rubbish(served.value))
            served.release()

        nursery.start_soon(trio.serve_listeners, serve, listeners)
        client, good = await library.socket(kind, reconnect_interval=0.01), await library.socket("XPUB")
        if kind == "SUB":
            await client.subscribe(b"")
        await client.connect(f"tcp://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        await served.acquire()
        await client.connect(await good.bind(fresh("tcp")))
        if kind == "SUB":
            assert await good.receive() == [b"\1"]
            await good.send(b"heard")
            while await client.receive() != [b"heard"]:  # rubbish may be a message of ZMTP 1.0
                pass
        else:
            while b"\xff\0\0\0\0\0\0\0\1\x7f" not in (await client.receive())[1]:  # how the good one begins
                pass
        nursery.cancel_scope.cancel()


# test_mock_pub_sub


async def shakes_hands(stream: trio.SocketStream, kind: bytes, minor: int) -> tuple[RawPeer, int]:
    """A peer of this type, and how long the other's READY was."""
    peer = RawPeer(stream)
    greeting = b"\xff\0\0\0\0\0\0\0\1\x7f\3%cNULL" % minor
    ready = zmtp_command(b"READY", b"\x0bSocket-Type\0\0\0%c%s" % (len(kind), kind))
    await stream.send_all(greeting.ljust(64, b"\0") + ready)
    await peer.exactly(64)
    header = await peer.exactly(2)
    assert header[0] == 4
    await peer.exactly(header[1])
    return peer, 2 + header[1]


SUBSCRIBE = b"\x04\x0b\x09SUBSCRIBEA", b"\0\2\1A"
dialects = pytest.mark.parametrize(("minor", "subscribe"), [(1, SUBSCRIBE[0]), (0, SUBSCRIBE[1])], ids=["3.1", "3.0"])


@dialects
async def test_mock_pub_sub_xpub(minor: int, subscribe: bytes, either: Either, fresh: Fresh) -> None:
    """An XPUB takes a subscription in the form of its peer's version; what it publishes is a plain message."""
    async with either() as library:
        pub = await library.socket("XPUB")
        peer, ready = await shakes_hands(await connected_to(await pub.bind(fresh("tcp"))), b"SUB", minor)
        assert ready == 28  # without an Identity
        await peer.stream.send_all(subscribe)
        assert await pub.receive() == [b"\1A"]
        await pub.send(b"ALOL")
        assert await peer.exactly(6) == b"\0\4ALOL"
        await peer.stream.aclose()


@dialects
async def test_mock_pub_sub_sub(minor: int, subscribe: bytes, either: Either, fresh: Fresh) -> None:
    """A SUB subscribes in the form of its peer's version."""
    async with either() as library:
        sub = await library.socket("SUB")
        address = await sub.bind(fresh("tcp"))
        await sub.subscribe(b"A")
        peer, ready = await shakes_hands(await connected_to(address), b"XPUB", minor)
        assert ready == 27
        assert await peer.exactly(len(subscribe)) == subscribe
        await peer.stream.send_all(b"\0\4ALOL")
        assert await sub.receive() == [b"ALOL"]
        await peer.stream.aclose()


# test_heartbeats

PAIRS = {"DEALER": "ROUTER", "REQ": "REP", "PULL": "PUSH", "SUB": "PUB", "PAIR": "PAIR"}
KINDS: dict[str, Any] = {
    kind.socket_type: kind for kind in (
        trimq.Dealer, trimq.Router, trimq.Req, trimq.Rep, trimq.Pull, trimq.Push, trimq.Sub, trimq.Pub, trimq.Pair,
    )
}  # fmt: skip


@asynccontextmanager
async def listened_to(kind: str, network: MemoryTransport, **options: Any) -> AsyncIterator[tuple[Any, Any]]:
    """A socket that is bound, as libzmq's defaults would have it, and its events."""
    async with opened(network, profile="libzmq", **options) as ctx:
        socket = ctx.socket(KINDS[kind])
        async with socket.events() as events:
            socket.bind("tcp://place:1")
            await events.receive()
            yield socket, events


def all_of(events: EventStream) -> Iterator[Event]:
    """The events so far; there are some."""
    yield events.receive_nowait()
    try:
        while True:
            yield events.receive_nowait()
    except trio.WouldBlock:
        pass


@jumping
async def test_heartbeats_that_nobody_answers() -> None:
    """A peer that has shaken hands and says nothing more is given up, though it speaks 3.0, which knows no PING."""
    network = MemoryTransport()
    async with listened_to("ROUTER", network, heartbeat_interval=0.05) as (_, events):
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"DEALER", minor=0)
        found = [await events.receive() for _ in range(3)]
        assert isinstance(found[0], Accepted)
        assert isinstance(found[-1], Disconnected)


@pytest.mark.parametrize(
    ("ping", "pong"),
    [
        (b"\x04\x0a\x04PING\0\0LOL", b"\x04\x08\x04PONGLOL"),
        (b"\x04\x41\x04PING\0\0LOL" + b"z" * 55, b"\x04\x15\x04PONGLOL" + b"z" * 13),
    ],
    ids=["short", "long"],
)
async def test_heartbeats_are_answered(ping: bytes, pong: bytes, either: Either, fresh: Fresh) -> None:
    """A PONG has the PING's context, up to 16 bytes of it; also for who sends no PING of its own."""
    async with either() as library:
        router = await library.socket("ROUTER")
        peer, _ = await shakes_hands(await connected_to(await router.bind(fresh("tcp"))), b"DEALER", 0)
        await peer.stream.send_all(ping)
        assert await peer.exactly(len(pong)) == pong
        await peer.stream.aclose()


@jumping
@pytest.mark.parametrize("connector", PAIRS)
async def test_heartbeats_ttl(connector: str) -> None:
    """Who announces 0.1 s and then says nothing for longer is given up by a side that sends no PINGs itself."""
    network = MemoryTransport()
    options = {"heartbeat_ttl": 0.1, "heartbeat_interval": 0.25, "reconnect_interval": math.inf}
    async with listened_to(PAIRS[connector], network) as (_, events), opened(network, profile="libzmq") as ctx:
        socket = ctx.socket(KINDS[connector], **options)
        socket.connect("tcp://place:1")
        found = [await events.receive() for _ in range(3)]
        assert isinstance(found[0], Accepted)
        assert isinstance(found[-1], Disconnected)


@jumping
@pytest.mark.parametrize("profile", ["libzmq", "trimq"])
@pytest.mark.parametrize("connector", PAIRS)
async def test_heartbeats_of_the_living(connector: str, profile: Any) -> None:
    """One side sends a PING each 50 ms, the other just answers: after 10 s it is the same connection."""
    network = MemoryTransport()
    async with (
        listened_to(PAIRS[connector], network, heartbeat_interval=0.05) as (binder, events),
        opened(network, profile=profile) as ctx,
    ):
        socket = ctx.socket(KINDS[connector])
        async with socket.events() as told:
            await socket.connect("tcp://place:1").ready()
            await binder.wait_for_peers()
            [peer] = binder.peers
            await trio.sleep(10)  # of the clock that jumps
            assert binder.peers == (peer,)
            assert not any(isinstance(event, Disconnected) for event in [*all_of(events), *all_of(told)])


@pytest.mark.parametrize(("seconds", "refused"), [(65.5, False), (6553.6, True)])
async def test_heartbeats_ttl_values(seconds: float, refused: bool, either: Either) -> None:
    """What does not fit a PING is refused."""
    async with either() as library:
        socket: End = await library.socket("ROUTER")
        assert bool(await socket.refuses("set", "heartbeat_ttl", seconds)) is refused


async def test_heartbeats_ttl_is_what_is_told(either: Either) -> None:
    """trimq refuses more than 65.5 s, which peers take for much less (libzmq.md 8.1); libzmq takes up to 6553.5 s."""
    async with either() as library:
        socket = await library.socket("ROUTER")
        assert await socket.refuses("set", "heartbeat_ttl", 6553.5) == ("EINVAL" if library.is_trimq else "")
