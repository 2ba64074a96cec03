"""RFC 37, ZMTP 3.1: each SHALL and MUST, by its section's name and its own words.

Which clause a test holds is in docs/reference/rfcs.rst, clause by clause. Where libzmq does otherwise, so does trimq: such a
test holds the deviation, and says so; two differences from both are on purpose (docs/explanation/differences.rst).
"""

from __future__ import annotations

import random
import re
from typing import Any

import attrs
import pytest
import trio
from conformance.scenarios import PLACE, bound, opened, raw, say
from sockets.helpers import (
    RawPeer,
    all_of,
    drain,
    jumping,
    nothing,
    raw_connect,
    settle,
    zmtp_command,
    zmtp_frame,
    zmtp_message,
)
from wire.helpers import (
    DEALER,
    F,
    G,
    Outcome,
    R,
    command,
    connection,
    feed_all,
    frame,
    greeting,
    prop,
    ready,
    three_ways,
)

import trimq
from trimq import (
    Dealer,
    EndpointState,
    InvalidEndpoint,
    Pair,
    Pub,
    Pull,
    Push,
    Rep,
    Req,
    Router,
    Sub,
    XPub,
    XSub,
)
from trimq._mechanisms._null import Null
from trimq._message import Subscription
from trimq._wire._connection import Connection
from trimq._wire._frames import COMMAND, LONG, MORE
from trimq.testing import MemoryTransport, check_mechanism

ALL = (Req, Rep, Dealer, Router, Pub, XPub, Sub, XSub, Push, Pull, Pair)
OLD_2 = b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05\x00\x00"
"""All that a DEALER of ZMTP 2.0 says before its first message."""
OLD_1 = b"\x01\x00"
"""All that a nameless peer of ZMTP 1.0 says before its first message."""


@attrs.frozen
class Guarded(Null):
    """A mechanism that is not NULL, but for its name the same."""

    @property
    def name(self) -> str:
        """``"GUARDED"``."""
        return "GUARDED"


def guarded() -> Connection:
    """A connection that wants security."""
    return Connection(
        socket_type="ROUTER", accepts=frozenset({"DEALER"}), mechanism=Guarded(), identity=None, publishes=False
    )


def met(data: bytes) -> Outcome:
    """What comes of these bytes of a peer, however they are cut, when they are welcome."""
    outcome = three_ways(connection, data)
    assert outcome.error is None
    assert outcome.peer is not None
    return outcome


# Version negotiation


def test_37_a_peer_shall_send_a_partial_greeting() -> None:
    """Version negotiation: enough of it to find out the version, before the peer has said anything.

    The deviation (libzmq's): 10 octets, and the major version, the 11th, when the peer's first ten look as if it had one:
    ZMTP 1.0 would take it for the flags of an identity.
    """
    ours = connection()
    assert ours.begin() == G[:10]
    assert ours.handshake_untrusted(G[:10]) == G[10:11]
    assert ours.handshake_untrusted(G[10:11]) == G[11:64]


def test_37_a_peer_shall_read_eleven_octets_and_decide() -> None:
    """Version negotiation: by the eleventh, if not before, it is clear which version the peer speaks."""
    for data, version in ((G[:10], None), (G[:11], "3"), (OLD_2[:11], "2.0"), (OLD_1, "1.0")):
        ours = connection(identity=b"me")
        sent = ours.begin() + ours.handshake_untrusted(data)
        assert version == {10: "1.0", 11: None, 16: "2.0", 64: "3", 12: "1.0"}[len(sent)]


def test_37_the_padding_shall_not_have_a_meaning() -> None:
    """Version negotiation: whatever is in it, the peer is the same."""
    source = random.Random(37)
    for padding in (bytes(8), b"\xff" * 8, b"\x7f" * 8, *(source.randbytes(8) for _ in range(20))):
        outcome = met(greeting(signature=b"\xff" + padding + b"\x7f") + R + F)
        assert outcome == met(G + R + F)


def test_37_the_padding_must_not_be_validated() -> None:
    """Version negotiation: nothing in it is refused. (What comes after it says whether there is a version at all.)"""
    for n in range(8):
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            padding = bytearray(8)
            padding[n] = value
            met(greeting(signature=b"\xff" + bytes(padding) + b"\x7f") + R)


@pytest.mark.parametrize(("major", "minor"), [(3, 1), (3, 2), (3, 255), (4, 0), (255, 0)])
def test_37_a_peer_must_accept_higher_versions(major: int, minor: int) -> None:
    """Version negotiation: as valid, from 3.1 on."""
    assert met(greeting(major=major, minor=minor) + R + F).items == [b"ok"]


