"""What the recorder shows of a connection: all of it, in lines fit for a terminal, malformed where the reference says so.

Mode: bit 0 puts a right greeting and READY before the stream, bit 1 says that the other direction is the first read. The
reads do not matter else; the first is shown alone, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from fuzz import pieces, reference
from fuzz.targets import handshake, traffic
from wire import helpers

from trimq.testing._dissect import Event, dissect


def shown(data: bytes, other: bytes = b"") -> list[Event]:
    """The events, which end where the data ends, and are printable."""
    events = list(dissect(data, other))
    ends = [event.end for event in events]
    assert ends == sorted(ends)
    assert ends[-1:] == ([len(data)] if data else [])
    assert all(event.text.isprintable() and event.text.isascii() for event in events)
    assert all(len(event.text) < 2000 or event.text.startswith(("READY", "INITIATE")) for event in events)
    return events


def target(data: bytes) -> None:
    """Any bytes, from the start."""
    mode, reads = pieces.take(data)
    start = helpers.G + helpers.R if mode & 1 else b""
    stream = start + b"".join(reads)
    whole = shown(stream)
    malformed = any(event.text.startswith("malformed") for event in whole)
    refusal = any(event.text.startswith(("ERROR '", 'ERROR "')) for event in whole)

    cut = start + reads[0]
    part = shown(cut)
    complete = [event for event in part if not event.text.startswith(("cut in", "malformed"))]
    if not (whole and whole[0].text.startswith("malformed")):  # a greeting is taken as a whole
        assert complete == whole[: len(complete)]
    assert len(part) - len(complete) <= 1

    if mode & 2:
        shown(stream, reads[0])
        shown(reads[0], stream)
    expected = reference.opening(stream)
    inf = float("inf")
    if expected.identity is not None:
        if expected.old == "1.0":
            after = reference.old_traffic(expected.rest, publishes=False, max_message_size=inf)
        else:
            after = reference.traffic(expected.rest, publishes=False, max_message_size=inf, commands=False)
        assert after.bad is malformed
    elif expected.old:
        assert malformed is expected.bad
    elif expected.ready is not None:
        bad = reference.traffic(expected.rest, publishes=True, max_message_size=inf).bad
        assert bad is (malformed or refusal)


def seeds() -> Iterator[bytes]:
    """Those of the readers."""
    yield from handshake.seeds()
    for seed in traffic.seeds():
        yield bytes([seed[0] | 1]) + seed[1:]
