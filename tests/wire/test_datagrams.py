"""Datagrams of Radio, Dish and Dgram: wire.md 5.1, 5.2, and 9, 84 and 85."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trimq import ProtocolError
from trimq._message import Shared
from trimq._wire._datagrams import MAX_GROUPED, GroupDatagrams, PlainDatagrams

grouped, plain = GroupDatagrams(), PlainDatagrams()


@pytest.mark.parametrize(
    ("data", "group", "body"),
    [
        (bytes.fromhex("03 67 72 70 62 6F 64 79"), b"grp", b"body"),
        (bytes.fromhex("03 67 72 70"), b"grp", b""),
        (bytes.fromhex("00 62"), b"", b"b"),
        (b"\xff" + b"G" * 255, b"G" * 255, b""),
    ],
)
def test_examples(data: bytes, group: bytes, body: bytes) -> None:
    """Wire.md 5.1's captures, each way; one encoding serves many."""
    assert grouped.encode([group, body]) == (data, "")
    assert grouped.encode(Shared([group, body])) == (data, "")
    assert grouped.decode_untrusted(data, "x") == [group, body]


@given(st.binary(max_size=255), st.binary(max_size=300))
def test_what_is_said_is_understood(group: bytes, body: bytes) -> None:
    """Any group and any body come back as they were."""
    data, _ = grouped.encode([group, body])
    assert grouped.decode_untrusted(data, "x") == [group, body]


@given(st.binary(max_size=600))
def test_anything_may_come(data: bytes) -> None:
    """A message or a ProtocolError, nothing else; what is taken is all that was there."""
    try:
        item = grouped.decode_untrusted(data, "x")
    except ProtocolError:
        assert not data or data[0] > len(data) - 1
    else:
        assert isinstance(item, list)
        assert bytes([len(item[0])]) + b"".join(item) == data


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "an empty datagram from 192.0.2.1:5"),
        (b"\x09grp", "ends within its group's name"),
        (b"\x01", "ends within its group's name"),
        (b"\x01g" + bytes(MAX_GROUPED - 1), "of 8193 bytes, where 8192 are the most"),
    ],
)
def test_malformed(data: bytes, fault: str) -> None:
    """Wire.md 9, 84 and 85: each is to be dropped, and says why."""
    with pytest.raises(ProtocolError, match=fault):
        grouped.decode_untrusted(data, "192.0.2.1:5")


def test_the_largest() -> None:
    """8192 bytes all in all are fine."""
    assert grouped.decode_untrusted(b"\x01g" + bytes(MAX_GROUPED - 2), "x") == [b"g", bytes(MAX_GROUPED - 2)]


def test_plain() -> None:
    """Wire.md 5.2: the body is the datagram; the address is the first frame, here without libzmq's zero byte."""
    assert plain.encode([b"127.0.0.1:5555", b"body"]) == (b"body", "127.0.0.1:5555")
    assert plain.decode_untrusted(b"body", "[::1]:5555") == [b"[::1]:5555", b"body"]
    assert plain.decode_untrusted(b"", "127.0.0.1:1") == [b"127.0.0.1:1", b""]
