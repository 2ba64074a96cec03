"""Raw streams: what STREAM speaks (wire.md 8.1)."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trimq._message import Shared, Subscription
from trimq._wire._frames import LARGE
from trimq._wire._raw import CHUNK, Raw


def test_the_peer_is_there_at_once() -> None:
    """No greeting, no handshake, nothing known."""
    wire = Raw()
    assert wire.begin() == b""
    assert wire.peer is not None
    assert wire.peer.socket_type == ""
    assert wire.take_reply() == b""


def test_no_heartbeats() -> None:
    """There is nothing that could be asked, and nothing that a peer could say."""
    wire = Raw()
    assert (wire.heartbeats, wire.peer_pings, wire.peer_ttl) == (False, False, 0.0)
    assert wire.ping(3.0, b"context") == b""


@given(st.lists(st.integers(0, 3 * CHUNK), max_size=6), st.integers(1, 5))
def test_every_byte_comes_out_once(sizes, limit) -> None:
    """Any reads, any limit: the same bytes in pieces of at most 8192, none of them empty."""
    wire = Raw()
    data = bytes(range(251)) * (sum(sizes) // 251 + 1)
    out: list[bytes] = []
    start = 0
    for size in sizes:
        wire.feed(data[start : start + size])
        start += size
        items = wire.decode_untrusted(limit)
        assert len(items) <= limit
        out += items  # type: ignore[arg-type]
    while items := wire.decode_untrusted(limit):
        out += items  # type: ignore[arg-type]
    assert b"".join(out) == data[:start]
    assert all(0 < len(piece) <= CHUNK for piece in out)


def test_bytes_before_it_is_asked_are_kept() -> None:
    """A link that treats it as any wire loses nothing."""
    wire = Raw()
    assert wire.handshake_untrusted(b"early") == b""
    assert wire.decode_untrusted(1) == [b"early"]


def test_a_stream_of_bytearrays() -> None:
    """A piece is bytes, whatever kind of buffer the stream gives."""
    wire = Raw()
    wire.feed(bytearray(b"abc"))
    [piece] = wire.decode_untrusted(1)
    assert type(piece) is bytes


def test_bodies_go_as_they_are() -> None:
    """Small ones joined, large ones not copied, empty ones nothing."""
    wire, large = Raw(), b"L" * LARGE
    buffers = wire.encode([b"a", b"", [b"b", b"c"], large, Shared(b"d"), b""])
    assert buffers == [b"abc", large, b"d"]
    assert buffers[1] is large
    assert wire.encode([b""]) == []
    assert wire.encode([]) == []


def test_subscriptions_have_no_place() -> None:
    """A bug, not a silent loss."""
    with pytest.raises(TypeError):
        Raw().encode([Subscription(b"t", True)])
