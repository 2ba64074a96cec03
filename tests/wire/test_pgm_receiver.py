"""PGM's receiver on a clock of its own: wire.md 7.7, 7.9 and 9, rows 87 to 95; RFC 3208, 6."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest
from wire.pgm_network import ADDRESS, GROUP, HOST, TSI, settings

from trimq import ProtocolError
from trimq._message import Item
from trimq._wire import _pgm_packets as pgm
from trimq._wire._pgm_events import Delivered, Event, Joined, Left, Lost, Outgoing, Stream
from trimq._wire._pgm_packets import Heartbeat, Options, Request
from trimq._wire._pgm_receiver import MAX_STREAMS, MAX_STREAMS_OF_HOST, PgmReceiver

DESTINATION, FIN, RST = 5599, 0x0E, 0x0F
UNKNOWN = 0xFFFFFFFF  # the lead of a window that is empty


class Sender:
    """Writes the packets of one."""

    def __init__(self, tsi: bytes = TSI, port: int = DESTINATION, path: bytes = ADDRESS, spm_sqn: int = 0) -> None:
        self.gsi, self.ports = tsi[:6], (int.from_bytes(tsi[6:], "big"), port)
        self.path = path
        self.spm_sqn = spm_sqn

    def data(self, sqn: int, trail: int = 0, kind: int = pgm.ODATA) -> bytes:
        """A packet with one message: its number."""
        return self.raw(sqn, b"\0\0" + b"%c\0%d" % (1 + len(str(sqn)), sqn), trail, kind)

    def raw(self, sqn: int, tsdu: bytes, trail: int = 0, kind: int = pgm.ODATA) -> bytes:
        return pgm.data(kind, self.gsi, self.ports, sqn & UNKNOWN, trail & UNKNOWN, tsdu)

    def spm(self, lead: int, trail: int = 0, options: Options = pgm.NO_OPTIONS) -> bytes:
        said = Heartbeat(self.spm_sqn, trail & UNKNOWN, lead & UNKNOWN, self.path, options)
        self.spm_sqn += 1
        return pgm.spm(self.gsi, self.ports, said)

    def fin(self, lead: int) -> bytes:
        return self.spm(lead, 0, pgm.fin())

    def ncf(self, *sqns: int) -> bytes:
        return pgm.request(self.gsi, self.ports, Request(pgm.NCF, sqns, self.path, GROUP))

    def nak(self, *sqns: int) -> bytes:
        """What a receiver answers to it."""
        return pgm.request(self.gsi, self.ports[::-1], Request(pgm.NAK, sqns, self.path, GROUP))

    def spmr(self) -> bytes:
        return pgm.spmr(self.gsi, self.ports[::-1])


class Hears:
    """A receiver whose back-off is known."""

    def __init__(self, chance: float = 0.5, max_message_size: float = math.inf, **changes: float) -> None:
        kept = int(changes.pop("max_kept", 2**28))
        self.receiver = PgmReceiver(
            settings(**changes), 0.0, chance=lambda: chance, max_message_size=max_message_size, max_kept=kept
        )
        self.now = 0.0
        self.events: list[Event] = []

    def __call__(self, *packets: bytes, at: float | None = None, host: str = HOST) -> list[Item]:
        """Gives it packets, and takes what becomes of them."""
        self.now = self.now if at is None else at
        for packet in packets:
            self.receiver.receive_untrusted(packet, host, self.now)
        return self.take()

    def take(self) -> list[Item]:
        taken = self.receiver.take()
        self.events += taken
        return [item for event in taken if isinstance(event, Delivered) for item in event.items]

    def until(self, end: float) -> list[tuple[float, Outgoing]]:
        """What it sends by itself up to then."""
        out = list[tuple[float, Outgoing]]()
        while self.receiver.deadline <= end:
            self.now = self.receiver.deadline
            out += [(round(self.now, 6), one) for one in self.receiver.poll(self.now)]
        self.now = end
        self.take()
        return out

    def told(self) -> list[Event]:
        """What it said beside messages, since the last call."""
        told = [event for event in self.events if not isinstance(event, Delivered)]
        self.events.clear()
        return told


def messages(*numbers: int) -> list[bytes]:
    return [b"%d" % number for number in numbers]


def times(sent: Sequence[tuple[float, Outgoing]]) -> list[float]:
    return [time for time, _ in sent]


ONE = Stream(TSI, HOST)


def joined(sender: Sender, **options: float) -> Hears:
    """One that knows the sender, and where its NAKs go; 0 is next."""
    hears = Hears(**options)
    hears(sender.spm(UNKNOWN))
    assert hears.told() == [Joined(ONE)]
    return hears


# joining, order


def test_data_joins() -> None:
    """Wire.md 7.7: the first packet of a sender is where its window begins; what was before is not asked for."""
    sender, hears = Sender(), Hears()
    assert hears.receiver.deadline == math.inf
    assert hears(sender.data(7), sender.data(8), sender.data(6)) == messages(7, 8)
    assert hears.told() == [Joined(ONE)]
    assert hears.receiver.statistics.duplicates == 1


def test_an_spm_joins() -> None:
    """And where it is an SPM, the window begins after its lead."""
    sender, hears = Sender(), Hears()
    assert hears(sender.spm(41), sender.data(41), sender.data(42)) == messages(42)
    assert hears.told() == [Joined(ONE)]


def test_a_repair_does_not_join() -> None:
    """RDATA is old, and for somebody else; a session that is at its end is nobody's to follow."""
    sender, hears = Sender(), Hears()
    assert hears(sender.data(7, kind=pgm.RDATA), sender.fin(3)) == []
    assert hears.told() == []
    assert hears.receiver.statistics.skipped == 2


