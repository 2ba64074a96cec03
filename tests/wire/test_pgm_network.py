"""PGM over a network that loses, doubles and delays: all messages, in order, without a storm of NAKs (issue 8)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from wire.pgm_network import Network

from trimq._message import Item
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
