"""RFC 23, ZMTP 3.0, where it asks for something else than RFC 37: how trimq speaks with a peer of that version.

Which clause a test holds is in docs/reference/rfcs.rst, clause by clause.
"""

from __future__ import annotations

from typing import Any

import pytest
from conformance.scenarios import PLACE, bound, opened, raw
from sockets.helpers import RawPeer, jumping, raw_connect, settle, zmtp_message
from wire.helpers import R, connection, feed_all, frame, greeting, prop, ready, three_ways

from trimq import Pub, Pull, Push, Sub, XSub
from trimq._message import Subscription
from trimq.testing import MemoryTransport

G30 = greeting(minor=0)


def test_23_a_peer_must_accept_3_0() -> None:
    """Version negotiation: 3.0 and higher are valid; 3.0 is spoken with a peer of 3.0, though 3.1 is announced."""
    outcome = three_ways(connection, G30 + R + b"\0\x02ok")
    assert outcome.error is None
    assert outcome.items == [b"ok"]
    assert outcome.sent[10:12] == b"\x03\x01"
    assert outcome.peer is not None


@jumping
async def test_23_both_peers_shall_send_ready() -> None:
    """NULL: each sends one, and the handshake is complete when both have come."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        pull = ctx.socket(Pull)
        pull.bind(PLACE)
        peer = RawPeer(await raw_connect(network))
        await peer.stream.send_all(G30)
        assert b"\x05READY" in await peer.rest()
        assert pull.peers == ()
        await peer.stream.send_all(ready(prop(b"Socket-Type", b"PUSH")))
        await settle()
        assert len(pull.peers) == 1


@jumping
async def test_23_ready_must_be_sent_before_the_other_is_awaited() -> None:
    """NULL: so that two who wait for each other do not wait for ever, whichever of them has bound."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        ctx.socket(Pull).bind(PLACE)
        peer = RawPeer(await raw_connect(network))
        await peer.stream.send_all(G30)
        assert (await peer.exactly(72))[64:] == b"\x04\x1a\x05READY"
    async with opened(network) as ctx:
        listener = network.bind("place:1", ctx.socket(Push)._settings())
        ctx.socket(Push).connect(PLACE)
        peer = RawPeer(await listener.accept())
        await peer.stream.send_all(G30)
        assert (await peer.exactly(72))[64:] == b"\x04\x1a\x05READY"
        listener.close()


@jumping
@pytest.mark.parametrize("kind", [Sub, XSub])
async def test_23_subscriptions_shall_be_messages(kind: Any) -> None:
    """Publish-subscribe: an octet 1 and the topic, for a peer of 3.0, also around the size where frames get long."""
    async with bound(kind) as (sub, network):
        peer = await raw(network, kind, minor=0)
        await peer.rest()
        for topic in (b"A", b"\0\xff", bytes(254), bytes(255), bytes(256)):
            sub.subscribe(topic)
            await settle()
            assert await peer.exactly(len(zmtp_message(b"\1" + topic))) == zmtp_message(b"\1" + topic)
        assert await peer.rest() == b""


@jumping
@pytest.mark.parametrize("kind", [Sub, XSub])
async def test_23_cancellations_shall_be_messages(kind: Any) -> None:
    """Publish-subscribe: an octet 0 and the topic, for a peer of 3.0."""
    async with bound(kind) as (sub, network):
        for topic in (b"A", b"\0\xff", bytes(255)):
            sub.subscribe(topic)
        peer = await raw(network, kind, minor=0)
        await peer.rest()
        for topic in (b"A", b"\0\xff", bytes(255)):
            sub.unsubscribe(topic)
            await settle()
            assert await peer.rest() == zmtp_message(b"\0" + topic)


@jumping
async def test_23_subscriptions_shall_not_be_idempotent() -> None:
    """Publish-subscribe: the deviation (libzmq's): the subscriber counts; at the publisher one cancellation ends two."""
    ours = connection("SUB", ["PUB"])
    feed_all(ours, [G30 + ready(prop(b"Socket-Type", b"PUB"))])
    twice = [Subscription(b"A", True)] * 2
    assert b"".join(ours.encode(twice)) == frame(b"\1A") * 2
    async with bound(Pub) as (pub, network):
        peer = await raw(network, Pub, minor=0)
        await peer.stream.send_all(zmtp_message(b"\1A") * 2)
        await settle()
        pub.send_nowait(b"A1")
        await peer.stream.send_all(zmtp_message(b"\0A"))
        await settle()
        pub.send_nowait(b"A2")
        await settle()
        assert await peer.rest() == zmtp_message(b"A1")