def test_in_the_middle_of_a_message() -> None:
    """Wire.md 7.6: what belongs to a message that began before is skipped."""
    sender, hears = Sender(), Hears()
    got = hears(sender.raw(3, b"\xff\xffrest of"), sender.raw(4, b"\0\4rest\3\0ab"), sender.raw(5, b"\0\0\2\0c"))
    assert got == [b"ab", b"c"]


def test_order() -> None:
    """Whatever comes early waits; what comes twice, early or late, comes once."""
    sender = Sender()
    hears = joined(sender)
    assert hears(sender.data(2), sender.data(1), sender.data(2)) == []
    assert hears(sender.data(0)) == messages(0, 1, 2)
    assert hears(sender.data(0), sender.data(2), sender.data(3)) == messages(3)
    assert hears.receiver.statistics.duplicates == 3
    assert hears.receiver.statistics.data == 4
    assert hears.until(1.0) == []


@pytest.mark.parametrize("first", [2**32 - 3, 2**31 - 3])
def test_numbers_wrap(first: int) -> None:
    """RFC 3208, 5.1.1: 32 bits, that go round; in order, behind a gap, and in NAKs."""
    sender, hears = Sender(), Hears()
    hears(sender.spm(first - 1, first))
    sqns = [first + n for n in range(8)]
    assert hears(*(sender.data(sqn, first) for sqn in sqns[:5])) == messages(*sqns[:5])
    assert hears(sender.data(sqns[6], first), sender.data(sqns[7], first)) == []
    [(_, nak)] = hears.until(0.05)
    assert nak.packet == sender.nak(sqns[5] & UNKNOWN)
    assert hears(sender.data(sqns[5], first, pgm.RDATA)) == messages(*sqns[5:])


# NAKs


def test_a_nak() -> None:
    """A gap is asked for after a back-off of at most 50 ms by chance, of the sender itself; each timer as in wire.md 7.7."""
    sender = Sender()
    hears = joined(sender, chance=0.5)
    assert hears(sender.data(0), sender.data(2), at=1.0) == messages(0)
    assert hears.receiver.deadline == 1.025
    assert hears.until(1.03) == [(1.025, Outgoing(sender.nak(1), HOST))]
    assert hears.receiver.deadline == pytest.approx(1.225)  # for the NCF
    hears(sender.ncf(1), at=1.1)
    assert times(hears.until(1.31)) == []
    # 200 ms for the data, then it is asked for anew.
    assert times(hears.until(1.33)) == [1.325]
    # No NCF within 200 ms: again, and again.
    assert times(hears.until(2.0)) == [1.55, 1.775, 2.0]
    assert hears(sender.data(1, kind=pgm.RDATA), at=2.01) == messages(1, 2)
    assert hears.until(3.0) == []
    assert (hears.receiver.statistics.naks, hears.receiver.statistics.repairs) == (5, 1)
    assert hears.told() == []


