"""PGM's sender on a clock of its own: wire.md 7.7 and 7.8, RFC 3208, 5."""

from __future__ import annotations

import math

import pytest
from wire.pgm_network import ADDRESS, GROUP, HOST, TSI

from trimq import ProtocolError
from trimq._wire import _pgm_packets as pgm
from trimq._wire._pgm_packets import Heartbeat, Request
from trimq._wire._pgm_settings import PgmSettings
from trimq._wire._pgm_source import PgmSource
from trimq._wire._pgm_stream import Unpacker

GSI, PORT, DESTINATION = TSI[:6], 0x3B53, 5599
UP = (DESTINATION, PORT)


def source(now: float = 0.0, first: int = 0, **changes: float) -> PgmSource:
    """One that has sent its first SPMs."""
    known = PgmSettings(GROUP, DESTINATION, **changes)
    made = PgmSource(known, TSI, now, address=ADDRESS, first=first)
    assert [kind(packet) for packet in made.poll(now)] == [pgm.SPM] * 3
    return made


def kind(packet: bytes) -> int:
    return packet[4]


def sqn(packet: bytes) -> int:
    return int.from_bytes(packet[16:20], "big")


def trail(packet: bytes) -> int:
    return int.from_bytes(packet[20:24], "big")


def control(packet: bytes) -> Heartbeat | Request:
    said = pgm.control_untrusted(packet, pgm.check_untrusted(packet))
    assert said is not None
    return said


def heartbeat(packet: bytes) -> Heartbeat:
    said = control(packet)
    assert isinstance(said, Heartbeat)
    return said


def nak(*sqns: int, ports: tuple[int, int] = UP, gsi: bytes = GSI, to: bytes = ADDRESS, group: bytes = GROUP) -> bytes:
    return pgm.request(gsi, ports, Request(pgm.NAK, sqns, to, group))


def times(of: PgmSource, until: float) -> list[float]:
    """When it sends by itself, each packet's time."""
    out = list[float]()
    while (now := of.deadline) <= until:
        out += [now] * len(of.poll(now))
    return [round(time, 6) for time in out]


def test_the_first_packets() -> None:
    """Three SPMs of an empty window, byte for byte as captured (wire.md 7.5), then data from 0 on."""
    made = PgmSource(PgmSettings(GROUP, DESTINATION), TSI, 5.0, address=ADDRESS)
    assert made.deadline == 5.0
    spms = made.poll(5.0)
    assert spms[0].hex().upper() == "3B5315DF00001771B7C6D1BC038A00000000000000000000FFFFFFFF000100000A4D0001"
    assert [heartbeat(packet).sqn for packet in spms] == [0, 1, 2]
    made.send([b"hello"], 5.0)
    assert made.pending == 7
    assert made.poll(5.0)[0].hex().upper() == "3B5315DF0400D3E4B7C6D1BC038A000900000000000000000000060068656C6C6F"
    assert made.pending == 0
    assert (made.statistics.spms, made.statistics.data) == (3, 1)


def test_heartbeats() -> None:
    """After data at 0.1, 0.2, ..., 0.5, 1.8, 8.8 and 24.8 s, then each 30 s; each data packet begins that anew."""
    made = source()
    assert times(made, 100.0) == [30.0, 60.0, 90.0]
    made.send([b"x"], 100.0)
    made.poll(100.0)
    expected = [100.1, 100.2, 100.3, 100.4, 100.5, 101.8, 108.8, 124.8, 154.8, 184.8]
    assert times(made, 200.0) == expected
    made.send([b"x"], 200.0)
    made.poll(200.0)
    assert times(made, 200.25) == [200.1, 200.2]
    made.send([b"x"], 200.25)
    made.poll(200.25)
    assert times(made, 202.2) == [200.35, 200.45, 200.55, 200.65, 200.75, 202.05]


def test_heartbeats_after_a_repair() -> None:
    """One step fewer than after data; and an NCF and the repair come at once."""
    made = source()
    made.send([b"x"], 0.0)
    made.poll(0.0)
    times(made, 40.0)
    made.receive_untrusted(nak(0), HOST, 50.0)
    assert [kind(packet) for packet in made.poll(50.0)] == [pgm.NCF, pgm.RDATA]
    assert times(made, 54.0) == [50.1, 50.2, 50.3, 50.4, 51.7]


def test_an_spm_each_30_s_while_data_flows() -> None:
    """Data does not put off the ambient SPMs: who joins late learns from them where to send its NAKs."""
    made, spms = source(), list[float]()
    for tick in range(1, 1400):
        now = tick * 0.05
        made.send([b"x"], now)
        spms += [now for packet in made.poll(now) if kind(packet) == pgm.SPM]
        spms += [now for packet in made.poll(now) if kind(packet) == pgm.SPM]
    assert [round(time) for time in spms] == [30, 60]


