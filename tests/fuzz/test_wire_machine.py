"""Two engines joined by byte pipes that are cut anywhere: state machines over `trimq._wire`.

Held: design 1 (messages arrive whole and in order), the contract of Wire (what was complete before is given first, then
ProtocolError, nothing else), and both ends' agreement with a naive reading of RFC 37 (fuzz/reference.py).
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from fuzz import reference
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule
from wire import helpers

from trimq._errors import ProtocolError
from trimq._message import Item, Shared, Subscription
from trimq._wire._connection import Connection
from trimq._wire._frames import encode, subscription_as_command, subscription_as_message
from trimq._wire._greeting import Greeting, Version
from trimq._wire._raw import CHUNK, Raw

sizes = st.one_of(st.integers(0, 40), st.sampled_from([254, 255, 256, 257, 2047, 2048, 65535, 65536, 70000]))
frames = st.builds(lambda size, first: bytes([first]) * size, sizes, st.integers(0, 255))
short = st.binary(max_size=12)
messages = st.one_of(short, frames, st.lists(st.one_of(short, frames), min_size=2, max_size=10))
topics = st.one_of(short, st.sampled_from([b"t" * 245, b"t" * 246, b"t" * 255]))
subscriptions = st.builds(Subscription, topics, st.booleans())
runs = st.builds(
    lambda unit, count: [unit if isinstance(unit, bytes) else list(unit) for _ in range(count)],
    st.one_of(short, st.lists(short, min_size=2, max_size=9)),
    st.integers(8, 300),
)
batches = st.one_of(st.lists(st.one_of(messages, subscriptions), min_size=1, max_size=12), runs)
signs_of_life = st.one_of(
    st.builds(lambda context: helpers.command(b"PING", b"\0\0" + context), st.binary(max_size=20)),
    st.builds(lambda context: helpers.command(b"PONG", context), st.binary(max_size=20)),
    st.builds(lambda data: helpers.command(b"UNKNOWN", data), st.binary(max_size=300)),
)
bad_frames = st.sampled_from([b"\x05\x04\x03FOO", b"\x08\x00", b"\x04\x00", b"\x02" + b"\xff" * 8])
sides = st.sampled_from([0, 1])


def by_the_book(item: Any, minor: int) -> bytes:
    """An item as it travels."""
    if isinstance(item, Shared):
        item = item.item
    if isinstance(item, Subscription):
        if minor == 0:
            return helpers.frame(bytes([item.subscribe]) + item.topic)
        return helpers.command(b"SUBSCRIBE" if item.subscribe else b"CANCEL", item.topic)
    bodies = item if isinstance(item, list) else [item]
    return b"".join(helpers.frame(body, int(n < len(bodies) - 1)) for n, body in enumerate(bodies))


class End:
    """One engine, and what has happened to it."""

    def __init__(self) -> None:
        self.wire = helpers.connection("XPUB", ["XPUB"], publishes=True, identity=b"", max_message_size=100_000)
        self.wire_bytes = bytearray(self.wire.begin())  # on their way to the other end
        self.heard = bytearray()  # all that was given to it
        self.sent: list[Item] = []  # complete, before anything else got onto its way
        self.clean = True  # nothing else has
        self.got: list[Item] = []
        self.error: str | None = None


class TwoEngines(RuleBasedStateMachine):
    """Messages, subscriptions and PINGs both ways; reads of any size; garbage at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = (End(), End())

    @initialize(shaken=st.sampled_from([True, True, False]))
    def begin(self, shaken: bool) -> None:
        """Most of the time the handshake has been made, so that there is time for traffic."""
        for _ in range(5 * shaken):
            for side in (0, 1):
                self.read(side, 1 << 20, 7)
        assert all((end.wire.peer is not None) is shaken for end in self.ends)

    @rule(side=sides, batch=batches, shared=st.booleans())
    def send(self, side: int, batch: list[Item], shared: bool) -> None:
        """A batch, as a link's writer has it; never before the peer's READY (wire.md trap 2)."""
        end = self.ends[side]
        if end.wire.peer is None:
            return
        items = [Shared(item) if shared and not isinstance(item, Subscription) else item for item in batch]  # type: ignore[arg-type]
        buffers = end.wire.encode(items)
        assert b"".join(buffers) == b"".join(by_the_book(item, 1) for item in items)
        end.wire_bytes += b"".join(buffers)
        if end.clean:
            end.sent += batch

    @rule(side=sides, command=signs_of_life)
    def live(self, side: int, command: bytes) -> None:
        """A command that is no item, between messages."""
        if self.ends[side].wire.peer is not None:
            self.ends[side].wire_bytes += command

    @rule(side=sides, garbage=st.binary(min_size=1, max_size=40))
    def inject(self, side: int, garbage: bytes) -> None:
        """Bytes that nobody sent, behind all that was."""
        self.ends[side].wire_bytes += garbage
        self.ends[side].clean = False

    @rule(side=sides, size=st.one_of(st.integers(1, 80), st.just(1 << 20)), limit=st.sampled_from([1, 3, 32, 1000]))
    def read(self, side: int, size: int, limit: int) -> None:
        """One read of so many bytes, and all that can be decoded then; PONG and answers go back."""
        end, other = self.ends[side], self.ends[1 - side]
        data = bytes(other.wire_bytes[:size])
        if end.error is not None:
            return
        del other.wire_bytes[:size]
        end.heard += data
        wire = end.wire
        try:
            if wire.peer is None:
                end.wire_bytes += wire.handshake_untrusted(data)
            else:
                wire.feed(data)
            while wire.peer is not None and (items := wire.decode_untrusted(limit)):
                assert len(items) <= limit
                end.got += items
                end.wire_bytes += wire.take_reply()
            end.wire_bytes += wire.take_reply()
        except ProtocolError as error:
            end.error = str(error)
            assert end.error.isprintable()

    def teardown(self) -> None:
        """Whatever is under way arrives; then both ends have what the reference reads."""
        for _ in range(6):  # greeting in three stages, READY, traffic, PONGs
            for side in (0, 1):
                self.read(side, 1 << 30, 7)
        for side in (0, 1):
            self.compare(self.ends[side], self.ends[1 - side])

    def compare(self, end: End, other: End) -> None:
        """What one end made of it."""
        opening = reference.opening(bytes(end.heard))
        if end.wire.peer is None:
            assert end.got == []
            refused = opening.ready is not None and opening.ready.get(b"socket-type") != b"XPUB"
            assert (end.error is not None) == (opening.bad or refused)
        else:
            after = reference.traffic(opening.rest, publishes=True, max_message_size=100_000)
            assert end.got == after.items
            assert (end.error is not None) == after.bad
        if other.clean and end.error is None and self.ends[0].clean and self.ends[1].clean:
            assert end.wire.peer is not None
            assert end.got == other.sent
        assert end.got[: len(other.sent)] == other.sent[: len(end.got)]
        if end.wire.peer is not None:
            assert len(end.got) >= len(other.sent)  # what was complete before the garbage


