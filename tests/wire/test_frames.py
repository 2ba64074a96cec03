"""Frames: what is encoded, byte for byte; and that a decoder gives the same items however the bytes come."""

from __future__ import annotations

import math
import tracemalloc

import pytest
from hypothesis import given, strategies as st
from wire.helpers import command, frame

from trimq._errors import ProtocolError
from trimq._message import Item, Shared, Subscription
from trimq._wire._frames import (
    LARGE,
    MAX_COMMAND,
    Decoder,
    encode,
    subscription_as_command,
    subscription_as_message,
)
from trimq._wire._runs import RUN


def plain(message: bytes | list[bytes]) -> bytes:
    """A message as it travels, by the book (wire.md 1.3)."""
    frames = [message] if isinstance(message, bytes) else message
    return b"".join(frame(body, 1 if n < len(frames) - 1 else 0) for n, body in enumerate(frames))


def no_command(body: bytes) -> Item | None:
    raise AssertionError(body)


def decode_all(data: bytes, cuts: list[int], limit: int, max_message_size: float = math.inf) -> list[Item]:
    """Everything in these bytes, cut up and taken ``limit`` at a time."""
    decoder = Decoder(max_message_size, no_command)
    out: list[Item] = []
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        decoder.feed(data[start:stop])
        while items := decoder.decode(limit):
            assert len(items) <= limit
            out += items
    return out


# encoding


def test_the_examples_of_the_rfc() -> None:
    """wire.md 1.3: the examples, seen on libzmq's wire."""
    assert encode([b"hi"]) == [bytes.fromhex("0002 6869")]
    assert encode([[b"p1", b"hello"]]) == [bytes.fromhex("0102 7031 0005 68656C6C6F")]
    assert encode([b"x" * 300]) == [bytes.fromhex("02 000000000000012C") + b"x" * 300]
    assert encode([b""]) == [b"\0\0"]
    assert encode([[b"", b"hi"]]) == [bytes.fromhex("0100 0002 6869")]
    assert encode([]) == []


SIZES = [0, 1, 254, 255, 256, 257, 2047, 2048, LARGE - 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 7, 8, 100])
def test_runs_of_any_size(size, count) -> None:
    """However a batch is encoded, by runs or one by one, short or long: it is one buffer with the same bytes."""
    messages: list[Item] = [b"%c" % n * size for n in range(count)]
    assert encode(messages) == [b"".join(plain(m) for m in messages)]  # type: ignore[arg-type]
    parts: list[Item] = [[b"a" * size, b"b" * size, b"c" * size]] * count
    assert encode(parts) == [b"".join(plain(m) for m in parts)]  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", [[b"a", b"b"], b"y" * 3000, Shared(b"s"), Subscription(b"t", True)])
@pytest.mark.parametrize("at", [0, 8, 15])
def test_a_run_with_something_odd_in_it(odd, at) -> None:
    """What is no plain short message does not disturb those around it."""
    items: list[Item] = [b"x%d" % n for n in range(16)]
    items[at] = odd
    odd_bytes = (
        plain(odd)
        if isinstance(odd, bytes | list)
        else plain(b"s")
        if isinstance(odd, Shared)
        else command(b"SUBSCRIBE", b"t")
    )
    assert encode(items) == [b"".join(odd_bytes if n == at else plain(b"x%d" % n) for n in range(16))]


def test_large_frames_are_not_copied() -> None:
    """Rules of speed: frames from 64 KiB on are given as they are, with their header at the end of what was before."""
    large, small = b"L" * LARGE, b"s" * (LARGE - 1)
    buffers = encode([b"a", large, [b"b", large, b"c"], small, large])
    header = b"\x02" + LARGE.to_bytes(8, "big")
    more = b"\x03" + LARGE.to_bytes(8, "big")
    assert buffers == [
        plain(b"a") + header,
        large,
        b"\x01\x01b" + more,
        large,
        plain(b"c") + plain(small) + header,
        large,
    ]
    assert all(buffer is large for buffer in buffers[1::2])