@pytest.mark.parametrize(("major", "minor"), [(3, 1), (3, 2), (4, 0), (255, 0)])
def test_37_a_peer_shall_use_its_own_version(major: int, minor: int) -> None:
    """Version negotiation: to peers of the same version or a higher one it says 3.1, and speaks it."""
    ours = connection("SUB", ["PUB"])
    sent = feed_all(ours, [greeting(major=major, minor=minor) + ready(prop(b"Socket-Type", b"PUB"))]).sent
    assert sent[10:12] == b"\x03\x01"
    assert b"".join(ours.encode([Subscription(b"A", True)])) == command(b"SUBSCRIBE", b"A")


@jumping
async def test_37_a_peer_must_close_where_it_cannot_downgrade() -> None:
    """Version negotiation: to versions that nobody knows; and to those before 3.0, where they could not do what is asked."""
    for revision in (0, 2):  # wire.md 1.2
        outcome = three_ways(connection, greeting(major=revision), open_ended=True)
        assert outcome.error is not None
    for data in (OLD_1, OLD_2):
        assert feed_all(guarded(), [data]).error is not None
    async with bound(Router) as (_, network):
        peer = RawPeer(await raw_connect(network))
        await peer.stream.send_all(greeting(major=2))
        assert await peer.ended()


# Topology


def test_37_as_server_shall_have_no_significance() -> None:
    """Topology: NULL knows neither clients nor servers; whatever the field says, the peer is the same."""
    for value in (0, 1, 2, 255):
        assert met(greeting(as_server=value) + R + F) == met(G + R + F)


# Authentication and confidentiality


def test_37_mechanism_names_shall_consist_of_these_characters() -> None:
    """Authentication: capitals, digits, hyphens and underscores; and who makes a mechanism for trimq has that checked."""
    assert re.fullmatch("[A-Z0-9_-]{1,20}", Null().name)
    check_mechanism(Guarded, Guarded)

    class Small(Null):
        name = "small"  # type: ignore[assignment]

    with pytest.raises(AssertionError, match="upper-case"):
        check_mechanism(Small, Small)


def test_37_who_reads_a_full_greeting_must_send_one() -> None:
    """Authentication: all 64 octets, the mechanism among them, also where that will not do."""
    for mechanism in (b"NULL", b"CURVE", b"", b"\xff" * 20):
        assert feed_all(connection(), [greeting(mechanism)]).sent[:64] == G


@pytest.mark.parametrize("mechanism", [b"", b"null", b"NUL", b"NULLS", b"PLAIN", b"NULL\0x", b" NULL", b"CURVE"])
def test_37_who_gets_another_mechanism_must_close(mechanism: bytes) -> None:
    """Authentication: it has to match in all 20 octets; nothing that comes after is looked at."""
    outcome = feed_all(connection(), [greeting(mechanism) + R + F])
    assert outcome.error is not None
    assert (outcome.peer, outcome.items) == (None, [])


# Error handling


async def listen(network: MemoryTransport, ctx: Any) -> Any:
    """Somebody who speaks bytes listens at `PLACE`."""
    return network.bind("place:1", ctx.socket(Push)._settings())


@jumping
async def test_37_an_error_shall_be_fatal() -> None:
    """Error handling: an ERROR in the handshake ends the connection.

    Different on purpose: an attempt is made again, later and later, and the endpoint says why; ``reconnect_stop`` has
    it give up, as the clause wants, and as libzmq does.
    """
    network = MemoryTransport()
    async with opened(network) as ctx:
        listener = await listen(network, ctx)
        for stop in (False, True):
            push = ctx.socket(Push, reconnect_stop={"handshake"} if stop else ())
            endpoint = push.connect(PLACE)
            for _ in range(1 if stop else 2):
                peer = RawPeer(await listener.accept())
                await peer.stream.send_all(G + zmtp_command(b"ERROR", b"\x02no"))
                assert await peer.ended()
            await settle()
            assert endpoint.state is (EndpointState.LOST if stop else EndpointState.WAITING)
            assert "refused the connection: no" in str(endpoint.cause)
            push.close()
        listener.close()


