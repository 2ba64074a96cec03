"""The rule of the room, tried with anything: what ends in ``_untrusted`` returns or raises ProtocolError.

Random bytes, and valid streams with a few bytes changed, cut out or doubled; in one read and in several,
which must agree. Anything else that is raised fails the test as itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from wire.helpers import DEALER, F, G, R, command, connection, feed_all, frame, greeting, prop, ready

from trimq._errors import ProtocolError
from trimq._wire import _commands as commands
from trimq._wire._connection import Connection
from trimq._wire._greeting import detect_untrusted, parse_untrusted

LEGAL = [
    frame(b""),
    frame(b"hello"),
    frame(b"x" * 255),
    frame(b"x" * 300),
    frame(b"a", 1) + frame(b"b", 1) + frame(b"c"),
    frame(b"run") * 40,
    frame(b"r" * 40) * 40,
    command(b"PING", b"\0\0context"),
    command(b"PONG", b"context"),
    command(b"SUBSCRIBE", b"topic"),
    command(b"CANCEL", b"topic"),
    command(b"UNKNOWN", b"data"),
]

openings = st.sampled_from(
    [
        G + R,
        greeting(minor=0) + ready(DEALER, prop(b"Identity", b"me"), prop(b"X-a", b"b")),
        G + command(b"ERROR", b"\x03400"),
        G + ready(),
        greeting(b"PLAIN"),
        greeting(major=1) + b"\x06\0\0",
    ]
)
valid = st.builds(lambda start, rest: start + b"".join(rest), openings, st.lists(st.sampled_from(LEGAL), max_size=6))


@st.composite
def mutated(draw: Callable[..., Any]) -> bytes:
    """A valid stream with something done to it."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["change", "cut", "insert", "double"]))
        if kind == "change":
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 9))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=9))
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 80))]
    return bytes(data)


def publisher() -> Connection:
    return connection("XPUB", ["DEALER"], publishes=True, max_message_size=1000)


def agree(data: bytes, cuts: list[int]) -> None:
    """The bytes in one read and in several mean the same, whatever that is."""
    whole = feed_all(publisher(), [data], limit=7)
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert feed_all(publisher(), pieces, limit=3) == whole
    if whole.error is not None:
        assert whole.error.isprintable()


@settings(max_examples=150)
@given(mutated(), st.data())
def test_mutations_of_valid_streams(data, draw) -> None:
    """Greeting, handshake and traffic with something wrong in them somewhere."""
    agree(data, sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=4))))


@settings(max_examples=100)
@given(st.binary(max_size=200), st.data())
def test_random_traffic(data, draw) -> None:
    """Anything after a handshake."""
    data = G + R + data
    agree(data, sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=4))))


@settings(max_examples=50)
@given(st.binary(max_size=100))
def test_random_from_the_start(data) -> None:
    """Anything instead of a greeting, and instead of READY."""
    agree(data, [])
    agree(b"\xff" + data, [])
    agree(G + data, [])
    agree(G + command(b"READY", data), [])


@settings(max_examples=100)
@given(st.binary(max_size=80))
@pytest.mark.parametrize(
    "function",
    [
        detect_untrusted,
        parse_untrusted,
        commands.split_untrusted,
        commands.error_reason_untrusted,
        commands.pong_untrusted,
        commands.ttl_untrusted,
        commands.metadata_untrusted,
    ],
)
def test_functions(function, data) -> None:
    """Each of them alone."""
    try:
        function(data)
    except ProtocolError:
        pass


def test_every_single_byte_changed() -> None:
    """Not by chance: each byte of a greeting with READY and traffic set to a few telling values."""
    data = G + ready(DEALER, prop(b"Identity", b"me")) + F + command(b"SUBSCRIBE", b"t") + F
    for at in range(len(data)):
        for value in (0, 1, 2, 4, 6, 0x7F, 0x80, 0xFF):
            changed = data[:at] + bytes([value]) + data[at + 1 :]
            agree(changed, [at, min(at + 1, len(changed))])
