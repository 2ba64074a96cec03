"""ZMTP read naively: what the fuzz targets and the state machines compare trimq with.

Written from wire.md and RFC 37, byte after byte, over all that the peer ever sent; no state, no speed, and nothing of
the code under test but its plain values.
"""

from __future__ import annotations

import attrs

from trimq._message import Item, Subscription

MAX_COMMAND = 65536 + 1024  # trimq's own limit, as documented
MAX_METADATA = 65536
RESERVED = {b"user-id", b"peer-address", b"routing-id"}
NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+"


class Bad(Exception):
    """The bytes break the protocol."""


def check_text(error: Exception, like: str | None = None) -> None:
    """An error's message is fit for a log: it is short and printable; and it is the same again, if it was told before."""
    text = str(error)
    assert text.isprintable()
    assert 0 < len(text) < 2000
    assert like in (None, text)


@attrs.frozen
class Frame:
    """One frame; ``size`` is what its header says, and ``body`` None if it has not all come."""

    flags: int
    size: int
    body: bytes | None
    rest: bytes


def read_frame(data: bytes) -> Frame | None:
    """The frame that the bytes begin with; None if there is not even a header (wire.md 1.3)."""
    if len(data) < 2:
        return None
    if data[0] & 2:
        if len(data) < 9:
            return None
        size, start = int.from_bytes(data[1:9], "big"), 9
    else:
        size, start = data[1], 2
    body = data[start : start + size]
    return Frame(data[0], size, body if len(body) == size else None, data[start + size :])


def read_old_frame(data: bytes) -> Frame | None:
    """The frame of ZMTP 1.0 that the bytes begin with (wire.md 2.2); None if there is no header with its flags."""
    if not data:
        return None
    if data[0] == 0xFF:
        length, start = data[1:9], 9
        if len(data) < 10:
            return None
    else:
        length, start = data[:1], 1
    size = int.from_bytes(length, "big")
    if size == 0:
        raise Bad
    body = data[start + 1 : start + size]
    whole = len(data) >= start + size
    return Frame(data[start] if whole else 0, size - 1, body if whole else None, data[start + size :])


def split_command(body: bytes) -> tuple[bytes, bytes]:
    """Name and data of a command (wire.md 1.4)."""
    if not body or body[0] == 0 or body[0] > len(body) - 1:
        raise Bad
    return body[1 : body[0] + 1], body[body[0] + 1 :]


def pong(data: bytes) -> bytes:
    """The PONG's body for a PING's data (wire.md 1.7, rows 48 and 49)."""
    if len(data) < 2:
        raise Bad
    return b"\x04PONG" + data[2:18]


def error_reason(data: bytes) -> bytes:
    """The reason of an ERROR (wire.md 1.9, rows 37 and 38)."""
    if not data or len(data) - 1 < data[0]:
        raise Bad
    return data[1 : 1 + data[0]]


def metadata(data: bytes) -> dict[bytes, bytes]:
    """The properties, by their names in lower case; the first of a name counts (wire.md 1.5, rows 27 to 36)."""
    if len(data) > MAX_METADATA:
        raise Bad
    found: dict[bytes, bytes] = {}
    while data:
        length, data = data[0], data[1:]
        name, data = data[:length], data[length:]
        if length == 0 or len(name) < length or len(data) < 4 or any(byte not in NAME for byte in name):
            raise Bad
        size, data = int.from_bytes(data[:4], "big"), data[4:]
        value, data = data[:size], data[size:]
        if len(value) < size:
            raise Bad
        key = name.lower()
        if key == b"socket-type" and found.get(key, value) != value:
            raise Bad
        if key == b"identity" and (size > 255 or value[:1] == b"\0"):
            raise Bad
        if key not in RESERVED and not key.startswith(b"__"):
            found.setdefault(key, value)
    return found


@attrs.define
class Traffic:
    """What a stream after the handshake means."""

    items: list[Item] = attrs.field(factory=list)
    bad: bool = False
    pong: bytes | None = None
    """The body of the last PONG due."""


def old_traffic(data: bytes, *, publishes: bool, max_message_size: float) -> Traffic:
    """All that a peer of ZMTP 1.0 sent after its identity (wire.md 2.2); its subscribers get everything."""
    result = Traffic([Subscription(b"", True)] if publishes else [])
    frames: list[bytes] = []
    try:
        while (frame := read_old_frame(data)) is not None:
            if frame.size > min(max_message_size, 2**63 - 1):
                raise Bad
            if frame.body is None:
                break
            data = frame.rest
            frames.append(frame.body)
            if not frame.flags & 1:
                result.items.append(frames if len(frames) > 1 else frames[0])
                frames = []
    except Bad:
        result.bad = True
    return result


