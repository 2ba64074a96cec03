"""Stream: raw bytes (ZMQ_STREAM); libzmq's test_stream, test_stream_disconnect, _empty, _exceeds_buffer, _timeout.

Over the network in memory with a clock that jumps; and over real tcp, where the bytes and the closing matter.
"""

from __future__ import annotations

import socket as stdlib_socket
from typing import Any

import pytest
import trio
from sockets.helpers import (
    all_of,
    dropped,
    fill,
    joins,
    jumping,
    level,
    nothing,
    opened,
    raw_connect,
    reaches,
    remote,
    settle,
)

import trimq
from trimq import Dealer, EndpointState, HostUnreachable, IncompatibleProtocol, Router, Stream
from trimq.testing import MemoryTransport

PLACE = "tcp://place:1"
TCP = "tcp://127.0.0.1:*"


async def two(ctx: trimq.Context, **options: Any) -> tuple[Stream, bytes, Stream, bytes, trimq.Endpoint]:
    """A bound and a connected Stream, each with the id of the other, their notifications read."""
    bound, connected = ctx.socket(Stream, **options), ctx.socket(Stream, **options)
    bound.bind(PLACE)
    endpoint = await joins(connected, PLACE)
    await bound.wait_for_peers()
    there, empty = await bound.receive()
    assert empty == b""
    assert await connected.receive() == [endpoint.routing_id, b""]
    assert endpoint.routing_id is not None
    return bound, there, connected, endpoint.routing_id, endpoint


# Ids and notifications


@jumping
async def test_connections_and_their_ends_are_told() -> None:
    """STREAM_NOTIFY, on by default: [id][empty] on connect and on disconnect, behind what came before (1.4)."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        stream = ctx.socket(Stream)
        stream.bind(PLACE)
        one, other = await raw_connect(network), await raw_connect(network)
        await settle()
        (a, empty), (b, _) = await all_of(stream)
        assert empty == b""
        assert a != b
        assert len(a) == len(b) == 5
        assert a[0] == b[0] == 0
        await one.send_all(b"last")
        await one.aclose()
        assert (await all_of(stream))[-1] in ([a, b""], [b, b""])
        await other.aclose()
        assert len(await all_of(stream)) == 1
        assert stream.peers == ()


@jumping
async def test_what_came_before_the_end_is_read_before_it() -> None:
    """Bytes received before the close stay readable ahead of the disconnect notice."""
    async with opened(linger=10) as ctx:
        bound, there, connected, here, endpoint = await two(ctx)
        await connected.send([here, b"x" * 24])
        await settle()
        assert await bound.receive() == [there, b"x" * 24]
        await bound.send([there, b"y" * 17])
        assert await connected.receive() == [here, b"y" * 17]
        await connected.send([here, b"last words"])
        await connected.send([here, b""])  # test_stream_disconnect: the client closes
        assert await all_of(bound) == [[there, b"last words"], [there, b""]]
        await nothing(connected)  # no echo to who closed it; a connector does not reconnect (1.4)
        assert endpoint.state is EndpointState.CLOSED
        await trio.sleep(100)
        assert bound.peers == connected.peers == ()


@jumping
async def test_without_notify() -> None:
    """STREAM_NOTIFY off: only bytes; they tell the id (test_connect_rid)."""
    async with opened(notify=False) as ctx:
        bound, connected = ctx.socket(Stream), ctx.socket(Stream)
        bound.bind(PLACE)
        endpoint = await joins(connected, PLACE)
        await nothing(bound, connected)
        await connected.send([endpoint.routing_id, b"hi"])
        peer, data = await bound.receive()
        assert (peer[0], data) == (0, b"hi")
        connected.close()
        await nothing(bound)


@jumping
async def test_connect_with_an_id() -> None:
    """test_connect_rid: CONNECT_ROUTING_ID names the peer; what is sent before there is a connection is queued (1.4)."""
    async with opened() as ctx:
        bound, connected = ctx.socket(Stream, notify=False), ctx.socket(Stream)
        endpoint = connected.connect(PLACE, routing_id=b"conn1")
        assert endpoint.routing_id == b"conn1"
        await connected.send([b"conn1", b"hi 1"])
        bound.bind(PLACE)
        peer, data = await bound.receive()
        assert data == b"hi 1"
        await bound.send([peer, b"hi 2"])
        assert await all_of(connected) == [[b"conn1", b""], [b"conn1", b"hi 2"]]
        with pytest.raises(ValueError, match="there already"):
            connected.connect("tcp://place:2", routing_id=b"conn1")


@jumping
async def test_a_connector_reconnects() -> None:
    """When the other side closes: [id][empty], a new connection, and the same id again with [id][empty] (1.4, verified)."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        bound, there, connected, here, endpoint = await two(ctx)
        await bound.send([there, b""])
        assert await connected.receive() == [here, b""]
        assert await connected.receive() == [here, b""]
        await endpoint.ready()
        await connected.send([here, b"again"])
        again, empty = await bound.receive()
        assert again != there
        assert empty == b""
        assert await bound.receive() == [again, b"again"]


