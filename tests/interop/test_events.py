"""Events: the same scenarios with pyzmq's socket monitor and with trimq's ``events()`` (libzmq.md 6; issue 5, "Levels
and events").

What happens is made to happen by a libzmq peer, or by a bare TCP or unix socket; who listens is libzmq or trimq.
Where both tell the same, one list stands for both: libzmq's numbers, in libzmq's order. Where they differ, the list
says so.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from interop.harness import Peer, PeerSocket, Pool, running

import trimq
from trimq import events

pytestmark = pytest.mark.pyzmq

SIDES = pytest.mark.parametrize("side", ["trimq", "libzmq"])
TRANSPORTS = pytest.mark.parametrize("transport", ["tcp", "ipc"])

NAMES = {
    0x0001: "CONNECTED",
    0x0002: "CONNECT_DELAYED",
    0x0004: "CONNECT_RETRIED",
    0x0008: "LISTENING",
    0x0010: "BIND_FAILED",
    0x0020: "ACCEPTED",
    0x0040: "ACCEPT_FAILED",
    0x0080: "CLOSED",
    0x0200: "DISCONNECTED",
    0x0400: "MONITOR_STOPPED",
    0x0800: "HANDSHAKE_FAILED_NO_DETAIL",
    0x1000: "HANDSHAKE_SUCCEEDED",
    0x2000: "HANDSHAKE_FAILED_PROTOCOL",
}
"""libzmq's numbers (libzmq.md 6.1)."""

OPTIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "RECONNECT_IVL": ("reconnect_interval", lambda ms: float("inf") if ms < 0 else ms / 1000),
    "HANDSHAKE_IVL": ("handshake_timeout", lambda ms: ms / 1000),
    "CONNECT_TIMEOUT": ("connect_timeout", lambda ms: ms / 1000),
    "MAXMSGSIZE": ("max_message_size", lambda size: size),
    "TCP_ACCEPT_FILTER": ("tcp_accept_filter", lambda text: [text.decode()]),
}
"""Both names of what the scenarios set, and libzmq's value as trimq has it."""


class Watched:
    """A socket, libzmq's or trimq's, whose events are listened to from the beginning."""

    def __init__(self, theirs: PeerSocket | None, mine: Any) -> None:
        self.theirs = theirs
        self.mine = mine
        self.stream: events.EventStream | None = None if mine is None else mine.events()

    async def bind(self, endpoint: str) -> str:
        return await self.theirs.bind(endpoint) if self.theirs is not None else str(self.mine.bind(endpoint))

    async def call(self, verb: str, *arguments: Any) -> None:
        """A verb that both have."""
        if self.theirs is not None:
            await getattr(self.theirs, verb)(*arguments)
        elif verb in ("send", "receive"):
            await getattr(self.mine, verb)(*arguments)
        else:
            getattr(self.mine, verb)(*arguments)

    async def told(self, last: str, count: int = 1) -> list[tuple[str, int, str]]:
        """The events up to the ``count``-th of this name: names, values, addresses. Those without a number are left
        out.
        """
        if self.theirs is not None:
            return await self.theirs.events(last, count)
        assert self.stream is not None
        found: list[tuple[str, int, str]] = []
        while sum(event[0] == last for event in found) < count:
            event = await self.stream.receive()
            if event.code:
                found.append((NAMES[event.code], event.value, event.endpoint))
        return found

    async def names(self, last: str, count: int = 1) -> list[str]:
        return [name for name, _, _ in await self.told(last, count)]

    async def close(self) -> list[str]:
        """Closes the socket; returns the rest of its events."""
        if self.theirs is not None:
            return [name for name, _, _ in await self.theirs.close_listened_to()]
        self.mine.close()
        return await self.names("MONITOR_STOPPED")


@asynccontextmanager
async def watched(side: str, kind: str, peer: Peer, **options: Any) -> AsyncIterator[Watched]:
    """One of this side and type; options by libzmq's names."""
    async with running(15) as ctx:
        if side == "trimq":
            translated = {OPTIONS[name][0]: OPTIONS[name][1](value) for name, value in options.items()}
            made: Any = {"PUSH": trimq.Push, "PULL": trimq.Pull, "DEALER": trimq.Dealer, "STREAM": trimq.Stream}[kind]
            mine = ctx.socket(made, **{"linger": 0.0, "reconnect_interval": 0.02, **translated})
            yield Watched(None, mine)
        else:
            theirs = await peer.socket(kind, **{"RECONNECT_IVL": 20, **options})
            await theirs.monitor()
            yield Watched(theirs, None)


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01"
"""How a peer of ZMTP 3.1 begins; the name of its mechanism follows."""


