"""PGM's two ends as sessions over ports of datagrams: what `DatagramSession` promises, on a clock of their own."""

from __future__ import annotations

import math

import pytest

from trimq._abc_datagrams import DatagramSession
from trimq._errors import ProtocolError
from trimq._wire import _pgm_packets as packets
from trimq._wire._pgm_sessions import PgmReceiving, PgmSending
from trimq._wire._pgm_settings import PgmSettings

GROUP, ADDRESS, HOST = bytes((239, 192, 0, 1)), bytes((10, 0, 0, 1)), "10.0.0.1"
TSI = b"senderAB"


def both(**changes: float) -> tuple[PgmSending, PgmReceiving]:
    """A sender, and a receiver that always waits as long as it may."""
    settings = PgmSettings(GROUP, 5599, **({"rate": 10_000, "recovery_interval": 1.0} | changes))  # type: ignore[arg-type]
    return PgmSending(settings, TSI, 0.0, ADDRESS), PgmReceiving(settings, 0.0, lambda: 1.0, math.inf)


def kinds(session: DatagramSession, now: float) -> list[tuple[int, str]]:
    """What it sends, and where to."""
    return [(data[4], to) for data, to in session.poll(now)]


def test_both_are_reliable() -> None:
    """What says so to the connector: the sizes that are received, and that nothing is dropped for want of room."""
    for session in both():
        assert session.reliable
        assert session.max_size == 65535
        assert not session.pending


def test_messages_go_to_the_group() -> None:
    """send, poll, receive_untrusted, take: each message once, in order; a sender receives none."""
    sending, receiving = both()
    sending.send([b"one", [b"two", b"parts"]], 0.0)
    before = sending.pending
    for data, to in sending.poll(0.0):
        assert to == ""
        receiving.receive_untrusted(data, HOST, 0.0)
    assert (before, sending.pending) == (True, False)
    assert receiving.take() == [b"one", [b"two", b"parts"]]
    assert not receiving.take()
    assert not sending.take()
    assert not receiving.lost()


def test_pending_until_the_rate_lets_it_go() -> None:
    """While messages wait in it the deadline says when the next ones leave."""
    sending, _ = both(rate=100)
    sending.send([bytes(30_000)], 0.0)
    now, left = 0.0, 0
    while sending.pending:
        left += sum(len(data) for data, _ in sending.poll(now))
        if sending.pending:
            assert now < sending.deadline < math.inf
            now = sending.deadline
    assert left > 30_000
    assert now == pytest.approx((30_000 * 1500 / 1428 - 12_500) / 12_500, abs=0.3)


def test_repair() -> None:
    """A receiver asks the sender's host by its deadline; the sender says so to the group, and sends it again."""
    sending, receiving = both()
    for n in range(3):
        sending.send([b"%d" % n], n / 10)
        for data, _ in sending.poll(n / 10):
            if n != 1:
                receiving.receive_untrusted(data, HOST, n / 10)
    assert receiving.take() == [b"0"]
    assert 0.2 < receiving.deadline <= 0.25 + 1e-9
    asks = receiving.poll(receiving.deadline)
    assert [(data[4], to) for data, to in asks] == [(packets.NAK, HOST)]
    assert sending.take() == ()
    sending.receive_untrusted(asks[0][0], "10.0.0.2", 0.26)
    answer = sending.poll(0.26)
    assert [(data[4], to) for data, to in answer] == [(packets.NCF, ""), (packets.RDATA, "")]
    for data, _ in answer:
        receiving.receive_untrusted(data, HOST, 0.26)
    assert receiving.take() == [b"1", b"2"]
    assert receiving.lost() == []


def test_loss_is_told_once() -> None:
    """What the sender has no more is lost: whose, and how many; once for each packet, after `take`."""
    sending, receiving = both(rate=100, recovery_interval=0.25)  # a window of 2 packets
    got: list[object] = []
    lost: list[tuple[str, int]] = []
    for n in range(12):
        sending.send([b"%d" % n], float(n))
        for data, _ in sending.poll(float(n)):
            if not 3 <= n < 7:
                receiving.receive_untrusted(data, HOST, float(n))
        got += receiving.take()
        lost += receiving.lost()
    assert got == [b"%d" % n for n in range(12) if not 3 <= n < 7]
    assert {host for host, _ in lost} == {HOST}
    assert sum(count for _, count in lost) == 4


def test_a_receiver_sends_nothing() -> None:
    """Messages given to it are a fault of the caller's, not lost in silence; its end is at once."""
    _, receiving = both()
    with pytest.raises(AssertionError):
        receiving.send([b"upstream"], 0.0)
    assert receiving.poll(10.0) == []
    receiving.close(10.0)
    assert receiving.finished


def test_close() -> None:
    """What is pending still goes out, then FIN; it has finished when nobody has asked for anything for a while."""
    sending, receiving = both(rate=100)
    sending.send([bytes(20_000)], 0.0)
    sending.close(0.0)
    now, fins = 0.0, 0
    while not sending.finished:
        for data, to in sending.poll(now):
            assert to == ""
            fins += data[4] == packets.SPM and bool(data[5])
            receiving.receive_untrusted(data, HOST, now)
        now = max(now, min(sending.deadline, now + 1))
    assert receiving.take() == [bytes(20_000)]
    assert fins >= 3
    assert now < 2.0
    assert sending.deadline == math.inf


def test_discard() -> None:
    """What is pending is dropped, and the next poll has the last words."""
    sending, _ = both(rate=100)
    sending.send([bytes(50_000)], 0.0)
    sending.poll(0.0)
    sending.close(0.0)
    sending.close(0.1, discard=True)
    assert not sending.pending
    said = sending.poll(0.1)
    assert [data[4] for data, _ in said if data[4] not in packets.DATA] == [packets.SPM] * 3
    assert all(data[5] for data, _ in said if data[4] == packets.SPM)


@pytest.mark.parametrize("junk", [b"", b"short", b"\1" * 40])
def test_rubbish(junk: bytes) -> None:
    """ProtocolError, and all goes on."""
    for session in both():
        with pytest.raises(ProtocolError):
            session.receive_untrusted(junk, HOST, 0.0)
        assert not session.take()