def test_a_repair() -> None:
    """RFC 3208, 5.2 and 5.3: the NCF with the NAK's list, then each packet again: its number, its content, today's trail."""
    made = source(rate=4000, recovery_interval=0.024)
    assert PgmSettings(GROUP, DESTINATION, rate=4000, recovery_interval=0.024).window == 8
    sent = list[bytes]()
    for number in range(12):
        made.send([b"%d" % number], 0.0)
        sent += made.poll(0.0)
    assert [(sqn(packet), trail(packet)) for packet in sent] == [(n, max(0, n - 7)) for n in range(12)]
    made.receive_untrusted(nak(9, 5, 6), HOST, 0.01)
    made.receive_untrusted(nak(9), HOST, 0.01)  # as OpenPGM does, beside the list
    ncf, *repairs = made.poll(0.01)
    assert control(ncf) == Request(pgm.NCF, (9, 5, 6), ADDRESS, GROUP)
    assert [(kind(packet), sqn(packet), trail(packet)) for packet in repairs] == [(pgm.RDATA, n, 4) for n in (9, 5, 6)]
    assert [packet[24:] for packet in repairs] == [sent[n][24:] for n in (9, 5, 6)]
    assert (made.statistics.naks, made.statistics.repairs) == (2, 3)


def test_a_repair_that_has_just_been_sent() -> None:
    """A NAK that was on its way already is nothing new for 10 ms; one after that is: the repair was lost."""
    made = source()
    made.send([b"x"], 0.0)
    made.poll(0.0)
    kinds = list[list[int]]()
    for now in (1.0, 1.009, 1.011, 1.02, 1.022):
        made.receive_untrusted(nak(0), HOST, now)
        kinds.append([kind(packet) for packet in made.poll(now)])
    both = [pgm.NCF, pgm.RDATA]
    assert kinds == [both, [], both, [], both]


def test_a_repair_that_comes_too_late() -> None:
    """What leaves the window between a NAK and its turn is not sent, and nothing in its place; and nothing of it is kept."""
    made = source(rate=4000, recovery_interval=0.024)
    for number in range(8):
        made.send([b"%d" % number], 0.0)
        made.poll(0.0)
    made.receive_untrusted(nak(1, 2, 3, 4, 5, 6, 7, 0), HOST, 1.0)
    made.send([b"new"], 1.0)
    sent = [(kind(packet), sqn(packet)) for packet in made.poll(1.0)]
    assert sent == [(pgm.NCF, 1), *((pgm.RDATA, n) for n in range(1, 8)), (pgm.ODATA, 8)]
    assert made.statistics.too_late == 1
    for tick in range(100):
        now = 2.0 + tick / 10
        made.send([b"more"], now)
        made.poll(now)
        made.receive_untrusted(nak(8 + tick), HOST, now)
        made.poll(now)
    assert made.statistics.repairs > 100
    assert len(made._repaired) <= 1


def test_what_cannot_be_repaired() -> None:
    """Packets before the window and after it: no NCF, and an SPM says what there is, not more often than each 25 ms."""
    made = source(rate=4000, recovery_interval=0.003)
    for _ in range(3):
        made.send([b"x"], 0.0)
        made.poll(0.0)
    made.receive_untrusted(nak(0, 1, 3, 2**31, 2**32 - 1), HOST, 0.05)
    [spm] = made.poll(0.05)
    assert (heartbeat(spm).trail, heartbeat(spm).lead) == (2, 2)
    assert made.statistics.too_late == 5
    made.receive_untrusted(nak(0), HOST, 0.06)
    assert made.poll(0.06) == []
    assert made.deadline == pytest.approx(0.075)
    assert [kind(packet) for packet in made.poll(0.0751)] == [pgm.SPM]


@pytest.mark.parametrize(
    "packet",
    [
        nak(0, gsi=b"others"),
        nak(0, ports=(PORT, DESTINATION)),
        nak(0, ports=(DESTINATION, 1)),
        nak(0, to=bytes((10, 77, 0, 9))),
        nak(0, group=bytes((239, 192, 0, 9))),
        pgm.request(GSI, UP, Request(pgm.NNAK, (0,), ADDRESS, GROUP)),
        pgm.request(GSI, UP, Request(pgm.NCF, (0,), ADDRESS, GROUP)),
        pgm.data(pgm.ODATA, GSI, (PORT, DESTINATION), 0, 0, b"\0\0"),
    ],
)
def test_what_is_for_others(packet: bytes) -> None:
    """Wire.md 9, row 94: it means nothing here."""
    made = source()
    made.send([b"x"], 0.0)
    made.poll(0.0)
    made.receive_untrusted(packet, HOST, 0.05)
    assert made.poll(0.05) == []
    assert made.statistics.naks == 0