class OneDecoder(RuleBasedStateMachine):
    """A stream built of runs and oddities, fed and decoded in any order: the reference at the end, a prefix of it always."""

    units = Bundle("units")

    @initialize(size=st.sampled_from([math.inf, 3000, 7]), publishes=st.booleans())
    def begin(self, size: float, publishes: bool) -> None:
        """A limit for frames that all of a run, or none, may pass."""
        self.size, self.publishes = size, publishes
        self.wire: Connection = helpers.connection("XPUB", ["DEALER"], publishes=publishes, max_message_size=size)
        self.wire.begin()
        self.wire.handshake_untrusted(helpers.G + helpers.R)
        self.stream = bytearray()
        self.fed = 0
        self.got: list[Item] = []
        self.bad = False

    @rule(target=units, item=st.one_of(messages, subscriptions))
    def unit(self, item: Item) -> bytes:
        """A message's bytes."""
        return by_the_book(item, 1)

    @rule(target=units, item=messages)
    def long_unit(self, item: Item) -> bytes:
        """The long form where the short one would do (wire.md 1.3: legal)."""
        bodies = item if isinstance(item, list) else [item]
        flags = [2 | int(n < len(bodies) - 1) for n in range(len(bodies))]
        parts = zip(flags, bodies, strict=True)
        return b"".join(bytes([flag]) + len(body).to_bytes(8, "big") + body for flag, body in parts)  # type: ignore[arg-type]

    @rule(
        target=units,
        data=st.one_of(signs_of_life, st.just(b"\x01\x01a"), bad_frames, st.binary(min_size=1, max_size=5)),
    )
    def odd_unit(self, data: bytes) -> bytes:
        """A command, a message that goes on, or anything."""
        return data

    @rule(unit=units, count=st.sampled_from([1, 1, 2, 31, 32, 33, 200]))
    def send(self, unit: bytes, count: int) -> None:
        """So many of it, one after the other."""
        self.stream += unit * (count if len(unit) < 5000 else 1)

    @precondition(lambda self: self.fed < len(self.stream))
    @rule(size=st.one_of(st.integers(1, 70), st.just(5000), st.just(1 << 30)), mutable=st.booleans())
    def feed(self, size: int, mutable: bool) -> None:
        """One read; some streams give a bytearray."""
        data: Any = self.stream[self.fed : self.fed + size]
        self.wire.feed(data if mutable else bytes(data))
        self.fed += len(data)

    @rule(unit=units, cut=st.integers(1, 30), limit=st.sampled_from([1, 3, 1000]))
    def send_in_pieces(self, unit: bytes, cut: int, limit: int) -> None:
        """One of it in reads of a few bytes, each decoded at once."""
        self.stream += unit[: 30 * cut]
        while self.fed < len(self.stream):
            self.feed(max(cut, len(self.stream) // 50), False)
            self.take(limit)
        self.decode(limit)

    @rule(limit=st.sampled_from([1, 2, 31, 32, 33, 1000]))
    def decode(self, limit: int) -> None:
        """A batch of at most so many; fewer means that there is no more."""
        if self.take(limit):
            self.compare()

    def take(self, limit: int) -> bool:
        """A batch; true if that is all there was."""
        if self.bad:
            return False
        try:
            batch = self.wire.decode_untrusted(limit)
        except ProtocolError:
            self.bad = True
        else:
            self.got += batch
            if len(batch) == limit:
                return False
        if not self.bad:
            try:
                assert self.wire.decode_untrusted(limit) == []
            except ProtocolError:
                self.bad = True
        return True

    def compare(self) -> None:
        """All that could be decoded is."""
        data = bytes(self.stream[: self.fed])
        expected = reference.traffic(data, publishes=self.publishes, max_message_size=self.size)
        assert self.got == expected.items
        assert self.bad == expected.bad

    def teardown(self) -> None:
        """Whatever is left."""
        if hasattr(self, "wire"):
            self.decode(1 << 30)


quick = settings(max_examples=50, stateful_step_count=30)
TestTwoEngines = pytest.mark.slow(TwoEngines.TestCase)
TestTwoEngines.settings = quick
TestOneDecoder = pytest.mark.slow(OneDecoder.TestCase)
TestOneDecoder.settings = settings(max_examples=40, stateful_step_count=30)


@settings(max_examples=60)
@given(batches, st.sampled_from([0, 1]), st.data())
def test_encode_is_by_the_book(batch: list[Item], minor: int, data: st.DataObject) -> None:
    """RFC 23, 37: whatever is mixed, shared or not, encoded before or not; large frames are the objects they were."""
    items: list[Any] = list(batch)
    for at, item in enumerate(items[:12]):
        if not isinstance(item, Subscription) and data.draw(st.booleans()):
            items[at] = Shared(item)
    form = subscription_as_message if minor == 0 else subscription_as_command
    expected = b"".join(by_the_book(item, minor) for item in items)
    for _ in range(2):  # the second time, what is shared is encoded
        buffers = encode(items, form)
        assert b"".join(buffers) == expected
    messages = [[item] if isinstance(item, bytes) else item for item in batch if not isinstance(item, Subscription)]
    whole: list[Any] = [frame for message in messages for frame in message]  # type: ignore[union-attr]
    large = [frame for frame in whole if len(frame) >= 65536]
    assert [id(buffer) for buffer in buffers if any(buffer is frame for frame in large)] == [
        id(frame) for frame in large
    ]


changed = st.tuples(st.integers(0, 63), st.integers(0, 255))


@settings(max_examples=100)
@given(st.lists(changed, max_size=3), st.binary(max_size=5), st.lists(st.integers(0, 70), max_size=8))
def test_greeting(changes: list[tuple[int, int]], rest: bytes, cuts: list[int]) -> None:
    """wire.md 1.2: the stages of ours, whatever of the peer's greeting is changed and wherever it is cut."""
    peer = bytearray(helpers.G)
    for at, value in changes:
        peer[at] = value
    stream = bytes(peer) + rest
    places = sorted(min(cut, len(stream)) for cut in cuts)
    greeting = Greeting("NULL", as_server=False, identity_length=0)
    sent = greeting.begin()
    heard = b""
    for start, stop in zip([0, *places], [*places, len(stream)], strict=True):
        heard += stream[start:stop]
        expected = reference.opening(heard[:64])
        try:
            sent += greeting.receive_untrusted(stream[start:stop])
        except ProtocolError as error:
            sent += error.reply
            assert expected.bad
            assert sent == helpers.G[: expected.sent]
            return
        assert sent == helpers.G[: expected.sent]
        assert greeting.old == (Version(expected.old) if expected.old else None)
        if expected.old:  # from here on it is not the greeting's business
            assert greeting.rest == heard
            return
        assert not expected.bad
        assert (greeting.peer is not None) == expected.greeted
        if greeting.peer is not None:
            assert greeting.rest == heard[64:]
            assert greeting.peer.version.value == f"3.{expected.minor}"
            return


class RawStream(RuleBasedStateMachine):
    """No protocol: what comes is what was sent, in pieces of at most 8,192 bytes (STREAM, wire.md 8.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.wire = Raw()
        self.fed = b""
        self.got = b""

    @rule(data=st.one_of(st.binary(max_size=20), st.sampled_from([b"x" * CHUNK, b"y" * (3 * CHUNK + 1)])))
    def feed(self, data: bytes) -> None:
        """One read; whether before or after a handshake makes no difference, for there is none."""
        if len(self.fed) % 2:
            assert self.wire.handshake_untrusted(data) == b""
        else:
            self.wire.feed(bytearray(data))  # type: ignore[arg-type]
        self.fed += data

    @rule(limit=st.integers(1, 5))
    def decode(self, limit: int) -> None:
        """No piece is empty or too long, and fewer than asked for means that there is no more."""
        pieces = self.wire.decode_untrusted(limit)
        assert len(pieces) <= limit
        for piece in pieces:
            assert type(piece) is bytes
            assert 0 < len(piece) <= CHUNK
            self.got += piece
        assert self.fed.startswith(self.got)
        if len(pieces) < limit:
            assert self.got == self.fed

    def teardown(self) -> None:
        """Whatever is left."""
        self.decode(1 << 30)

    @rule(items=st.lists(messages, max_size=9))
    def encode(self, items: list[Item]) -> None:
        """The bodies, one after the other."""
        bodies = [frame for item in items for frame in ([item] if isinstance(item, bytes) else item)]  # type: ignore[union-attr]
        buffers = self.wire.encode([Shared(item) if len(bodies) % 3 == 0 else item for item in items])  # type: ignore[arg-type]
        assert b"".join(buffers) == b"".join(bodies)
        assert all(buffers)


TestRawStream = RawStream.TestCase
TestRawStream.settings = settings(max_examples=40, stateful_step_count=20)
