"""wire.md section 9, rows 1 to 56: what a peer may get wrong, and what becomes of it. Each test names its row.

Left out: rows 1, 2 and the time of 17 (time-outs are the link's), 34 (two peers), 54 and 56 (the socket's).
"""

from __future__ import annotations

import tracemalloc
from functools import partial

import pytest
from wire.helpers import DEALER, F, G, R, command, connection, feed_all, frame, greeting, prop, ready, three_ways

from trimq._message import Subscription
from trimq._wire._frames import MAX_FRAMES

OUR_GREETING = greeting()
OUR_READY = ready(prop(b"Socket-Type", b"ROUTER"))
STAGE_A, STAGE_B = OUR_GREETING[:10], OUR_GREETING[:11]

REFUSED_GREETINGS = [
    # row, bytes, what the error says, what we had sent by then
    (3, b"\x00", "first byte is 0x00", STAGE_A),
    (4, b"GET / HTTP/1.0\r\n\r\n", "does not speak ZMTP: it began with GE", STAGE_A),
    (5, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "does not speak ZMTP", STAGE_A),
    (6, b"\xff" * 9 + b"\x00", "identity frame", STAGE_A),
    (7, b"\xff" + bytes(8) + b"\x00", "identity frame of 0 bytes", STAGE_A),
    (10, greeting(major=0), "revision 0", STAGE_B),
    (10, greeting(major=2), "revision 2", STAGE_B),
    (12, greeting(b"PLAIN"), "NULL here, PLAIN at the peer", OUR_GREETING),
    (13, greeting(b"NULL\0X"), "NULL here", OUR_GREETING),
    (13, greeting(b"NULL" + bytes(15) + b"\x01"), "NULL here", OUR_GREETING),
    (14, greeting(b""), "nothing at the peer", OUR_GREETING),
    (14, greeting(b"null"), "null at the peer", OUR_GREETING),
]


@pytest.mark.parametrize(
    ("row", "data", "says", "sent"), REFUSED_GREETINGS, ids=[f"{n}-row{r[0]}" for n, r in enumerate(REFUSED_GREETINGS)]
)
def test_refused_greetings(row, data, says, sent) -> None:
    """Rows 3 to 7, 10, 12 to 14: closed at once; by 12 (RFC 23, 37) only after the whole of our greeting."""
    outcome = three_ways(connection, data)
    assert outcome.error is not None
    assert says in outcome.error
    assert outcome.sent == sent
    assert outcome.peer is None


ACCEPTED_GREETINGS = [
    (8, greeting(signature=b"\xff" * 9 + b"\x7f")),
    (9, greeting(signature=b"\xff" + bytes(8) + b"\x01")),
    (11, greeting(major=255, minor=0)),
    (15, greeting(as_server=1)),
    (15, greeting(as_server=2)),
    (16, greeting(filler=bytes(range(1, 32)))),
]


@pytest.mark.parametrize(("row", "data"), ACCEPTED_GREETINGS, ids=[f"row{r[0]}" for r in ACCEPTED_GREETINGS])
def test_accepted_greetings(row, data) -> None:
    """Rows 8, 9, 11, 15, 16: odd, and none of our business. Byte by byte: row 17 without its clock."""
    outcome = three_ways(connection, data + R + F)
    assert outcome.error is None
    assert outcome.items == [b"ok"]
    assert outcome.sent == OUR_GREETING + OUR_READY


def test_row_11_means_the_newest_dialect() -> None:
    """Row 11: revision 255, minor 0 is 3.1 and not 3.0: it gets commands."""
    wire = connection()
    feed_all(wire, [greeting(major=255, minor=0) + R])
    assert wire.encode([Subscription(b"a", True)]) == [command(b"SUBSCRIBE", b"a")]


def test_row_18_traffic_together_with_ready() -> None:
    """Row 18: greeting, READY and a message in one read: the message is kept for decoding (libzmq loses it)."""
    wire = connection()
    wire.begin()
    wire.handshake_untrusted(G + R + F)
    assert wire.peer is not None
    assert wire.decode_untrusted(10) == [b"ok"]


