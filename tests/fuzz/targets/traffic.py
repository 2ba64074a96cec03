"""Traffic after a handshake: every read pattern gives what the reference reads, then ProtocolError and nothing else.

Mode: bit 0 says whether subscriptions are of interest, bits 1 and 2 choose the largest frame, bits 3 to 5 how many items
are decoded at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from fuzz import pieces, reference
from wire import helpers

from trimq._errors import ProtocolError
from trimq._message import Item
from trimq._wire._connection import Connection

SIZES = (math.inf, 1000, 255, 7)
LIMITS = (1, 2, 3, 7, 31, 33, 1000, 100000)


def kept(wire: Connection) -> int:
    """Bytes of the peer that the decoder holds."""
    decoder: Any = wire._decoder
    held = [decoder._data[decoder._pos :], decoder._rest, *decoder._fed, *decoder._pieces, *(decoder._frames or [])]
    return sum(map(len, held))


def decode_all(wire: Connection, limit: int, items: list[Item]) -> None:
    """Decodes as a link does, until nothing more comes."""
    while True:
        batch = wire.decode_untrusted(limit)
        assert len(batch) <= limit
        items += batch
        if wire.exhausted:
            assert len(batch) < limit
            assert wire.decode_untrusted(limit) == []
            return
        if not batch:
            return


def target(data: bytes) -> None:
    """Any bytes, after a handshake."""
    mode, reads = pieces.take(data)
    publishes, size = bool(mode & 1), SIZES[mode >> 1 & 3]
    wire = helpers.connection("XPUB", ["DEALER"], publishes=publishes, max_message_size=size)
    wire.begin()
    wire.handshake_untrusted(helpers.G + helpers.R)
    check(wire, reads, LIMITS[mode >> 3 & 7], publishes, size)


def check(wire: Connection, reads: list[bytes], limit: int, publishes: bool, size: float) -> None:
    """Gives the wire these reads, and compares with the reference."""
    expected = reference.traffic(b"".join(reads), publishes=publishes, max_message_size=size)
    items: list[Item] = []
    pong = b""
    fed = 0
    try:
        for read in reads:
            wire.feed(read)
            fed += len(read)
            decode_all(wire, limit, items)
            pong = wire.take_reply() or pong
            assert kept(wire) <= fed
    except ProtocolError as error:
        assert expected.bad, "refused what is right"
        reference.check_text(error)
        assert kept(wire) <= len(reads)  # nothing is kept for a peer that is refused
        try:
            wire.decode_untrusted(limit)
        except ProtocolError as again:
            reference.check_text(again, str(error))
        else:
            raise AssertionError("an error must stay") from None
    else:
        assert not expected.bad, "accepted what is wrong"
        assert pong == (b"" if expected.pong is None else helpers.frame(expected.pong, 4))
    assert items == expected.items
    assert all(type(frame) is bytes for item in items if type(item) is list for frame in item)


def seeds() -> Iterator[bytes]:
    """wire.md section 9, rows 23 and 40 to 55, and honest traffic; whole, cut, and with runs before."""
    from wire import test_malformed as malformed, test_untrusted as untrusted

    streams = [row[1] for row in (*malformed.TRAFFIC_CLOSES, *malformed.TRAFFIC_GOES_ON)]
    streams += [bytes.fromhex("00000000000000010001") + b"a" * 40, b"\x02" + (1 << 40).to_bytes(8, "big") + b"x" * 50]
    streams += [data for data in untrusted.LEGAL if len(data) < 500]
    for number, stream in enumerate(streams):
        yield pieces.make(stream, mode=number % 64)
        yield pieces.make(helpers.F + stream + helpers.F, mode=1, cuts=(1, 3, 5, 6, 7))
        yield pieces.make(helpers.F + stream, mode=1 | 5 << 3, cuts=(100,), repeat=(0, 4, 255))
    for unit in (b"\x00\x20" + b"r" * 32, b"\x01\x02id\x00\x05hello", b"\x01\x00\x01\x01a\x00\x02bc", b"\x00\x00"):
        for limit in range(8):
            tail = unit + command_tail(limit)
            yield pieces.make(tail, mode=1 | limit << 3, cuts=(len(unit) * 40 + 1,), repeat=(0, len(unit), 200))


def command_tail(number: int) -> bytes:
    """Something that breaks a run."""
    return (helpers.command(b"PING", b"\0\0ctx"), helpers.command(b"SUBSCRIBE", b"t"), b"\x08\x00", b"\x01\x01x")[
        number % 4
    ]