@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_back_off(chance: float) -> None:
    """Between nothing and 50 ms."""
    sender = Sender()
    hears = joined(sender, chance=chance)
    hears(sender.data(1))
    assert times(hears.until(0.1)) == [pytest.approx(0.05 * chance)]


def test_what_another_asks_for() -> None:
    """RFC 3208, 6.3: an NCF for a packet that is missing here, too, is as good as one for a NAK of our own."""
    sender = Sender()
    hears = joined(sender)
    hears(sender.data(3), sender.ncf(1))
    assert [one.packet for _, one in hears.until(0.1)] == [sender.nak(0, 2)]
    hears(sender.ncf(4), at=0.1)  # and it says that there is such a packet
    assert [one.packet for _, one in hears.until(0.3)] == [sender.nak(1), sender.nak(0, 2)]
    assert [one.packet for _, one in hears.until(0.33)] == [sender.nak(4)]


def test_a_storm_of_confirmations() -> None:
    """An NCF puts off nothing that was confirmed already: somebody who sends them for ever stalls nobody for ever."""
    sender = Sender()
    hears = joined(sender)
    hears(sender.data(2))
    for tenth in range(150):
        hears.until(tenth * 0.1)
        hears(sender.ncf(1, 0, 1))
    assert hears.told() == [Lost(ONE, 2)]


def test_a_list() -> None:
    """What is missing together is asked for together, 63 packets in a NAK; the more is repaired, the more, up to 1008."""
    sender = Sender()
    hears = joined(sender)
    hears(sender.data(6000))
    sent = [one.packet for _, one in hears.until(0.1)]
    assert sent == [sender.nak(*range(63)), sender.nak(*range(63, 126))]
    got, counts = 0, list[int]()
    while sent:
        sqns = [sqn for packet in sent for sqn in _asked(packet)]
        assert sqns == list(range(got, got + len(sqns)))
        assert len(sent) <= len(sqns) // 63 + 1
        got += len(sqns)
        counts.append(len(sqns))
        hears(*(sender.data(sqn, kind=pgm.RDATA) for sqn in sqns))
        sent = [one.packet for _, one in hears.until(hears.now + 0.1)]
    assert got == 6000
    assert counts[:3] == sorted(counts[:3])
    assert max(counts) == 1008


def _asked(packet: bytes) -> tuple[int, ...]:
    said = pgm.control_untrusted(packet, pgm.check_untrusted(packet))
    assert isinstance(said, Request)
    return said.sqns


def test_the_tail() -> None:
    """That the last packets are missing is known from an SPM."""
    sender = Sender()
    hears = joined(sender)
    hears(sender.data(0))
    hears(sender.spm(2), at=0.1)
    [(_, nak)] = hears.until(0.2)
    assert nak.packet == sender.nak(1, 2)


def test_where_naks_go() -> None:
    """To the path that the last SPM named (RFC 3208, 6.3.1), whoever the packet came from; with it as the source, too."""
    sender = Sender(path=bytes((10, 77, 0, 9)))
    hears = joined(sender)
    hears(sender.data(1))
    [(_, nak)] = hears.until(0.1)
    assert nak == Outgoing(sender.nak(0), "10.77.0.9")


@pytest.mark.parametrize("path", ["00000000", "EFC00001", "FFFFFFFF", "20010db8" + "00" * 12])
def test_a_path_that_is_nobodys(path: str) -> None:
    """A NAK is never sent to a group, to everybody, or in the other family."""
    hears = Hears()
    with pytest.raises(ProtocolError, match="no host's address"):
        hears(Sender(path=bytes.fromhex(path)).spm(UNKNOWN))
    assert hears.take() == []
    assert hears.receiver.statistics.malformed == 1


# SPMRs