def test_parity_is_not_had() -> None:
    """A NAK that asks for parity packets, which libzmq never does, is dropped."""
    made = source()
    made.send([b"x"], 0.0)
    made.poll(0.0)
    asks = bytearray(nak(0))
    asks[5] |= pgm.PARITY
    asks[6:8] = b"\0\0"  # a NAK may go without checksum
    made.receive_untrusted(bytes(asks), HOST, 0.05)
    assert made.poll(0.05) == []


def test_what_is_malformed() -> None:
    """It is the caller's to count."""
    made = source()
    with pytest.raises(ProtocolError, match="header"):
        made.receive_untrusted(b"garbage", HOST, 0.0)
    assert made.poll(0.01) == []


def test_spmr() -> None:
    """Who asks for an SPM gets one at once, but not more often than each 25 ms; data that flows does not put it off."""
    made = source()
    asked = pgm.spmr(GSI, UP)
    made.receive_untrusted(asked, HOST, 1.0)
    assert made.deadline == 1.0
    assert len(made.poll(1.0)) == 1
    made.receive_untrusted(asked, HOST, 1.001)
    made.receive_untrusted(asked, HOST, 1.002)
    made.send([b"x"], 1.002)
    assert [kind(packet) for packet in made.poll(1.002)] == [pgm.ODATA]
    assert times(made, 1.09) == [1.025]


# the rate


@pytest.mark.parametrize("rate", [100, 1000, 20_000, 1_000_000])
def test_the_rate(rate: int) -> None:
    """What is sent is the rate's bytes, headers of IP and UDP included, after a first burst; and never more."""
    made = source(rate=rate)
    per_second = rate * 125
    burst = max(min(per_second, 65536), per_second * 0.002)
    seconds = 0.5 if rate > 100_000 else 4.0
    sent, now = 0, 0.0
    while now < seconds:
        while made.room > 0:
            made.send([bytes(1024)] * 16, now)
        sent += sum(28 + len(packet) for packet in made.poll(now) if kind(packet) == pgm.ODATA)
        assert sent <= burst + now * per_second + 1500
        now = max(made.deadline, now + 1e-4)
    assert sent >= seconds * per_second


def test_little_leaves_at_once() -> None:
    """While there is room in the bucket, nothing waits for company; a moment later it is packed together."""
    made = source()
    assert made.deadline == 30.0
    made.send([b"x"], 1.0)
    assert made.deadline <= 1.0
    assert len(made.poll(1.0)) == 1
    made.send([bytes(100)] * 10, 1.0)
    made.send([b"y"], 1.0)
    [packet] = made.poll(1.0)
    assert Unpacker(math.inf).unpack_untrusted([packet[24:]]) == [bytes(100)] * 10 + [b"y"]


def test_room() -> None:
    """64 KiB or 2 ms at the rate, less what waits; it says no more than that."""
    slow, fast = source(), source(rate=1_000_000)
    assert (slow.room, fast.room) == (65536, 250_000)
    slow.send([bytes(100_000)], 0.0)
    assert slow.room < 0
    assert slow.pending == 100_010


def test_most() -> None:
    """A poll gives what it was asked for, at most, and the next one the rest; but for the last, all are full."""
    made = source(rate=10_000)
    made.send([bytes(20_000)], 1.0)
    first, second, third = made.poll(1.0, 10), made.poll(1.0, 10), made.poll(1.0, 10)
    assert (len(first), len(second), len(third)) == (10, 5, 0)
    assert [len(packet) for packet in first + second] == [1452] * 14 + [24 + 2 + 20010 - 14 * 1426]


def all_of(made: PgmSource, message: bytes, now: float) -> tuple[list[bytes], float]:
    """What it sends until a message has left, and when that is."""
    made.send([message], now)
    sent = list[bytes]()
    while made.pending:
        now = max(now, made.deadline)
        sent += made.poll(now)
    return sent, now


def test_repairs_and_data_share_the_rate() -> None:
    """Repairs come first, and yet of eight packets one is data: who has lost much does not stop the others."""
    made = source(rate=1000)
    _, now = all_of(made, bytes(60_000), 0.0)
    made.receive_untrusted(nak(*range(40)), HOST, now)
    kinds = [kind(packet) for packet in all_of(made, bytes(30_000), now)[0] if kind(packet) in pgm.DATA]
    assert kinds[:48] == ([pgm.RDATA] * 7 + [pgm.ODATA]) * 5 + [pgm.RDATA] * 5 + [pgm.ODATA] * 3


