"""A connection from its first byte: what is answered, who the peer is, what follows; or ProtocolError and nothing else.

Mode: bit 0 puts a right greeting before the stream, bit 1 what a READY's frame and name are.
"""

from __future__ import annotations

from collections.abc import Iterator

from fuzz import pieces, reference
from fuzz.targets.traffic import decode_all
from wire import helpers

from trimq._errors import ProtocolError
from trimq._message import Item, Subscription
from trimq._wire._connection import Connection

ACCEPTS = ("DEALER", "SUB")
OURS = helpers.ready(helpers.prop(b"Socket-Type", b"XPUB"))
OLD_OURS = b"\1" + helpers.frame(b"")  # a PUB to ZMTP 2.0, without an identity
OLD_TYPES = {5: "DEALER", 2: "SUB"}


def target(data: bytes) -> None:
    """Any bytes, from the start."""
    mode, reads = pieces.take(data)
    if mode & 2:
        size = min(255, sum(map(len, reads)) + 6)
        reads = [bytes([4, size]) + b"\x05READY", *reads]
    if mode & 3:
        reads = [helpers.G, *reads]
    stream = b"".join(reads)
    expected = reference.opening(stream)
    socket_type = (expected.ready or {}).get(b"socket-type", b"").decode("latin-1")
    refused = expected.ready is not None and socket_type not in ACCEPTS
    if expected.number is not None:
        socket_type = OLD_TYPES.get(expected.number, "")
        expected.bad = expected.bad or not socket_type

    wire = helpers.connection("XPUB", ACCEPTS, publishes=True)
    sent = wire.begin()
    items: list[Item] = []
    failure: ProtocolError | None = None
    try:
        for read in reads:
            if wire.peer is None:
                sent += wire.handshake_untrusted(read)
            else:
                wire.feed(read)
            if wire.peer is not None:
                decode_all(wire, 3, items)
    except ProtocolError as error:
        failure = error
        sent += error.reply if wire.peer is None else b""
        reference.check_text(error)
        if wire.peer is None:
            _stays(wire.handshake_untrusted, str(error))

    ours = helpers.greeting()[: expected.sent] + (OURS if expected.greeted else b"")
    if expected.old == "2.0":
        ours += OLD_OURS
    if refused:
        assert sent.startswith(ours)
        refusal = reference.read_frame(sent[len(ours) :])
        assert refusal is not None
        assert refusal.flags & 4
        assert refusal.body is not None
        assert refusal.body.startswith(b"\x05ERROR")
        assert 0 < len(reference.error_reason(refusal.body[6:])) == len(refusal.body) - 7
        assert refusal.rest == b""
    else:
        assert sent == ours
    if wire.peer is None:
        assert (failure is not None) == (expected.bad or refused)
        assert expected.bad or refused or (expected.ready is None and expected.identity is None)
        return
    if expected.old:
        _old(wire, expected, socket_type, items, failed=failure is not None)
        return
    assert expected.ready is not None
    assert not refused
    assert wire.peer.socket_type == socket_type
    assert wire.peer.identity == expected.ready.get(b"identity", b"")
    assert wire.peer.user_id is None
    own = {b"socket-type", b"identity"}
    theirs = {name.lower().encode(): value for name, value in wire.peer.metadata.items()}
    assert theirs == {name: value for name, value in expected.ready.items() if name not in own}
    after = reference.traffic(expected.rest, publishes=True, max_message_size=float("inf"))
    assert items == after.items
    assert (failure is not None) == after.bad
    form = helpers.frame(b"\1t") if expected.minor == 0 else helpers.command(b"SUBSCRIBE", b"t")
    assert wire.encode([Subscription(b"t", True)]) == [form]


