"""PGM's receiver and source: packets of anybody, from a few hosts, with time between them.

    options(1)  length(1)  packet

for each. Of ``options``, 3 bits are the host, 2 the time that has passed, 1 says that the packet's checksum is made right
(nothing gets far without), 2 what is done then: nothing, take, poll, both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from fuzz import reference
from wire import test_pgm_packets, test_pgm_receiver as pieces
from wire.pgm_network import ADDRESS, TSI, settings

from trimq._errors import ProtocolError
from trimq._wire import _pgm_packets as packets
from trimq._wire._pgm_events import Delivered, Joined, Left, Lost
from trimq._wire._pgm_receiver import MAX_STREAMS, PgmReceiver
from trimq._wire._pgm_source import PgmSource

STEPS = (0.0, 0.01, 0.3, 31.0)
RIGHT, TAKE, POLL = 0x20, 0x40, 0x80
MAX_KEPT = 20_000


def summed(packet: bytes) -> bytes:
    """With its checksum made right."""
    return test_pgm_packets.summed(packet)[: len(packet)] if len(packet) >= 8 else packet


def target(data: bytes) -> None:
    """Any packets in any order: each is taken or refused, and what is kept for all of them has its bound."""
    known = settings(recovery_interval=0.05)
    now, chance = 0.0, iter(range(10**9))
    receiver = PgmReceiver(
        known, now, chance=lambda: next(chance) * 0.37 % 1, max_message_size=math.inf, max_kept=MAX_KEPT
    )
    source = PgmSource(known, TSI, now, address=ADDRESS)
    source.send([bytes(3000)], now)
    source.poll(now)
    there: set[object] = set()
    while len(data) > 2:
        options, size = data[0], data[1]
        packet, data = data[2 : 2 + size], data[2 + size :]
        now += STEPS[options >> 3 & 3]
        for taker in (receiver, source):
            try:
                taker.receive_untrusted(summed(packet) if options & RIGHT else packet, f"10.0.0.{options & 7}", now)
            except ProtocolError as error:
                reference.check_text(error)
        if options & POLL:
            _poll(receiver, source, now)
        if options & TAKE:
            _take(receiver, there)
    _take(receiver, there)


def _poll(receiver: PgmReceiver, source: PgmSource, now: float) -> None:
    for outgoing in receiver.poll(now):
        header = packets.check_untrusted(outgoing.packet)
        assert header[2] in (packets.NAK, packets.SPMR)
        packets.control_untrusted(outgoing.packet, header)
    assert receiver.deadline > now
    while sent := source.poll(now):
        for packet in sent:
            packets.check_untrusted(packet)
    assert source.deadline > now


def _take(receiver: PgmReceiver, there: set[object]) -> None:
    for event in receiver.take():
        if isinstance(event, Joined):
            assert event.stream not in there
            there.add(event.stream)
        elif isinstance(event, Left):
            there.remove(event.stream)
        else:
            assert event.stream in there
            assert event.items if isinstance(event, Delivered) else event.count > 0
            assert isinstance(event, (Delivered, Lost))
    assert len(there) <= MAX_STREAMS
    windows = receiver._windows.values()  # pyright: ignore[reportPrivateUsage]
    assert sum(window.cost for window in windows) == receiver._kept <= MAX_KEPT  # pyright: ignore[reportPrivateUsage]
    assert not any(window.fresh or window.lost for window in windows)


def make(*them: bytes, options: int = RIGHT | TAKE | POLL) -> bytes:
    """An input that has these packets."""
    return b"".join(bytes((options, len(packet))) + packet for packet in them)


def seeds() -> Iterator[bytes]:
    """Sessions of wire.md 7, and what chapter 9 says of them, rows 87 to 95."""
    sender, other = pieces.Sender(), pieces.Sender(tsi=b"another!")
    whole = [sender.spm(2**32 - 1), *(sender.data(n) for n in range(5)), sender.fin(4)]
    yield make(*whole)
    yield make(*whole[::-1])
    yield make(*whole, *whole)
    yield make(*whole, options=RIGHT | TAKE | POLL | 0x08)
    yield make(whole[0], whole[1], whole[5], *(sender.ncf(n) for n in range(1, 4)), options=RIGHT | POLL | 0x10)
    yield make(whole[0], whole[3], options=RIGHT | TAKE | POLL | 0x18) * 20
    yield make(sender.data(0), other.data(9), sender.data(2), other.data(11), sender.spm(2), sender.spmr())
    yield make(sender.data(0), sender.data(10**6), sender.data(10**6 + 2), sender.spm(2 * 10**6), sender.spm(2 * 10**6))
    yield make(pieces.Sender(spm_sqn=9).spm(50), sender.data(51), options=0x70) + make(*whole)
    yield make(sender.nak(0, 1, 2), sender.nak(7, 2**31), sender.spmr(), options=RIGHT | POLL | 1)
    yield make(
        sender.raw(0, b"\0\0\xff" + bytes(8) + b"\1"), *(sender.raw(n, b"\xff\xff" + bytes(200)) for n in range(1, 150))
    )
    yield make(sender.raw(0, b"\0\0" + b"\2\1a" * 60), sender.data(1), sender.raw(2, b"\0\0\0"), sender.data(3))
    yield make(test_pgm_packets.LIST, test_pgm_packets.NCF, test_pgm_packets.RDATA, test_pgm_packets.SPM)
    for n in (0, 1, 5):
        yield make(*(sender.data(sqn, sqn - n) for sqn in range(0, 400, 7)), options=RIGHT | TAKE)
