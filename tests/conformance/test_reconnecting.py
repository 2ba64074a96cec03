"""libzmq's tests of connections that are lost and addresses that are given up: test_rebind_ipc, test_reconnect_*,
test_term_endpoint, test_unbind_wildcard, test_use_fd, on both libraries.
"""

from __future__ import annotations

import math
import socket as system
import uuid
from pathlib import Path
from typing import Any

import pytest
from conformance.both import Side
from conformance.sides import Mine, bounce, trimqs

import trimq


async def test_rebind_ipc(side: Side) -> None:
    """A path is bound again by another socket: who is connected there comes to it by itself."""
    first, pull = await side.socket("PUSH"), await side.socket("PULL", reconnect_interval=0.01)
    place = await side.join("ipc", first, pull)
    await first.send(b"of the first")
    assert await pull.receive() == [b"of the first"]
    await first.close()
    second = await side.socket("PUSH")
    await second.bind(place)
    await second.send(b"of the second")  # waits until it has come
    assert await pull.receive() == [b"of the second"]


@pytest.mark.parametrize("transport", ["ipc", "tcp", "tcp6"])
async def test_reconnect_ivl(side: Side, transport: str) -> None:
    """Without reconnects a lost Pair stays lost though its place is bound again, until it is connected anew."""
    binder = await side.socket("PAIR", ipv6=True)
    connector = await side.socket("PAIR", ipv6=True, reconnect_interval=math.inf)
    place = await side.join(transport, binder, connector)
    await bounce(binder, connector)
    await binder.unbind(place)
    await connector.left()
    await side.nothing(binder, connector)
    await binder.bind(place)
    await side.refused(binder, b"to nobody")
    await side.nothing(binder, connector)
    await connector.connect(place)
    await binder.peers(1)
    await bounce(binder, connector)


async def test_reconnect_ivl_of_a_dealer(side: Side) -> None:
    """A Dealer would come again, but for the option. (trimq's second connect dials; libzmq ignores it: see Differences.)"""
    binder, connector = await side.socket("DEALER"), await side.socket("DEALER", reconnect_interval=math.inf)
    place = await side.join("tcp", binder, connector)
    await bounce(binder, connector)
    await binder.unbind(place)
    await connector.left()
    await binder.bind(place)
    await side.nothing(binder, connector)
    if side.is_trimq:
        await connector.connect(place)
        await binder.peers(1)
        await bounce(binder, connector)


# What a monitor tells

DELAYED, SUCCEEDED = ["CONNECT_DELAYED", "CONNECTED"], ["HANDSHAKE_SUCCEEDED"]


async def test_reconnect_options_default(watched: Any) -> None:
    """A connection, its loss, the new attempt, which is far away or succeeds: nothing else is told."""
    for interval in (60_000, 300):
        sub = await watched.socket("SUB", RECONNECT_IVL=interval)
        pub = await watched.plain("PUB")
        address = await watched.bind(pub)
        await sub.connect(address)
        assert await sub.until("HANDSHAKE_SUCCEEDED") == [*DELAYED, *SUCCEEDED]
        await watched.close(pub)
        assert await sub.until("CONNECT_RETRIED") == ["DISCONNECTED", "CONNECT_RETRIED"]
        again = await watched.plain("PUB")
        await watched.bind(again, address)
        if interval == 300:
            assert await sub.until("HANDSHAKE_SUCCEEDED") == [*DELAYED, *SUCCEEDED]
        await sub.nothing()


async def test_reconnect_options_refused(watched: Any) -> None:
    """With RECONNECT_STOP_CONN_REFUSED the first refusal is the end."""
    sub = await watched.socket("SUB", RECONNECT_IVL=10, RECONNECT_STOP=1)
    pub = await watched.plain("PUB")
    await sub.connect(await watched.bind(pub))
    assert await sub.until("HANDSHAKE_SUCCEEDED") == [*DELAYED, *SUCCEEDED]
    await watched.close(pub)
    assert await sub.until("CLOSED") == ["DISCONNECTED", "CONNECT_RETRIED", "CONNECT_DELAYED", "CLOSED"]
    await sub.nothing()


async def test_reconnect_options_handshake(watched: Any) -> None:
    """With RECONNECT_STOP_HANDSHAKE_FAILED a handshake that takes too long is the end."""
    sub = await watched.socket("SUB", RECONNECT_IVL=10, RECONNECT_STOP=2, HANDSHAKE_IVL=50)
    stream = await watched.plain("STREAM")
    await sub.connect(await watched.bind(stream))
    assert await sub.until("DISCONNECTED") == [*DELAYED, "HANDSHAKE_FAILED_NO_DETAIL", "DISCONNECTED"]
    await sub.nothing()


