"""Command bodies: the bytes of ours, and what is taken from a peer's (wire.md 1.4, 1.5, 1.9)."""

from __future__ import annotations

import pytest
from wire.helpers import prop

from trimq._errors import ProtocolError
from trimq._wire import _commands as commands


def test_ready_byte_for_byte() -> None:
    """wire.md 1.5: the READY of a DEALER with identity abc, and of a PUB, seen on libzmq's wire."""
    dealer = bytes.fromhex(
        "05 5245414459 0B 536F636B65742D54797065 00000006 4445414C4552 08 4964656E74697479 00000003 616263"
    )
    assert commands.ready({"Socket-Type": b"DEALER", "Identity": b"abc"}) == dealer
    pub = bytes.fromhex("05 5245414459 0B 536F636B65742D54797065 00000003 505542")
    assert commands.ready({"Socket-Type": b"PUB"}) == pub


def test_error_byte_for_byte() -> None:
    """wire.md 1.9; a reason is never longer than its length byte can say."""
    assert commands.error("400") == bytes.fromhex("05 4552524F52 03 343030")
    assert commands.error("x" * 300) == b"\x05ERROR\xff" + b"x" * 255
    assert commands.error("né") == b"\x05ERROR\x02n?"


def test_ping_byte_for_byte() -> None:
    """wire.md 1.7, trap 5: the TTL in tenths of a second; some never becomes none, and never more than libzmq can count."""
    assert commands.ping(0) == bytes.fromhex("04 50494E47 0000")
    assert commands.ping(12.5, b"context") == bytes.fromhex("04 50494E47 007D") + b"context"
    assert commands.ping(0, b"x" * 16)[7:] == b"x" * 16
    for ttl, tenths in ((0.001, 1), (0.3, 3), (0.7, 7), (65.5, 655), (65.6, 655), (6553.5, 655)):
        assert commands.ping(ttl) == b"\x04PING" + tenths.to_bytes(2, "big")


@pytest.mark.parametrize(("data", "ttl"), [("0000", 0.0), ("0001", 0.1), ("001E 61", 3.0), ("FFFF", 6553.5)])
def test_the_ttl_of_a_ping(data, ttl) -> None:
    """wire.md 1.7: whatever libzmq would make of it."""
    assert commands.ttl_untrusted(bytes.fromhex(data)) == ttl


@pytest.mark.parametrize("data", [b"", b"\0"])
def test_a_ping_without_a_ttl(data) -> None:
    """Row 48, trap 6: there is nothing to answer."""
    for function in (commands.ttl_untrusted, commands.pong_untrusted):
        with pytest.raises(ProtocolError, match=f"{len(data)} bytes"):
            function(data)


def test_metadata_travels() -> None:
    """What we say is what the peer reads, names in the case they were written in."""
    properties = {"Socket-Type": b"REQ", "Identity": b"", "X-empty": b"", "X-a.b_c+d-1": bytes(range(256)) * 5}
    assert dict(commands.metadata_untrusted(commands.metadata(properties))) == properties


def test_names_are_looked_up_in_any_case() -> None:
    """RFC 23, 37: property names are case-insensitive; the first occurrence wins (libzmq)."""
    found = commands.metadata_untrusted(prop(b"x-One", b"1") + prop(b"X-ONE", b"2") + prop(b"SOCKET-type", b"PUB"))
    assert found["X-oNe"] == b"1"
    assert found["Socket-Type"] == b"PUB"
    assert "x-one" in found
    assert "x-two" not in found
    assert list(found) == ["x-One", "SOCKET-type"]
    assert len(found) == 2


@pytest.mark.parametrize("character", b" \0/:\xff(")
def test_illegal_names(character) -> None:
    """RFC 37: letters, digits and ``-_.+``."""
    with pytest.raises(ProtocolError, match="illegal property name"):
        commands.metadata_untrusted(prop(b"X" + bytes([character]), b""))


def test_the_longest_there_is() -> None:
    """wire.md 1.8: names and identities of 255 bytes, MAX_METADATA in all; one more of either is refused."""
    name = "n" * 255
    assert commands.metadata_untrusted(prop(name.encode(), b"v")) == {name: b"v"}
    assert commands.metadata_untrusted(prop(b"Identity", b"i" * 255))["identity"] == b"i" * 255
    full = prop(b"X", b"x" * (commands.MAX_METADATA - 6))
    assert len(full) == commands.MAX_METADATA
    assert len(commands.metadata_untrusted(full)["X"]) == commands.MAX_METADATA - 6
    with pytest.raises(ProtocolError, match="65537 bytes"):
        commands.metadata_untrusted(prop(b"X", b"x" * (commands.MAX_METADATA - 5)))


def test_every_truncation_is_refused() -> None:
    """wire.md 1.5: exactly consumed; nothing shorter passes but at the end of a property."""
    whole = prop(b"Socket-Type", b"REQ") + prop(b"X-a", b"")
    ends = {0, len(prop(b"Socket-Type", b"REQ"))}
    for end in range(len(whole)):
        if end in ends:
            commands.metadata_untrusted(whole[:end])
        else:
            with pytest.raises(ProtocolError):
                commands.metadata_untrusted(whole[:end])


def test_split() -> None:
    """RFC 37: ``name-length name data``."""
    assert commands.split_untrusted(b"\x03FOObar") == (b"FOO", b"bar")
    assert commands.split_untrusted(b"\x03FOO") == (b"FOO", b"")
    for body in (b"", b"\0", b"\0x", b"\x04FOO"):
        with pytest.raises(ProtocolError):
            commands.split_untrusted(body)


def test_error_reason() -> None:
    """What follows the reason is no concern; what cannot be shown is escaped, backslashes included."""
    assert commands.error_reason_untrusted(b"\x03400") == "400"
    assert commands.error_reason_untrusted(b"\x03400more") == "400"
    assert commands.error_reason_untrusted(b"\0") == ""
    assert commands.error_reason_untrusted(b"\x05a\n\\\xe9b") == r"a\x0a\x5c\xe9b"


def test_printable_is_bounded() -> None:
    """A log line is no place for a megabyte of a peer's."""
    assert commands.printable(b"x" * 10, 4) == "xxxx..."
