"""Greetings: the bytes of ours, when they are sent, and what the peer's say (wire.md 1.1, 1.2)."""

from __future__ import annotations

import pytest
from wire.helpers import greeting

from trimq._errors import ProtocolError
from trimq._wire._greeting import Greeting, Version, build, detect_untrusted, parse_untrusted


def test_ours_byte_for_byte() -> None:
    """wire.md 1.1: libzmq's NULL greeting; the identity's length is in the signature, for ZMTP 1.0's eyes."""
    null = bytes.fromhex("FF 0000000000000001 7F 03 01 4E554C4C") + bytes(16) + b"\0" + bytes(31)
    assert build("NULL", as_server=False, identity_length=0) == null
    assert build("NULL", as_server=False, identity_length=3)[:10] == bytes.fromhex("FF 0000000000000004 7F")
    assert build("CURVE", as_server=True, identity_length=0)[12:33] == b"CURVE" + bytes(15) + b"\x01"


def test_it_is_sent_in_stages() -> None:
    """wire.md 1.2: 10 bytes at once, one when the peer's first 10 look versioned, 53 when its revision has come."""
    ours, theirs = Greeting("NULL", as_server=False, identity_length=0), greeting()
    assert ours.begin() == theirs[:10]
    assert ours.receive_untrusted(theirs[:9]) == b""
    assert ours.receive_untrusted(theirs[9:10]) == theirs[10:11]
    assert ours.receive_untrusted(theirs[10:11]) == theirs[11:]
    assert ours.receive_untrusted(theirs[11:63]) == b""
    assert ours.peer is None
    assert ours.receive_untrusted(theirs[63:] + b"rest") == b""
    assert ours.peer is not None
    assert ours.rest == b"rest"


@pytest.mark.parametrize("cut", range(1, 64))
def test_in_any_two_parts(cut) -> None:
    """However it comes, ours is sent whole and once."""
    ours, theirs = Greeting("NULL", as_server=False, identity_length=0), greeting()
    sent = ours.begin() + ours.receive_untrusted(theirs[:cut]) + ours.receive_untrusted(theirs[cut:])
    assert sent == theirs
    assert ours.rest == b""


@pytest.mark.parametrize(
    ("received", "version"),
    [
        (b"", None),
        (b"\x01\x00", Version.V1_0),
        (b"G", Version.V1_0),
        (b"\xfe", Version.V1_0),
        (b"\xff", None),
        (greeting()[:9], None),
        (b"\xff" + (1).to_bytes(8, "big") + b"\x00", Version.V1_0),
        (b"\xff" + (256).to_bytes(8, "big") + b"\x00", Version.V1_0),
        (greeting()[:10], None),
        (greeting(major=1)[:11], Version.V2_0),
        (greeting(major=3)[:11], None),
        (greeting(minor=0)[:12], Version.V3_0),
        (greeting(minor=1)[:12], Version.V3_1),
        (greeting(minor=200)[:12], Version.V3_1),
        (greeting(major=4, minor=0)[:12], Version.V3_1),
        (greeting(major=255, minor=0), Version.V3_1),
    ],
)
def test_detection(received, version) -> None:
    """wire.md 1.2: the table, each line at the earliest byte that tells."""
    assert detect_untrusted(received) == version


@pytest.mark.parametrize("received", [b"\0", b"\xff" + bytes(9), b"\xff" + (257).to_bytes(8, "big") + b"\0"])
def test_what_begins_no_version(received) -> None:
    """wire.md 1.2: identity frames of ZMTP 1.0 with length 0 or above 256."""
    with pytest.raises(ProtocolError, match="does not speak ZMTP"):
        detect_untrusted(received)


@pytest.mark.parametrize("revision", [0, 2])
def test_revisions_that_nobody_speaks(revision) -> None:
    """wire.md 1.2: 0 and 2 mean different things to libzmq and the RFCs, and nobody sends them."""
    with pytest.raises(ProtocolError, match=f"revision {revision} of ZMTP"):
        detect_untrusted(greeting(major=revision)[:11])


@pytest.mark.parametrize("received", [b"\x04\x00abc", greeting(major=1)[:11], greeting(major=1)])
def test_older_peers_have_no_greeting(received) -> None:
    """ZMTP 1.0 and 2.0: what they say is not parsed here."""
    assert parse_untrusted(received) is None


@pytest.mark.parametrize("received", [b"\x01\x00", greeting(major=1)[:11]])
def test_no_downgrade_without_null(received) -> None:
    """RFC 23, 37: a peer without security is disconnected where our mechanism is not NULL."""
    ours = Greeting("PLAIN", as_server=False, identity_length=0)
    with pytest.raises(ProtocolError, match="no security: PLAIN was expected"):
        ours.receive_untrusted(received)


def test_parsing() -> None:
    """All 20 bytes of the mechanism; as-server is told, not checked."""
    peer = parse_untrusted(greeting(b"PLAIN\0x", as_server=1, minor=0))
    assert peer is not None
    assert peer.mechanism == b"PLAIN\0x" + bytes(13)
    assert peer.as_server
    assert peer.version is Version.V3_0
    assert parse_untrusted(greeting()[:63]) is None