# Connections (libzmq.md 6.3)


@SIDES
@TRANSPORTS
async def test_connecting(side: str, transport: str, pool: Pool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A connection is made; its peer goes, and nobody is there; a new one comes at the same address."""
    pending = ["CONNECT_DELAYED"] * (transport == "tcp")
    async with watched(side, "PUSH", peer) as one:
        async with pool.peer() as other:
            pull = await other.socket("PULL")
            address = await pull.bind(fresh(transport))
            await one.call("connect", address)
            told = await one.told("HANDSHAKE_SUCCEEDED")
            assert [name for name, _, _ in told] == [*pending, "CONNECTED", "HANDSHAKE_SUCCEEDED"]
            assert {where for _, _, where in told} == {address}
            assert told[-1][1] == 0
            if pending:
                assert told[0][1] == errno.EINPROGRESS
            await other.kill()
        told = await one.told("CONNECT_RETRIED", 2)
        assert [name for name, _, _ in told] == [
            "DISCONNECTED",
            "CONNECT_RETRIED",
            *pending,
            "CLOSED",
            "CONNECT_RETRIED",
        ]
        delays = [value for name, value, _ in told if name == "CONNECT_RETRIED"]
        assert all(10 <= delay <= 80 for delay in delays)  # milliseconds, of both
        async with pool.peer() as other:
            pull = await other.socket("PULL")
            await pull.bind(address)
            names = await one.names("HANDSHAKE_SUCCEEDED")
            assert names[-2:] == ["CONNECTED", "HANDSHAKE_SUCCEEDED"]
            again = [*pending, "CLOSED", "CONNECT_RETRIED"]
            before = names[: len(names) - 2 - len(pending)]
            assert before == again * (len(before) // len(again))


@SIDES
@TRANSPORTS
async def test_binding(side: str, transport: str, peer: Peer, pool: Pool, fresh: Callable[[str], str]) -> None:
    """A peer comes, and goes; then the endpoint is unbound, and the socket closed."""
    async with watched(side, "PULL", peer) as one, pool.peer() as other:
        address = await one.bind(fresh(transport))
        [(name, _, where)] = await one.told("LISTENING")
        assert (name, where) == ("LISTENING", address)
        push = await other.socket("PUSH")
        await push.connect(address)
        told = await one.told("HANDSHAKE_SUCCEEDED")
        assert [name for name, _, _ in told] == ["ACCEPTED", "HANDSHAKE_SUCCEEDED"]
        assert {where for _, _, where in told} == {address}
        await push.close()
        assert await one.names("DISCONNECTED") == ["DISCONNECTED"]
        await one.call("unbind", address)
        assert await one.names("CLOSED") == ["CLOSED"]
        await one.bind(fresh(transport))
        assert await one.names("LISTENING") == ["LISTENING"]
        assert await one.close() == ["CLOSED", "MONITOR_STOPPED"]


@SIDES
@TRANSPORTS
async def test_what_is_ended_from_here_is_no_loss(
    side: str, transport: str, peer: Peer, pool: Pool, fresh: Callable[[str], str]
) -> None:
    """A disconnect is told only to the other side: there is nothing more until the socket is closed."""
    async with watched(side, "PUSH", peer) as one, pool.peer() as other:
        pull = await other.socket("PULL")
        await pull.monitor()
        address = await pull.bind(fresh(transport))
        await one.call("connect", address)
        await one.names("HANDSHAKE_SUCCEEDED")
        await one.call("disconnect", address)
        assert [name for name, _, _ in await pull.events("DISCONNECTED")][-1] == "DISCONNECTED"
        assert await one.close() == ["MONITOR_STOPPED"]


@SIDES
@TRANSPORTS
async def test_refused(side: str, transport: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """Nobody listens: again and again."""
    address = fresh(transport).replace("*", str(free_port()))
    async with watched(side, "PUSH", peer) as one:
        await one.call("connect", address)
        told = await one.told("CONNECT_RETRIED", 3)
        attempt = [*["CONNECT_DELAYED"] * (transport == "tcp"), "CLOSED", "CONNECT_RETRIED"]
        assert [name for name, _, _ in told] == 3 * attempt
        assert {where for _, _, where in told} == {address}


@SIDES
async def test_no_reconnects_wanted(side: str, pool: Pool, peer: Peer, fresh: Callable[[str], str]) -> None:
    """RECONNECT_IVL=-1: a refused attempt is the last, and so is a connection that is lost. trimq adds a `GaveUp`."""
    async with watched(side, "PUSH", peer, RECONNECT_IVL=-1) as one:
        await one.call("connect", f"tcp://127.0.0.1:{free_port()}")
        assert await one.names("CLOSED") == ["CONNECT_DELAYED", "CLOSED"]
        async with pool.peer() as other:
            pull = await other.socket("PULL")
            await one.call("connect", await pull.bind(fresh("tcp")))
            await one.names("HANDSHAKE_SUCCEEDED")
            await other.kill()
            assert await one.names("DISCONNECTED") == ["DISCONNECTED"]
        assert await one.close() == ["MONITOR_STOPPED"]


@SIDES
async def test_a_connection_that_takes_too_long(side: str, peer: Peer) -> None:
    """CONNECT_TIMEOUT: as if it had failed. Nobody answers, since the listener's line is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        held = []
        while True:
            client = socket.socket()
            held.append(client)
            client.settimeout(0.2)
            try:
                client.connect(listener.getsockname())
            except TimeoutError:
                break
        async with watched(side, "PUSH", peer, CONNECT_TIMEOUT=30) as one:
            await one.call("connect", f"tcp://127.0.0.1:{listener.getsockname()[1]}")
            assert await one.names("CONNECT_RETRIED", 2) == 2 * ["CONNECT_DELAYED", "CLOSED", "CONNECT_RETRIED"]
        for client in held:
            client.close()


@SIDES
async def test_bind_failed(side: str, peer: Peer) -> None:
    """An address in use: the errno is the value. libzmq also tells of its descriptor, and leaves out the address's
    scheme.
    """
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        async with watched(side, "PULL", peer) as one:
            if one.theirs is not None:
                assert await one.theirs._call("try_bind", endpoint=address) == errno.EADDRINUSE
            else:
                with pytest.raises(trimq.AddressInUse):
                    one.mine.bind(address)
            *before, (name, value, where) = await one.told("BIND_FAILED")
            assert [name for name, _, _ in before] == ["CLOSED"] * (side == "libzmq")
            assert (name, value) == ("BIND_FAILED", errno.EADDRINUSE)
            assert address.endswith(where)
            assert (where == address) is (side == "trimq")


@SIDES
async def test_a_filter(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """TCP_ACCEPT_FILTER: who is not let in is an accept that failed."""
    async with watched(side, "PULL", peer, TCP_ACCEPT_FILTER=b"127.0.0.255/32") as one:
        address = await one.bind("tcp://127.0.0.1:*")
        await one.names("LISTENING")
        with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))):
            assert await one.names("ACCEPT_FAILED") == ["ACCEPT_FAILED"]
        assert await one.close() == ["CLOSED", "MONITOR_STOPPED"]