@jumping
async def test_37_an_unexpected_close_shall_be_temporary() -> None:
    """Error handling: in the handshake or after it, another attempt is made."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        listener = await listen(network, ctx)
        push = ctx.socket(Push)
        endpoint = push.connect(PLACE)
        for number in range(6):
            peer = RawPeer(await listener.accept())
            if number % 3:
                await peer.stream.send_all(G[: 32 * (number % 3)])
            await settle()
            await peer.stream.aclose()
            await settle()
            assert endpoint.state is EndpointState.WAITING
        peer = RawPeer(await listener.accept())
        await peer.handshake(b"PULL")
        await endpoint.ready()
        peer.stream.cut()
        await settle()
        peer = RawPeer(await listener.accept())
        await peer.handshake(b"PULL")
        await push.send(b"here again")
        assert await peer.exactly(12) == zmtp_message(b"here again")
        listener.close()


# Framing


def test_37_reserved_flags_must_be_zero() -> None:
    """Framing: nothing that trimq sends has one; a peer's frame that has one ends the connection (libzmq looks away)."""
    ours = connection("XSUB", ["XPUB"])
    feed_all(ours, [G + ready(prop(b"Socket-Type", b"XPUB"))])
    items = [b"", b"x" * 300, [b"a", b"b" * 300, b""], Subscription(b"A", True), Subscription(b"x" * 300, False)]
    data = b"".join(ours.encode(items)) + ours.ping(1.0, b"x") + ours.refuse("x" * 300)
    seen = set()
    while data:
        flags, size, start = data[0], data[1], 2
        if flags & LONG:
            size, start = int.from_bytes(data[1:9], "big"), 9
        seen.add(flags)
        data = data[start + size :]
    assert seen == {0, MORE, LONG, MORE | LONG, COMMAND, COMMAND | LONG}
    for bit in range(3, 8):
        assert feed_all(connection(), [G + R + frame(b"x", 1 << bit)]).error is not None


def test_37_more_shall_be_zero_on_commands() -> None:
    """Framing: a command is one frame; a peer's that announces more ends the connection (libzmq looks away)."""
    ours = connection()
    for data in (feed_all(ours, [G + R]).sent[64:], ours.ping(), ours.refuse("no")):
        assert not data[0] & MORE
    for flags in (COMMAND | MORE, COMMAND | MORE | LONG):
        data = bytes([flags]) + ((6).to_bytes(8, "big") if flags & LONG else b"\x06") + b"\x04PONGx"
        assert feed_all(connection(), [G + R + data]).error is not None


# Messages


@jumping
async def test_37_messages_shall_be_atomic() -> None:
    """Messages: all frames or none: what was cut off in the middle is never seen, nor is its rest."""
    async with bound(Pull) as (pull, network):
        peer = await raw(network, Pull)
        await peer.stream.send_all(zmtp_message(b"1", b"2") + zmtp_message(b"3", b"4", b"5")[:-3])
        await settle()
        peer.stream.cut()
        await say(await raw(network, Pull), b"6")
        assert await all_of(pull) == [[b"1", b"2"], [b"6"]]


# The NULL mechanism


def test_37_as_server_must_be_zero() -> None:
    """NULL: in our greeting, whoever binds."""
    assert feed_all(connection(), [G]).sent[32] == 0


@jumping
async def test_37_null_client_and_server_shall_take_turns() -> None:
    """NULL: who connects says READY first, who binds answers.

    The deviation (libzmq's, and RFC 23's rule): there is neither client nor server; each side says READY when it has
    the other's greeting, whoever binds.
    """
    network = MemoryTransport()
    async with opened(network) as ctx:
        ctx.socket(Pull).bind(PLACE)
        peer = RawPeer(await raw_connect(network))
        await peer.stream.send_all(G)  # no READY
        assert (await peer.exactly(72))[64:] == b"\x04\x1a\x05READY"
    async with opened(network) as ctx:
        listener = await listen(network, ctx)
        ctx.socket(Push).connect(PLACE)
        peer = RawPeer(await listener.accept())
        await peer.stream.send_all(G)
        assert (await peer.exactly(72))[64:] == b"\x04\x1a\x05READY"
        listener.close()


def test_37_a_server_must_answer_ready() -> None:
    """NULL: READY is sent, once, and no message before the peer's READY has come."""
    outcome = met(G + R)
    assert outcome.sent[64:] == ready(prop(b"Socket-Type", b"ROUTER"))
    ours = connection()
    ours.begin()
    ours.handshake_untrusted(G)
    assert ours.peer is None  # which is the sign not to send


def test_37_property_names_shall_be_1_to_255_characters() -> None:
    """NULL: as long as that they are taken, an empty one ends the connection."""
    for size in (1, 2, 254, 255):
        outcome = met(G + ready(DEALER, prop(b"x" * size, b"value")))
        assert outcome.peer is not None
        assert outcome.peer.metadata == {"x" * size: b"value"}
    assert feed_all(connection(), [G + ready(DEALER, prop(b"", b"value"))]).error is not None


def test_37_the_case_of_names_shall_not_matter() -> None:
    """NULL: nor is it told apart in what the peer says of itself (libzmq tells it apart)."""
    outcome = met(G + ready(prop(b"sOCKET-tYPE", b"DEALER"), prop(b"IDENTITY", b"me"), prop(b"x-App", b"1")))
    assert outcome.peer is not None
    assert (outcome.peer.socket_type, outcome.peer.identity) == ("DEALER", b"me")
    assert outcome.peer.metadata["X-aPP"] == b"1"