def test_an_spm_is_asked_for() -> None:
    """Without one there is no path: after 25 ms and up to as many again it is asked for, of the group and of the host."""
    sender, hears = Sender(), Hears(chance=0.2)
    hears(sender.data(0), sender.data(2))
    sent = hears.until(0.1)
    assert sent == [(0.03, Outgoing(sender.spmr(), None)), (0.03, Outgoing(sender.spmr(), HOST))]
    assert [one.packet for _, one in hears.until(60.0)] == [sender.spmr()] * 8
    assert hears.receiver.statistics.naks == 0


def test_an_spm_in_time() -> None:
    """Nobody is asked, and what is missing is."""
    sender, hears = Sender(), Hears()
    hears(sender.data(0), sender.data(2), sender.spm(2))
    assert [one.packet for _, one in hears.until(0.1)] == [sender.nak(1)]


def test_somebody_else_asks_for_the_spm() -> None:
    """A hundred receivers do not ask all at once."""
    sender, hears = Sender(), Hears(chance=0.2)
    hears(sender.data(0), sender.spmr())
    assert times(hears.until(0.3)) == [pytest.approx(0.27)] * 2


# loss


def test_lost_by_the_trail() -> None:
    """What has left the sender's window is lost: it is told, counted, and the stream goes on at the next message."""
    sender = Sender()
    hears = joined(sender)
    assert hears(sender.data(0), sender.data(3)) == messages(0)
    assert hears(sender.data(4, trail=2)) == []
    assert hears.told() == [Lost(ONE, 1)]
    assert hears(sender.spm(4, trail=3)) == messages(3, 4)
    assert hears.told() == [Lost(ONE, 1)]
    assert hears.receiver.statistics.lost == 2
    assert hears.until(1.0) == []


def test_lost_with_all_that_was_sent() -> None:
    """A window that has gone on without us."""
    sender = Sender()
    hears = joined(sender)
    hears(sender.spm(99, trail=90))
    assert hears.told() == [Lost(ONE, 90)]
    assert hears(*(sender.data(n, trail=90) for n in range(90, 100))) == messages(*range(90, 100))


def test_lost_after_fifty_tries() -> None:
    """Wire.md 7.7: nobody confirms, 50 times; or the data does not come, 50 times. Then the rest goes on."""
    for confirm in (False, True):
        sender = Sender()
        hears = joined(sender, chance=0.0)
        assert hears(sender.data(0), sender.data(2), sender.data(4)) == messages(0)
        naks = 0
        while not hears.told():
            naks += len(hears.until(hears.receiver.deadline))
            if confirm:
                hears(sender.ncf(1, 3))
        assert naks == 50
        assert 9.9 < hears.now < 10.1
        assert hears.receiver.statistics.lost == 2
        assert hears(sender.data(5)) == messages(5)


def test_lost_in_the_middle_of_a_message() -> None:
    """Its parts are dropped with it, and the part of a message that has several goes with the rest (wire.md 7.6: atomic)."""
    sender = Sender()
    hears = joined(sender)
    got = hears(sender.raw(0, b"\0\0\2\0a\2\1b"), sender.raw(2, b"\xff\xff\2\1d", 2), sender.raw(3, b"\0\0\2\0e", 2))
    assert got == [b"a", b"e"]


def test_a_gap_wider_than_the_window() -> None:
    """The oldest are given up; what is held of them is delivered."""
    sender = Sender()
    hears = joined(sender, rate=1000, recovery_interval=1.2)  # 100 packets
    assert hears(*(sender.data(n) for n in (*range(1, 51), 60, *range(70, 100)))) == []
    assert hears(sender.data(100)) == messages(*range(1, 51))
    assert hears.told() == [Lost(ONE, 1)]
    assert hears(sender.data(155)) == []
    assert hears.told() == [Lost(ONE, 5)]
    assert hears(sender.data(160)) == messages(60)
    assert hears.told() == [Lost(ONE, 4)]
    assert hears(*(sender.data(n) for n in range(61, 70))) == messages(*range(61, 101))


