"""Client and Server, and Peer: single-part messages that say by number whose they are (RFC 41; libzmq.md 1.4)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from sockets.helpers import (
    RawPeer,
    all_of,
    both,
    dropped,
    fill,
    joined,
    joins,
    jumping,
    level,
    nothing,
    opened,
    raw_connect,
    reaches,
    remote,
    settle,
    zmtp_command,
    zmtp_message,
)

import trimq
from trimq import Channel, Client, EndpointState, HostUnreachable, Peer, RoutedMessage, Server
from trimq.testing import MemoryTransport

servers = pytest.mark.parametrize("kind", [Server, Peer])


def client_of(kind: Any) -> Any:
    return Client if kind is Server else Peer


async def one_way(socket: Any, body: bytes) -> None:
    """Sends to the one peer, by its number where it has one."""
    if isinstance(socket, Client | Channel):
        await socket.send(body)
    else:
        await socket.send(RoutedMessage(remote(socket).routing_id, body))


def body_of(message: Any) -> bytes:
    return message.body if isinstance(message, RoutedMessage) else b"".join(message)


@jumping
@both
@servers
async def test_both_ways(kind: Any, place: str) -> None:
    """test_client_server, test_peer: a message comes with its sender's number, never 0, and the answer goes there."""
    async with opened() as ctx:
        server, one, other = ctx.socket(kind), ctx.socket(client_of(kind)), ctx.socket(client_of(kind))
        await joined(ctx, server, one, other, place=place)
        numbers = set()
        for client, body in ((one, b"from one"), (other, b"from the other")):
            await one_way(client, body)
            question = await server.receive()
            assert isinstance(question, RoutedMessage)
            assert question.body == body
            assert 0 < question.routing_id < 1 << 32
            numbers.add(question.routing_id)
            await server.send(RoutedMessage(question.routing_id, b"to " + body))
            assert body_of(await client.receive()) == b"to " + body
        assert len(numbers) == 2
        await nothing(server, one, other)


