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

ACCEPTS = ("DEALER", "SUB")
OURS = helpers.ready(helpers.prop(b"Socket-Type", b"XPUB"))


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
        assert expected.bad or refused or expected.ready is None
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


def _stays(receive: object, message: str) -> None:
    try:
        receive(b"more")  # type: ignore[operator]
    except ProtocolError as again:
        reference.check_text(again, message)
    else:
        raise AssertionError("an error must stay")


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
