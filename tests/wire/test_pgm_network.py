"""PGM over a network that loses, doubles and delays: all messages, in order, without a storm of NAKs (issue 8)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from random import Random

import pytest
from wire.pgm_network import HOST, Network
from wire.test_pgm_packets import summed
from wire.test_pgm_receiver import Sender

from trimq import ProtocolError
from trimq._message import Item
from trimq._wire import _pgm_packets as pgm
from trimq._wire._pgm_events import Delivered, Joined, Left, Lost

SIZES = (0, 10, 250, 1000, 5000)


def send(network: Network, ticks: int, each: int = 3) -> list[Item]:
    """So many messages each 10 ms, of many sizes, some in parts."""
    chance, sent = Random(7), list[Item]()
    for tick in range(ticks):
        items: list[Item] = [b"%d %d " % (tick, one) + bytes(chance.choice(SIZES)) for one in range(each)]
        items.append([b"%d" % tick, b"", bytes(chance.choice(SIZES))])
        sent += items
        network.source.send(items, network.now)
        network.run(0.01)
    return sent


def all_have(network: Network, items: Sequence[Item]) -> None:
    everybody = range(len(network.receivers))
    network.run(10.0, lambda: all(len(network.items(number)) >= len(items) for number in everybody))
    for number in everybody:
        assert network.items(number) == items, number
        told = [event for event in network.events[number] if not isinstance(event, (Delivered, Joined))]
        assert told == []


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize(("receivers", "ticks"), [(1, 300), (5, 100), (50, 25)])
def test_all_messages_in_order(receivers: int, ticks: int, loss: float) -> None:
    """Up to 50 receivers, up to 30 % lost, doubled and late in both directions: everything, in order, within the window.

    And no implosion: what is asked for is a few times what somebody has lost, however many have lost it.
    """
    network = Network(receivers, loss)
    sent = send(network, ticks)
    all_have(network, sent)
    statistics = [one.statistics for one in network.receivers]
    asked = sum(one.asked for one in statistics)
    # A NAK is lost with the chance `loss`, so is its NCF on the way to each of the others, and the repair.
    bound = 1.5 + 2 * loss * (1 + receivers**0.5)
    assert asked <= bound * len(network.lost)
    assert network.source.statistics.repairs <= bound * len(network.lost)
    assert sum(one.lost for one in statistics) == 0
    assert sum(one.malformed for one in statistics) == 0
    assert loss == 0 or network.lost


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_the_end(loss: float) -> None:
    """Who closes repairs for whoever asks; with everything had, or given up, all receivers see the session's end."""
    network = Network(10, loss)
    sent = send(network, 30)
    network.source.close(network.now)
    network.run(400.0)
    assert network.source.finished
    for number in range(10):
        ends = [event for event in network.events[number] if isinstance(event, Left)]
        assert len(ends) == 1
        lost = any(isinstance(event, Lost) for event in network.events[number])
        assert lost or network.items(number) == sent
        assert loss or (not lost and ends[0].why == "fin")


def test_beyond_the_window() -> None:
    """An outage longer than the window: what is lost is told, and what follows is whole and in order."""
    network = Network(3, 0.0, recovery_interval=0.2)
    before = send(network, 20)
    network.loss = 1.0
    gone = send(network, 200)
    network.loss = 0.0
    after = send(network, 20)
    network.run(5.0)
    for number in range(3):
        got = network.items(number)
        assert got[: len(before)] == before
        assert got[-len(after) + 4 :] == after[4:]
        assert len(got) < len(before) + len(gone) + len(after)
        assert sum(event.count for event in network.events[number] if isinstance(event, Lost)) > 100


def garbage(chance: Random, packet: bytes) -> bytes:
    """A packet that is nearly right: some bytes are others, or it is cut; mostly with the right checksum all the same."""
    kind = chance.random()
    if kind < 0.1:
        return chance.randbytes(chance.randrange(60))
    changed = bytearray(packet)
    for _ in range(chance.randrange(4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    if kind < 0.2:
        del changed[chance.randrange(8, len(changed)) :]
    return summed(bytes(changed))[: len(changed)] if kind < 0.9 else bytes(changed)


def stranger(chance: Random) -> bytes:
    """A packet of one of many sessions, with numbers that leap."""
    sender = Sender(tsi=b"%8d" % (chance.randrange(300) if chance.random() < 0.5 else chance.randrange(5)))
    sqn = chance.choice((chance.randrange(3000), chance.randrange(2**32)))
    trail = sqn - chance.choice((0, 1, 500, 2000))
    tsdu = chance.choice(
        (b"\0\0\2\0a", b"\0\0\xff" + bytes(4) + b"\7" * 4 + bytes(1000), b"\xff\xff" + bytes(1400), b"")
    )
    return garbage(
        chance,
        chance.choice(
            (
                sender.raw(sqn, tsdu, trail),
                sender.raw(sqn, tsdu, trail),
                sender.raw(sqn, tsdu, trail, pgm.RDATA),
                sender.spm(sqn, trail),
                sender.fin(sqn),
                sender.ncf(*range(sqn % 1000, sqn % 1000 + chance.randrange(1, 60))),
                sender.spmr(),
                Sender().nak(*range(sqn % 1000, sqn % 1000 + chance.randrange(1, 60))),
            )
        ),
    )


def test_strangers() -> None:
    """Issue 8: what strangers send grows no memory beyond the bound and stops nobody: the stream among it is whole."""
    network, chance = Network(1, 0.0, max_kept=100_000, recovery_interval=1.0), Random(3)
    [receiver] = network.receivers
    sent, refused = list[Item](), 0
    before = 0
    tracemalloc.start()
    try:
        for tick in range(120):
            for _ in range(40):
                packet, host = stranger(chance), f"10.0.0.{chance.randrange(6)}"
                for taker in (receiver, network.source):
                    try:
                        taker.receive_untrusted(packet, host, network.now)
                    except ProtocolError:
                        refused += 1
            items = [b"%d" % tick, bytes(2000)]
            sent += items
            network.source.send(items, network.now)
            network.run(0.05)
            network.events[0] = [e for e in network.events[0] if isinstance(e, Delivered) and e.stream.host == HOST]
            if tick == 60:
                before, _ = tracemalloc.get_traced_memory()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    network.run(1.0)  # among the strangers were some that said they were overrun
    assert network.items(0) == sent
    assert refused > 1000
    assert receiver.statistics.refused > 10
    # The source's window has 2 MB; what is kept here is little, and half of the storm takes no more than the other half did.
    assert peak < 6_000_000
    assert after < before + 500_000