def test_shared_messages_are_encoded_once() -> None:
    """Rules of speed: fan-out encodes once; large frames stay shared, not copied."""
    large = b"L" * LARGE
    shared = Shared([b"t", large])
    first = encode([b"a", shared, b"b"])
    kept = shared.encoded
    second = encode([shared])
    assert shared.encoded is kept
    assert b"".join(first) == plain(b"a") + plain([b"t", large]) + plain(b"b")
    assert b"".join(second) == plain([b"t", large])
    assert any(buffer is large for buffer in second)
    # Whoever comes second uses what was kept, whatever it is.
    shared.encoded = [b"kept"]
    assert encode([shared]) == [b"kept"]


@pytest.mark.parametrize("length", [0, 1, 245, 246, 253, 254, 255, 256, 300])
def test_subscriptions(length) -> None:
    """Trap 7: topics around 255 bytes are framed by the size of the body, in both forms."""
    topic = b"t" * length
    assert subscription_as_command(Subscription(topic, True)) == command(b"SUBSCRIBE", topic)
    assert subscription_as_command(Subscription(topic, False)) == command(b"CANCEL", topic)
    assert subscription_as_message(Subscription(topic, True)) == frame(b"\x01" + topic)
    assert subscription_as_message(Subscription(topic, False)) == frame(b"\x00" + topic)


def test_the_examples_of_subscriptions() -> None:
    """wire.md 1.4: the examples, seen on libzmq's wire."""
    both: list[Item] = [Subscription(b"abc", True), Subscription(b"abc", False)]
    assert encode(both) == [bytes.fromhex("040D 09 535542534352494245 616263 040A 06 43414E43454C 616263")]
    assert encode(both, subscription_as_message) == [bytes.fromhex("0004 01 616263 0004 00 616263")]
    assert encode([Subscription(b"t" * 246, True)])[0][:9] == bytes.fromhex("06 0000000000000100")


def test_what_is_no_item_is_a_bug() -> None:
    """Not a silent loss."""
    with pytest.raises(TypeError):
        encode([b"a"] * 8 + [None] + [b"b"])  # type: ignore[arg-type]


# decoding

bodies = st.one_of(st.binary(max_size=12), st.sampled_from([b"x" * n for n in (254, 255, 256, 300, 3000)]))
messages = st.one_of(bodies, st.lists(bodies, min_size=2, max_size=4))
# Long runs of one layout, as the run decoder likes them, with other things between.
layouts = st.sampled_from([[0], [1], [30], [62], [255], [256], [300], [0, 30], [62, 0], [255, 256], [5, 5, 5], [3] * 9])
runs = st.tuples(layouts, st.integers(RUN - 2, 3 * RUN)).map(
    lambda r: [b"r" * r[0][0] if len(r[0]) == 1 else [b"r" * size for size in r[0]] for _ in range(r[1])]
)
streams = st.lists(st.one_of(messages.map(lambda m: [m]), runs), max_size=8).map(
    lambda groups: [message for group in groups for message in group]
)


@given(streams, st.data(), st.integers(1, 100), st.sampled_from([math.inf, 3000]))
def test_what_was_encoded_is_decoded(stream, data, limit, size) -> None:
    """Any messages, cut anywhere, taken any number at a time."""
    encoded = b"".join(encode(stream))
    assert encoded == b"".join(plain(message) for message in stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=8)))
    assert decode_all(encoded, cuts, limit, size) == stream


@pytest.mark.parametrize("position", [0, 1, RUN - 1, RUN, 2 * RUN, 99])
@pytest.mark.parametrize("other", [b"y" * 59, b"y" * 61, b"\0" * 60, b"y" * 300, [b"a", b"b"], [b"m" * 60, b"n" * 60]])
def test_a_run_is_not_taken_for_longer_than_it_is(position, other) -> None:
    """Speculation must be invisible: one message of another size, or of two frames, in a run of a hundred."""
    stream: list[bytes | list[bytes]] = [b"r%03d" % n + b"z" * 56 for n in range(100)]
    stream[position] = other
    assert decode_all(b"".join(plain(m) for m in stream), [], 1000) == stream