def flow(made: PgmSource, begin: float, seconds: float) -> float:
    """How much of its rate a source uses for data, while there is always more to send."""
    now, sent = begin, 0
    while now < begin + seconds:
        while made.room > 0:
            made.send([bytes(1024)] * 16, now)
        sent += sum(28 + len(packet) for packet in made.poll(now) if kind(packet) == pgm.ODATA)
        now = max(made.deadline, now + 1e-4)
    return sent / (seconds * 20_000 * 125)


def test_somebody_is_overrun() -> None:
    """A NAK for 32 in a row or more: less is sent, down to an eighth; when that is over the rate is soon what it was."""
    made = source(rate=20_000, recovery_interval=5.0)
    flow(made, 0.0, 2.0)
    lost_by_chance = nak(*range(100, 131), *range(140, 160))
    made.receive_untrusted(lost_by_chance, HOST, 2.0)
    flow(made, 2.0, 1.0)
    assert flow(made, 3.0, 1.0) == pytest.approx(1.0, abs=0.05)
    made.receive_untrusted(nak(*range(100, 132)), HOST, 4.0)
    for _ in range(9):  # many that are overrun at once count as one
        made.receive_untrusted(nak(*range(200, 260)), HOST, 4.0)
    made.poll(4.0)
    assert flow(made, 4.0, 0.1) < 0.75
    assert flow(made, 5.0, 1.0) == pytest.approx(1.0, abs=0.05)
    for tenth in range(20):
        made.receive_untrusted(nak(*range(400, 432)), HOST, 6.0 + tenth / 10)
        made.poll(6.0 + tenth / 10)
    flow(made, 8.0, 0.09)
    assert 0.1 < flow(made, 8.09, 0.1) < 0.3
    flow(made, 8.2, 2.0)
    assert flow(made, 10.2, 1.0) == pytest.approx(1.0, abs=0.05)


def test_a_storm_of_naks() -> None:
    """Nothing grows with it: each packet is repaired once, and confirmed once, whoever asks how often."""
    made = source(rate=1000)
    _, now = all_of(made, bytes(60_000), 0.0)
    for _ in range(1000):
        made.receive_untrusted(nak(*range(40)), HOST, now)
    kinds = [kind(packet) for packet in made.poll(now + 1.0)]
    assert (kinds.count(pgm.NCF), kinds.count(pgm.RDATA)) == (1, 40)


# numbers, sizes


def test_numbers_wrap() -> None:
    """RFC 3208, 5.1.1: sequence numbers are of 32 bits, and go round; the window's edges do, too."""
    made = source(first=2**32 - 2)
    sent = list[bytes]()
    for _ in range(4):
        made.send([b"x"], 0.0)
        sent += made.poll(0.0)
    assert [sqn(packet) for packet in sent] == [2**32 - 2, 2**32 - 1, 0, 1]
    assert {trail(packet) for packet in sent} == {2**32 - 2}
    made.receive_untrusted(nak(2**32 - 1, 0), HOST, 0.05)
    _, *repairs = made.poll(0.05)
    assert [packet[24:] for packet in repairs] == [sent[1][24:], sent[2][24:]]
    [spm] = made.poll(0.2)
    assert (heartbeat(spm).trail, heartbeat(spm).lead) == (2**32 - 2, 1)


@pytest.mark.parametrize(
    ("group", "udp", "size"), [(4, True, 1428), (4, False, 1436), (16, True, 1408), (16, False, 1416)]
)
def test_sizes(group: int, udp: bool, size: int) -> None:
    """Wire.md 7.6: the most bytes in a TSDU, by what carries it."""
    known = PgmSettings(bytes(group), DESTINATION, udp)
    assert known.max_tsdu == size
    made = PgmSource(known, TSI, 0.0, address=bytes((1,) * group))
    made.send([bytes(3000)], 0.0)
    assert max(len(packet) for packet in made.poll(0.0)) == 24 + size


@pytest.mark.parametrize(
    ("changes", "packets"), [({}, 80), ({"rate": 1_000_000, "recovery_interval": 0.5}, 41666), ({"rate": 7}, 1)]
)
def test_windows(changes: dict[str, float], packets: int) -> None:
    """Wire.md 7.7: what is kept for repair, in packets."""
    assert PgmSettings(GROUP, DESTINATION, **changes).window == packets


