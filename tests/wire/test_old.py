"""Peers of ZMTP 2.0 and 1.0, byte by byte (wire.md 1.2 and 2; RFC 15, 13)."""

from __future__ import annotations

import pytest
from wire.helpers import command, connection, feed_all, frame, greeting, three_ways

from trimq._errors import ProtocolError
from trimq._message import MAX_FRAMES, Shared, Subscription
from trimq._wire._zmtp1 import Decoder1, encode, frame as old_frame

STAGE_A = greeting()[:10]


def signature(identity: bytes = b"") -> bytes:
    return b"\xff" + (len(identity) + 1).to_bytes(8, "big") + b"\x7f"


def hello2(number: int, identity: bytes = b"") -> bytes:
    """How a peer of ZMTP 2.0 begins."""
    return signature(identity) + b"\x01" + bytes([number]) + frame(identity)


def topic(item: object) -> tuple[bytes, bool]:
    assert isinstance(item, Subscription)
    return item.topic, item.subscribe


# ZMTP 2.0


def test_the_conversation_of_the_sheet() -> None:
    """wire.md 2.1: a ROUTER called abc, and our DEALER called me."""
    ours = connection("DEALER", ["ROUTER"], identity=b"me")
    sent = ours.begin() + ours.handshake_untrusted(bytes.fromhex("FF 00 00 00 00 00 00 00 00 7F 01 06 00 03 61 62 63"))
    assert sent == bytes.fromhex("FF 00 00 00 00 00 00 00 03 7F 03 05 00 02 6D 65")
    assert ours.peer is not None
    assert (ours.peer.socket_type, ours.peer.identity, ours.peer.mechanism) == ("ROUTER", b"abc", "NULL")
    assert b"".join(ours.encode([b"hello"])) == bytes.fromhex("00 05 68 65 6C 6C 6F")


def test_messages_of_2_0() -> None:
    """Frames are those of later versions, however they come."""
    large = bytes(300)
    data = hello2(5, b"you") + frame(b"a") + frame(b"b", 1) + frame(b"", 1) + frame(large)
    outcome = three_ways(connection, data)
    assert outcome.error is None
    assert outcome.items == [b"a", [b"b", b"", large]]
    assert outcome.sent == STAGE_A + b"\x03\x06" + frame(b"")
    assert outcome.peer is not None
    assert outcome.peer.identity == b"you"


@pytest.mark.parametrize(
    ("socket_type", "number"),
    [
        ("PAIR", 0),
        ("PUB", 1),
        ("SUB", 2),
        ("REQ", 3),
        ("REP", 4),
        ("DEALER", 5),
        ("ROUTER", 6),
        ("PULL", 7),
        ("PUSH", 8),
    ],
)
def test_the_numbers_of_types(socket_type: str, number: int) -> None:
    """RFC 15: ours and the peer's."""
    ours = connection(socket_type, [socket_type])
    ours.begin()
    assert ours.handshake_untrusted(hello2(number)) == b"\x03" + bytes([number]) + frame(b"")
    assert ours.peer is not None
    assert ours.peer.socket_type == socket_type


@pytest.mark.parametrize(("socket_type", "number"), [("XPUB", 1), ("XSUB", 2)])
def test_xpub_and_xsub_travel_as_pub_and_sub(socket_type: str, number: int) -> None:
    """RFC 15. (libzmq sends 9 and 10, and takes anything; so do we.)"""
    accepted = ["XSUB"] if socket_type == "XPUB" else ["XPUB"]
    for theirs in (3 - number, {1: 10, 2: 9}[number]):
        ours = connection(socket_type, accepted)
        ours.begin()
        assert ours.handshake_untrusted(hello2(theirs))[1] == number
        assert ours.peer is not None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (hello2(7), "the peer is a PULL, this talks to DEALER or REQ or ROUTER"),
        (hello2(11), "socket type is 11"),
        (hello2(255), "socket type is 255"),
        (signature() + b"\x01\x05" + frame(b"x", 1), "identity has flags"),
        (signature() + b"\x01\x05" + b"\x02" + (300).to_bytes(8, "big"), "identity has flags"),
        (signature() + b"\x01\x05" + frame(b"\0x"), "zero byte"),
        (hello2(5) + command(b"PING", b"\0\0"), "no commands"),
        (hello2(5) + b"\x08\x00", "reserved flags"),
    ],
)
def test_what_is_no_peer_of_2_0(data: bytes, says: str) -> None:
    """Closed without a word, for there is none in 2.0."""
    outcome = three_ways(connection, data)
    assert outcome.error is not None
    assert says in outcome.error
    assert outcome.sent == STAGE_A + b"\x03\x06" + frame(b"")


def test_subscriptions_of_2_0() -> None:
    """Messages both ways; a topic of 255 bytes in the right form (libzmq breaks it, wire.md trap 8 and 2.1)."""
    pub = connection("PUB", ["SUB"], publishes=True)
    feed_all(pub, [hello2(2)])
    sub = connection("SUB", ["PUB"])
    feed_all(sub, [hello2(1)])
    for size in (3, 254, 255, 256):
        buffer = b"".join(sub.encode([Subscription(bytes(size), True), Subscription(bytes(size), False)]))
        assert buffer == frame(b"\1" + bytes(size)) + frame(b"\0" + bytes(size))
        pub.feed(buffer)
        assert pub.decode_untrusted(10) == [b"\1" + bytes(size), b"\0" + bytes(size)]