@pytest.mark.parametrize("position", [0, 1, RUN - 1, RUN, 2 * RUN, 99])
@pytest.mark.parametrize(
    "other",
    [
        b"y" * 20,
        [b"y" * 20],
        [b"a" * 20, b"b" * 21],
        [b"a" * 21, b"b" * 20],
        [b"a" * 20, b"b" * 300],
        [b"a" * 20, b"b", b"c"],
    ],
)
def test_a_run_of_messages_of_two_frames(position, other) -> None:
    """The same, where a message of another layout stands among messages of two frames; encoding finds it, too."""
    stream: list[bytes | list[bytes]] = [[b"i%03d" % n + b"z" * 16, b"r" * 20] for n in range(100)]
    stream[position] = other if len(other) > 1 or isinstance(other, bytes) else other[0]
    encoded = b"".join(plain(m) for m in stream)
    assert b"".join(encode(stream)) == encoded
    assert decode_all(encoded, [], 1000) == stream
    assert all(type(message) is not tuple for message in decode_all(encoded, [], 1000))


def test_each_message_of_a_run_is_a_list_of_its_own() -> None:
    """Promise of design 1: a list of its own for each receiver."""
    out = decode_all(plain([b"same", b"same"]) * 100, [], 1000)
    out[0].append(b"mine")  # type: ignore[union-attr]
    assert out[1] == [b"same", b"same"]


def test_a_run_does_not_begin_inside_a_message() -> None:
    """The last frame of a message looks just like the run behind it."""
    decoder = Decoder(math.inf, no_command)
    decoder.feed(frame(b"a" * 60, 1))
    assert decoder.decode(1000) == []
    decoder.feed(plain(b"b" * 60) * 100)
    assert decoder.decode(1000) == [[b"a" * 60, b"b" * 60], *[b"b" * 60] * 99]


def test_a_command_in_a_run_is_a_command() -> None:
    """Of the same size as the messages around it."""
    seen: list[bytes] = []
    decoder = Decoder(math.inf, seen.append)
    decoder.feed(plain(b"m" * 60) * 40 + frame(b"c" * 60, 4) + plain(b"m" * 60) * 40)
    assert decoder.decode(1000) == [b"m" * 60] * 80
    assert seen == [b"c" * 60]


def test_headers_inside_bodies_do_not_fool_a_run() -> None:
    """Bodies full of what looks like headers of the same run, just out of step."""
    inner = (b"\x00\x1e" * 15) * 40
    stream = [inner[n : n + 30] for n in range(100)]
    assert decode_all(b"".join(plain(m) for m in stream), [], 1000) == stream


def test_runs_are_found_again_after_mixed_traffic() -> None:
    """A peer may change its ways: what backs off comes back."""
    mixed = [b"x" * (n % 97) for n in range(5000)]
    uniform = [b"u" * 64] * 30000
    stream = [*mixed, *uniform]
    assert decode_all(b"".join(plain(m) for m in stream), list(range(0, 100000, 10000)), 1000) == stream
    decoder = Decoder(math.inf, no_command)
    decoder.feed(b"".join(plain(m) for m in stream))
    while decoder.decode(1000):
        pass
    assert decoder._wait <= 0
    assert decoder._next_wait == RUN


@pytest.mark.parametrize("limit", [1, 2, RUN, 1000])
def test_limit(limit) -> None:
    """No more than asked for, and nothing lost; after a straddling frame too."""
    decoder = Decoder(math.inf, no_command)
    data = plain(b"x" * 70) * 100
    decoder.feed(data[:50])
    assert decoder.decode(limit) == []
    decoder.feed(data[50:])
    counts = []
    while items := decoder.decode(limit):
        assert items == [b"x" * 70] * len(items)
        counts.append(len(items))
    assert sum(counts) == 100
    assert all(count == limit for count in counts[:-1])
    assert counts[-1] <= limit