def test_37_property_values_shall_be_up_to_2_31_octets() -> None:
    """NULL: any octets, none among them.

    Different on purpose: more than 64 KiB of properties end the connection (libzmq has no limit).
    """
    for value in (b"", bytes(range(256)), bytes(60_000)):
        outcome = met(G + ready(DEALER, prop(b"X-v", value)))
        assert outcome.peer is not None
        assert outcome.peer.metadata["X-v"] == value
    for size in (70_000, 1 << 31, (1 << 32) - 1):
        data = b"\x0bSocket-Type\0\0\0\x06DEALER\x03X-v" + size.to_bytes(4, "big") + bytes(70_000)
        assert feed_all(connection(), [G + command(b"READY", data)]).error is not None


def test_37_value_sizes_shall_be_four_octets() -> None:
    """NULL: in network order, ours and the peer's."""
    assert feed_all(connection(identity=b"me"), [G]).sent[64:] == (
        b"\x04\x2b\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER\x08Identity\x00\x00\x00\x02me"
    )
    outcome = met(G + command(b"READY", b"\x0bSocket-Type\x00\x00\x00\x06DEALER\x01y\x00\x00\x01\x00" + bytes(256)))
    assert outcome.peer is not None
    assert outcome.peer.metadata == {"y": bytes(256)}


# Connection metadata


@jumping
async def test_37_a_mechanism_shall_exchange_metadata() -> None:
    """Metadata: keys and values, both ways, to be read at the other side."""
    async with opened() as ctx:
        router, dealer = (
            ctx.socket(Router, metadata={"X-who": b"router"}),
            ctx.socket(Dealer, metadata={"X-who": b"dealer"}),
        )
        router.bind(PLACE)
        await dealer.connect(PLACE).ready()
        await router.wait_for_peers()
        assert [peer.metadata["x-WHO"] for peer in (*router.peers, *dealer.peers)] == [b"dealer", b"router"]


def test_37_metadata_names_shall_be_case_insensitive() -> None:
    """Metadata: two that differ in case alone are one, and the first counts."""
    outcome = met(G + ready(DEALER, prop(b"X-a", b"1"), prop(b"x-A", b"2")))
    assert outcome.peer is not None
    assert dict(outcome.peer.metadata) == {"X-a": b"1"}


@jumping
async def test_37_names_with_x_shall_be_for_applications() -> None:
    """Metadata: trimq says none of its own, and lets a program say no others."""
    async with opened() as ctx:
        for name in ("Socket-Type", "Identity", "User-Id", "Y-mine"):
            with pytest.raises(ValueError, match="X-"):
                ctx.socket(Push, metadata={name: b""})
        push = ctx.socket(Push, metadata={"X-mine": b"1"})
        assert push.metadata == {"X-mine": b"1"}
    sent = feed_all(connection(identity=b"me"), [G]).sent[64:]
    assert sent == ready(prop(b"Socket-Type", b"ROUTER"), prop(b"Identity", b"me"))


@jumping
@pytest.mark.parametrize("kind", ALL)
async def test_37_the_socket_type_shall_be_one_of_these(kind: Any) -> None:
    """Socket-Type: each type announces its name; a peer that announces another word is refused, with an ERROR."""
    types = "REQ REP DEALER ROUTER PUB XPUB SUB XSUB PUSH PULL PAIR".split()
    assert kind.socket_type in types
    async with bound(kind) as (_, network):
        peer = RawPeer(await raw_connect(network))
        name = kind.socket_type.encode()
        properties = ready(prop(b"Socket-Type", b"BOGUS"))
        await peer.stream.send_all(G + properties)
        said = (await peer.exactly(64 + 8 + 16 + len(name)))[64 + 8 :]
        assert said == b"\x0bSocket-Type" + len(name).to_bytes(4, "big") + name
        reason = b"BOGUS cannot talk to " + name
        assert (await peer.rest()).endswith(zmtp_command(b"ERROR", bytes([len(reason)]) + reason))
        assert await peer.ended()


def test_37_the_identity_shall_be_up_to_255_octets() -> None:
    """Identity: none, and any of up to 255 octets, are taken; a longer one ends the connection."""
    for identity in (b"", b"x", b"\xff" * 255):
        outcome = met(G + ready(DEALER, prop(b"Identity", identity)))
        assert outcome.peer is not None
        assert outcome.peer.identity == identity
    assert feed_all(connection(), [G + ready(DEALER, prop(b"Identity", b"x" * 256))]).error is not None


@jumping
async def test_37_the_identity_shall_not_begin_with_zero() -> None:
    """Identity: such an option is refused; so is a peer that announces one (libzmq takes it)."""
    async with opened() as ctx:
        with pytest.raises(ValueError, match="zero byte"):
            ctx.socket(Dealer, routing_id=b"\0x")
    assert feed_all(connection(), [G + ready(DEALER, prop(b"Identity", b"\0x"))]).error is not None


# Resources