def test_one_forged_packet_moves_nothing() -> None:
    """Wire.md 9, row 92: a number far ahead, or half-way round, asks for nothing and loses nothing until a second agrees."""
    sender = Sender()
    hears = joined(sender, rate=1000, recovery_interval=1.2)
    far = [10**6, 2**31 - 1, 2**31 + 5, 2**32 - 5]
    for sqn in far:
        assert hears(sender.data(sqn, sqn), sender.data(sqn, sqn)) == []
    hears(sender.data(5000, 5000))
    hears(sender.data(0), sender.data(2), sender.data(5001, 5001), sender.data(3), sender.data(5002, 5002))
    hears(sender.data(1), sender.data(5003, 5003), sender.data(4), sender.data(5004, 5004))
    hears(sender.spm(2 * 10**6), sender.spm(3 * 10**7, trail=3 * 10**7))
    assert hears(sender.data(5), sender.data(6)) == messages(5, 6)
    assert hears.until(1.0) == []
    assert hears.told() == []


def test_a_sender_that_has_gone_on_alone() -> None:
    """Two packets agree: what is older than a window is lost, what is not is asked for."""
    sender = Sender()
    hears = joined(sender, rate=1000, recovery_interval=1.2)
    assert hears(sender.data(0), sender.data(1000)) == messages(0)
    assert hears(sender.data(1002)) == []
    assert hears.told() == [Lost(ONE, 902)]
    repairs = [sender.data(n, kind=pgm.RDATA) for n in (*range(903, 1000), 1001)]
    assert hears(*repairs) == messages(*range(903, 1003))
    hears(sender.spm(5000), sender.spm(5000))
    assert hears.told() == [Lost(ONE, 3898)]
    repairs = [sender.data(n, kind=pgm.RDATA) for n in range(4901, 5001)]
    assert hears(*repairs, sender.data(5001)) == messages(*range(4901, 5002))


def test_a_sender_that_has_gone_on_alone_and_keeps_less() -> None:
    """Two packets agree, and say what is to be had: all before that is lost."""
    sender = Sender()
    hears = joined(sender, rate=1000, recovery_interval=1.2)
    assert hears(sender.data(0), sender.data(1000, 999)) == messages(0)
    assert hears(sender.data(1001, 1000)) == messages(1000, 1001)
    assert hears.told() == [Lost(ONE, 999)]
    hears(sender.spm(5000, 5000), sender.spm(5000, 5000))
    assert hears.told() == [Lost(ONE, 3998)]
    assert hears(sender.data(5000, 5000, pgm.RDATA), sender.data(5001)) == messages(5000, 5001)


def test_a_window_half_way_round() -> None:
    """Wire.md 7.7: a packet 2^31 or more ahead of its own trail is malformed."""
    sender = Sender()
    hears = joined(sender)
    with pytest.raises(ProtocolError, match="window"):
        hears(sender.data(5, trail=6))
    with pytest.raises(ProtocolError, match="window"):
        hears(sender.data(2**31, trail=0))
    assert hears(sender.data(0)) == messages(0)


# what is not for us


def _flagged(packet: bytes, flag: int) -> bytes:
    changed = bytearray(packet)
    changed[5] |= flag
    changed[6:8] = b"\0\0"
    total = int.from_bytes(bytes(changed) + b"\0" * (len(changed) % 2), "big") % 65535
    changed[6:8] = (65535 - total).to_bytes(2, "big")
    return bytes(changed)


def test_what_is_skipped() -> None:
    """Parity packets, polls, what receivers say, and what is for another port: counted, and nothing else."""
    sender = Sender()
    hears = joined(sender)
    poll = bytes.fromhex("3B5315DF 01 00 0000 B7C6D1BC038A 0000") + bytes(28)
    others = Sender(port=5600)
    packets = [
        _flagged(sender.data(0), pgm.PARITY),
        _flagged(sender.data(1, kind=pgm.RDATA), pgm.PARITY),
        poll,
        sender.nak(0),
        others.data(0),
        others.spm(0),
        others.ncf(0),
        pgm.request(TSI[:6], (0x3B53, DESTINATION), Request(pgm.NCF, (0,), ADDRESS, bytes((239, 1, 1, 1)))),
        Sender(tsi=b"strange!").ncf(4),
    ]
    assert hears(*packets) == []
    assert hears.receiver.statistics.skipped == len(packets)
    assert hears.told() == []
    assert hears(sender.data(0)) == messages(0)