@jumping
@both
@servers
async def test_an_unknown_number(kind: Any, place: str) -> None:
    """Unknown: EHOSTUNREACH, whatever the call, also for one that waits when its peer goes; nothing is queued."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        server, client = ctx.socket(kind), ctx.socket(client_of(kind))
        with pytest.raises(HostUnreachable, match="routing id 77"):
            await server.send(RoutedMessage(77, b"nobody"))
        await joined(ctx, server, client, place=place)
        number = remote(server).routing_id
        with pytest.raises(HostUnreachable):
            server.send_nowait(RoutedMessage(number % 0xFFFFFFFF + 1, b"nobody"))
        message = RoutedMessage(number, b"x" * 100_000)
        while True:
            fill(server, message)
            await settle()
            if not fill(server, message):
                break
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(HostUnreachable):
                    await server.send(message)

            await settle()
            client.close()


@jumping
@both
@servers
async def test_a_full_peer_holds_up_nobody_else(kind: Any, place: str) -> None:
    """Full: send waits for that peer, in line; others are served; wait_sendable needs one with room."""
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        server, one, other = ctx.socket(kind), ctx.socket(client_of(kind)), ctx.socket(client_of(kind))
        assert not await level(server.wait_sendable)
        await joined(ctx, server, one, other, place=place)
        first, second = (peer.routing_id for peer in server._remotes)
        message = RoutedMessage(first, b"x" * 100_000)
        sent = 0
        while more := fill(server, message):
            sent += more
            await settle()
        assert await level(server.wait_sendable)
        order: list[bytes] = []

        async def send(number: int, body: bytes) -> None:
            await server.send(RoutedMessage(number, body))
            order.append(body)

        async with trio.open_nursery() as nursery:
            for body in (b"1", b"2"):
                nursery.start_soon(send, first, body)
                await settle()
            await send(second, b"at once")
            assert order == [b"at once"]
            with pytest.raises(trio.WouldBlock):
                server.send_nowait(RoutedMessage(first, b"overtakes"))
            got = [body_of(message) for message in await all_of(one)]
        assert order[0] == b"at once"
        assert len(order) == 3
        got += [body_of(message) for message in await all_of(one)]
        assert got == [message.body] * sent + [b"1", b"2"]
        assert [body_of(message) for message in await all_of(other)] == [b"at once"]


@jumping
@both
@servers
async def test_what_is_no_message(kind: Any, place: str) -> None:
    """Single-part by type, and routed by number: all else is refused with what was expected, and nothing is sent."""
    async with opened() as ctx:
        server, client = ctx.socket(kind), ctx.socket(client_of(kind))
        await joined(ctx, server, client, place=place)
        for wrong in (b"bytes", [b"a", b"b"], [b"a"], "text", 7, None):
            for send in (server.send, server.send_nowait):
                with pytest.raises(
                    TypeError, match=rf"a {kind.__name__} sends trimq.RoutedMessage\(routing_id, body\)"
                ):
                    result = send(wrong)
                    await result
        await nothing(client)


@pytest.mark.parametrize("number", [0, -1, 1 << 32])
def test_numbers_that_are_none(number: int) -> None:
    """uint32, never 0."""
    with pytest.raises(ValueError, match="a routing id is a number from 1 to 4294967295"):
        RoutedMessage(number, b"")


def test_a_routed_message() -> None:
    """A value: frozen, equal by content, its body a copy of what is mutable, one frame, and its number a number."""
    data = bytearray(b"body")
    message = RoutedMessage(1, data)
    data[:] = b"late"
    assert message == RoutedMessage(1, memoryview(b"body"))
    assert hash(message) == hash(RoutedMessage(1, b"body"))
    assert type(message.body) is bytes
    with pytest.raises(AttributeError):
        message.body = b"other"  # type: ignore[misc]
    for wrong in ([b"a", b"b"], [b"a"], (b"a",), "text", None):
        with pytest.raises(TypeError):
            RoutedMessage(1, wrong)  # type: ignore[arg-type]
    for number in (b"1", "1", 1.0, True, None):
        with pytest.raises(TypeError, match="a routing id is a number"):
            RoutedMessage(number, b"")  # type: ignore[arg-type]


@jumping
@both
async def test_a_client_takes_turns(place: str) -> None:
    """CLIENT is DEALER without multipart: round-robin out, also by send_many; what is no frame is refused."""
    async with opened() as ctx:
        client, one, other = ctx.socket(Client), ctx.socket(Server), ctx.socket(Server)
        await joined(ctx, client, one, other, place=place)
        await client.send_many([b"0", bytearray(b"1"), memoryview(b"2"), b"3"])
        assert [message.body for message in await all_of(one)] == [b"0", b"2"]  # type: ignore[attr-defined]
        assert [message.body for message in await all_of(other)] == [b"1", b"3"]  # type: ignore[attr-defined]
        for wrong in ([b"a", b"b"], [b"a"], (b"a",), [], "text"):
            for values in ([wrong], (value for value in [wrong])):
                with pytest.raises(TypeError):
                    await client.send_many(values)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                await client.send(wrong)  # type: ignore[arg-type]
        await nothing(one, other)


@jumping
@pytest.mark.parametrize("kind", ["CLIENT", "SERVER", "PEER", "GATHER", "CHANNEL"])
async def test_several_frames_are_discarded_whole(kind: str) -> None:
    """wire.md 6, RFC 37: a peer's multi-part message is discarded whole and counted, and the connection is kept."""
    network = MemoryTransport()
    theirs = {"CLIENT": "SERVER", "SERVER": "CLIENT", "GATHER": "SCATTER"}.get(kind, kind)
    async with opened(network) as ctx:
        socket: Any = ctx.socket(getattr(trimq, kind.title()))
        socket.bind("tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(theirs.encode())
        await peer.stream.send_all(zmtp_message(b"a", b"b") + zmtp_message(b"one"))
        await settle()
        await peer.stream.send_all(zmtp_message(b"c", b"", b"d"))
        await settle()
        await peer.stream.send_all(zmtp_message(b"two"))
        assert list(map(body_of, await all_of(socket))) == [b"one", b"two"]
        assert dropped(socket) == [2]
        statistics = socket.statistics()
        assert (statistics.received, statistics.dropped, len(socket.peers)) == (2, 2, 1)


@jumping
@pytest.mark.parametrize(
    ("kind", "theirs"), [("Client", "SERVER"), ("Server", "CLIENT"), ("Peer", "PEER"), ("Channel", "CHANNEL")]
)
@pytest.mark.parametrize("binds", [True, False], ids=["binds", "connects"])
async def test_bytes_on_the_wire(kind: str, theirs: str, binds: bool) -> None:
    """wire.md 6, byte by byte, whoever binds: READY with no Identity, a hello first, single frames and no envelope."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        greets = {} if kind == "Channel" else {"hello_message": b"HI"}
        socket: Any = ctx.socket(getattr(trimq, kind), **greets)
        if binds:
            socket.bind("tcp://place:1")
            stream: trio.abc.Stream = await raw_connect(network)
        else:
            listener = network.bind("place:1", trimq.abc.Settings())
            socket.connect("tcp://place:1")
            stream = await listener.accept()
        name = theirs.encode()
        greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
        properties = b"\x0bSocket-Type" + len(name).to_bytes(4, "big") + name
        await stream.send_all(greeting + zmtp_command(b"READY", properties))
        await socket.wait_for_peers()
        large = b"y" * 256
        for body in (b"hello", b"", large):
            await one_way(socket, body)
        received = await RawPeer(stream).rest()
        own = kind.upper().encode()
        ready = zmtp_command(b"READY", b"\x0bSocket-Type" + len(own).to_bytes(4, "big") + own)
        hello = b"" if kind == "Channel" else b"\x00\x02\x48\x49"
        frames = b"\x00\x05hello" + b"\x00\x00" + b"\x02\0\0\0\0\0\0\x01\x00" + large
        assert received[64:] == ready + hello + frames
        await stream.send_all(frames)
        assert list(map(body_of, await all_of(socket))) == [b"hello", b"", large]


@jumping
@both
@servers
async def test_a_client_that_comes_again_has_another_number(kind: Any, place: str) -> None:
    """Reconnect of a client is a new id at SERVER; what the old one had sent can still be received, under its number."""
    async with opened() as ctx:
        server, client = ctx.socket(kind), ctx.socket(client_of(kind))
        await joined(ctx, server, client, place=place)
        await one_way(client, b"before")
        await settle()
        before = remote(server).routing_id
        client.close()
        await settle()
        again = ctx.socket(client_of(kind))
        await joins(again, place)
        await server.wait_for_peers()
        await one_way(again, b"after")
        await settle()
        first, second = await server.receive_many()
        assert first == RoutedMessage(before, b"before")
        assert second.body == b"after"
        assert second.routing_id == remote(server).routing_id != before


@jumping
@both
@servers
async def test_disconnect_peer_by_number(kind: Any, place: str) -> None:
    """zmq_disconnect_peer: that connection ends, the others stay; an unknown number is EHOSTUNREACH."""
    async with opened(reconnect_interval=1000) as ctx:
        server, one, other = ctx.socket(kind), ctx.socket(client_of(kind)), ctx.socket(client_of(kind))
        await joined(ctx, server, one, other, place=place)
        number = remote(server).routing_id
        server.disconnect_peer(number)
        await settle()
        assert (len(one.peers), len(other.peers), len(server.peers)) == (0, 1, 1)
        with pytest.raises(HostUnreachable, match=str(number)):
            server.disconnect_peer(number)
        server.disconnect_peer(server.peers[0])
        await settle()
        assert server.peers == other.peers == ()


@jumping
@both
async def test_connect_peer(place: str) -> None:
    """zmq_connect_peer: the number is known at once, and messages to it queue before anybody is there."""
    async with opened() as ctx:
        one, other = ctx.socket(Peer), ctx.socket(Peer)
        endpoint = one.connect(place)
        number = endpoint.routing_id
        assert isinstance(number, int)
        await one.send(RoutedMessage(number, b"early"))
        other.bind(place)
        message = await other.receive()
        assert message.body == b"early"
        await other.send(RoutedMessage(message.routing_id, b"answer"))
        assert await one.receive() == RoutedMessage(number, b"answer")
        assert endpoint.routing_id == number


@jumping
async def test_connect_peer_immediately() -> None:
    """With immediate there is no queue, and no number, before the peer is there (libzmq: EFAULT)."""
    async with opened() as ctx:
        ctx.socket(Peer).bind("tcp://place:1")
        later = ctx.socket(Peer, immediate=True).connect("tcp://place:1")
        assert later.routing_id is None  # libzmq: EFAULT
        await later.ready()
        assert isinstance(later.routing_id, int)


@jumping
async def test_a_peer_that_was_connected_to_keeps_its_number() -> None:
    """Its queue outlives connections (libzmq.md 1.6), and so does its number."""
    network = MemoryTransport()
    async with opened(network, reconnect_interval=1.0) as ctx:
        one, other = ctx.socket(Peer), ctx.socket(Peer)
        bound = other.bind("tcp://place:1")
        endpoint = await joins(one, "tcp://place:1")
        number = endpoint.routing_id
        assert isinstance(number, int)
        await other.wait_for_peers(1)
        other.disconnect_peer(other.peers[0])
        await reaches(endpoint, EndpointState.WAITING)
        await one.send(RoutedMessage(number, b"meanwhile"))
        assert (await other.receive()).body == b"meanwhile"
        assert endpoint.routing_id == number
        assert bound.routing_id is None


@jumping
@both
async def test_numbers_start_at_random(place: str) -> None:
    """Random start, unique within a socket; 0 is left out where the numbers begin again."""
    async with opened() as ctx:
        starts = {ctx.socket(Server)._by_id.make_id() for _ in range(5)}
        assert len(starts) > 1
        server, clients = ctx.socket(Server), [ctx.socket(Client) for _ in range(3)]
        server._by_id._last_id = 0xFFFFFFFE
        await joined(ctx, server, *clients, place=place)
        assert [peer.routing_id for peer in server._remotes] == [0xFFFFFFFF, 1, 2]
        server._by_id._last_id = 0xFFFFFFFE
        await joins(ctx.socket(Client), place)
        await server.wait_for_peers(4)
        assert list(server._remotes)[3].routing_id == 3