@pytest.mark.parametrize(("size", "said"), [(74, "headers alone take 72"), (70_000, "at most 65535")])
def test_a_size_that_cannot_be(size: int, said: str) -> None:
    """The least that carries data has an offset and one byte of it."""
    assert PgmSettings(GROUP, DESTINATION, max_tpdu=75).max_tsdu == 3
    with pytest.raises(ValueError, match=said):
        PgmSettings(GROUP, DESTINATION, max_tpdu=size)


# the end


def test_close() -> None:
    """What waits leaves at the rate, then three SPMs with FIN; NAKs are answered, 1.5 s after the last it is finished."""
    made = source()
    made.send([bytes(20_000)], 0.0)
    first = made.poll(0.0)
    made.close(0.0)
    assert made.pending
    assert not made.finished
    assert {kind(packet) for packet in first} == {pgm.ODATA}
    now, sent = 0.0, list[bytes]()
    while not sent or kind(sent[-1]) != pgm.SPM:
        now = max(now, made.deadline)
        sent += [
            packet for packet in made.poll(now) if not (kind(packet) == pgm.SPM and not heartbeat(packet).options.fin)
        ]
    assert 0.6 < now < 1.0
    assert made.pending == 0
    assert [kind(packet) for packet in sent[-4:]] == [pgm.ODATA] + [pgm.SPM] * 3
    lead = sqn(sent[-4])
    assert all(heartbeat(packet).options.fin and heartbeat(packet).lead == lead for packet in sent[-3:])
    made.receive_untrusted(nak(lead), HOST, now + 0.25)
    assert [kind(packet) for packet in made.poll(now + 0.25)][:2] == [pgm.NCF, pgm.RDATA]
    late = list[bytes]()
    while not made.finished:
        assert made.deadline < now + 1.8
        late += made.poll(made.deadline)
    assert made.deadline == math.inf
    assert late
    assert all(heartbeat(packet).options.fin for packet in late)


@pytest.mark.parametrize(("asked", "quiet"), [(4.0, 1.5), (0.5, 0.3)])
def test_close_on_a_network_that_loses(asked: float, quiet: float) -> None:
    """Somebody who asked a moment ago may ask again, and more than one NAK may be lost; else it is soon over."""
    made = source()
    made.send([b"x"], 0.0)
    made.poll(0.0)
    made.receive_untrusted(nak(0), HOST, asked)
    made.poll(asked)
    made.close(8.0)
    made.poll(8.0)
    times(made, 8.0 + quiet - 0.01)
    assert not made.finished
    assert made.deadline == pytest.approx(8.0 + quiet)
    made.poll(8.0 + quiet + 0.001)
    assert made.finished


def test_close_that_does_not_wait() -> None:
    """What waits is dropped, at once or later; the FIN tells what was sent."""
    made = source()
    made.send([bytes(100_000)], 0.0)
    last = made.poll(0.0)[-1]
    made.close(0.0)
    made.close(1e-6, discard=True)
    assert made.pending == 0
    assert [heartbeat(packet).lead for packet in made.poll(1e-6)] == [sqn(last)] * 3
    assert not made.finished
    made.poll(0.31)
    assert made.finished


def test_close_before_anything() -> None:
    """Who never sent data has nothing to repair: it is finished with its FINs."""
    made = PgmSource(PgmSettings(GROUP, DESTINATION), TSI, 0.0, address=ADDRESS)
    made.close(0.0)
    packets = made.poll(0.0)
    assert [heartbeat(packet).options.fin for packet in packets] == [False] * 3 + [True] * 3
    assert [heartbeat(packet).lead for packet in packets] == [2**32 - 1] * 6
    assert made.finished
    assert made.deadline == math.inf
    assert made.poll(100.0) == []


# a busy machine


def test_a_late_timer_costs_no_rate() -> None:
    """Where data waits, what a timer is late by is made up for, up to 10 ms; after a pause no more leaves than a bucket."""
    made = source(rate=1_000_000)
    burst = made.poll(0.0, 10_000)
    assert not burst
    made.send([bytes(20_000_000)], 1.0)

    def leaves(now: float) -> float:
        """Bytes that leave then, headers included."""
        return sum(len(packet) + 28 for packet in made.poll(now, 10_000))

    assert leaves(1.0) == pytest.approx(250_000, abs=1500)  # after a second's pause: 2 ms' worth
    now, total = 1.0, 0.0
    for late in (0.001, 0.004, 0.009, 0.005, 0.002):
        now += late
        total += leaves(now)
    assert total == pytest.approx(0.021 * 125_000_000, abs=3000)
    assert leaves(now + 0.5) == pytest.approx(1_250_000, abs=3000)  # so late that it is a pause
