"""Runs: short cuts that agree byte for byte with the plain path, or say that they have done nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, strategies as st
from wire.helpers import frame

from trimq._message import Item, Shared, Subscription
from trimq._wire._frames import Decoder, encode
from trimq._wire._runs import FOLLOWED, LAST, RUN, encode_run, header, take_run


def by_the_book(item: Any) -> bytes:
    """A message as it travels (RFC 23), built without the code under test."""
    frames = item if isinstance(item, list) else [item]
    return b"".join(frame(body, 1 if number < len(frames) - 1 else 0) for number, body in enumerate(frames))


sizes = st.one_of(st.integers(0, 40), st.sampled_from([254, 255, 256, 257, 2046, 2047]))
bodies = sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size) if size < 9 else st.just(b"b" * size))
several = st.lists(bodies, min_size=2, max_size=9)
plain = st.one_of(bodies, several)
too_long = st.sampled_from([b"x" * 2048, [b"id", b"x" * 2048], [b"x" * 70000, b""]])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 2047])
def test_headers(size: int) -> None:
    """RFC 23: the short form where the size allows it; the table agrees with the function, and ends with its own size."""
    body = bytes(size)
    assert LAST[size] + body == header(0, size) + body == frame(body)
    assert FOLLOWED[size] + body == header(1, size) + body == frame(body, 1)
    with pytest.raises(IndexError):
        LAST[2048]


# encoding


@given(st.lists(plain, min_size=1, max_size=20))
def test_small_messages_are_encoded_as_by_the_plain_path(items: list[Item]) -> None:
    """One buffer with the bytes of the book, whatever comes first; what it was given is left as it is."""
    before = [list(item) if isinstance(item, list) else item for item in items]
    assert encode_run(items) == b"".join(map(by_the_book, items))
    assert items == before


@given(
    st.lists(plain, min_size=1, max_size=12),
    st.one_of(too_long, st.just(Subscription(b"t", True)), st.just(Shared(b"not encoded yet"))),
    st.data(),
)
def test_anything_else_is_left_to_the_plain_path(items: list[Item], odd: Item, data: st.DataObject) -> None:
    """A frame beyond the table, a subscription, a shared message among others: None, wherever it stands."""
    items.insert(data.draw(st.integers(0, len(items))), odd)
    assert encode_run(items) is None


@pytest.mark.parametrize("odd", [None, 7, "text", bytearray(b"ab"), (b"a", b"b")])
@pytest.mark.parametrize("first", [b"a", [b"a", b"b"]])
def test_what_is_no_item_is_not_encoded_in_silence(first: Item, odd: Any) -> None:
    """A bug of ours must surface on the plain path, and not as bytes of something else. (A bytearray would be copied
    right, but whoever queues one has not packed it.)
    """
    made = encode_run([first, odd])
    assert made is None or isinstance(odd, bytearray)


@given(st.lists(st.tuples(plain, st.booleans()), min_size=1, max_size=12))
def test_shared_messages(items: list[tuple[Any, bool]]) -> None:
    """All encoded before and small: their bytes joined. One that was not: None."""
    shared: list[Item] = []
    for message, encoded in items:
        item = Shared(message)
        if encoded:
            assert b"".join(encode([item])) == by_the_book(message)
        shared.append(item)
    expected = b"".join(by_the_book(message) for message, _ in items) if all(e for _, e in items) else None
    assert encode_run(shared) == expected


def test_a_shared_message_that_is_large_is_never_joined() -> None:
    """It is to be written from where it is."""
    large = Shared([b"t", b"L" * 70000])
    encode([large])
    assert encode_run([large] * 8) is None
    assert b"".join(encode([large] * 8)) == by_the_book([b"t", b"L" * 70000]) * 8


# decoding


def no_command(body: bytes) -> Item | None:
    raise AssertionError(body)


def plainly(data: bytes, limit: float = math.inf) -> list[Item]:
    """What the decoder makes of it without any run."""
    decoder = Decoder(limit, no_command)
    decoder._wait = 1 << 30
    decoder.feed(data)
    return decoder.decode(1 << 20)


layouts = st.one_of(
    st.lists(st.integers(0, 70), min_size=1, max_size=8),
    st.lists(st.sampled_from([0, 1, 254, 255, 256, 300, 1000]), min_size=1, max_size=4),
)


@st.composite
def alike(draw: st.DrawFn) -> list[Any]:
    """Messages of one layout, full of what could be taken for headers."""
    layout = draw(layouts)
    fill = draw(st.sampled_from([b"\0", b"\1", b"\2", b"\4", b"\0\x1e", b"\xff"]))
    count = draw(st.integers(1, 3 * RUN + 2))
    frames = [(fill * size)[:size] for size in layout]
    return [frames[0] if len(frames) == 1 else list(frames) for _ in range(count)]


@given(alike(), st.one_of(plain, too_long), st.data(), st.integers(0, 4 * RUN))
def test_a_run_agrees_with_the_plain_path(stream: list[Any], other: Any, data: st.DataObject, room: int) -> None:
    """Whole runs of what is there and wanted, and behind them stands what the plain path would find there."""
    stream.insert(data.draw(st.integers(0, len(stream))), other)
    encoded = b"".join(map(by_the_book, stream))
    start = data.draw(st.integers(0, 3))
    out: list[Any] = ["before"]
    pos, _ = take_run(b"\7" * start + encoded, start, room, 1 << 40, out)
    assert out.pop(0) == "before"
    assert len(out) <= room
    assert len(out) % RUN == 0
    assert out == stream[: len(out)]
    assert all(type(item) in (bytes, list) for item in out)
    assert encoded[pos - start :] == b"".join(map(by_the_book, stream[len(out) :]))
    assert plainly(encoded) == stream


@given(st.binary(max_size=3000), st.integers(0, 3), st.sampled_from([0, 1, 40, 255, 300, 1 << 40]))
@example(b"\0\0" * 2000, 0, 0)
@example(b"\0\1x" * 900, 1, 0)
@example(b"\4\1x" * 900, 0, 1 << 40)
@example(b"\2" + bytes(7) + b"\5hello" + b"\0\5hello" * 400, 0, 1 << 40)
@example(b"\3" + b"\xff" * 8 + bytes(2000), 0, 1 << 40)
def test_bytes_of_a_stranger(data: bytes, start: int, limit: int) -> None:
    """Whatever comes: nothing is raised, no frame beyond the limit or the data is made up, what is behind stays."""
    out: list[Any] = []
    start = min(start, len(data))
    pos, _ = take_run(data, start, 1000, limit, out)
    assert data[start:pos] == b"".join(map(by_the_book, out))
    for item in out:
        assert all(len(body) <= limit for body in (item if isinstance(item, list) else [item]))


@pytest.mark.parametrize("frames", [[b"x" * 60], [b"x" * 30, b"", b"y" * 300]])
def test_what_a_run_takes(frames: list[bytes]) -> None:
    """It takes all that there is in whole runs, and says whether something else stands behind or only the end."""
    message = frames[0] if len(frames) == 1 else frames
    data = by_the_book(message)
    out: list[Any] = []
    assert take_run(data * (3 * RUN), 0, 1000, 300, out) == (3 * RUN * len(data), False)
    assert out == [message] * (3 * RUN)
    assert len({id(item) for item in out}) == 3 * RUN  # each a list of its own
    out.clear()
    assert take_run(data * (2 * RUN - 1), 0, 1000, 300, out) == (RUN * len(data), False)
    assert take_run(data * RUN + b"\0\1z" * 5000, 0, 1000, 300, []) == (RUN * len(data), True)
    # One less room than a run, or one byte less than it, or a limit that a frame exceeds: nothing is done.
    assert take_run(data * RUN, 0, RUN - 1, 300, []) == (0, False)
    assert take_run((data * RUN)[:-1], 0, 1000, 300, []) == (0, False)
    assert take_run(data * RUN, 0, 1000, max(map(len, frames)) - 1, []) == (0, True)


@pytest.mark.parametrize("position", range(RUN))
@pytest.mark.parametrize("flags", [1, 2, 4, 8])
def test_every_header_of_a_run_is_looked_at(position: int, flags: int) -> None:
    """A single bit in one of 32 headers: it is no run."""
    data = bytearray(by_the_book(b"x" * 30) * (2 * RUN))
    data[32 * (RUN + position)] = flags
    out: list[Any] = []
    assert take_run(bytes(data), 0, 1000, 300, out) == (32 * RUN, True)
    assert out == [b"x" * 30] * RUN