@jumping
async def test_37_the_resource_shall_have_this_grammar() -> None:
    """Resource: the deviation (libzmq's): there are none: an endpoint with a path is no endpoint."""
    async with opened() as ctx:
        push = ctx.socket(Push)
        for verb in (push.bind, push.connect):
            with pytest.raises(InvalidEndpoint):
                verb("tcp://place:1/system/name-service")
    assert b"Resource" not in feed_all(connection(), [G]).sent


def test_37_all_resource_requests_shall_be_accepted() -> None:
    """Resource: a peer that asks for one is served like any other (as by libzmq); what it asked for is in its metadata."""
    outcome = met(G + ready(DEALER, prop(b"Resource", b"system/name-service")) + F)
    assert outcome.items == [b"ok"]
    assert outcome.peer is not None
    assert outcome.peer.metadata["Resource"] == b"system/name-service"


# Socket semantics

PAIRS = [(Req, Rep), (Dealer, Router), (Pub, Sub), (XPub, XSub), (Push, Pull), (Pair, Pair)]


@jumping
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda kind: kind.socket_type)
async def test_37_sockets_shall_accept_and_make_connections(one: Any, other: Any) -> None:
    """Socket semantics: any type may bind, and any may connect."""
    async with opened() as ctx:
        for number, (binder, connector) in enumerate(((one, other), (other, one))):
            first, second = ctx.socket(binder), ctx.socket(connector)
            first.bind(f"tcp://place:{number + 1}")
            await second.connect(f"tcp://place:{number + 1}").ready()
            await first.wait_for_peers()
            assert [peer.socket_type for peer in first.peers] == [connector.socket_type]


@jumping
@pytest.mark.parametrize("kind", ALL)
async def test_37_sockets_shall_connect_opportunistically(kind: Any) -> None:
    """Socket semantics: a connect returns at once, with nobody there, and is made good when somebody is."""
    accepted_by = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
    async with opened() as ctx:
        socket, other = ctx.socket(kind), ctx.socket(accepted_by[kind])
        endpoint = socket.connect(PLACE)
        await trio.sleep(30)
        assert socket.peers == ()
        other.bind(PLACE)
        await endpoint.ready()
        assert len(socket.peers) == 1


@jumping
async def test_37_a_message_shall_be_all_or_none() -> None:
    """Socket semantics: frames of several peers never mix; what is half there is not received."""
    async with bound(Pull) as (pull, network):
        peers = [await raw(network, Pull) for _ in range(3)]
        halves = [(zmtp_message(b"%d" % n, b"x" * 50, b"end")) for n in range(3)]
        for half, peer in zip(halves, peers, strict=True):
            await peer.stream.send_all(half[:20])
        await nothing(pull)
        for half, peer in zip(halves, peers, strict=True):
            await peer.stream.send_all(half[20:])
        assert await all_of(pull) == [[b"%d" % n, b"x" * 50, b"end"] for n in range(3)]


@jumping
async def test_37_frames_shall_be_queued_until_the_last() -> None:
    """Socket semantics: a send takes a whole message; one that cannot be is refused whole, and no frame of it goes."""
    async with bound(Push) as (push, network):
        peer = await raw(network, Push)
        for wrong in ([b"first", "no bytes"], [b"first", None], []):
            with pytest.raises((TypeError, ValueError)):
                push.send_nowait(wrong)
        push.send_nowait([b"a", b"b"])
        await settle()
        assert await peer.rest() == zmtp_message(b"a", b"b")


@jumping
async def test_37_a_message_shall_not_come_twice() -> None:
    """Socket semantics: connections that break do not have anything sent again that a peer may have got."""
    network = MemoryTransport(buffer=100)
    async with opened(network) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        pull.bind(PLACE)
        push.connect(PLACE)
        heard: list[list[bytes]] = []
        for n in range(200):
            await push.send([b"%d" % n, bytes(20)])
            if n % 40 == 39:
                await settle()
                heard += drain(pull)
                network.drop_all()
        await trio.sleep(10)
        heard += await all_of(pull)
        numbers = [int(message[0]) for message in heard]
        assert len(numbers) > 100
        assert len(numbers) == len(set(numbers))


@jumping
async def test_37_messages_shall_come_in_order() -> None:
    """Socket semantics: between two peers, through a network that tears everything into pieces."""
    async with opened(MemoryTransport(buffer=100, torn=True, seed=37)) as ctx:
        dealer, router = ctx.socket(Dealer), ctx.socket(Router)
        router.bind(PLACE)
        dealer.connect(PLACE)

        async def ask() -> None:
            await dealer.send_many([b"%d" % n, b"x" * (n % 50)] for n in range(200))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            for n in range(200):
                peer, *body = await router.receive()
                assert body == [b"%d" % n, b"x" * (n % 50)]
                await router.send([peer, b"%d" % n])
        for n in range(200):
            assert await dealer.receive() == [b"%d" % n]


