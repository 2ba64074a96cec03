"""ZeroMQ's layer over PGM: wire.md 7.6, with the packets that were captured from libzmq, and 9, rows 89."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from trimq._message import Item, Shared
from trimq._wire._pgm_stream import Packer, Unpacker
from trimq._wire._zmtp1 import encode

FRAMES = st.binary(max_size=40) | st.integers(200, 700).map(bytes)
MESSAGES = st.lists(FRAMES | st.lists(FRAMES, min_size=2, max_size=4), max_size=20)


def packed(messages: Sequence[Item], size: int = 1428) -> list[bytes]:
    packer = Packer(size)
    packer.add(messages)
    return packer.take(10_000)


def unpacked(tsdus: Sequence[bytes | None], limit: float = math.inf) -> list[Item]:
    return Unpacker(limit).unpack_untrusted(tsdus)


def test_captured() -> None:
    """Wire.md 7.5: a message, one of two parts, one of 4000 bytes over three packets, three that share one."""
    assert packed([b"hello"]) == [bytes.fromhex("0000 06 00 68656C6C6F")]
    assert packed([[b"a", b"bc"]]) == [bytes.fromhex("0000 02 01 61 03 00 62 63")]
    assert packed([b"m0", Shared(b"m1"), b"m2"]) == [bytes.fromhex("0000 0300 6D30 0300 6D31 0300 6D32")]
    first, middle, last = packed([b"L" * 4000])
    assert first == bytes.fromhex("0000 FF 0000000000000FA1 00") + b"L" * 1416
    assert middle == b"\xff\xff" + b"L" * 1426
    assert last == b"\x04\x86" + b"L" * 1158
    for tsdus in ([first, middle, last], [first, middle, last, *packed([b"x"])]):
        assert unpacked(tsdus)[0] == b"L" * 4000


@given(MESSAGES, st.integers(3, 300), st.data())
def test_all_ways_of_packing_are_one_stream(messages: list[Item], size: int, data: st.DataObject) -> None:
    """Whenever packets are taken, they are the stream of ZMTP 1.0, full but for the last, and come back as the messages."""
    packer, tsdus = Packer(size), list[bytes]()
    rest = list(messages)
    while rest:
        count = data.draw(st.integers(1, len(rest)))
        packer.add(rest[:count])
        del rest[:count]
        taken = packer.take(data.draw(st.integers(1, 50)))
        assert not packer.waiting or all(len(tsdu) == size for tsdu in taken)
        tsdus += taken
    tsdus += packer.take(100_000)
    assert not packer.waiting
    assert b"".join(tsdu[2:] for tsdu in tsdus) == b"".join(encode(messages))
    at_once = Unpacker(math.inf)
    assert at_once.unpack_untrusted(tsdus) == messages
    assert not at_once.kept
    one_by_one = Unpacker(math.inf)
    assert [item for tsdu in tsdus for item in one_by_one.unpack_untrusted([tsdu])] == messages


@given(MESSAGES, st.integers(3, 300), st.data())
def test_who_misses_some_gets_the_rest(messages: list[Item], size: int, data: st.DataObject) -> None:
    """A loss costs the messages that had a part in it, and those alone: the next one follows."""
    tsdus = packed(messages, size)
    lost = data.draw(st.sets(st.integers(0, max(0, len(tsdus) - 1))))
    got = unpacked([None if number in lost else tsdu for number, tsdu in enumerate(tsdus)])
    at, whole = 0, list[Item]()
    for message in messages:
        begin, at = at, at + len(encode([message])[0])
        if not any(begin // (size - 2) <= number <= (at - 1) // (size - 2) for number in lost):
            whole.append(message)
    assert got == whole


def test_who_joins_in_the_middle() -> None:
    """The first message that begins where it is known: nothing of the one before, and nothing where none begins."""
    tsdus = packed([b"x" * 50, b"y" * 250, b"z"], 100)
    assert [unpacked(tsdus[start:]) for start in range(len(tsdus))] == [
        [b"x" * 50, b"y" * 250, b"z"],
        [b"z"],
        [b"z"],
        [b"z"],
    ]
    # An offset may point to the end: what comes next begins there.
    assert unpacked([b"\0\3abc", *packed([b"next"])]) == [b"next"]


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_no_stream(alone: bool) -> None:
    """A frame without length, or too large a one: its packet is dropped, and the next message's beginning is looked for."""
    good, bad, large, middle = packed([b"good"])[0], b"\0\0\0\0\0", packed([bytes(200)])[0], b"\xff\xff\2\0x"
    for wrong in (bad, large):
        unpacker, tsdus = Unpacker(100), [good, good, wrong, middle, good, good]
        got = [unpacker.unpack_untrusted([tsdu]) for tsdu in tsdus] if alone else [unpacker.unpack_untrusted(tsdus)]
        assert [item for items in got for item in items] == [b"good"] * 4
        assert unpacker.broken == 1
        # Joined, so that all are looked at together:
        got = [unpacker.unpack_untrusted(tsdus)]
        assert got == [[b"good"] * 4]
        assert unpacker.broken == 2


@pytest.mark.parametrize("wrong", [b"\0\4abc", b"\xff\xfeabc", b"\0", b""])
def test_an_offset_that_points_nowhere(wrong: bytes) -> None:
    """Wire.md 9, row 89: the packet's content is dropped, and the sender's next message is waited for."""
    unpacker = Unpacker(math.inf)
    assert unpacker.unpack_untrusted([wrong]) == []
    assert unpacker.unpack_untrusted(packed([b"next"])) == [b"next"]
    assert unpacker.broken == 1


def test_a_packer_that_is_cleared() -> None:
    """What has not left does not count any more."""
    packer = Packer(100)
    packer.add([bytes(150), b"a"])
    assert len(packer.take(1)) == 1
    packer.clear()
    assert (packer.waiting, packer.take(9)) == (0, [])


def test_what_a_message_that_is_not_whole_takes() -> None:
    """It is known, frames and all, so that somebody can have a limit for it; and reset gives it back."""
    unpacker = Unpacker(math.inf)
    tsdus = packed([[bytes(400)] * 9 + [b"end"]], 500)
    assert unpacker.unpack_untrusted(tsdus[:-1]) == []
    assert 3600 <= unpacker.kept <= 3600 + 9 * 100
    unpacker.reset()
    assert unpacker.kept == 0
    assert unpacker.unpack_untrusted(tsdus[-1:] + packed([b"next"])) == [b"next"]
