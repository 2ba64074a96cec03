"""The parsers of command bodies, each alone; the first byte chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fuzz import reference
from wire import helpers

from trimq._errors import ProtocolError
from trimq._wire import _commands as commands


def _metadata(data: bytes) -> dict[bytes, bytes]:
    found = commands.metadata_untrusted(data)
    assert len(found) == len(list(found)) == len(dict(found))
    for name in found:
        assert found[name.upper()] == found[name.lower()] == found[name]
    if len(data) <= 2000:
        assert dict(commands.metadata_untrusted(commands.metadata(found))) == dict(found)
    return {name.lower().encode("ascii"): value for name, value in found.items()}


def _reason(data: bytes) -> str:
    reason = commands.error_reason_untrusted(data)
    assert reason.isprintable()
    assert reason.isascii()
    return reason


def _printable(reason: bytes) -> str:
    return "".join(chr(c) if 32 <= c <= 126 and c != 92 else f"\\x{c:02x}" for c in reason)


PARSERS: list[tuple[Callable[[bytes], Any], Callable[[bytes], Any]]] = [
    (commands.split_untrusted, reference.split_command),
    (commands.pong_untrusted, reference.pong),
    (_reason, lambda data: _printable(reference.error_reason(data))),
    (_metadata, reference.metadata),
]


def target(data: bytes) -> None:
    """Any body."""
    parse, by_the_book = PARSERS[data[0] % len(PARSERS)] if data else PARSERS[3]
    body = data[1:]
    expected: Any = None
    bad = False
    try:
        expected = by_the_book(body)
    except reference.Bad:
        bad = True
    try:
        found = parse(body)
    except ProtocolError as error:
        assert bad, "refused what is right"
        reference.check_text(error)
    else:
        assert not bad, "accepted what is wrong"
        assert found == expected


def seeds() -> Iterator[bytes]:
    """wire.md section 9, rows 20 to 39 and 46 to 49, without their frames."""
    from wire import test_malformed as malformed

    rows = (*malformed.REFUSED_HANDSHAKES, *malformed.TRAFFIC_CLOSES, *malformed.TRAFFIC_GOES_ON)
    for row in rows:
        body = row[1][2:400]
        yield b"\0" + body
        yield bytes([len(body) % 4]) + body[6:]
        yield b"\3" + body[6:]
    names = [b"Socket-Type", b"SOCKET-TYPE", b"Identity", b"User-Id", b"__x", b"X-a.b_c+d", b"", b"a b", b"\xff"]
    for name in names:
        for value in (b"", b"\0", b"DEALER", b"i" * 256):
            yield b"\3" + helpers.prop(name, value)
            yield b"\3" + helpers.prop(b"Socket-Type", b"PUB") + helpers.prop(name, value) + b"\1"