def _with_options(sender: Sender, sqn: int, tsdu: bytes, *options: bytes) -> bytes:
    last = bytes((options[-1][0] | 0x80,)) + options[-1][1:]
    body = b"".join((*options[:-1], last))
    chain = bytes((0, 4)) + (4 + len(body)).to_bytes(2, "big") + body
    packet = bytearray(sender.raw(sqn, chain + tsdu))
    packet[14:16] = len(tsdu).to_bytes(2, "big")
    return _flagged(bytes(packet), 1)


def test_fragments_are_lost() -> None:
    """Wire.md 9, row 91: ZeroMQ has none; a packet that says it is one is a packet without content."""
    sender = Sender()
    hears = joined(sender)
    packet = _with_options(sender, 1, b"\0\0\2\0x", bytes((1, 16)) + bytes(14))
    assert hears(sender.data(0), packet, sender.data(2)) == messages(0, 2)
    assert hears.told() == [Lost(ONE, 1)]
    assert hears.receiver.statistics.malformed == 1


@pytest.mark.parametrize("tsdu", [b"", b"\0", b"\0\7abc"])
def test_content_that_is_none(tsdu: bytes) -> None:
    """Wire.md 9, row 89: libzmq aborts; here a message is missing, at most, and the packet is not asked for again."""
    sender = Sender()
    hears = Hears()
    assert hears(sender.raw(0, tsdu), sender.data(1), sender.spm(1)) == messages(1)
    assert hears.receiver.statistics.malformed == 1
    assert hears.until(1.0) == []


@pytest.mark.parametrize("packet", [b"", b"garbage", Sender().data(0)[:-1], Sender().spm(0)[:30]])
def test_what_is_malformed(packet: bytes) -> None:
    """It is counted, and the caller is told; nothing else has changed."""
    hears = Hears()
    with pytest.raises(ProtocolError):
        hears(packet)
    assert hears.receiver.statistics.malformed == 1
    assert hears.take() == []
    assert hears.receiver.deadline == math.inf


def test_a_message_too_large() -> None:
    """It is skipped; its sender goes on."""
    sender = Sender()
    hears = joined(sender, max_message_size=10)
    got = hears(sender.raw(0, b"\0\0\14\0" + bytes(11)), sender.data(1))
    assert got == messages(1)
    assert hears.receiver.statistics.malformed == 1


# several senders, and their ends


def test_several_senders() -> None:
    """Each has its own order; the same session from two hosts is two, and so are two sessions of one host."""
    one, two = Sender(), Sender(tsi=b"another!")
    hears = Hears()
    for host in (HOST, "10.77.0.3"):
        assert hears(one.data(0), two.data(5), one.data(2), two.data(6), host=host) == messages(0, 5, 6)
    assert hears(one.data(1)) == messages(1, 2)
    assert hears(one.data(1), host="10.77.0.3") == messages(1, 2)
    assert [event for event in hears.told() if isinstance(event, Joined)] == [
        Joined(Stream(tsi, host)) for host in (HOST, "10.77.0.3") for tsi in (TSI, b"another!")
    ]


def test_fin() -> None:
    """A session ends once all is had that it says it has sent; late packets of it are nothing new."""
    sender = Sender()
    hears = joined(sender)
    assert hears(sender.data(0), sender.fin(1)) == messages(0)
    assert hears.told() == []
    assert [one.packet for _, one in hears.until(0.1)] == [sender.nak(1)]
    assert hears(sender.data(1, kind=pgm.RDATA)) == messages(1)
    assert hears.told() == [Left(ONE, "fin")]
    assert hears.receiver.deadline == math.inf
    late = Sender()
    assert hears(late.data(1), late.spm(1), late.fin(1), late.data(0, kind=pgm.RDATA)) == []
    assert hears.told() == []


def test_fin_of_data() -> None:
    """OPT_FIN may stand on the last data packet, too."""
    sender = Sender()
    hears = joined(sender)
    assert hears(_with_options(sender, 0, b"\0\0\2\0x", bytes((FIN, 4, 0, 0)))) == [b"x"]
    assert hears.told() == [Left(ONE, "fin")]


