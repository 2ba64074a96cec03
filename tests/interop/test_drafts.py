"""The draft types over streams with others: libzmq 4.3.5 in node (npm's zeromq), and pyomq, which is no libzmq."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from interop.npm import NpmSocket, npm_peer

import trimq
from trimq import Channel, Client, Gather, Peer, RoutedMessage, Scatter, Server

BODIES = [b"", b"x", bytes(range(256)), b"y" * 255, b"z" * 70_000]
"""Short and long frames."""

each_way = pytest.mark.parametrize("binds", ["trimq", "theirs"])
transports = pytest.mark.parametrize("transport", ["tcp", "ipc"])


def place(transport: str, folder: Path) -> str:
    return "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{folder}/draft"


async def join(ours: Any, theirs: NpmSocket, endpoint: str, binds: str) -> None:
    """Connects the two, and waits until we know."""
    if binds == "trimq":
        await theirs.connect(ours.bind(endpoint))
    else:
        ours.connect(await theirs.bind(endpoint))
    await ours.wait_for_peers()


@pytest.mark.npm
@transports
@each_way
async def test_our_client_their_server(transport: str, binds: str, tmp_path: Path) -> None:
    """wire.md 6: single frames; libzmq's Server numbers us, and its answers come back."""
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        client, server = ctx.socket(Client), await peer.socket("Server")
        await join(client, server, place(transport, tmp_path), binds)
        for body in BODIES:
            await client.send(body)
            [question, told] = await server.receive()
            assert question == body
            await server.send(body[::-1], **told)
            assert await client.receive() == [body[::-1]]


@pytest.mark.npm
@transports
@each_way
async def test_our_server_their_client(transport: str, binds: str, tmp_path: Path) -> None:
    """The same, the other way round, with two clients where they connect: each gets its own answers."""
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        server = ctx.socket(Server)
        clients = [await peer.socket("Client")]
        await join(server, clients[0], place(transport, tmp_path), binds)
        if binds == "trimq":
            clients.append(await peer.socket("Client"))
            await clients[1].connect(server.endpoints[0])
            await server.wait_for_peers(2)
        numbers: set[int] = set()
        for client in clients:
            for body in BODIES:
                await client.send(body)
                question = await server.receive()
                assert question.body == body
                numbers.add(question.routing_id)
                await server.send(RoutedMessage(question.routing_id, body[::-1]))
                assert (await client.receive())[0] == body[::-1]
        assert len(numbers) == len(clients)


@pytest.mark.npm
@transports
@each_way
async def test_our_scatter_their_gather(transport: str, binds: str, tmp_path: Path) -> None:
    """Single frames, in order."""
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        scatter, gather = ctx.socket(Scatter), await peer.socket("Gather")
        await join(scatter, gather, place(transport, tmp_path), binds)
        await scatter.send_many(BODIES)
        for body in BODIES:
            assert (await gather.receive())[0] == body


@pytest.mark.npm
@transports
@each_way
async def test_their_scatter_our_gather(transport: str, binds: str, tmp_path: Path) -> None:
    """The same, the other way round."""
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        scatter, gather = await peer.socket("Scatter"), ctx.socket(Gather)
        await join(gather, scatter, place(transport, tmp_path), binds)
        for body in BODIES:
            await scatter.send(body)
            assert await gather.receive() == [body]


@pytest.mark.npm
async def test_libzmq_is_greeted(tmp_path: Path) -> None:
    """ZMQ_HELLO_MSG is an ordinary message, sent first (wire.md 6)."""
    async with npm_peer() as peer, trimq.open_context(linger=0) as ctx:
        server, client = ctx.socket(Server, hello_message=b"HI"), await peer.socket("Client")
        await client.connect(server.bind("tcp://127.0.0.1:*"))
        assert (await client.receive())[0] == b"HI"
        gone = ctx.socket(Server, disconnect_message=b"gone")
        other = await peer.socket("Client")
        await other.connect(gone.bind("tcp://127.0.0.1:*"))
        await other.send(b"said")
        said = await gone.receive()
        await other.close()
        assert await gone.receive() == RoutedMessage(said.routing_id, b"gone")


# pyomq: a stack of its own