def _old(wire: Connection, expected: reference.Opening, socket_type: str, items: list[Item], *, failed: bool) -> None:
    assert wire.peer is not None
    assert wire.peer.identity == expected.identity
    assert wire.peer.socket_type == socket_type
    assert wire.peer.metadata == {}
    assert not wire.heartbeats
    assert wire.ping() == wire.refuse("no") == wire.take_reply() == b""
    if expected.old == "1.0":
        after = reference.old_traffic(expected.rest, publishes=True, max_message_size=float("inf"))
        form = b"\3\0\1t"
    else:
        after = reference.traffic(expected.rest, publishes=True, max_message_size=float("inf"), commands=False)
        form = helpers.frame(b"\1t")
    assert items == after.items
    assert failed == after.bad
    assert wire.encode([Subscription(b"t", True)]) == [form]


def _stays(receive: object, message: str) -> None:
    try:
        receive(b"more")  # type: ignore[operator]
    except ProtocolError as again:
        reference.check_text(again, message)
    else:
        raise AssertionError("an error must stay")


SIGNATURE = helpers.G[:10]
OLD_2 = [SIGNATURE + b"\1" + bytes([number]) + helpers.frame(b"me") for number in (2, 5, 8, 10, 11)]
OLD_2 += [SIGNATURE + b"\1\2\1\0", SIGNATURE + b"\1\5\0\2\0x", SIGNATURE + b"\1\2\0\xff" + b"i" * 255]
OLD_1 = [b"\1\0", b"\4\0abc", b"\2\0\0", b"\xff" + (4).to_bytes(8, "big") + b"\0abc", b"\xfe\0" + b"i" * 253]
OLD_1 += [b"\xff" + size.to_bytes(8, "big") + bytes(1) + b"i" * 255 for size in (0, 256, 257)]
OLD_FRAMES = [b"\0", b"\2\0\1", b"\3\1ab\2\xfeX", b"\1\1\1\0", b"\xff" + (3).to_bytes(8, "big") + b"\0hi"]
OLD_FRAMES += [helpers.F, b"\1\1a\0\0", helpers.command(b"PING", b"\0\0"), b"\xff" + b"\xff" * 9, b"\xff" + bytes(9)]


def seeds() -> Iterator[bytes]:
    """wire.md section 9, rows 3 to 39, and whole sessions."""
    from wire import test_malformed as malformed

    for row in (*malformed.REFUSED_GREETINGS, *malformed.ACCEPTED_GREETINGS):
        yield pieces.make(row[1] + helpers.R + helpers.F)
        yield pieces.make(row[1], cuts=(1, 9, 10, 11, 12, 40))
    for row in malformed.REFUSED_HANDSHAKES:
        if len(row[1]) < 1000:
            yield pieces.make(row[1], mode=1)
            yield pieces.make(row[1] + helpers.F, mode=1, cuts=(1, 2, 8))
    for old in (*OLD_2, *OLD_1):
        yield pieces.make(old)
        for tail in OLD_FRAMES:
            yield pieces.make(old + tail, cuts=(1, 2, 11, 12, 16))
            yield pieces.make(old + tail * 3, repeat=(min(len(old), 255), len(tail), 40))
    sub = helpers.prop(b"Socket-Type", b"SUB")
    reserved = [helpers.prop(name, b"root") for name in (b"User-Id", b"peer-address", b"Routing-Id", b"__fd")]
    for properties in (
        [],
        [sub],
        [sub, sub],
        [sub, helpers.prop(b"Identity", b"me")],
        [sub, *reserved, helpers.prop(b"X-a", b"b")],
        [helpers.prop(b"Socket-Type", b"FOO")],
        [helpers.prop(b"Socket-Type", b"\x1b\xffX")],
        [helpers.prop(b"Socket-Type", b"\xff" * 85)],  # the refusal needs a frame of the long form
    ):
        ready = helpers.ready(*properties)
        yield pieces.make(ready + helpers.F + helpers.command(b"SUBSCRIBE", b"t") + ready, mode=1)
        yield pieces.make(helpers.greeting(minor=0) + ready + helpers.F, cuts=(64, 70))
        yield pieces.make(b"".join(properties), mode=2)
