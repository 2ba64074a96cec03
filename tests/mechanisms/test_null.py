"""NULL: READY at once, one READY expected (RFC 23, 37; wire.md 1.6)."""

from __future__ import annotations

import attrs
import pytest

from trimq._errors import ProtocolError
from trimq._mechanisms._null import Null

READY = b"\x05READY"
SOCKET_TYPE = b"\x0bSocket-Type\0\0\0\x03"


def test_the_value() -> None:
    """A mechanism is a frozen value: equal to its like, usable by any number of connections."""
    assert Null() == Null()
    assert hash(Null()) == hash(Null())
    assert Null().name == "NULL"
    assert not Null().as_server
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Null().name = "X"  # type: ignore[misc]
    assert Null().handshake({}) is not Null().handshake({})


def test_ready_both_ways() -> None:
    """Ours at once, without waiting for the peer's; its properties are known when its READY has come."""
    handshake = Null().handshake({"Socket-Type": b"REQ", "X-a": b"b"})
    assert handshake.begin() == [READY + SOCKET_TYPE + b"REQ" + b"\x03X-a\0\0\0\x01b"]
    assert handshake.peer_metadata is None
    assert handshake.receive_untrusted(READY + SOCKET_TYPE + b"REP") == []
    assert handshake.peer_metadata == {"Socket-Type": b"REP"}
    assert handshake.user_id is None


def test_a_ready_without_properties_is_complete() -> None:
    """Whether Socket-Type may be missing is not the mechanism's question."""
    handshake = Null().handshake({})
    handshake.receive_untrusted(READY)
    assert handshake.peer_metadata == {}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (b"\x05ERROR\x03400", "the peer refused the connection: 400"),
        (b"\x05ERROR\x00", "the peer refused the connection: it gave no reason"),
        (b"\x05ERROR", "malformed ERROR"),
        (b"\x05HELLO", "expected READY, and the peer sent HELLO"),
        (b"\x05ready", "expected READY, and the peer sent ready"),
        (b"\x06READYX", "READYX"),
        (b"\x01\x1b", r"\\x1b"),
        (b"", "without a name"),
        (READY + b"\x01", "truncated"),
    ],
)
def test_anything_else_is_refused(command, says) -> None:
    """ERROR is a refusal, with its reason; all else is out of order."""
    handshake = Null().handshake({})
    handshake.begin()
    with pytest.raises(ProtocolError, match=says):
        handshake.receive_untrusted(command)
    assert handshake.peer_metadata is None


def test_ready_twice() -> None:
    """wire.md 9, row 21."""
    handshake = Null().handshake({})
    handshake.receive_untrusted(READY)
    with pytest.raises(ProtocolError, match="nothing after READY"):
        handshake.receive_untrusted(READY)