# Publish-subscribe


@jumping
@pytest.mark.parametrize("kind", [Pub, XPub])
async def test_37_filtering_shall_happen_at_the_publisher(kind: Any) -> None:
    """Publish-subscribe: what nobody there has subscribed to does not travel."""
    async with bound(kind) as (pub, network):
        peer = await raw(network, kind)
        pub.send_nowait(b"A0")
        await say(peer, b"\1A")
        for message in (b"B", b"A1", b""):
            pub.send_nowait(message)
        await settle()
        assert await peer.rest() == zmtp_message(b"A1")


@jumping
@pytest.mark.parametrize("kind", [Sub, XSub])
async def test_37_subscriptions_shall_be_commands(kind: Any) -> None:
    """Publish-subscribe: SUBSCRIBE and the topic, whatever is in it, for peers of 3.1."""
    async with bound(kind) as (sub, network):
        peer = await raw(network, kind)
        await peer.rest()
        for topic in (b"A", b"\0\xff", bytes(246), bytes(247)):
            sub.subscribe(topic)
            await settle()
            assert await peer.rest() == zmtp_frame(b"\x09SUBSCRIBE" + topic, 4)


@jumping
@pytest.mark.parametrize("kind", [Sub, XSub])
async def test_37_cancellations_shall_be_commands(kind: Any) -> None:
    """Publish-subscribe: CANCEL and the topic, for peers of 3.1."""
    async with bound(kind) as (sub, network):
        for topic in (b"A", b"\0\xff", bytes(248), bytes(249)):
            sub.subscribe(topic)
        peer = await raw(network, kind)
        await peer.rest()
        for topic in (b"A", b"\0\xff", bytes(248), bytes(249)):
            sub.unsubscribe(topic)
            await settle()
            assert await peer.rest() == zmtp_frame(b"\x06CANCEL" + topic, 4)


@jumping
async def test_37_a_subscription_shall_match_what_starts_with_it() -> None:
    """Publish-subscribe: "A" matches "A" and "AB", and neither "BA" nor "a"."""
    async with bound(Pub) as (pub, network):
        peer = await raw(network, Pub)
        await peer.stream.send_all(zmtp_command(b"SUBSCRIBE", b"A"))
        await settle()
        for message in (b"A", b"BA", b"AB", b"a", b""):
            pub.send_nowait(message)
        await settle()
        assert await peer.rest() == zmtp_message(b"A") + zmtp_message(b"AB")


@jumping
async def test_37_an_empty_subscription_shall_match_everything() -> None:
    """Publish-subscribe: the empty message, too."""
    async with bound(Pub) as (pub, network):
        peer = await raw(network, Pub)
        await peer.stream.send_all(zmtp_command(b"SUBSCRIBE"))
        await settle()
        for message in (b"", b"\0", b"x"):
            pub.send_nowait(message)
        await settle()
        assert await peer.rest() == zmtp_message(b"") + zmtp_message(b"\0") + zmtp_message(b"x")


@jumping
async def test_37_subscriptions_shall_be_additive() -> None:
    """Publish-subscribe: "A" and "" get what "" alone does, each message once; without "", "A" is left."""
    async with bound(Pub) as (pub, network):
        peer = await raw(network, Pub)
        await peer.stream.send_all(zmtp_command(b"SUBSCRIBE", b"A") + zmtp_command(b"SUBSCRIBE"))
        await settle()
        for message in (b"A1", b"B1"):
            pub.send_nowait(message)
        await peer.stream.send_all(zmtp_command(b"CANCEL"))
        await settle()
        for message in (b"A2", b"B2"):
            pub.send_nowait(message)
        await settle()
        assert await peer.rest() == b"".join(zmtp_message(body) for body in (b"A1", b"B1", b"A2"))


@jumping
async def test_37_subscriptions_shall_not_be_idempotent() -> None:
    """Publish-subscribe: what a program subscribed to twice it must cancel twice.

    The deviation (libzmq's): that is counted by the subscriber, which sends one CANCEL; at the publisher a peer has a topic
    or not, so that a single CANCEL ends two SUBSCRIBEs.
    """
    async with opened() as ctx:
        pub, sub = ctx.socket(Pub), ctx.socket(Sub)
        pub.bind(PLACE)
        sub.subscribe(b"A")
        sub.subscribe(b"A")
        sub.connect(PLACE)
        await pub.wait_for_subscribers()
        for expected in ([[b"A"]], [[b"A"]], []):
            pub.send_nowait(b"A")
            assert await all_of(sub) == expected
            sub.unsubscribe(b"A")
            await settle()
    async with bound(Pub) as (pub, network):
        peer = await raw(network, Pub)
        await peer.stream.send_all(zmtp_command(b"SUBSCRIBE", b"A") * 2 + zmtp_command(b"CANCEL", b"A"))
        await settle()
        pub.send_nowait(b"A")
        assert await peer.rest() == b""