REFUSED_HANDSHAKES = [
    # row, what follows the greeting, what the error says
    (19, F, "before its handshake was complete"),
    (20, b"\x04\x00", "without a name"),
    (20, b"\x04\x01\x00", "without a name"),
    (22, ready(DEALER, flags=0), "before its handshake was complete"),
    (23, ready(DEALER, flags=5), "MORE"),
    (24, bytes.fromhex("0407065245414459") + b"X", "READYX"),
    (27, ready(b"\x0bSocket-Type\x00\x00\x00\x10ROUTER"), "truncated"),
    (28, ready(b"\x0bSocket-Type\xff\xff\xff\xffDEALER"), "truncated"),
    (28, ready(b"\x0bSocket-Type\x80\x00\x00\x00DEALER"), "truncated"),
    ("28a", ready(b"\x0bSocket-Type"), "truncated"),
    ("28a", ready(b"\x0bSocket-Type\x00\x00\x00\x06"), "truncated"),
    (29, ready(DEALER, prop(b"", b"x")), "empty"),
    (30, ready(DEALER, b"\x00"), "empty"),
    (30, ready(DEALER, b"X"), "truncated"),
    (31, ready(DEALER, prop(b"socket-type", b"REQ")), "two different"),
    (32, ready(DEALER, prop(b"Identity", b"i" * 256)), "256 bytes"),
    (33, ready(DEALER, prop(b"Identity", b"\0abcd")), "zero byte"),
    (35, ready(DEALER, *[prop(b"a", b"")] * 11000), "metadata"),
    (35, command(b"READY", bytes(1 << 20)), "1048582 bytes"),
    (37, command(b"ERROR", b"\x09a"), "malformed ERROR"),
    (37, command(b"ERROR", b"\x02a"), "malformed ERROR"),
    (38, command(b"ERROR"), "malformed ERROR"),
    (39, command(b"ERROR", b"\x04\xff\x1b[m"), r"refused the connection: \xff\x1b[m"),
    (40, frame(R[2:], 0xFC), "reserved"),
    (41, b"\x06" + b"\xff" * 8, "2^63-1"),
    (46, b"\x04\x02\x10\x58", "16 bytes"),
    ("-", command(b"PING", b"\0\0"), "PING"),
]


@pytest.mark.parametrize(
    ("row", "data", "says"), REFUSED_HANDSHAKES, ids=[f"{n}-row{r[0]}" for n, r in enumerate(REFUSED_HANDSHAKES)]
)
def test_refused_handshakes(row, data, says) -> None:
    """Rows 19 to 24, 27 to 33, 35, 37 to 41, 46: closed, after our READY, which went out with our greeting."""
    outcome = feed_all(connection(), [G + data]) if len(data) > 70000 else three_ways(connection, G + data)
    assert outcome.error is not None
    assert says in outcome.error
    assert outcome.error.isprintable()  # row 39: fit to be logged
    assert outcome.sent == OUR_GREETING + OUR_READY
    assert outcome.items == []
    assert outcome.peer is None


@pytest.mark.parametrize(
    ("row", "data", "says"),
    [
        (25, ready(), "did not say its socket type"),
        (26, ready(prop(b"Socket-Type", b"FOO")), "the peer is a FOO"),
        (26, ready(prop(b"Socket-Type", b"PUB")), "the peer is a PUB"),
        (26, ready(prop(b"Socket-Type", b"")), "did not say its socket type"),
        (26, ready(prop(b"Socket-Type", b"\x1b\xffX")), r"the peer is a \x1b\xffX"),
    ],
)
def test_rows_25_and_26_wrong_socket_type(row, data, says) -> None:
    """Rows 25, 26: ERROR, then closed (RFC 37); the message names both types."""
    outcome = three_ways(connection, G + data)
    assert outcome.error is not None
    assert says in outcome.error
    assert "a ROUTER, which talks to DEALER or REQ or ROUTER" in outcome.error
    refusal = outcome.sent.removeprefix(OUR_GREETING + OUR_READY)
    assert refusal[0] == 4
    assert refusal[1] == len(refusal) - 2
    assert refusal[2:8] == b"\x05ERROR"
    assert refusal[8] == len(refusal) - 9
    assert refusal.endswith(b"cannot talk to ROUTER")
    assert outcome.peer is None


def test_row_21_ready_twice() -> None:
    """Row 21: closed."""
    outcome = three_ways(connection, G + R + R)
    assert outcome.error == "the peer sent READY twice"


def test_row_31_the_same_socket_type_twice() -> None:
    """Row 31: two Socket-Types that are equal are one."""
    outcome = three_ways(connection, G + ready(DEALER, DEALER))
    assert outcome.peer is not None
    assert outcome.peer.socket_type == "DEALER"


