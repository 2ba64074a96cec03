"""What the tests of the patterns share: a context over a network in memory, and ways to look without taking.

The clock jumps where a test says ``@jumping``: every wait here is trio's own, so a test that hangs fails at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq._remote import Remote
from trimq._util import until
from trimq.testing import MemoryStream, MemoryTransport

PLACES = ("inproc://place", "tcp://place:1")
"""The same test over both towers: pipes shared crosswise, and bytes on a (memory) network."""

both = pytest.mark.parametrize("place", PLACES, ids=["inproc", "memory"])


def run(async_fn: Callable[..., Awaitable[Any]], **kwargs: Any) -> Any:
    """trio.run with a clock that jumps when everybody waits."""
    kwargs["clock"] = kwargs.get("clock") or MockClock(autojump_threshold=0)
    return trio.run(async_fn, **kwargs)


# pytest-trio takes a clock only from a test's own arguments (usefixtures does nothing), and trio_mode's own mark comes
# before a module's pytestmark: so it is a decorator, test by test.
jumping = pytest.mark.trio(run=run)
"""A clock that jumps when everybody waits."""


@asynccontextmanager
async def opened(network: MemoryTransport | None = None, **defaults: Any) -> AsyncIterator[trimq.Context]:
    """A context on a memory network; nothing lingers unless a test says so, and nothing waits for ever."""
    with trio.fail_after(10_000):
        async with trimq.open_context(transports=[network or MemoryTransport()], **{"linger": 0, **defaults}) as ctx:
            yield ctx


async def settle() -> None:
    """Lets everything that is under way arrive."""
    await wait_all_tasks_blocked()


async def joined(ctx: trimq.Context, binder: trimq.Socket, *connectors: trimq.Socket, place: str) -> None:
    """Binds, and connects each in turn; at return all are peers, in this order."""
    binder.bind(place)
    for connector in connectors:
        await joins(connector, place)
        await binder.wait_for_peers(connectors.index(connector) + 1)


async def joins(connector: trimq.Socket, place: str, **kwargs: Any) -> trimq.Endpoint:
    """Connects, and waits until there is a peer."""
    endpoint = connector.connect(place, **kwargs)
    await endpoint.ready()
    return endpoint


async def reaches(endpoint: trimq.Endpoint, state: trimq.EndpointState) -> None:
    """Waits until an endpoint is in a state."""
    await until(lambda: endpoint.state is state, endpoint._bell, pace=endpoint._pace)


def fill(socket: Any, message: Any = b"", cap: int = 10_000) -> int:
    """Sends until there is no room; how many went."""
    for sent in range(cap):
        try:
            socket.send_nowait(message)
        except trio.WouldBlock:
            return sent
    return cap


def drain(socket: Any) -> list[trimq.Message]:
    """All that has arrived."""
    found = []
    while True:
        try:
            found.append(socket.receive_nowait())
        except trio.WouldBlock:
            return found


async def all_of(socket: Any) -> list[trimq.Message]:
    """All that arrives if nobody does anything more."""
    found = []
    while True:
        await settle()
        more = drain(socket)
        if not more:
            return found
        found += more


async def nothing(*sockets: Any) -> None:
    """Nothing arrives."""
    await settle()
    for socket in sockets:
        with pytest.raises(trio.WouldBlock):
            socket.receive_nowait()


async def level(wait: Callable[[], Awaitable[None]], seconds: float = 100) -> bool:
    """Whether a wait for a level returns; else it would wait for ever (the clock jumps)."""
    with trio.move_on_after(seconds):
        await wait()
        return True
    return False


def remote(socket: trimq.Socket, index: int = 0) -> Remote:
    """One of the socket's peers, as its queues."""
    return list(socket._remotes)[index]


def dropped(socket: trimq.Socket) -> list[int]:
    """How many messages were dropped for each peer (promise 6)."""
    return [remote.dropped for remote in socket._remotes]


# A peer made by hand, without trimq's code: ZMTP 3 in bytes (wire.md 1).


def zmtp_frame(body: bytes, flags: int = 0) -> bytes:
    """One frame."""
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + len(body).to_bytes(8, "big") + body


def zmtp_message(*frames: bytes) -> bytes:
    """A message."""
    return b"".join(zmtp_frame(body, 1 if i < len(frames) - 1 else 0) for i, body in enumerate(frames))


def zmtp_command(name: bytes, data: bytes = b"") -> bytes:
    """A command."""
    return zmtp_frame(bytes([len(name)]) + name + data, 4)


class RawPeer:
    """A peer that speaks only the bytes a test gives it, over a stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.received = bytearray()

    async def handshake(self, socket_type: bytes, *, minor: int = 1, identity: bytes | None = None) -> None:
        """A NULL handshake as libzmq does it; leaves the stream right behind the other's READY."""
        properties = b"\x0bSocket-Type" + len(socket_type).to_bytes(4, "big") + socket_type
        if identity is not None:
            properties += b"\x08Identity" + len(identity).to_bytes(4, "big") + identity
        greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03" + bytes([minor]) + b"NULL".ljust(20, b"\0") + bytes(32)
        await self.stream.send_all(greeting + zmtp_command(b"READY", properties))
        await self.exactly(64)
        header = await self.exactly(2)
        assert header[0] == 4
        await self.exactly(header[1])

    async def exactly(self, count: int) -> bytes:
        """The next bytes."""
        while len(self.received) < count:
            data = await self.stream.receive_some()
            assert data, f"the connection ended after {bytes(self.received)!r}"
            self.received += data
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def rest(self) -> bytes:
        """What has come beside, if nobody does anything more."""
        with trio.move_on_after(1):
            while data := await self.stream.receive_some():
                self.received += data
        taken = bytes(self.received)
        self.received.clear()
        return taken

    async def ended(self) -> bool:
        """Whether the other side closes the connection."""
        with trio.move_on_after(100):
            try:
                while await self.stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
            return True
        return False


async def raw_connect(network: MemoryTransport, address: str = "place:1") -> MemoryStream:
    """A connection to what is bound there, before any byte."""
    return await network.connect(address, trimq._options.Settings())