def test_fin_and_nobody_to_repair() -> None:
    """Who closes may be gone: after 1.5 s of silence what is missing is lost; a word from it, and it is asked again."""
    sender = Sender()
    hears = joined(sender)
    hears(sender.data(0), sender.fin(2))
    hears.until(1.4)
    hears(sender.fin(2))
    assert times(hears.until(2.8))[-1] > 2.5
    assert hears.told() == []
    assert len(hears.until(5.0)) <= 1
    assert hears.told() == [Lost(ONE, 2), Left(ONE, "fin")]


def test_a_new_session_of_the_same_name() -> None:
    """A quarter of a second after the end of one it is new, and all of it is had."""
    sender = Sender()
    hears = joined(sender)
    hears(sender.data(0), sender.fin(0))
    again = Sender()
    assert hears(again.spm(UNKNOWN), again.data(0), at=0.3) == messages(0)
    assert hears.told() == [Left(ONE, "fin"), Joined(ONE)]


def test_reset() -> None:
    """OPT_RST: the sender has given up, and so do we."""
    sender = Sender()
    hears = joined(sender)
    packet = _with_options(sender, 3, b"\0\0\2\0x", bytes((RST, 4, 0, 0)))
    assert hears(sender.data(0), packet) == [b"0", b"x"]
    assert hears.told() == [Lost(ONE, 2), Left(ONE, "reset")]
    assert hears.until(1.0) == []


def test_a_sender_that_restarts() -> None:
    """It went without a FIN, and is there again under its name: its SPMs count from the beginning."""
    sender = Sender(spm_sqn=17)
    hears = joined(sender)
    assert hears(*(sender.data(n) for n in range(100))) == messages(*range(100))
    last = sender.spm(99)
    hears(last, at=0.5)
    again = Sender()
    late = Sender(spm_sqn=3).spm(50)
    hears(late, at=0.6)  # as late as this it may be an old one
    hears(last, at=1.0)  # and the same once more is no other
    assert hears.told() == []
    assert hears(again.spm(UNKNOWN), again.data(0), again.data(1), at=2.0) == messages(0, 1)
    assert hears.told() == [Left(ONE, "restarted"), Joined(ONE)]


def test_expiry() -> None:
    """Wire.md 7.7: 300 s of silence, and a sender is forgotten; SPMs are no silence."""
    sender = Sender()
    hears = joined(sender)
    hears(sender.data(0))
    hears(sender.spm(0), at=250.0)
    assert hears.until(549.0) == []
    assert hears.told() == []
    hears.until(561.0)
    assert hears.told() == [Left(ONE, "expired")]
    assert hears.receiver.deadline == math.inf


# limits


def test_a_storm_of_senders() -> None:
    """Wire.md 9, row 95: 64 of one host, 256 in all; the one that is silent longest gives way, after a second."""
    hears = Hears()
    for host in range(5):
        for number in range(100):
            hears(Sender(tsi=b"%4d%4d" % (host, number)).data(0), host=f"10.0.0.{host}")
    told = hears.told()
    assert len(told) == MAX_STREAMS == 4 * MAX_STREAMS_OF_HOST
    assert hears.receiver.statistics.refused == 4 * 36 + 100
    assert hears(Sender(tsi=b"   0   7").data(1), at=0.5, host="10.0.0.0") == messages(1)
    # The fifth host finds a place now; of a host that has all of its own, the new one takes one of them.
    hears(Sender(tsi=b"the 257.").data(0), at=1.2, host="10.0.0.9")
    hears(Sender(tsi=b"the 258.").data(0), at=1.2, host="10.0.0.3")
    gone, new, gone_too, new_too = hears.told()
    assert isinstance(gone, Left)
    assert gone.why == "replaced"
    assert new == Joined(Stream(b"the 257.", "10.0.0.9"))
    assert isinstance(gone_too, Left)
    assert gone_too.stream.host == "10.0.0.3"
    assert new_too == Joined(Stream(b"the 258.", "10.0.0.3"))