PEER = """
import sys
import pyomq

kind, verb, endpoint, todo = sys.argv[1:]
socket = pyomq.Context().socket(getattr(pyomq, kind))
if verb == "bind":
    socket.bind("tcp://127.0.0.1:*")
    print(socket.getsockopt(pyomq.LAST_ENDPOINT).rstrip(b"\\0").decode(), flush=True)
else:
    socket.connect(endpoint)
    print(endpoint, flush=True)
bodies = [b"", b"x", bytes(range(256)), b"y" * 255, b"z" * 70_000]
if todo == "echo":
    if kind == "PEER" and verb == "connect":
        whom, got = socket.recv_multipart()
        assert got == b"greeted"
        socket.send_multipart([whom, b"here"])
    for body in bodies:
        *whom, got = socket.recv_multipart()
        assert got == body, got[:50]
        socket.send_multipart([*whom, got[::-1]])
elif todo == "send":
    for body in bodies:
        socket.send(body)
else:
    for body in bodies:
        got = socket.recv()
        assert got == body, got[:50]
print("done", flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def pyomq_peer(kind: str, verb: str, todo: str, endpoint: object = "-") -> AsyncIterator[tuple[str, Any]]:
    """A pyomq socket in a process of its own; gives its endpoint, and what waits until it has done its part."""
    pytest.importorskip("pyomq", reason="pyomq is not installed (the group of dependencies for interoperability)")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            command = [sys.executable, "-c", PEER, kind, verb, str(endpoint), todo]
            start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
            process: trio.Process = await nursery.start(start)
            assert process.stdin is not None
            output = process.stdout
            assert output is not None
            received = b""

            async def line() -> str:
                nonlocal received
                while b"\n" not in received:
                    data = await output.receive_some()
                    assert data, "the peer ended early"
                    received += data
                first, received = received.split(b"\n", 1)
                return first.decode()

            async def done() -> None:
                assert await line() == "done"

            async with process.stdin, output:
                yield await line(), done
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def with_pyomq(ours: Any, kind: str, todo: str, binds: str) -> AsyncIterator[Any]:
    """The two, connected; gives what waits until the other has done its part."""
    if binds == "trimq":
        async with pyomq_peer(kind, "connect", todo, ours.bind("tcp://127.0.0.1:*")) as (_, done):
            await ours.wait_for_peers()
            yield done
    else:
        async with pyomq_peer(kind, "bind", todo) as (endpoint, done):
            ours.connect(endpoint)
            await ours.wait_for_peers()
            yield done


@each_way
async def test_channel_with_pyomq(binds: str) -> None:
    """CHANNEL both ways, with who is no libzmq."""
    async with trimq.open_context(linger=0) as ctx:
        channel = ctx.socket(Channel)
        async with with_pyomq(channel, "CHANNEL", "echo", binds) as done:
            for body in BODIES:
                await channel.send(body)
                assert await channel.receive() == [body[::-1]]
            await done()


@each_way
async def test_peer_with_pyomq(binds: str) -> None:
    """PEER, with who is no libzmq, which tells its peers apart by a frame that does not go over the wire.

    Where it dials, nobody can speak first, since it does not say whom it has dialled; so we greet it.
    """
    async with trimq.open_context(linger=0) as ctx:
        peer = ctx.socket(Peer, hello_message=b"greeted" if binds == "trimq" else b"")
        async with with_pyomq(peer, "PEER", "echo", binds) as done:
            if binds == "trimq":
                here = await peer.receive()
                assert here.body == b"here"
                number = here.routing_id
            else:
                number = peer.endpoints[0].routing_id
            for body in BODIES:
                await peer.send(RoutedMessage(number, body))
                assert await peer.receive() == RoutedMessage(number, body[::-1])
            await done()


@each_way
async def test_scatter_with_pyomq(binds: str) -> None:
    """SCATTER to a GATHER of pyomq."""
    async with trimq.open_context(linger=0) as ctx:
        scatter = ctx.socket(Scatter)
        async with with_pyomq(scatter, "GATHER", "receive", binds) as done:
            await scatter.send_many(BODIES)
            await done()


@each_way
async def test_gather_with_pyomq(binds: str) -> None:
    """GATHER from a SCATTER of pyomq."""
    async with trimq.open_context(linger=0) as ctx:
        gather = ctx.socket(Gather)
        async with with_pyomq(gather, "SCATTER", "send", binds) as done:
            for body in BODIES:
                assert await gather.receive() == [body]
            await done()