def test_row_36_reserved_properties_are_dropped() -> None:
    """Row 36 and trap 10: who the peer is, only an authenticator says."""
    reserved = (b"User-Id", b"user-id", b"Peer-Address", b"Routing-Id", b"__fd")
    outcome = three_ways(connection, G + ready(DEALER, *[prop(n, b"root") for n in reserved], prop(b"X-a", b"b")))
    assert outcome.peer is not None
    assert dict(outcome.peer.metadata) == {"X-a": b"b"}
    assert outcome.peer.user_id is None


TRAFFIC_CLOSES = [
    (40, b"\xf8\x02ok", "reserved flags: 0xf8"),
    (40, b"\x08\x02ok", "reserved flags: 0x08"),
    (41, b"\x02" + (1 << 63).to_bytes(8, "big"), "2^63-1"),
    (41, b"\x02" + b"\xff" * 8, "2^63-1"),
    (46, b"\x04\x02\x10\x58", "16 bytes"),
    (46, b"\x04\x00", "without a name"),
    (46, b"\x04\x01\x00", "without a name"),
    (23, b"\x05\x04\x03FOO", "MORE"),
    (48, bytes.fromhex("040504") + b"PING", "PING with 0 bytes"),
    (48, bytes.fromhex("040604") + b"PING\0", "PING with 1 bytes"),
    ("-", command(b"ERROR", b"\x03400"), "refused the connection: 400"),
]


@pytest.mark.parametrize(
    ("row", "data", "says"), TRAFFIC_CLOSES, ids=[f"{n}-row{r[0]}" for n, r in enumerate(TRAFFIC_CLOSES)]
)
def test_traffic_that_closes(row, data, says) -> None:
    """Rows 23, 40, 41, 46, 48: closed, and what was complete before is delivered first (contract of Wire)."""
    outcome = three_ways(connection, G + R + F + F + data)
    assert outcome.error is not None
    assert says in outcome.error
    assert outcome.items == [b"ok", b"ok"]
    assert outcome.sent == OUR_GREETING + OUR_READY


def test_row_48_no_pong_for_a_ping_without_ttl() -> None:
    """Row 48 and trap 6: nothing is echoed, least of all anybody's memory."""
    wire = connection()
    assert feed_all(wire, [G + R + command(b"PING", b"\0")]).error is not None
    assert wire.take_reply() == b""


TRAFFIC_GOES_ON = [
    (47, bytes.fromhex("04070346") + b"OOba\x72", []),
    (47, command(b"subscribe", b"a"), []),  # names are case-sensitive
    (51, command(b"PONG", b"never asked for"), []),
    (51, command(b"PONG"), []),
    (52, command(b"SUBSCRIBE", b"a") + command(b"CANCEL", b"a"), []),
    ("1.3", b"\x01\x01a" + command(b"FOO") + b"\x00\x01b", [[b"a", b"b"]]),  # a command inside a message
    ("1.3", b"\x02" + (2).to_bytes(8, "big") + b"hi", [b"hi"]),  # a long form that need not be
    ("1.3", b"\x00\x00", [b""]),
    ("1.4", frame(b"\x01abc"), [b"\x01abc"]),  # an old subscription is the socket's to understand
]


@pytest.mark.parametrize(
    ("row", "data", "items"), TRAFFIC_GOES_ON, ids=[f"{n}-row{r[0]}" for n, r in enumerate(TRAFFIC_GOES_ON)]
)
def test_traffic_that_goes_on(row, data, items) -> None:
    """Rows 47, 51, 52, and what 1.3 calls odd but legal."""
    outcome = three_ways(connection, G + R + F + data + F)
    assert outcome.error is None
    assert outcome.items == [b"ok", *items, b"ok"]


def test_row_42_a_huge_frame_that_trickles() -> None:
    """Row 42: without a limit memory grows with what has arrived only; with one it is closed before the body."""
    header = b"\x02" + (1 << 40).to_bytes(8, "big")
    wire = connection()
    feed_all(wire, [G + R + header])
    tracemalloc.start()
    try:
        for _ in range(1000):
            wire.feed(b"x" * 100)
            assert wire.decode_untrusted(10) == []
        assert tracemalloc.get_traced_memory()[1] < 4 * 100_000
    finally:
        tracemalloc.stop()
    limited = three_ways(partial(connection, max_message_size=1 << 39), G + R + header, open_ended=True)
    assert limited.error is not None
    assert "1099511627776 bytes" in limited.error


