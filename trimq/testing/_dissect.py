"""Bytes of a connection as ZMTP, for people: one direction in, one event for each thing that it says. Sans-I/O.

What the bytes mean is asked of `trimq._wire`; here they are only named. Whatever comes, it is shown, never raised.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from .._errors import ProtocolError
from .._wire._commands import (
    CANCEL,
    ERROR,
    PING,
    PONG,
    READY,
    SUBSCRIBE,
    error_reason_untrusted,
    metadata,
    metadata_untrusted,
    pong_untrusted,
    printable,
    split_untrusted,
)
from .._wire._frames import COMMAND, LONG, MAX_COMMAND, check_header
from .._wire._greeting import OLD, Version, detect_untrusted, parse_untrusted
from .._wire._old import meet_untrusted
from .._wire._runs import MORE
from .._wire._zmtp1 import take_frame_untrusted

__all__ = ["Event", "dissect"]

_SIGNATURE = 10
_GREETING = 64
_TYPES = frozenset(["PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB"])
_INITIATE = b"INITIATE"  # a client's last word in a handshake with PLAIN or with keys, which has no READY of its own
_SHOWN = 32  # bytes of a body, or of what is malformed
_MAX_SIZE = 2**63 - 1  # of a frame


@attrs.frozen
class Event:
    """One thing that the bytes say."""

    end: int
    """Where it ends, counted in bytes from the beginning: it is said once this many have come."""
    text: str
    """One line."""


def dissect(data: bytes, other: bytes = b"") -> Iterator[Event]:
    """What one direction of a connection says, from its first byte on, wherever it is cut.

    Args:
      data: the direction.
      other: what there is of the other one: a peer of ZMTP 1.0 or 2.0 is answered in its own way.
    """
    if not data:
        return
    spoken = (_version(data), _version(other))
    for version in OLD:  # 1.0 first: behind our signature its messages may look like any version
        if version in spoken:
            yield from _old(data, version)
            return
    try:
        peer = parse_untrusted(data)
    except ProtocolError as error:
        yield _malformed(data, 0, "a ZMTP greeting", error)
        return
    yield from _greeting(data)
    if peer is not None:
        yield from _Frames(data, printable(peer.mechanism.rstrip(b"\0"))).events()


def _version(data: bytes) -> Version | None:
    try:
        return detect_untrusted(data)
    except ProtocolError:
        return None


def _old(data: bytes, version: Version) -> Iterator[Event]:
    """ZMTP 1.0 and 2.0 (RFC 13, 15; wire.md 2)."""
    pos = 0
    if len(data) >= _SIGNATURE and data[0] == 0xFF and data[9] & 1:  # in 1.0 the header of an identity frame
        pos = _SIGNATURE
        yield Event(pos, f"signature {data[:pos].hex(' ')}")
        if version is Version.V2_0 and len(data) > pos:
            pos += 1
            yield Event(pos, "version 2.0" if data[10] == 1 else f"version {data[10]}")
    try:
        met = meet_untrusted(data, version, _TYPES)
    except ProtocolError as error:
        yield _malformed(data, pos, f"a greeting of ZMTP {version.value}", error)
        return
    if met is None:
        yield Event(len(data), f"cut in the greeting of ZMTP {version.value}" + _and_hex(data[pos:]))
        return
    peer, rest = met
    start = len(data) - len(rest)
    if start > pos:
        yield Event(start, f"{peer.socket_type or 'ZMTP 1.0'}, identity {_quoted(peer.identity)}")
    if version is Version.V1_0:
        yield from _old_frames(data, start)
    else:
        yield from _Frames(data, "NULL", start=start).events()


def _old_frames(data: bytes, pos: int) -> Iterator[Event]:
    frames = _Frames(data, "NULL", start=pos)
    while pos < len(data):
        try:
            found = take_frame_untrusted(data, pos, _MAX_SIZE)
        except ProtocolError as error:
            yield _malformed(data, pos, "a frame of ZMTP 1.0: its length, flags, and a body", error)
            return
        if found is None:
            yield Event(len(data), "cut in a frame of ZMTP 1.0" + _and_hex(data[pos:]))
            return
        long = LONG if data[pos] == 0xFF else 0
        flags, body, pos = found
        yield Event(pos, frames.frame(flags & MORE | long, body))


def _greeting(data: bytes) -> Iterator[Event]:
    have = len(data)
    if have >= 10:
        yield Event(10, f"signature {data[:10].hex(' ')}")
    if have >= 12:
        yield Event(12, f"version {data[10]}.{data[11]}")
    if have >= 32:
        yield Event(32, f"mechanism {printable(data[12:32].rstrip(bytes(1))) or '(none)'}")
    if have >= _GREETING:
        yield Event(_GREETING, f"as-server {data[32]}")
    elif have:
        start = 0 if have < 10 else 10 if have < 12 else 12 if have < 32 else 32
        yield Event(have, f"cut in the greeting: {have} of its 64 bytes" + _and_hex(data[start:]))


class _Frames:
    """What follows the greeting; or the identity, where the peer's version is older than 3 and has no commands."""

    def __init__(self, data: bytes, mechanism: str, start: int = 0) -> None:
        self._data = data
        self._start = start or _GREETING
        self._old = start > 0
        self._null = mechanism == "NULL"
        self._clear = mechanism in ("NULL", "PLAIN")  # whose READY can be read
        self._ready = False
        self._open = self._old  # to messages
        self._inside = False  # a message

    def events(self) -> Iterator[Event]:
        data, pos = self._data, self._start
        while pos < len(data):
            flags = data[pos]
            start = pos + (9 if flags & LONG else 2)
            if start > len(data):
                yield Event(len(data), "cut in a frame's header" + _and_hex(data[pos:]))
                return
            size = int.from_bytes(data[pos + 1 : start], "big")
            try:
                if not self._open and not flags & COMMAND:
                    raise ProtocolError("the peer sent a message before its handshake was complete")
                check_header(flags, size, _MAX_SIZE if self._open else MAX_COMMAND)
            except ProtocolError as error:
                what = "a frame: flags 00 to 03, 04 or 06, and its size" if self._open else "a command"
                yield _malformed(data, pos, what, error, secret=self._secret(flags))
                return
            body = data[start : start + size]
            if len(body) < size:
                kind = "command" if flags & COMMAND else "frame"
                text = f"cut in a {kind}: {len(body)} of its {size} bytes{_flags(flags)}"
                yield Event(len(data), text + (f" {_quoted(body)}" if body and not self._secret(flags) else ""))
                return
            pos = start + size
            try:
                yield Event(pos, self._command(body) if flags & COMMAND else self.frame(flags, body))
            except ProtocolError as error:
                yield _malformed(data, start, "a command", error, secret=self._secret(flags))
                return

    def _secret(self, flags: int) -> bool:
        # PLAIN's HELLO has the password.
        return bool(flags & COMMAND) and not self._null

    def frame(self, flags: int, body: bytes) -> str:
        text = f"{'  and' if self._inside else 'message'}: {_bytes(len(body))}{_flags(flags)}"
        self._inside = bool(flags & MORE)
        return f"{text} {_quoted(body)}" if body else text

    def _command(self, body: bytes) -> str:
        """One command.

        Raises:
          ProtocolError: it is malformed, or comes when it may not.
        """
        if self._old:
            raise ProtocolError("the peer sent a command, and ZMTP 2.0 has no commands")
        name, data = split_untrusted(body)
        shown = printable(name)
        if name == READY or (name == _INITIATE and not self._null):
            if name == READY and self._ready:
                raise ProtocolError("the peer sent READY twice")
            text = _properties(data) if self._clear else f" {_bytes(len(data))}, encrypted"
            self._ready |= name == READY
            self._open = True
            return shown + text
        if name == ERROR:
            return f"{shown} {error_reason_untrusted(data)!r}"
        if name in (SUBSCRIBE, CANCEL):
            return f"{shown} {_quoted(data)}"
        if name == PING:
            pong_untrusted(data)  # sees whether there is a ttl
            return f"{shown} ttl {int.from_bytes(data[:2], 'big') / 10} s, context {_quoted(data[2:])}"
        if name == PONG:
            return f"{shown} context {_quoted(data)}"
        # A mechanism's own, which may hold a secret; or one that nobody knows.
        return f"{shown} {_bytes(len(data))}"


def _properties(data: bytes) -> str:
    properties = metadata_untrusted(data)
    text = "".join(f" {name}={_quoted(value)}" for name, value in properties.items())
    ignored = len(data) - len(metadata(properties))
    return text + (f" and {_bytes(ignored)} of properties that are ignored" if ignored else "")


def _malformed(data: bytes, pos: int, expected: str, error: ProtocolError, *, secret: bool = False) -> Event:
    left = data[pos:]
    text = f"malformed, expected {expected}: {_bytes(len(left))}"
    if not secret:
        text += f": {left[:_SHOWN].hex(' ')}{' ...' if len(left) > _SHOWN else ''} {_quoted(left)}"
    return Event(len(data), f"{text} ({error})")


def _flags(flags: int) -> str:
    return (", MORE" if flags & MORE else "") + (", LONG" if flags & LONG else "")


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _quoted(text: bytes) -> str:
    return '"' + printable(text, _SHOWN) + '"'


def _and_hex(data: bytes) -> str:
    return f": {data[:_SHOWN].hex(' ')}" if data else ""
