"""libzmq's tests of Stream, test_stream*, on both libraries: what a ZMTP socket says, byte for byte, and raw connections."""

from __future__ import annotations

from typing import Any

import trio
from conformance.both import Side
from conformance.sides import Mine

SIGNATURE = b"\xff" + bytes(7) + b"\x01\x7f"


async def told(stream: Any) -> bytes:
    """The id of a connection that is told, from this machine."""
    [routing_id, nothing], [address] = await stream.receive_with("Peer-Address")
    assert nothing == b""
    assert address == "127.0.0.1"
    return bytes(routing_id)


async def read(stream: Any, routing_id: bytes, count: int) -> bytes:
    """So many bytes of one connection, in however many pieces they come."""
    data = b""
    while len(data) < count:
        sender, piece = await stream.receive()
        assert sender == routing_id
        assert piece
        data += piece
    assert len(data) == count
    return data


async def test_stream(side: Side) -> None:
    """A Dealer's greeting, its READY, and short and long messages, each way, as a Stream sees and says them."""
    stream, dealer = await side.socket("STREAM", notify=True), await side.socket("DEALER")
    await dealer.connect(await stream.bind(side.place("tcp")))
    peer = await told(stream)
    greeting = await read(stream, peer, 10)
    await stream.send([peer, SIGNATURE + b"\3\1" + b"NULL".ljust(20, b"\0") + bytes(32)])
    greeting += await read(stream, peer, 97)
    assert greeting[:1] + greeting[8:10] == b"\xff\x01\x7f"
    assert greeting[1:8] == bytes(7)
    assert greeting[10:64] == b"\3\1" + b"NULL".ljust(20, b"\0") + bytes(32)
    assert greeting[64:] == b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
    await stream.send([peer, b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0"])
    await dealer.send(b"Hello")
    assert await read(stream, peer, 7) == b"\0\x05Hello"
    await stream.send([peer, b"\0\x05World"])
    assert await dealer.receive() == [b"World"]
    body = bytes(range(256)) * 250
    await dealer.send(body)
    assert await read(stream, peer, 9 + 64000) == b"\2" + (64000).to_bytes(8, "big") + body


async def streams(side: Side) -> tuple[Any, bytes, Any, bytes]:
    """Two Streams that are connected: the one that is bound and its id of the other, and the other way round."""
    server, client = await side.socket("STREAM", notify=True), await side.socket("STREAM", notify=True)
    await client.connect(await server.bind(side.place("tcp")))
    return server, await told(server), client, await told(client)


async def ended(side: Side, closer: Any, other: Any) -> list[bytes]:
    """The next message after one end has closed the connection: libzmq does that while its program calls it."""
    while (message := await side.within(other, 0.01)) is None:
        await closer.settle()
    return message


async def test_stream_to_stream(side: Side) -> None:
    """The id by which to address what was connected to is known; bytes go both ways; an empty frame closes behind them."""
    server, guest, client, host = await streams(side)
    known = client.endpoint.routing_id if isinstance(client, Mine) else await client.socket.get("ROUTING_ID")
    assert known == host
    await client.send([host, b"GET /\n\n"])
    assert await read(server, guest, 7) == b"GET /\n\n"
    page = b"200 OK\r\n" + b"page" * 5000
    await server.send([guest, page])
    await server.send([guest, b""])
    assert await read(client, host, len(page)) == page
    assert await ended(side, server, client) == [host, b""]


async def test_stream_disconnect(side: Side) -> None:
    """Connections and their end are told at both ends, the end after all that was sent before."""
    server, guest, client, host = await streams(side)
    await client.send([host, b"x" * 24])
    assert await read(server, guest, 24) == b"x" * 24
    await server.send([guest, b"y" * 17])
    assert await read(client, host, 17) == b"y" * 17
    await client.send([host, b"the end"])
    await client.send([host, b""])
    assert await read(server, guest, 7) == b"the end"
    assert await ended(side, client, server) == [guest, b""]
    await side.nothing(server, client)


async def test_stream_empty(side: Side) -> None:
    """An empty frame to who has just come closes the connection."""
    server, guest, client, host = await streams(side)
    await server.send([guest, b""])
    assert await ended(side, server, client) == [host, b""]


async def test_stream_exceeds_buffer(side: Side) -> None:
    """More bytes than a buffer of 8192 holds come as they were sent."""
    stream = await side.socket("STREAM", notify=True)
    address = await stream.bind(side.place("tcp"))
    raw = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
    async with raw:
        peer = await told(stream)
        data = b"\xde\xad\xbe\xef" + bytes(n % 251 for n in range(8193 - 4))
        await raw.send_all(data)
        assert await read(stream, peer, 8193) == data


async def test_stream_timeout(side: Side) -> None:
    """A peer that says nothing is dropped after the handshake's time, by who listens and by who connects."""
    silent = await side.socket("STREAM", notify=True)
    assert await silent.get("handshake_timeout") == (30 if side.is_trimq else 30000)
    listener = await side.socket("DEALER", handshake_timeout=0.05)
    await silent.connect(await listener.bind(side.place("tcp")))
    host = await told(silent)
    greeting = b""
    while (message := await silent.receive())[1]:
        greeting += message[1]
    assert message == [host, b""]
    assert greeting.startswith(SIGNATURE[:1])
    # and the other way round
    connector = await side.socket("DEALER", handshake_timeout=0.05, reconnect_interval=60)
    silent = await side.socket("STREAM", notify=True)
    await connector.connect(await silent.bind(side.place("tcp")))
    guest = await told(silent)
    while (message := await silent.receive())[1]:
        pass
    assert message == [guest, b""]
