"""Hello, disconnect and hiccup messages, and Router's notifications (libzmq.md 1.5; 1.4, ROUTER)."""

from __future__ import annotations

from typing import Any

import pytest
from sockets.helpers import (
    RawPeer,
    all_of,
    both,
    joined,
    joins,
    jumping,
    nothing,
    opened,
    raw_connect,
    settle,
    zmtp_command,
    zmtp_frame,
    zmtp_message,
)

import trimq
from trimq import Client, Dealer, Peer, Rep, Req, Router, Server
from trimq.testing import MemoryTransport


def last(messages: list[Any]) -> list[bytes]:
    """What was said, whoever said it."""
    return [message.body if isinstance(message, trimq.RoutedMessage) else message[-1] for message in messages]


HELLOS = [
    (Router, Dealer),
    (Dealer, Router),
    (Dealer, Dealer),
    (Rep, Dealer),
    (Req, Router),
    (Client, Server),
    (Server, Client),
    (Peer, Peer),
]


@jumping
@both
@pytest.mark.parametrize(("kind", "other"), HELLOS, ids=lambda kind: kind.__name__)
async def test_hello(kind: Any, other: Any, place: str) -> None:
    """ZMQ_HELLO_MSG: first on each connection, whoever dialled, before what was queued; empty: nothing."""
    for binds in (True, False):
        async with opened() as ctx:
            socket, peer = ctx.socket(kind, hello_message=b"hello"), ctx.socket(other)
            if binds:
                await joined(ctx, socket, peer, place=place)
            else:
                socket.connect(place)
                if kind in (Dealer, Client):
                    await socket.send(b"queued")
                peer.bind(place)
                await socket.wait_for_peers()
            expected = [b"hello", b"queued"] if not binds and kind in (Dealer, Client) else [b"hello"]
            assert last(await all_of(peer)) == expected


@jumping
@both
@pytest.mark.parametrize("binds_first", [True, False], ids=["bind first", "connect first"])
@pytest.mark.parametrize(("kind", "other"), [(Client, Server), (Peer, Peer), (Dealer, Router), (Dealer, Dealer)])
async def test_hello_from_both_sides(kind: Any, other: Any, binds_first: bool, place: str) -> None:
    """test_hello_msg: CLIENT says H and SERVER says W, and each hears the other's, once, whoever is there first."""
    async with opened() as ctx:
        connector, binder = ctx.socket(kind, hello_message=b"H"), ctx.socket(other, hello_message=b"W")
        if binds_first:
            binder.bind(place)
        connector.connect(place)
        await settle()
        if not binds_first:
            binder.bind(place)
        await connector.wait_for_peers()
        assert last(await all_of(connector)) == [b"W"]
        assert last(await all_of(binder)) == [b"H"]


@jumping
async def test_hello_on_each_reconnection() -> None:
    """'And reconnection', before what waits; who is greeted is each new peer, and nobody twice."""
    async with opened(reconnect_interval=1.0) as ctx:
        client, server = ctx.socket(Client, hello_message=b"hello"), ctx.socket(Server)
        await joined(ctx, server, client, place="tcp://place:1")
        assert last(await all_of(server)) == [b"hello"]
        server.disconnect_peer(server.peers[0])
        await settle()
        await client.send(b"queued")
        await server.wait_for_peers()
        await settle()
        assert last(await all_of(server)) == [b"hello", b"queued"]


@jumping
@both
async def test_a_rep_does_not_greet_a_req(place: str) -> None:
    """A Req cannot receive what is no reply (libzmq's breaks the connection off)."""
    async with opened() as ctx:
        rep, req = ctx.socket(Rep, hello_message=b"hello"), ctx.socket(Req)
        await joined(ctx, rep, req, place=place)
        await settle()
        assert rep.statistics().sent == 0
        await req.send(b"question")
        assert await rep.receive() == [b"question"]


@jumping
@both
@pytest.mark.parametrize(("kind", "other"), [(Router, Dealer), (Server, Client), (Peer, Peer)])
async def test_disconnect_message(kind: Any, other: Any, place: str) -> None:
    """ZMQ_DISCONNECT_MSG: received as the last of an accepted peer that is lost, under its id, behind what it had sent."""
    async with opened(linger=1) as ctx:
        socket, peer = ctx.socket(kind, disconnect_message=b"gone"), ctx.socket(other)
        await joined(ctx, socket, peer, place=place)
        if kind is Peer:
            [endpoint] = peer.endpoints
            await peer.send(trimq.RoutedMessage(endpoint.routing_id, b"said"))
        else:
            await peer.send(b"said")
        await settle()
        peer.close()
        first, second = await all_of(socket)
        assert last([first, second]) == [b"said", b"gone"]
        if kind is Router:
            assert first[0] == second[0]
        else:
            assert first.routing_id == second.routing_id


@jumping
@both
async def test_who_ended_it_is_not_told(place: str) -> None:
    """disconnect_peer, unbind, disconnect: the message is for losses."""
    async with opened(reconnect_interval=1000) as ctx:
        server, client = ctx.socket(Server, disconnect_message=b"gone"), ctx.socket(Client, hiccup_message=b"hiccup")
        await joined(ctx, server, client, place=place)
        server.disconnect_peer(server.peers[0])
        await nothing(server)
        assert last(await all_of(client)) == [b"hiccup"]
        other = ctx.socket(Client, hiccup_message=b"hiccup")
        endpoint = await joins(other, place)
        endpoint.close()
        await nothing(other)
        assert last(await all_of(server)) == [b"gone"]