def test_neither_heartbeats_nor_refusals() -> None:
    """There are no commands that could carry them."""
    for data in (hello2(5), b"\x01\x00"):
        ours = connection()
        feed_all(ours, [data])
        assert ours.peer is not None
        assert (ours.ping(), ours.refuse("no"), ours.heartbeats) == (b"", b"", False)


# ZMTP 1.0


def test_the_conversation_of_the_sheet_in_1_0() -> None:
    """wire.md 2.2: identity abc there, XYZ here; the header of ours has gone out as a signature."""
    for theirs in (bytes.fromhex("04 00 61 62 63"), bytes.fromhex("FF 00 00 00 00 00 00 00 04 00 61 62 63")):
        ours = connection("DEALER", ["ROUTER"], identity=b"XYZ")
        sent = ours.begin() + ours.handshake_untrusted(theirs)
        assert sent == bytes.fromhex("FF 00 00 00 00 00 00 00 04 7F 58 59 5A")
        assert ours.peer is not None
        assert (ours.peer.socket_type, ours.peer.identity) == ("", b"abc")
        assert b"".join(ours.encode([b"hello"])) == bytes.fromhex("06 00 68 65 6C 6C 6F")
    sub = connection("SUB", ["PUB"])
    feed_all(sub, [b"\x01\x00"])
    items = [Subscription(b"abc", True), Subscription(b"abc", False), Subscription(bytes(253), True)]
    assert b"".join(sub.encode(items)) == (
        bytes.fromhex("05 00 01 61 62 63 05 00 00 61 62 63 FF 00 00 00 00 00 00 00 FF 00 01") + bytes(253)
    )


def test_messages_of_1_0() -> None:
    """However they come: short and long lengths, the long form for a small frame, flags of which one bit counts."""
    long_form = b"\xff" + (3).to_bytes(8, "big") + b"\x00hi"
    data = b"\x01\x00" + old_frame(b"a") + old_frame(b"b", more=True) + b"\x02\xfeX" + old_frame(bytes(300)) + long_form
    outcome = three_ways_1(data)
    assert outcome == [b"a", [b"b", b"X"], bytes(300), b"hi"]


def three_ways_1(data: bytes) -> list[object]:
    results = []
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        outcome = feed_all(connection(), pieces)
        assert outcome.error is None
        assert outcome.sent == STAGE_A
        results.append(outcome.items)
    assert results[0] == results[1]
    return list(results[0])


@pytest.mark.parametrize("size", [0, 1, 253, 254, 255, 256, 70_000])
def test_sizes_of_1_0(size: int) -> None:
    """A length counts the flags: 254 bytes of body are the first that need the long form."""
    body = bytes(size)
    assert (old_frame(body)[0] == 0xFF) is (size >= 254)
    decoder = Decoder1(float("inf"))
    decoder.feed(b"".join(encode([body, [body, body], Shared([b"x", body])])))
    assert decoder.decode(10) == [body, [body, body], [b"x", body]]
    assert encode([]) == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x01\x00\x00", "length is 0"),
        (b"\x01\x00\xff" + bytes(8) + b"\x00", "length is 0"),
        (b"\x01\x00\x66\x00", "a frame of 101 bytes; at most 100"),
        (b"\x01\x00\xff" + (2**63).to_bytes(8, "big") + b"\0", "at most 100"),
        (b"\x02\x00\x00", "zero byte"),
        (b"\x05HTTP", "it began with"),
    ],
)
def test_what_is_no_peer_of_1_0(data: bytes, says: str) -> None:
    """Closed, at the first byte that tells; nothing is allocated because a length announces it."""
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        outcome = feed_all(connection(max_message_size=100), pieces)
        assert outcome.error is not None
        assert says in outcome.error


def test_what_was_complete_is_given_before_the_error() -> None:
    """As with later versions; and the error stays."""
    decoder = Decoder1(float("inf"))
    decoder.feed(old_frame(b"a") + b"\0")
    assert decoder.decode(10) == [b"a"]
    for _ in range(2):
        with pytest.raises(ProtocolError, match="length is 0"):
            decoder.decode(10)


def test_the_most_frames_of_1_0() -> None:
    """The same limit as with later versions."""
    for count, fits in ((MAX_FRAMES, True), (MAX_FRAMES + 1, False)):
        decoder = Decoder1(float("inf"))
        decoder.feed(old_frame(b"", more=True) * (count - 1) + old_frame(b""))
        if fits:
            assert len(decoder.decode(1)[0]) == MAX_FRAMES  # type: ignore[arg-type]
        else:
            with pytest.raises(ProtocolError, match="frames"):
                decoder.decode(1)


def test_its_subscribers_get_everything() -> None:
    """They choose themselves, and say nothing: as if they had subscribed to all (libzmq, wire.md 2.2)."""
    pub = connection("XPUB", ["SUB"], publishes=True)
    outcome = feed_all(pub, [b"\x01\x00" + old_frame(b"\1x")])
    assert topic(outcome.items[0]) == (b"", True)
    assert outcome.items[1:] == [b"\1x"]
    push = connection("PUSH", ["PULL"])
    assert feed_all(push, [b"\x01\x00"]).items == []
