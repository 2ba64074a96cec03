"""Command bodies (RFC 23, 37): ``name-length name data``, without the frame around them.

Building them, and taking them apart when a peer sent them. Who may send which one when is decided by the
mechanisms and the connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .._errors import ProtocolError

__all__ = [
    "CANCEL",
    "ERROR",
    "JOIN",
    "LEAVE",
    "MAX_METADATA",
    "PING",
    "PONG",
    "READY",
    "SUBSCRIBE",
    "Metadata",
    "check_identity",
    "error",
    "error_reason_untrusted",
    "membership",
    "metadata",
    "metadata_untrusted",
    "ping",
    "pong_untrusted",
    "printable",
    "ready",
    "split_untrusted",
    "subscription",
    "ttl_untrusted",
]

READY = b"READY"
ERROR = b"ERROR"
SUBSCRIBE = b"SUBSCRIBE"
CANCEL = b"CANCEL"
PING = b"PING"
PONG = b"PONG"
JOIN = b"JOIN"
LEAVE = b"LEAVE"

MAX_METADATA = 65536
"""Bytes of metadata taken from a peer. No RFC says; libzmq has no limit."""

_MAX_IDENTITY = 255
_MAX_CONTEXT = 16  # RFC 37, ping-context
_MAX_TTL = 655  # tenths of a second: libzmq multiplies by 100 in 16 bits, and takes 656 for 64 ms
_NAME_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+")

# What trimq itself says of a peer. Taken from the peer, anybody could claim to be anybody:
# libzmq hands a READY's User-Id on as if an authenticator had said it.
_RESERVED = frozenset({"user-id", "peer-address", "routing-id"})


class Metadata(Mapping[str, bytes]):
    """Properties as a peer sent them, looked up whatever their case (RFC 23, 37). Read-only.

    Args:
      properties: names and values; of a name that comes twice, the first counts.
    """

    __slots__ = ("_properties",)

    def __init__(self, properties: Iterable[tuple[str, bytes]] = ()) -> None:
        self._properties: dict[str, tuple[str, bytes]] = {}
        for name, value in properties:
            self._properties.setdefault(name.lower(), (name, value))

    def __getitem__(self, name: str) -> bytes:
        return self._properties[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._properties.values())

    def __len__(self) -> int:
        return len(self._properties)

    def __repr__(self) -> str:
        return f"Metadata({list(self._properties.values())!r})"


def printable(text: bytes, limit: int = 255) -> str:
    """A peer's text, fit for an exception's message or a log: ASCII, and what cannot be printed in hexadecimal."""
    shown = "".join(chr(c) if 0x20 <= c < 0x7F and c != 0x5C else f"\\x{c:02x}" for c in text[:limit])
    return shown + "..." if len(text) > limit else shown


# ours


def metadata(properties: Mapping[str, bytes]) -> bytes:
    """Properties as they travel: ``name-length(1) name value-length(4) value``, one after the other."""
    parts: list[bytes] = []
    for name, value in properties.items():
        encoded = name.encode("ascii")
        parts += (bytes([len(encoded)]), encoded, len(value).to_bytes(4, "big"), value)
    return b"".join(parts)


def ready(properties: Mapping[str, bytes]) -> bytes:
    """READY with these properties."""
    return b"\x05READY" + metadata(properties)


def error(reason: str) -> bytes:
    """ERROR, which refuses the peer; the reason is cut to the 255 bytes there are for it."""
    text = reason.encode("ascii", "replace")[:255]
    return b"\x05ERROR" + bytes([len(text)]) + text


def subscription(topic: bytes, subscribe: bool) -> bytes:
    """SUBSCRIBE or CANCEL (ZMTP 3.1)."""
    return (b"\x09SUBSCRIBE" if subscribe else b"\x06CANCEL") + topic


def membership(group: bytes, join: bool) -> bytes:
    """JOIN or LEAVE, as a Dish sends them (libzmq; no RFC that it follows has them)."""
    return (b"\x04JOIN" if join else b"\x05LEAVE") + group


def ping(ttl: float, context: bytes = b"") -> bytes:
    """PING (ZMTP 3.1).

    Args:
      ttl: seconds after which the peer may take us for dead if it hears nothing, 0 for none; travels in tenths, up to 65.5.
      context: up to 16 bytes that come back in the PONG.
    """
    assert len(context) <= _MAX_CONTEXT
    tenths = min(max(round(10 * ttl), 1), _MAX_TTL) if ttl else 0
    return b"\x04PING" + tenths.to_bytes(2, "big") + context


# the peer's


def split_untrusted(body: bytes) -> tuple[bytes, bytes]:
    """A command's name and data.

    Raises:
      ProtocolError: there is no name, or it is longer than the body.
    """
    length = body[0] if body else 0
    if not length:
        raise ProtocolError("the peer sent a command without a name")
    name = body[1 : 1 + length]
    if len(name) < length:
        raise ProtocolError(f"the peer sent a command whose name should have {length} bytes, but only {len(name)} came")
    return name, body[1 + length :]


def error_reason_untrusted(data: bytes) -> str:
    """The reason in an ERROR's data, fit to be shown.

    Raises:
      ProtocolError: it is longer than the data, or missing.
    """
    if not data or data[0] > len(data) - 1:
        raise ProtocolError("the peer refused the connection with a malformed ERROR")
    return printable(data[1 : 1 + data[0]])


def ttl_untrusted(data: bytes) -> float:
    """The seconds that a PING with this data (``ttl(2) context``) announces; 0 for none.

    Raises:
      ProtocolError: there is no ttl. (libzmq answers such a PING with 16 bytes of its memory.)
    """
    if len(data) < 2:
        raise ProtocolError(f"the peer sent a PING with {len(data)} bytes of data; at least 2, its ttl, were expected")
    return int.from_bytes(data[:2], "big") / 10


def pong_untrusted(data: bytes) -> bytes:
    """The PONG for a PING with this data.

    A context longer than the 16 bytes that RFC 37 allows is cut to them, as libzmq does.

    Raises:
      ProtocolError: there is no ttl.
    """
    ttl_untrusted(data)
    return b"\x04PONG" + data[2 : 2 + _MAX_CONTEXT]


def metadata_untrusted(data: bytes) -> Metadata:
    """The properties in the data of a READY or INITIATE.

    Names that only trimq may give (User-Id, Peer-Address, Routing-Id, ``__...``) are left out.

    Raises:
      ProtocolError: the encoding is broken anywhere, there is too much of it, Socket-Type comes twice
        with two values, or Identity is longer than 255 bytes or begins with a zero byte (RFC 37).
    """
    end = len(data)
    if end > MAX_METADATA:
        raise ProtocolError(f"the peer sent {end} bytes of metadata; at most {MAX_METADATA} are accepted")
    properties: list[tuple[str, bytes]] = []
    pos = 0
    while pos < end:
        start = pos + 1
        stop = start + data[pos]
        name = data[start:stop]
        if not name or stop + 4 > end:
            raise ProtocolError("the peer sent metadata with an empty or a truncated property name")
        if not _NAME_CHARACTERS.issuperset(name):
            raise ProtocolError(f"the peer sent metadata with an illegal property name: {printable(name)}")
        pos = stop + 4 + int.from_bytes(data[stop : stop + 4], "big")
        if pos > end:
            raise ProtocolError(f"the peer sent metadata in which the value of {printable(name)} is truncated")
        key, value = name.decode("ascii"), data[stop + 4 : pos]
        if key.lower() not in _RESERVED and not key.startswith("__"):
            properties.append((key, value))
    _check_own(properties)
    return Metadata(properties)


def check_identity(identity: bytes) -> None:
    """A routing id as a peer may have one.

    Raises:
      ProtocolError: it is longer than 255 bytes or begins with a zero byte (RFC 37).
    """
    if len(identity) > _MAX_IDENTITY:
        raise ProtocolError(f"the peer's Identity has {len(identity)} bytes; at most {_MAX_IDENTITY} are allowed")
    if identity[:1] == b"\0":
        raise ProtocolError("the peer's Identity begins with a zero byte, which only made-up ones may")


def _check_own(properties: Iterable[tuple[str, bytes]]) -> None:
    """ZMTP's own properties: one Socket-Type, and no Identity that could pass for one we made up."""
    socket_type: bytes | None = None
    for name, value in properties:
        lowered = name.lower()
        if lowered == "socket-type":
            if socket_type is not None and value != socket_type:
                raise ProtocolError("the peer sent two different Socket-Types")
            socket_type = value
        elif lowered == "identity":
            check_identity(value)