# Heartbeats


@jumping
async def test_37_a_ping_shall_be_answered() -> None:
    """Heartbeats: by a PONG with the same context, whoever has bound, whatever the TTL."""
    async with bound(Pull) as (_, network):
        peer = await raw(network, Pull)
        for context in (b"", b"x", b"\0\xff" * 8):
            await peer.stream.send_all(zmtp_command(b"PING", b"\x00\x00" + context))
            await settle()
            assert await peer.rest() == zmtp_command(b"PONG", context)


def test_37_a_context_must_not_exceed_16_octets() -> None:
    """Heartbeats: ours does not. The deviation (libzmq's): a peer's longer one is answered, by its first 16 octets."""
    ours = connection()
    feed_all(ours, [G + R])
    assert ours.ping(1.0, bytes(16)) == command(b"PING", b"\x00\x0a" + bytes(16))
    with pytest.raises(AssertionError):
        ours.ping(1.0, bytes(17))
    assert feed_all(connection(), [G + R + command(b"PING", b"\0\0" + b"x" * 17)]).pong == command(b"PONG", b"x" * 16)


# Peers of ZMTP 1.0 and 2.0


def test_37_the_pseudo_signature_shall_hold_a_size() -> None:
    """Old peers: the length of our identity and one, in 8 octets, network order: to ZMTP 1.0 it is a frame's header."""
    for size in (0, 1, 254, 255):
        assert connection(identity=b"x" * size).begin() == b"\xff" + (size + 1).to_bytes(8, "big") + b"\x7f"
    assert connection(identity=None).begin() == b"\xff" + (1).to_bytes(8, "big") + b"\x7f"


@pytest.mark.parametrize("old", [OLD_1, OLD_2], ids=["1.0", "2.0"])
def test_37_old_peers_must_be_refused_where_there_is_security(old: bytes) -> None:
    """Old peers: at once, before anything of theirs is taken, if our mechanism is not NULL; else they are welcome."""
    refused = feed_all(guarded(), [old + F])
    assert refused.error is not None
    assert (refused.peer, refused.items) == (None, [])
    assert len(refused.sent) <= 11
    assert feed_all(connection(), [old]).peer is not None


# Wire analysis


@jumping
async def test_37_clear_messages_shall_be_message_frames() -> None:
    """Wire analysis: over NULL, bodies stand on the wire as they are, in frames that are no commands."""
    async with bound(Push) as (push, network):
        peer = await raw(network, Push)
        push.send_nowait([b"plain", b"text"])
        assert await peer.exactly(13) == b"\x01\x05plain\x00\x04text"


def test_37_clear_mechanisms_shall_use_this_framing() -> None:
    """Wire analysis: any mechanism in the clear has the frames of NULL; here one that differs in its name alone."""
    peer = greeting(b"GUARDED") + R
    plain, named = connection(accepts=["DEALER"]), guarded()
    feed_all(plain, [G + R])
    assert feed_all(named, [peer]).error is None
    items = [b"x", [b"a", b"b"], bytes(300)]
    assert plain.encode(items) == named.encode(items)
    named.feed(F)
    assert named.decode_untrusted(1) == [b"ok"]


def test_37_command_names_shall_be_visible() -> None:
    """Wire analysis: each command begins with its name and the name's length, in the clear."""
    pub, sub = connection("PUB", ["SUB"], publishes=True), connection("SUB", ["PUB"])
    greeted = feed_all(pub, [G + ready(prop(b"Socket-Type", b"SUB")) + command(b"PING", b"\0\0")])
    feed_all(sub, [G + ready(prop(b"Socket-Type", b"PUB"))])
    sent = [
        greeted.sent[64:],
        greeted.pong,
        *sub.encode([Subscription(b"A", True)]),
        *sub.encode([Subscription(b"A", False)]),
        sub.ping(),
        sub.refuse("no"),
    ]
    names = [data[3 : 3 + data[2]] for data in sent]
    assert names == [b"READY", b"PONG", b"SUBSCRIBE", b"CANCEL", b"PING", b"ERROR"]


def test_37_command_frames_shall_be_printable() -> None:
    """Wire analysis: names are, and so is an ERROR's reason, whatever it was made from.

    The deviation (that of everybody, the RFC's own grammar among them): sizes, topics, contexts and identities are binary.
    """
    for name in (b"READY", b"PONG", b"SUBSCRIBE", b"CANCEL", b"PING", b"ERROR"):
        assert name.isalpha()
    refused = feed_all(connection(), [G + ready(prop(b"Socket-Type", b"\0\xff\n"))]).sent
    reason = refused[refused.index(b"ERROR") + 6 :]
    assert all(0x20 <= octet < 0x7F for octet in reason)
    assert len(reason) > 10