def traffic(data: bytes, *, publishes: bool, max_message_size: float, commands: bool = True) -> Traffic:
    """All that a peer sent after its READY (wire.md 1.3, 1.4; section 9 rows 40 to 53), or in 2.0 after its identity."""
    result = Traffic()
    frames: list[bytes] = []
    try:
        while (frame := read_frame(data)) is not None:
            if frame.flags > 7 or frame.flags & 5 == 5:
                raise Bad
            limit = max(max_message_size, MAX_COMMAND) if frame.flags & 4 else max_message_size
            if frame.size > limit or frame.size > 2**63 - 1:
                raise Bad
            if frame.body is None:
                break
            data = frame.rest
            if frame.flags & 4:
                if not commands:
                    raise Bad
                _command(frame.body, result, publishes)
                continue
            frames.append(frame.body)
            if not frame.flags & 1:
                result.items.append(frames if len(frames) > 1 else frames[0])
                frames = []
    except Bad:
        result.bad = True
    return result


def _command(body: bytes, result: Traffic, publishes: bool) -> None:
    name, data = split_command(body)
    if name in (b"SUBSCRIBE", b"CANCEL") and publishes:
        result.items.append(Subscription(data, name == b"SUBSCRIBE"))
    elif name == b"PING":
        result.pong = pong(data)
    elif name in (b"READY", b"ERROR"):
        raise Bad


@attrs.define
class Opening:
    """What a stream's beginning means to a NULL peer."""

    sent: int = 10
    """How many bytes of our greeting are due (wire.md 1.2)."""
    greeted: bool = False
    """The greeting of ZMTP 3 is complete and agrees: our READY is due."""
    bad: bool = False
    old: str = ""
    """``"1.0"`` or ``"2.0"`` as soon as the peer is known to be that old."""
    number: int | None = None
    """The socket type of a peer of ZMTP 2.0, by its number."""
    identity: bytes | None = None
    """Of a peer of ZMTP 1.0 or 2.0, complete."""
    ready: dict[bytes, bytes] | None = None
    """The properties of the peer's READY."""
    minor: int = 1
    rest: bytes = b""


def opening(data: bytes) -> Opening:
    """A peer's greeting, and its READY or its identity (wire.md 1.1, 1.2, 1.5, 2; section 9 rows 1 to 39)."""
    result = Opening()
    try:
        _opening(data, result)
    except Bad:
        result.bad = True
    return result


def _opening(data: bytes, result: Opening) -> None:
    if not data:
        return
    if data[0] != 0xFF:
        if data[0] == 0:
            raise Bad
        result.old = "1.0"
        if len(data) > 1 and data[1] != 0:
            raise Bad  # no identity frame of ours to be: HTTP, TLS
        _old_identity(data, result)
        return
    if len(data) < 10:
        return
    if data[9] % 2 == 0:
        if not 1 <= int.from_bytes(data[1:9], "big") <= 256:
            raise Bad
        result.old = "1.0"
        _old_identity(data, result)
        return
    result.sent = 11
    if len(data) < 11:
        return
    if data[10] in (0, 2):
        raise Bad
    if data[10] == 1:
        result.old = "2.0"
        if len(data) >= 14:
            _number_and_identity(data[11:], result)
        return
    result.sent = 64
    if len(data) < 64:
        return
    if data[12:32] != b"NULL".ljust(20, b"\0"):
        raise Bad
    result.greeted = True
    result.minor = 0 if data[10:12] == b"\x03\x00" else 1
    frame = read_frame(data[64:])
    if frame is None:
        return
    if frame.flags not in (4, 6) or frame.size > MAX_COMMAND:
        raise Bad
    if frame.body is None:
        return
    name, properties = split_command(frame.body)
    if name != b"READY":
        raise Bad
    result.ready = metadata(properties)
    result.rest = frame.rest


def _old_identity(data: bytes, result: Opening) -> None:
    frame = read_old_frame(data)
    if frame is None or frame.body is None:
        return
    _meet(frame, result)


def _number_and_identity(data: bytes, result: Opening) -> None:
    result.number = data[0]
    frame = read_frame(data[1:])
    if data[0] > 10 or data[1] != 0:
        raise Bad
    if frame is None or frame.body is None:
        return
    _meet(frame, result)


def _meet(frame: Frame, result: Opening) -> None:
    assert frame.body is not None
    if frame.body[:1] == b"\0":
        raise Bad
    result.identity, result.rest = frame.body, frame.rest