# Sending


@jumping
async def test_unknown_peers() -> None:
    """EHOSTUNREACH, for who never was and for who is gone; bytes of a known one pass."""
    async with opened() as ctx:
        bound, there, connected, _, _ = await two(ctx)
        for send in (bound.send_nowait, bound.send):
            with pytest.raises(HostUnreachable, match="routing id"):
                result = send([b"\0none", b"x"])
                if result is not None:
                    await result
        with pytest.raises(HostUnreachable):
            await bound.send([b"\0none", b""])
        connected.close()
        await settle()
        assert await all_of(bound) == [[there, b""]]
        for data in (b"x", b""):
            with pytest.raises(HostUnreachable):
                await bound.send([there, data])


@jumping
@pytest.mark.parametrize("value", [b"", b"xyzzy", [b"x"], [b"x", b"y", b"z"], (b"x",) * 4, bytearray(b"xx")], ids=repr)
async def test_exactly_two_frames(value: Any) -> None:
    """The id and one frame of bytes (1.2); anything else is a ValueError that says so."""
    async with opened() as ctx:
        stream = ctx.socket(Stream)
        for send in (stream.send_nowait, stream.send):
            with pytest.raises(ValueError, match="routing id"):
                result = send(value)
                if result is not None:
                    await result


@jumping
async def test_a_full_peer() -> None:
    """EAGAIN or wait while the peer's queue is full (1.2); others are served; the level is always set (POLLOUT always)."""
    network = MemoryTransport(buffer=100)
    async with opened(network, send_hwm=2) as ctx:
        stream = ctx.socket(Stream)
        stream.bind(PLACE)
        deaf = await raw_connect(network)
        peer, _ = await stream.receive()
        count = 0
        while await level(lambda: stream.send([peer, b"%03d" % count + b"x" * 97])):  # noqa: B023
            count += 1
        assert 2 <= count < 10
        with pytest.raises(trio.WouldBlock):
            stream.send_nowait([peer, b"y"])
        assert await level(stream.wait_sendable)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send, [peer, b"waits"])
            await settle()
            assert await level(stream.wait_sendable)
            other = await raw_connect(network)
            another, _ = await stream.receive()
            await stream.send([another, b"hello"])
            assert await other.receive_some() == b"hello"
            received = bytearray()
            while not received.endswith(b"waits"):
                received += await deaf.receive_some()
        assert received == b"".join(b"%03d" % n + b"x" * 97 for n in range(count)) + b"waits"
        assert dropped(stream) == [0, 0]


@jumping
@pytest.mark.parametrize("linger", [0, 10])
async def test_an_empty_frame_closes(linger: float) -> None:
    """test_stream: zero-length data closes the connection after earlier data is written, whatever the socket's linger."""
    network = MemoryTransport(buffer=1000)
    async with opened(network, linger=linger) as ctx:
        stream = ctx.socket(Stream)
        stream.bind(PLACE)
        peer = await raw_connect(network)
        there, _ = await stream.receive()
        await stream.send([there, b"x" * 50_000])
        await stream.send([there, b""])
        with pytest.raises(HostUnreachable):
            await stream.send([there, b"too late"])
        received = bytearray()
        while data := await peer.receive_some():
            received += data
        assert received == b"x" * 50_000
        await peer.aclose()
        await nothing(stream)  # who closed it need not be told
        assert stream.peers == ()


