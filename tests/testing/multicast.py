"""Reliable multicast in memory, for tests: PGM itself, over a network that only trio's own waits wait for.

It loses what a test says it is to lose. Nothing is random but what the test's own numbers make so.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address

import trio

from trimq import InvalidEndpoint
from trimq._wire._pgm_sessions import PgmReceiving, PgmSending
from trimq._wire._pgm_settings import PgmSettings
from trimq.abc import DatagramPort, DatagramSession, MulticastTransport, Settings

GROUP = "239.192.0.1"


class MulticastPort(DatagramPort):
    """A socket of one host on the network; it holds ``room`` datagrams, and what comes then is lost."""

    def __init__(self, network: MemoryMulticast, address: str, host: str, *, publishes: bool) -> None:
        self.network = network
        self.group = address
        self.host = host
        self.publishes = publishes
        self.room = 100_000
        self.closed = False
        self.arrived: deque[tuple[bytes, str]] = deque()
        network.ports.append(self)

    @property
    def address(self) -> str:
        return f"{self.network.scheme}://{self.group}"

    def send_now(self, data: bytes, to: str) -> bool:
        for port in self.network.ports:
            heard = port.host == to if to else not port.publishes
            if (
                heard
                and port.group == self.group
                and not self.network.loses(data, port)
                and len(port.arrived) < port.room
            ):
                port.arrived.append((data, self.host))
        self.network.sent.append((trio.current_time(), data, self.host, to))
        self.network.changed.unpark_all()
        return True

    def receive_now(self, max_size: int) -> tuple[bytes, str] | None:
        return self.arrived.popleft() if self.arrived else None

    async def wait_sendable(self) -> None:
        await trio.lowlevel.checkpoint()
        self.check_open()

    async def wait_receivable(self) -> None:
        await trio.lowlevel.checkpoint()
        self.check_open()
        while not self.arrived:
            await self.network.changed.park()
            self.check_open()

    def check_open(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.network.ports.remove(self)
            self.network.changed.unpark_all()


class MemoryMulticast(MulticastTransport):
    """A network of its own. Each socket is a host; addresses are any text."""

    scheme = "epgm"

    def __init__(self) -> None:
        self.ports: list[MulticastPort] = []
        self.hosts = 0
        self.changed = trio.lowlevel.ParkingLot()
        self.sent: list[tuple[float, bytes, str, str]] = []
        """All that was sent: when, what, by which host, and to which one, or to all."""
        self.loses: Callable[[bytes, MulticastPort], bool] = lambda data, port: False
        self.refuses: OSError | None = None

    def check(self, address: str, *, bind: bool) -> None:
        if address == "wrong":
            raise InvalidEndpoint(address)

    def open(
        self, address: str, settings: Settings, now: float, *, publishes: bool
    ) -> tuple[DatagramPort, DatagramSession]:
        if self.refuses:
            raise self.refuses
        self.hosts += 1
        host = f"10.0.0.{self.hosts}"
        pgm = PgmSettings(
            ip_address(GROUP).packed,
            5555,
            rate=settings.rate,
            recovery_interval=settings.recovery_interval,
            max_tpdu=settings.multicast_maxtpdu,
        )
        session: DatagramSession
        if publishes:
            session = PgmSending(pgm, bytes((1, 1, 1, 1, 1, 1, 2, self.hosts)), now, ip_address(host).packed)
        else:
            session = PgmReceiving(pgm, now, random.Random(self.hosts).random, settings.max_message_size)
        return MulticastPort(self, address, host, publishes=publishes), session