def test_who_gives_way() -> None:
    """The one that is silent: not one whose packets come, and wait for another."""
    hears = Hears()
    senders = [Sender(tsi=b"%8d" % number) for number in range(MAX_STREAMS_OF_HOST)]
    hears(*(one.data(0) for one in senders), senders[7].data(2))
    hears(
        *(one.data(1) for one in senders[:5] + senders[9:]), *(one.spm(0) for one in (senders[6], senders[8])), at=0.5
    )
    hears(senders[7].data(3), at=0.5)
    hears.told()
    hears(Sender().data(0), at=1.2)
    assert hears.told() == [Left(Stream(b"%8d" % 5, HOST), "replaced"), Joined(ONE)]
    hears(*(one.fin(9) for one in senders), Sender().fin(0), at=1.3)
    hears.until(400.0)
    assert len([event for event in hears.told() if isinstance(event, Left)]) == MAX_STREAMS_OF_HOST
    assert not hears.receiver._of_host
    assert not hears.receiver._kept


def test_the_most_that_is_kept() -> None:
    """Who takes the most loses it, and goes on; the others lose nothing."""
    small, large = Sender(tsi=b"smaller!"), Sender()
    hears = joined(large, max_kept=100_000)
    hears(small.data(0), small.data(2))
    hears(*(large.raw(n, b"\0\0\2\0x" + bytes(1000)) for n in range(1, 120)))
    [_, lost] = hears.told()
    assert isinstance(lost, Lost)
    assert lost.stream == ONE
    assert hears.receiver.statistics.refused == 1
    assert hears(small.data(1)) == messages(1, 2)
    assert hears(large.data(120)) == messages(120)


def test_a_message_without_end() -> None:
    """A frame that says it has 2^62 bytes takes no more than is allowed, of all senders together."""
    sender = Sender()
    hears = joined(sender, max_kept=100_000)
    hears(sender.raw(0, b"\0\0\xff" + (2**62).to_bytes(8, "big") + b"\0"))
    for n in range(1, 400):
        hears(sender.raw(n, b"\xff\xff" + bytes(1000)))
    assert hears.receiver.statistics.refused == 1
    assert hears(sender.data(400)) == messages(400)


def test_close() -> None:
    """What was whole can be taken; then nothing comes any more."""
    sender = Sender()
    hears = joined(sender)
    hears.receiver.receive_untrusted(sender.data(0), HOST, 0.0)
    hears.receiver.receive_untrusted(sender.data(2), HOST, 0.0)
    hears.receiver.close()
    hears.receiver.close()
    assert hears.take() == messages(0)
    assert hears.receiver.deadline == math.inf
    assert hears(sender.data(3), sender.spm(9)) == []
    assert hears.receiver.poll(100.0) == []
    assert hears.told() == []


# runs of packets


@pytest.mark.parametrize("seed", range(20))
def test_a_run_is_its_packets(seed: int) -> None:
    """`receive_run_untrusted` does what `receive_untrusted` does, one by one: order, gaps, strangers, nonsense, the end."""
    chance = Random(seed)
    one, other = Sender(), Sender(TSI[:6] + b"\x11\x11")
    packets = [one.spm(UNKNOWN), *(one.data(sqn) for sqn in range(30)), *(other.data(sqn) for sqn in range(10))]
    packets += [one.ncf(5), one.nak(5), one.raw(30, b""), one.raw(31, b"\0"), one.data(4, kind=pgm.RDATA), one.data(40)]
    packets += [packet[:-1] + bytes((packet[-1] ^ 1,)) for packet in packets[5:9]]  # the checksum is wrong
    packets += [packets[7][:size] for size in (0, 5, 16, 24)]
    packets.append(pgm.data(pgm.ODATA, TSI[:6], (0x3B53, DESTINATION + 1), 0, 0, b"\0\0\2\0x"))  # another port
    for _ in range(chance.randrange(30)):
        place = chance.randrange(len(packets))
        packets.insert(chance.randrange(len(packets)), packets.pop(place))
    together, apart = Hears(), Hears()
    faults = together.receiver.receive_run_untrusted(packets, HOST, 0.0)
    known = list[str]()
    for packet in packets:
        try:
            apart.receiver.receive_untrusted(packet, HOST, 0.0)
        except ProtocolError as error:
            known.append(str(error))
    assert [str(fault) for fault in faults] == known
    assert known
    assert together.take() == apart.take()
    assert together.told() == apart.told()
    assert together.receiver.statistics == apart.receiver.statistics
    assert together.until(1.0) == apart.until(1.0)