@jumping
@both
@pytest.mark.parametrize(("kind", "other"), [(Dealer, Router), (Client, Server), (Peer, Peer)])
async def test_hiccup_message(kind: Any, other: Any, place: str) -> None:
    """ZMQ_HICCUP_MSG: received when the connection that this side made is lost after its handshake."""
    async with opened(reconnect_interval=1000) as ctx:
        peer, socket = ctx.socket(other), ctx.socket(kind, hiccup_message=b"hiccup")
        await joined(ctx, peer, socket, place=place)
        await nothing(socket)
        peer.disconnect_peer(peer.peers[0])
        assert last(await all_of(socket)) == [b"hiccup"]
        # of those that came to it, it is told otherwise, or not at all
        bound, comer = ctx.socket(kind, hiccup_message=b"hiccup"), ctx.socket(other)
        await joined(ctx, bound, comer, place=place.replace("place", "other"))
        comer.close()
        await nothing(bound)


@jumping
@both
async def test_a_dialled_peer_has_no_disconnect_message(place: str) -> None:
    """It is for accepted peers; what has dialled has its hiccup, each in its place."""
    async with opened(reconnect_interval=1000) as ctx:
        one = ctx.socket(Peer, disconnect_message=b"gone", hiccup_message=b"hiccup")
        other = ctx.socket(Peer, disconnect_message=b"gone", hiccup_message=b"hiccup")
        await joined(ctx, one, other, place=place)
        one.disconnect_peer(one.peers[0])
        assert last(await all_of(other)) == [b"hiccup"]
        await nothing(one)


@jumping
@both
@pytest.mark.parametrize("words", [set(), {"connect"}, {"disconnect"}, {"connect", "disconnect"}], ids=sorted)
async def test_router_notifications(words: set[str], place: str) -> None:
    """ROUTER_NOTIFY: the id and an empty frame when a peer is there, and when it is lost, around what it says."""
    async with opened(linger=1) as ctx:
        router, dealer = ctx.socket(Router, notify_peers=words), ctx.socket(Dealer, routing_id=b"them")
        assert router.notify_peers == frozenset(words)
        await joined(ctx, router, dealer, place=place)
        await dealer.send(b"said")
        await settle()
        dealer.close()
        expected = [b""] * ("connect" in words) + [b"said"] + [b""] * ("disconnect" in words)
        assert await all_of(router) == [[b"them", body] for body in expected]


BEGINNINGS = {
    "nothing": b"",
    "no ZMTP": b"GET / HTTP/1.0\r\n\r\n",
    "half a greeting": b"\xff\0\0\0\0\0\0\0\x01\x7f\x03",
    "greeting": b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32),
    "wrong type": b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01"
    + (b"NULL".ljust(20, b"\0") + bytes(32) + zmtp_command(b"READY", b"\x0bSocket-Type\0\0\0\x03SUB")),
}


@jumping
@pytest.mark.parametrize("end", ["goes", "stays"])
@pytest.mark.parametrize("said", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_who_was_never_a_peer_is_not_notified_of(said: bytes, end: str) -> None:
    """test_router_notify: a raw client that makes no valid handshake comes and goes unheard, also when it times out."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        router = ctx.socket(Router, notify_peers={"connect", "disconnect"}, handshake_timeout=5.0)
        router.bind("tcp://place:1")
        stream = await raw_connect(network)
        await stream.send_all(said)
        await settle()
        if end == "goes":
            await stream.aclose()
        else:
            assert await RawPeer(stream).ended()
        await nothing(router)
        assert router.peers == ()
        assert router.statistics().received == 0


@jumping
@pytest.mark.parametrize("ends", ["too large", "it goes"])
async def test_half_a_message_is_not_notified_of(ends: str) -> None:
    """test_router_notify: what a peer had begun to say when it was lost is discarded, and its end told in good order."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        router = ctx.socket(Router, notify_peers={"disconnect"}, max_message_size=64)
        router.bind("tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"DEALER", identity=b"X")
        await peer.stream.send_all(zmtp_message(b"whole") + zmtp_frame(b"begun", 1))
        await settle()
        if ends == "too large":
            await peer.stream.send_all(zmtp_frame(bytes(127)))
            assert await peer.ended()
        else:
            await peer.stream.aclose()
        assert await all_of(router) == [[b"X", b"whole"], [b"X", b""]]
        assert router.peers == ()


def test_no_such_words() -> None:
    """Wrong values are refused; an option is there only where it can have an effect."""
    for kind in (Req, Rep):
        assert not {"disconnect_message", "hiccup_message"} & set(kind._option_names())
    assert "notify_peers" not in Dealer._option_names()


@jumping
async def test_wrong_values() -> None:
    """TypeError and ValueError that say what there is."""
    async with opened() as ctx:
        with pytest.raises(ValueError, match="'connect', 'disconnect'"):
            ctx.socket(Router, notify_peers={"hello"})
        with pytest.raises(TypeError, match="hello_message is bytes"):
            ctx.socket(Router, hello_message="hello")  # type: ignore[arg-type]