def test_each_message_is_a_list_of_its_own() -> None:
    """Design 1: a receiver may change the list it got."""
    first, second = decode_all(plain([b"a", b"b"]) * 2, [], 10)
    assert first == second
    assert first is not second


def test_a_stream_of_bytearrays() -> None:
    """A message is bytes, whatever kind of buffer the stream gives (trio's memory streams give bytearrays)."""
    decoder = Decoder(math.inf, no_command)
    decoder.feed(bytearray(plain(b"a") + plain([b"b", b"c" * 300])[:50]))
    items = decoder.decode(10)
    decoder.feed(bytearray(plain([b"b", b"c" * 300])[50:] + plain(b"a")))
    items += reversed(decoder.decode(10))
    assert items == [b"a", b"a", [b"b", b"c" * 300]]
    assert {type(item) for item in items[:2]} == {bytes}
    assert [type(part) for part in items[2]] == [bytes, bytes]  # type: ignore[union-attr]


def test_commands_are_asked_about_in_order() -> None:
    """A command that is an item takes its place among the messages; one that is none takes none of the limit."""
    seen: list[bytes] = []

    def answer(body: bytes) -> Item | None:
        seen.append(body)
        return Subscription(body, True) if body == b"S" else None

    decoder = Decoder(math.inf, answer)
    decoder.feed(plain(b"1") + frame(b"N", 4) * 50 + frame(b"S", 4) + frame(b"L" * 300, 4) + plain(b"2"))
    assert decoder.decode(3) == [b"1", Subscription(b"S", True), b"2"]
    assert seen == [b"N"] * 50 + [b"S", b"L" * 300]


def test_a_bug_in_a_command_surfaces() -> None:
    """Promise 4: only ProtocolError is a peer's fault; an IndexError of ours must not read as "needs more bytes"."""

    def buggy(body: bytes) -> Item | None:
        raise IndexError

    decoder = Decoder(math.inf, buggy)
    decoder.feed(frame(b"X", 4))
    with pytest.raises(IndexError):
        decoder.decode(10)


def test_the_limit_for_commands_is_their_own() -> None:
    """Trap 9: MAX_COMMAND bytes at least, whatever the limit for messages; more if messages may have more."""

    def take(limit: float, size: int) -> None:
        decoder = Decoder(limit, lambda _: None)
        decoder.feed(frame(b"c" * size, 4))
        assert decoder.decode(1) == []

    take(1, MAX_COMMAND)
    take(MAX_COMMAND + 1, MAX_COMMAND + 1)
    with pytest.raises(ProtocolError, match=f"at most {MAX_COMMAND}"):
        take(1, MAX_COMMAND + 1)


def test_an_error_comes_after_what_was_complete_and_stays() -> None:
    """Contract of Wire: messages first, the error with the next call, and with every later one."""
    decoder = Decoder(math.inf, no_command)
    decoder.feed(plain(b"a") * 5 + b"\xf0\x00")
    decoder.feed(plain(b"b"))
    assert decoder.decode(3) == [b"a"] * 3
    assert decoder.decode(3) == [b"a"] * 2
    for _ in range(2):
        with pytest.raises(ProtocolError):
            decoder.decode(3)
        decoder.feed(plain(b"b"))


@pytest.mark.parametrize(("size", "step"), [(100_000, 2), (8_000_000, 200_000)])
def test_a_large_frame_costs_little_more_than_twice_its_bytes(size, step) -> None:
    """Rules of speed: collected in pieces, joined once; small pieces do not cost an object each."""
    decoder = Decoder(math.inf, no_command)
    decoder.feed(b"\x02" + size.to_bytes(8, "big"))
    assert decoder.decode(1) == []
    tracemalloc.start()
    try:
        for _ in range(size // step):
            decoder.feed(bytes(step))
            items = decoder.decode(1)
        assert tracemalloc.get_traced_memory()[1] < 2.4 * size
    finally:
        tracemalloc.stop()
    assert items == [bytes(size)]