# Handshakes that fail


@asynccontextmanager
async def meeting(one: Watched, *, binds: bool) -> AsyncIterator[trio.SocketStream]:
    """Joins it with a bare socket."""
    if binds:
        address = await one.bind("tcp://127.0.0.1:*")
        await one.names("LISTENING")
        async with await trio.open_tcp_stream("127.0.0.1", int(address.rsplit(":", 1)[1])) as stream:
            yield stream
    else:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            await one.call("connect", f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
            async with await listener.accept() as stream:
                yield stream


@SIDES
@pytest.mark.parametrize("binds", [True, False], ids=["bound", "connected"])
@pytest.mark.parametrize("fault", ["closes", "silent", "mechanism", "garbage"])
async def test_handshake_failures(side: str, binds: bool, fault: str, peer: Peer) -> None:
    """The peer closes, says nothing, wants another mechanism, or breaks the protocol.

    Where libzmq has seen a fault of the protocol, its connector does not come back; trimq's does.
    """
    async with (
        watched(side, "PULL", peer, HANDSHAKE_IVL=100 if fault == "silent" else 10_000) as one,
        meeting(one, binds=binds) as stream,
    ):
        if fault == "closes":
            await stream.send_all(GREETING)
            await stream.receive_some(10)
            await stream.send_eof()
        elif fault == "mechanism":
            await stream.send_all(GREETING + b"BOGUS".ljust(20, b"\0") + bytes(32))
        elif fault == "garbage":
            await stream.send_all(GREETING + b"NULL".ljust(20, b"\0") + bytes(32) + b"\4\6\5RAEDY")
        names = await one.names("DISCONNECTED")
        begin = ["ACCEPTED"] if binds else ["CONNECT_DELAYED", "CONNECTED"]
        known = fault in ("mechanism", "garbage")
        failure = "HANDSHAKE_FAILED_PROTOCOL" if known else "HANDSHAKE_FAILED_NO_DETAIL"
        assert names == [*begin, failure, "DISCONNECTED"]
        if not binds and (side == "trimq" or not known):
            assert (await one.told("CONNECT_RETRIED"))[0][0] == "CONNECT_RETRIED"
        elif not binds:
            assert await one.close() == ["MONITOR_STOPPED"]


@SIDES
@pytest.mark.parametrize("binds", [True, False], ids=["bound", "connected"])
async def test_the_wrong_type(side: str, binds: bool, peer: Peer, pool: Pool, fresh: Callable[[str], str]) -> None:
    """A PULL and a PULL: who sees it first closes, and the other may find no more than that. trimq tells the former as a
    breach of the protocol, and libzmq only as a lost connection.
    """
    async with watched(side, "PULL", peer) as one, pool.peer() as other:
        pull = await other.socket("PULL", RECONNECT_IVL=20)
        if binds:
            await pull.connect(await one.bind(fresh("tcp")))
        else:
            await one.call("connect", await pull.bind(fresh("tcp")))
        names = await one.names("DISCONNECTED")
        begin = ["LISTENING", "ACCEPTED"] if binds else ["CONNECT_DELAYED", "CONNECTED"]
        seen = ["HANDSHAKE_FAILED_PROTOCOL"] if side == "trimq" else []
        assert names in ([*begin, *seen, "DISCONNECTED"], [*begin, "HANDSHAKE_FAILED_NO_DETAIL", "DISCONNECTED"])
        if side == "trimq" and not binds:
            assert await one.names("CONNECT_RETRIED") == ["CONNECT_RETRIED"]


@SIDES
async def test_a_frame_that_is_too_large(side: str, peer: Peer, pool: Pool, fresh: Callable[[str], str]) -> None:
    """MAXMSGSIZE: the one who got it tells a lost connection; a libzmq sender comes back."""
    async with watched(side, "PULL", peer, MAXMSGSIZE=1000) as one, pool.peer() as other:
        push = await other.socket("PUSH", RECONNECT_IVL=20)
        await push.connect(await one.bind(fresh("tcp")))
        await one.names("HANDSHAKE_SUCCEEDED")
        await push.send(bytes(1001))
        assert await one.names("HANDSHAKE_SUCCEEDED") == ["DISCONNECTED", "ACCEPTED", "HANDSHAKE_SUCCEEDED"]


@SIDES
@pytest.mark.parametrize("binds", [True, False], ids=["bound", "connected"])
async def test_a_stream(side: str, binds: bool, peer: Peer) -> None:
    """STREAM has no handshake: none is told to succeed. libzmq tells one that fails when the peer goes; trimq does
    not.
    """
    async with watched(side, "STREAM", peer) as one, meeting(one, binds=binds) as stream:
        await one.call("receive")
        await stream.aclose()
        begin = ["ACCEPTED"] if binds else ["CONNECT_DELAYED", "CONNECTED"]
        failure = ["HANDSHAKE_FAILED_NO_DETAIL"] * (side == "libzmq")
        assert await one.names("DISCONNECTED") == [*begin, *failure, "DISCONNECTED"]
        if not binds:
            assert (await one.names("CONNECT_RETRIED"))[0] == "CONNECT_RETRIED"


# What libzmq does not tell


async def test_what_is_told_beyond_libzmq(peer: Peer, fresh: Callable[[str], str]) -> None:
    """Who a libzmq peer is, what it subscribes to, what it misses; the same as levels (issue 5)."""
    async with running() as ctx:
        pub = ctx.socket(trimq.Pub)
        sub = await peer.socket("SUB")
        async with pub.events() as stream:
            address = pub.bind(fresh("ipc"))
            await sub.connect(address)
            await sub.subscribe(b"t")
            found: list[Any] = []
            while not found or not isinstance(found[-1], events.Subscribed):
                found.append(await stream.receive())
            [listening, accepted, there, subscribed] = found
            assert isinstance(listening, events.Listening)
            assert isinstance(accepted, events.Accepted)
            assert isinstance(there, events.HandshakeSucceeded)
            assert there.peer is pub.peers[0]
            assert (there.peer.socket_type, there.peer.mechanism) == ("SUB", "NULL")
            assert there.peer.pid == peer.process.pid
            assert accepted.address == there.peer.address
            assert (subscribed.peer, subscribed.topic) == (there.peer, b"t")
            assert pub.statistics().topics == 1
            await sub.close()
            gone: list[Any] = [await stream.receive(), await stream.receive()]
            assert [type(event) for event in gone] == [events.Unsubscribed, events.Disconnected]
            assert all(event.peer is there.peer for event in gone)
            assert pub.peers == ()
            assert (pub.statistics().topics, pub.statistics().losses) == (0, 1)