@jumping
async def test_closing_at_once() -> None:
    """test_stream_empty: [id][empty] right after the connect notification; the message is done with, and so is the peer."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        stream = ctx.socket(Stream)
        stream.bind(PLACE)
        peer = await raw_connect(network)
        message = await stream.receive()
        await stream.send(message)
        assert await peer.receive_some() == b""


# Receiving


@jumping
async def test_pieces_of_what_came() -> None:
    """At most 8,192 bytes a message (in_batch_size), nothing lost at the boundary (test_stream_exceeds_buffer)."""
    network = MemoryTransport(buffer=100_000)
    async with opened(network) as ctx:
        stream = ctx.socket(Stream)
        stream.bind(PLACE)
        peer = await raw_connect(network)
        there, _ = await stream.receive()
        data = (b"\xde\xad\xbe\xef" * 20_000)[:65_537]
        await peer.send_all(data)
        pieces = await all_of(stream)
        assert {piece[0] for piece in pieces} == {there}
        assert all(1 <= len(piece[1]) <= 8192 and len(piece) == 2 for piece in pieces)
        assert b"".join(piece[1] for piece in pieces) == data


@jumping
async def test_fair_queue() -> None:
    """A piece of each peer in turn (1.2)."""
    network = MemoryTransport(buffer=100_000)
    async with opened(network) as ctx:
        stream = ctx.socket(Stream, notify=False)
        stream.bind(PLACE)
        for _ in range(3):
            peer = await raw_connect(network)
            await peer.send_all(b"x" * 8192 * 2)
        await settle()
        ids = [peer for peer, _ in await all_of(stream)]
        assert len(ids) == 6
        assert len(set(ids[:3])) == len(set(ids[3:])) == 3


@jumping
async def test_receive_hwm_holds_the_peer_back() -> None:
    """Not read beyond RCVHWM: the peer's own stream fills up."""
    network = MemoryTransport(buffer=8192)
    async with opened(network) as ctx:
        stream = ctx.socket(Stream, receive_hwm=4, notify=False)
        stream.bind(PLACE)
        peer = await raw_connect(network)
        with trio.move_on_after(10):
            await peer.send_all(b"x" * 1_000_000)
        await settle()
        assert len(remote(stream).inbox) == 4
        stream.receive_nowait()


# What it is


@jumping
async def test_what_carries_it() -> None:
    """tcp and ipc; inproc has no bytes (3.3): refused before anything else."""
    async with opened() as ctx:
        stream: Any = ctx.socket(Stream)
        for verb in (stream.bind, stream.connect):
            with pytest.raises(IncompatibleProtocol, match="STREAM"):
                verb("inproc://place")
        assert not hasattr(stream, "subscribe")
        assert not hasattr(stream, "send_many")
        assert fill(ctx.socket(trimq.Push)) == 0