# Security


def test_37_downgrades_must_be_guarded_against() -> None:
    """Security: where security is wanted, neither an older version nor a lesser mechanism gets in, in any piece of them."""
    for data in (OLD_1, OLD_2, G + R, greeting(b"PLAIN") + R, greeting(b"GUARDED", major=1) + R):
        for cut in range(1, len(data)):
            outcome = feed_all(guarded(), [data[:cut], data[cut:] + F])
            assert outcome.error is not None
            assert (outcome.peer, outcome.items) == (None, [])
    assert feed_all(guarded(), [greeting(b"GUARDED") + R]).peer is not None


# The Radio-Dish pattern, and the types that are safe for threads


@jumping
async def test_37_the_radio_shall_check_who_is_in_a_group() -> None:
    """The Radio-Dish Pattern: a message goes to the peers that joined its group, and to no other."""
    async with bound(trimq.Radio) as (radio, network):
        members = []
        for group in (b"a", b"b"):
            peer = RawPeer(await raw_connect(network))
            await peer.handshake(b"DISH")
            await peer.stream.send_all(zmtp_command(b"JOIN", group))
            members.append(peer)
        await radio.wait_for_members(1, b"a")
        await radio.wait_for_members(1, b"b")
        await radio.send(trimq.GroupMessage(b"a", b"x"))
        await settle()
        assert await members[0].rest() == zmtp_message(b"a", b"x")
        assert await members[1].rest() == b""


@jumping
@pytest.mark.parametrize("verb", ["JOIN", "LEAVE"])
async def test_37_groups_shall_be_joined_and_left_by_commands(verb: str) -> None:
    """The Radio-Dish Pattern: JOIN and LEAVE, with the group's name."""
    async with bound(trimq.Dish) as (dish, network):
        dish.join(b"grp")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"RADIO")
        expected = zmtp_command(b"JOIN", b"grp")
        if verb == "LEAVE":
            dish.leave(b"grp")
            expected += zmtp_command(b"LEAVE", b"grp")
        await settle()
        assert await peer.rest() == expected


SINGLE = [
    (trimq.Client, trimq.Server),
    (trimq.Scatter, trimq.Gather),
    (trimq.Channel, trimq.Channel),
    (trimq.Peer, trimq.Peer),
    (trimq.Radio, trimq.Dish),
]
singles = pytest.mark.parametrize(("sending", "receiving"), SINGLE)


def as_sent(sending: Any, socket: Any, body: Any) -> Any:
    """A message of this type."""
    if sending is trimq.Radio:
        return trimq.GroupMessage(b"g", body)
    if sending is trimq.Peer:
        return trimq.RoutedMessage(socket.endpoints[0].routing_id, body)
    return body


@jumping
@singles
async def test_37_types_that_are_safe_shall_send_and_receive_whole_messages(sending: Any, receiving: Any) -> None:
    """Thread-Safe Socket Types: a call is one message, on either side."""
    async with opened() as ctx:
        sender, receiver = ctx.socket(sending), ctx.socket(receiving)
        if receiving is trimq.Dish:
            receiver.join(b"g")
        receiver.bind(PLACE)
        await sender.connect(PLACE).ready()
        if sending is trimq.Radio:
            await sender.wait_for_members(1, b"g")
        for number in range(3):
            await sender.send(as_sent(sending, sender, b"%d" % number))
        for number in range(3):
            message = await receiver.receive()
            assert (message[0] if isinstance(message, list) else message.body) == b"%d" % number


@jumping
@singles
async def test_37_types_that_are_safe_shall_refuse_several_frames(sending: Any, receiving: Any) -> None:
    """Thread-Safe Socket Types: to send them is an error."""
    async with opened() as ctx:
        sender, receiver = ctx.socket(sending), ctx.socket(receiving)
        receiver.bind(PLACE)
        await sender.connect(PLACE).ready()
        with pytest.raises(TypeError):
            await sender.send(as_sent(sending, sender, [b"a", b"b"]))
        with pytest.raises(TypeError):
            await sender.send([b"a", b"b"])


@jumping
@pytest.mark.parametrize(
    ("kind", "theirs"), [(trimq.Client, b"SERVER"), (trimq.Gather, b"SCATTER"), (trimq.Peer, b"PEER")]
)
async def test_37_types_that_are_safe_shall_discard_several_frames(kind: Any, theirs: bytes) -> None:
    """Thread-Safe Socket Types: what comes so is discarded whole, and the connection stays."""
    async with bound(kind) as (socket, network):
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(theirs)
        await peer.stream.send_all(zmtp_message(b"a", b"b") + zmtp_message(b"one"))
        message = await socket.receive()
        assert (message[0] if isinstance(message, list) else message.body) == b"one"
        assert socket.statistics().dropped == 1
        assert len(socket.peers) == 1
