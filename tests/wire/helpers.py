"""What the tests of the wire share: bytes of a peer, built by hand, and a runner that gives them in three ways.

Nothing here uses the code under test to build what it is tested with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from trimq._abc import PeerInfo, Wire
from trimq._errors import ProtocolError
from trimq._mechanisms._null import Null
from trimq._message import Item
from trimq._wire._connection import Connection


def greeting(
    mechanism: bytes = b"NULL",
    *,
    major: int = 3,
    minor: int = 1,
    signature: bytes = b"\xff\0\0\0\0\0\0\0\x01\x7f",
    as_server: int = 0,
    filler: bytes = bytes(31),
) -> bytes:
    """A peer's greeting (wire.md 1.1)."""
    made = signature + bytes([major, minor]) + mechanism.ljust(20, b"\0") + bytes([as_server]) + filler
    assert len(made) == 64
    return made


def frame(body: bytes, flags: int = 0) -> bytes:
    """A frame, in the short form if it may have it (wire.md 1.3)."""
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + len(body).to_bytes(8, "big") + body


def command(name: bytes, data: bytes = b"", flags: int = 4) -> bytes:
    """A command in its frame (wire.md 1.4)."""
    return frame(bytes([len(name)]) + name + data, flags)


def prop(name: bytes, value: bytes) -> bytes:
    """One property (wire.md 1.5)."""
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


def ready(*properties: bytes, flags: int = 4) -> bytes:
    """A READY in its frame."""
    return command(b"READY", b"".join(properties), flags)


G = greeting()
DEALER = prop(b"Socket-Type", b"DEALER")
R = ready(DEALER)
F = b"\x00\x02\x6f\x6b"
"""The message ``ok``."""


def connection(
    socket_type: str = "ROUTER",
    accepts: Iterable[str] = ("REQ", "DEALER", "ROUTER"),
    *,
    identity: bytes | None = None,
    publishes: bool = False,
    max_message_size: float = float("inf"),
) -> Connection:
    """A connection of ours, NULL."""
    return Connection(
        socket_type=socket_type,
        accepts=frozenset(accepts),
        mechanism=Null(),
        identity=identity,
        publishes=publishes,
        max_message_size=max_message_size,
    )


@attrs.define
class Outcome:
    """What came of the bytes of a peer."""

    items: list[Item] = attrs.field(factory=list)
    error: str | None = None
    sent: bytes = b""
    """All that was answered in the handshake, and with the error."""
    pong: bytes = b""
    """The last PONG."""
    peer: PeerInfo | None = attrs.field(default=None, eq=repr)  # one equals no other; what it says may


def feed_all(wire: Wire, pieces: Iterable[bytes], limit: int = 3) -> Outcome:
    """Drives a wire as a link does: decodes after each read, ``limit`` items a time, until none come."""
    outcome = Outcome(sent=wire.begin())
    try:
        for piece in pieces:
            if wire.peer is None:
                outcome.sent += wire.handshake_untrusted(piece)
                if wire.peer is None:
                    continue
            else:
                wire.feed(piece)
            while (items := wire.decode_untrusted(limit)) or wire.unfinished:
                assert len(items) <= limit
                outcome.items += items
            outcome.pong = wire.take_reply() or outcome.pong
    except ProtocolError as error:
        outcome.error = str(error)
        outcome.sent += error.reply
        outcome.pong = b""  # whether a PONG still goes out before the end depends on the reads
    outcome.peer = wire.peer
    return outcome


def three_ways(make: Callable[[], Wire], data: bytes, *, open_ended: bool = False) -> Outcome:
    """Gives a fresh wire these bytes whole, byte by byte, and with a message after them; all three must agree.

    Args:
      make: gives a fresh wire.
      data: all that the peer sends.
      open_ended: the bytes end in the middle of something, so that nothing can come after them.
    """
    whole = feed_all(make(), [data])
    assert feed_all(make(), [data[i : i + 1] for i in range(len(data))]) == whole
    if not open_ended:
        followed = feed_all(make(), [data + F])
        if whole.error is None and whole.peer is not None:
            assert followed.items == [*whole.items, b"ok"]
            followed.items.pop()
        if whole.peer is not None or whole.error is not None:
            assert followed == whole
    return whole