@pytest.mark.parametrize("size", [1, 10, 254, 255, 256, 70000])
def test_row_43_one_byte_over_the_limit(size) -> None:
    """Row 43: one byte over the limit closes. It limits neither the handshake (trap 9) nor SUBSCRIBE."""
    make = partial(connection, "XPUB", ["DEALER"], publishes=True, max_message_size=size)
    exact = frame(b"x" * size)
    opening = G + R + command(b"SUBSCRIBE", b"topic")
    subscribed = Subscription(b"topic", True)
    fine = feed_all(make(), [opening + exact + exact])
    assert fine.error is None
    assert fine.items == [subscribed, b"x" * size, b"x" * size]
    over = feed_all(make(), [opening + exact + frame(b"x" * (size + 1))])
    assert over.items == [subscribed, b"x" * size]
    assert over.error is not None
    assert f"at most {size} are accepted" in over.error


def test_row_44_a_message_without_end() -> None:
    """Row 44: a message may have MAX_FRAMES frames, in any reads, and not one more."""
    exact = b"\x01\x00" * (MAX_FRAMES - 1) + b"\x00\x00"
    for step in (len(exact), 1001):  # odd: reads that end within a header
        outcome = feed_all(connection(), [G + R, *(exact[i : i + step] for i in range(0, len(exact), step))])
        assert outcome.error is None
        assert outcome.items == [[b""] * MAX_FRAMES]
        endless = b"\x01\x00" * (MAX_FRAMES + 1)
        outcome = feed_all(connection(), [G + R, *(endless[i : i + step] for i in range(0, len(endless), step))])
        assert outcome.error is not None
        assert f"more than {MAX_FRAMES} frames" in outcome.error
        one_more = b"\x01\x00" + exact
        outcome = feed_all(connection(), [G + R, *(one_more[i : i + step] for i in range(0, len(one_more), step))])
        assert outcome.error is not None
    # the last frame too much comes in two reads
    almost = b"\x01\x00" * MAX_FRAMES
    outcome = feed_all(connection(), [G + R, almost[:-2], b"\x00\x01", b"x", F])
    assert outcome.items == [[*[b""] * (MAX_FRAMES - 1), b"x"], b"ok"]
    outcome = feed_all(connection(), [G + R, almost[:-2], b"\x01\x01", b"x", F])
    assert outcome.error is not None


def test_row_45_the_end_inside_a_message() -> None:
    """Row 45: a message is all of its frames or none; what is half there is never given."""
    for data in (b"\x01\x01a", b"\x01\x01a\x00", b"\x01\x01a\x00\x05b", b"\x00\x05b", b"\x02\x00", b"\x00"):
        outcome = three_ways(connection, G + R + F + data, open_ended=True)
        assert outcome.error is None
        assert outcome.items == [b"ok"]


@pytest.mark.parametrize(
    ("context", "echoed"), [(b"", b""), (b"ctx", b"ctx"), (b"c" * 16, b"c" * 16), (b"abcd" * 5, b"abcd" * 4)]
)
def test_row_49_pong_echoes_16_bytes(context, echoed) -> None:
    """Row 49 and RFC 37: PONG has the PING's context; of a longer one the first 16 bytes, as libzmq does."""
    outcome = three_ways(connection, G + R + command(b"PING", b"\x02\x58" + context))
    assert outcome.error is None
    assert outcome.pong == command(b"PONG", echoed)


def test_row_50_a_flood_of_pings() -> None:
    """Row 50: one PONG is pending at most, the latest's."""
    wire = connection()
    outcome = feed_all(wire, [G + R, b"".join(command(b"PING", b"\0\0%d" % n) for n in range(10000)) + F])
    assert outcome.items == [b"ok"]
    assert outcome.pong == command(b"PONG", b"9999")
    assert wire.take_reply() == b""


def test_row_53_cancel_never_subscribed() -> None:
    """Row 53: the wire knows no topics; it hands the cancellation on, in order."""
    outcome = three_ways(partial(connection, "PUB", ["DEALER"], publishes=True), G + R + command(b"CANCEL", b"a") + F)
    assert outcome.items == [Subscription(b"a", False), b"ok"]


def test_row_55_an_old_libzmq_with_a_topic_of_255_bytes() -> None:
    """Row 55 and trap 7: the long size without its flag: what it seems to say comes out, then the nonsense closes."""
    outcome = three_ways(connection, G + R + bytes.fromhex("00000000000000010001") + b"a" * 255)
    assert outcome.items == [b"", b"", b"", b"\x00"]
    assert outcome.error is not None
    assert "reserved flags: 0x61" in outcome.error