@jumping
async def test_to_a_zmtp_peer() -> None:
    """test_stream: the raw side sees greeting, READY and frames, and may speak them itself."""
    async with opened() as ctx:
        stream, dealer = ctx.socket(Stream), ctx.socket(Dealer)
        stream.bind(PLACE)
        endpoint = dealer.connect(PLACE)
        peer, empty = await stream.receive()
        assert empty == b""
        assert await stream.receive() == [peer, b"\xff\0\0\0\0\0\0\0\x01\x7f"]  # exactly the signature
        await stream.send([peer, b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL" + bytes(48)])
        received = bytearray()
        while len(received) < 97:
            received += (await stream.receive())[1]
        assert received[:2] == b"\x03\x01"
        assert received[2:22] == b"NULL".ljust(20, b"\0")
        assert received[22:54] == bytes(32)
        assert received[54:] == b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
        await stream.send([peer, b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER"])
        await endpoint.ready()
        await dealer.send(b"Hello")
        assert await stream.receive() == [peer, b"\x00\x05Hello"]
        await stream.send([peer, b"\x00\x05World"])
        assert await dealer.receive() == [b"World"]
        await dealer.send(b"x" * 64_000)
        received = bytearray()
        while len(received) < 64_009:
            received += (await stream.receive())[1]
        assert received == b"\x02" + (64_000).to_bytes(8, "big") + b"x" * 64_000


@jumping
async def test_a_silent_peer() -> None:
    """test_stream_timeout: a Dealer gives up on a raw peer that never greets, bound or connected; Stream itself does not."""
    network = MemoryTransport()
    async with opened(network, handshake_timeout=0.1) as ctx:
        stream, dealer, router = ctx.socket(Stream), ctx.socket(Dealer), ctx.socket(Router)
        stream.bind(PLACE)
        endpoint = dealer.connect(PLACE)
        await reaches(endpoint, EndpointState.WAITING)
        assert isinstance(endpoint.cause, TimeoutError)
        endpoint.close()
        router.bind("tcp://place:2")
        silent = await raw_connect(network, "place:2")
        with trio.fail_after(10):
            while await silent.receive_some():
                pass
        quiet = await raw_connect(network)
        await trio.sleep(1000)
        await quiet.send_all(b"still here")
        assert [b"still here"] in [message[1:] for message in await all_of(stream)]


# Real tcp


async def test_a_real_client() -> None:
    """A plain socket of the system: notification, bytes, the peer's address, and its close; the real clock."""
    with trio.fail_after(20):
        async with trimq.open_context(linger=0) as ctx:
            stream = ctx.socket(Stream)
            endpoint = stream.bind(TCP)
            client = await trio.open_tcp_stream("127.0.0.1", int(str(endpoint).rpartition(":")[2]))
            peer, empty = await stream.receive()
            assert empty == b""
            assert [info.address for info in stream.peers] == ["127.0.0.1"]
            await client.send_all(b"GET / HTTP/1.0\r\n\r\n")
            received = b""
            while not received.endswith(b"\r\n\r\n"):
                again, data = await stream.receive()
                assert again == peer
                received += data
            assert received == b"GET / HTTP/1.0\r\n\r\n"
            page = b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1_000_000
            await stream.send([peer, page])
            await stream.send([peer, b""])
            sent = bytearray()
            while data := await client.receive_some():
                sent += data
            assert sent == page
            await client.aclose()
            with pytest.raises(HostUnreachable):
                await stream.send([peer, b"x"])


async def test_a_real_client_that_goes() -> None:
    """Its close is told after its last bytes; one that resets the connection is told, too."""
    with trio.fail_after(20):
        async with trimq.open_context(linger=0) as ctx:
            stream = ctx.socket(Stream)
            port = int(str(stream.bind(TCP)).rpartition(":")[2])
            client = await trio.open_tcp_stream("127.0.0.1", port)
            peer, _ = await stream.receive()
            await client.send_all(b"bye")
            await client.aclose()
            assert await stream.receive() == [peer, b"bye"]
            assert await stream.receive() == [peer, b""]
            client = await trio.open_tcp_stream("127.0.0.1", port)
            peer, _ = await stream.receive()
            client.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await client.aclose()
            assert await stream.receive() == [peer, b""]


async def test_a_real_server() -> None:
    """Stream as the client of a plain server: connect, talk, and close by an empty frame."""
    with trio.fail_after(20):
        heard = bytearray()

        async def serve(server: trio.SocketStream) -> None:
            async for data in server:
                heard.extend(data)
                await server.send_all(data.upper())
            done.set()

        done = trio.Event()
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            async with trimq.open_context(linger=0) as ctx:
                stream = ctx.socket(Stream)
                endpoint = stream.connect(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
                server = endpoint.routing_id
                await stream.send([server, b"early"])  # queued until there is a connection
                assert await stream.receive() == [server, b""]
                assert await stream.receive() == [server, b"EARLY"]
                await stream.send([server, b" bird"])
                await stream.send([server, b""])
                await done.wait()
                assert heard == b"early bird"
                assert endpoint.state is EndpointState.CLOSED
            nursery.cancel_scope.cancel()
