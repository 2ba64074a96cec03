"""A network of PGM sources and receivers without a network: loss, duplication, delay, on a clock that jumps."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

from trimq._message import Item
from trimq._wire._pgm_events import Delivered, Event
from trimq._wire._pgm_receiver import PgmReceiver
from trimq._wire._pgm_settings import PgmSettings
from trimq._wire._pgm_source import PgmSource

GROUP, ADDRESS, HOST = bytes((239, 192, 0, 1)), bytes((10, 77, 0, 1)), "10.77.0.1"
TSI = bytes.fromhex("B7C6D1BC038A3B53")


def settings(**changes: float) -> PgmSettings:
    """Fast, with 15,000 packets to repair: 10 s."""
    return PgmSettings(GROUP, 5599, **({"rate": 18_000, "recovery_interval": 10.0} | changes))


class Network:
    """One source, many receivers. Between them packets are lost, doubled and late by chance; each by its own.

    Args:
      receivers: how many.
      loss: the chance that a packet does not arrive somewhere; also that it comes twice, and that it is late.
      max_kept: each receiver's bound.
      seed: of the chance.
    """

    def __init__(self, receivers: int, loss: float, *, max_kept: int = 2**28, seed: int = 1, **changes: float) -> None:
        self.now = 0.0
        self.loss = 0.0
        self._chance = Random(seed)
        self._queue: list[tuple[float, int, int, bytes]] = []  # when, a number, to whom (-1: the source), what
        self._numbers = count()
        known = settings(**changes)
        self.source = PgmSource(known, TSI, self.now, address=ADDRESS)
        self.receivers = [
            PgmReceiver(known, self.now, chance=self._chance.random, max_message_size=math.inf, max_kept=max_kept)
            for _ in range(receivers)
        ]
        self.events: list[list[Event]] = [[] for _ in range(receivers)]
        self.naks = 0
        self.lost: set[bytes] = set()  # the data packets that somebody did not get
        self.run(0.1)  # all know the source
        self.loss = loss

    def items(self, number: int) -> list[Item]:
        """What a receiver got."""
        return [item for event in self.events[number] if isinstance(event, Delivered) for item in event.items]

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Lets that time pass, or less."""
        end = self.now + seconds
        self._send()
        while not until():
            due = min(self.source.deadline, *(one.deadline for one in self.receivers))
            if self._queue:
                due = min(due, self._queue[0][0])
            if due > end:
                self.now = end
                break
            self.now = max(self.now, due)
            while self._queue and self._queue[0][0] <= self.now:
                _, _, to, packet = heappop(self._queue)
                if to < 0:
                    self.source.receive_untrusted(packet, HOST, self.now)
                else:
                    self.receivers[to].receive_untrusted(packet, HOST, self.now)
            self._send()

    def _send(self) -> None:
        everybody = range(len(self.receivers))
        while packets := self.source.poll(self.now):
            for packet in packets:
                for to in everybody:
                    self._carry(packet, to)
        for number, receiver in enumerate(self.receivers):
            for outgoing in receiver.poll(self.now):
                if outgoing.to is None:
                    for to in (-1, *everybody):
                        if to != number:
                            self._carry(outgoing.packet, to)
                else:
                    self.naks += 1
                    self._carry(outgoing.packet, -1)
            self.events[number] += receiver.take()

    def _carry(self, packet: bytes, to: int) -> None:
        chance = self._chance.random
        if chance() < self.loss:
            if packet[4] == 4:
                self.lost.add(packet[16:20])
        else:
            for _ in range(2 if chance() < self.loss else 1):
                late = 0.004 * chance() if chance() < self.loss else 0.0
                heappush(self._queue, (self.now + 0.0005 + late, next(self._numbers), to, packet))