async def test_reconnect_options_after_disconnect(watched: Any) -> None:
    """After a disconnect no attempt is made.

    libzmq has RECONNECT_STOP_AFTER_DISCONNECT for a disconnect that comes while an attempt is under way, which trimq does
    not need. Here it comes in between, and the option is left out: with it, libzmq 4.3.5 gives up at once now and then.
    """
    sub = await watched.socket("SUB", RECONNECT_IVL=10 if watched.is_trimq else 1000)
    address = f"ipc://@{uuid.uuid4().hex}"
    await sub.connect(address)
    assert await sub.until("CONNECT_RETRIED") == ["CLOSED", "CONNECT_RETRIED"]
    await sub.disconnect(address)
    await sub.nothing()


# Endpoints that end


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
async def test_term_endpoint(side: Side, transport: str) -> None:
    """After an unbind, or a disconnect, the peer is gone: nothing can be sent any more."""
    for binds, ends in ((True, "unbind"), (False, "disconnect")):
        push, pull = await side.socket("PUSH"), await side.socket("PULL")
        place = await side.join(transport, *((push, pull) if binds else (pull, push)))
        await push.send(b"ABC")
        assert await pull.receive() == [b"ABC"]
        await getattr(push, ends)(place)
        while not await side.refused(push, b"DEF"):  # libzmq needs a moment
            pass
        assert await side.refused(push, b"DEF") == "EAGAIN"


@pytest.mark.parametrize("wildcard", ["tcp://127.0.0.1:*", "ipc://*"])
async def test_term_endpoint_wildcard(side: Side, wildcard: str) -> None:
    """A wildcard is unbound by what it became, not by itself. (libzmq: ENOENT; trimq: InvalidEndpoint, EINVAL.)"""
    push = await side.socket("PUSH")
    place = await push.bind(wildcard)
    assert place != wildcard
    assert await push.refuses("unbind", wildcard) == ("EINVAL" if side.is_trimq else "ENOENT")
    await push.unbind(place)
    assert await push.refuses("unbind", place) == ("EINVAL" if side.is_trimq else "ENOENT")


WILDCARDS = {
    ("tcp://*:*", False): "tcp://0.0.0.0:",
    # over both families trimq says what every peer can use, and an address of IPv4 is one
    ("tcp://*:*", True): "tcp://[::]:",
    ("tcp://127.0.0.1:*", False): "tcp://127.0.0.1:",
    ("tcp://127.0.0.1:*", True): "tcp://[::ffff:127.0.0.1]:",
    ("tcp://[::1]:*", True): "tcp://[::1]:",
}


@pytest.mark.parametrize(("wildcard", "ipv6"), WILDCARDS)
async def test_unbind_wildcard(side: Side, wildcard: str, ipv6: bool) -> None:
    """What a wildcard became can be connected to and disconnected from, and is what to unbind."""
    rep, req = await side.socket("REP", ipv6=ipv6), await side.socket("REQ", ipv6=ipv6)
    place = await rep.bind(wildcard)
    expected = WILDCARDS[wildcard, ipv6]
    if side.is_trimq:
        expected = expected.replace("[::]", "0.0.0.0").replace("[::ffff:127.0.0.1]", "127.0.0.1")
    assert place.startswith(expected)
    await req.connect(place)
    await bounce(rep, req)
    await req.disconnect(place)
    await rep.unbind(place)


@pytest.mark.parametrize(
    "kinds",
    [(trimq.Rep, trimq.Req), (trimq.Pair, trimq.Pair), (trimq.Server, trimq.Client)],
    ids=["REP", "PAIR", "SERVER"],
)
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
async def test_use_fd(transport: str, kinds: tuple[Any, Any], tmp_path: Path) -> None:
    """A socket that somebody else has bound is taken over. (In trimq it is an argument of bind.)"""
    if transport == "tcp":
        listener = system.socket()
        listener.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    else:
        listener = system.socket(system.AF_UNIX)
        listener.bind(str(tmp_path / "given"))
        place = f"ipc://{tmp_path}/given"
    listener.listen()
    async with trimqs() as library:
        binder, connector = [Mine(library.source.socket(kind)) for kind in kinds]
        binder.socket.bind(place, use_fd=listener)
        await connector.connect(place)
        if kinds[0] is trimq.Server:
            await connector.socket.send(b"question")
            question = await binder.socket.receive()
            assert question.body == b"question"
            await binder.socket.send(trimq.RoutedMessage(question.routing_id, b"answer"))
            assert await connector.receive() == [b"answer"]
        else:
            await bounce(binder, connector)
        await binder.unbind(place)
        if transport == "ipc":
            assert (tmp_path / "given").exists()  # whoever bound it removes it
