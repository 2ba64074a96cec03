"""Datagrams in memory, for tests: a transport that only trio's own waits wait for, and that loses nothing."""

from __future__ import annotations

import itertools
from collections import deque

import trio

from trimq import AddressInUse, InvalidEndpoint
from trimq.abc import DatagramPort, DatagramTransport, Settings


class MemoryPort(DatagramPort):
    """A place in a network in memory, which holds one datagram until it is taken."""

    def __init__(self, network: MemoryDatagrams, name: str, target: str = "") -> None:
        self.network = network
        self.name = name
        self.target = target
        self.closed = False
        self.refused = ""  # where there was no room for what was to be sent last
        self.arrived: deque[tuple[bytes, str]] = deque()
        network.ports[name] = self

    @property
    def address(self) -> str:
        return f"udp://{self.name}"

    def send_now(self, data: bytes, to: str) -> bool:
        target = self.network.ports.get(to or self.target)
        if target is not None:
            if target.arrived:
                self.refused = target.name
                return False
            target.arrived.append((data, self.name))
            self.network.changed.unpark_all()
        return True

    def receive_now(self, max_size: int) -> tuple[bytes, str] | None:
        if not self.arrived:
            return None
        self.network.changed.unpark_all()
        return self.arrived.popleft()

    def room(self) -> bool:
        target = self.network.ports.get(self.refused)
        return target is None or not target.arrived

    async def wait_sendable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.open() and not self.room():
            await self.network.changed.park()

    async def wait_receivable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.open() and not self.arrived:
            await self.network.changed.park()

    def open(self) -> bool:
        if self.closed:
            raise trio.ClosedResourceError
        return True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            del self.network.ports[self.name]
            self.network.changed.unpark_all()


class MemoryDatagrams(DatagramTransport):
    """A network of its own."""

    scheme = "udp"

    def __init__(self) -> None:
        self.ports: dict[str, MemoryPort] = {}
        self.changed = trio.lowlevel.ParkingLot()
        self.numbers = itertools.count(50000)

    def check(self, address: str, *, bind: bool) -> None:
        host, _, port = address.rpartition(":")
        if not host or not (port.isdecimal() or (bind and port == "*")):
            raise InvalidEndpoint(address)

    def bind(self, address: str, settings: Settings) -> DatagramPort:
        if address in self.ports:
            raise AddressInUse(f"udp://{address} is bound")
        return MemoryPort(self, address.replace("*", str(next(self.numbers))))

    async def connect(self, address: str, settings: Settings) -> DatagramPort:
        await trio.lowlevel.checkpoint()
        return MemoryPort(self, f"127.0.0.1:{next(self.numbers)}", address)
