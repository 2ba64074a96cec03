"""The check of transports of datagrams: udp passes it, and each clause is broken by something that it names."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from testing.clauses import clauses_of, told, unbroken
from testing.datagrams import MemoryDatagrams, MemoryPort
from trio.testing import MockClock

from trimq import AddressInUse
from trimq._transports._udp import UdpTransport
from trimq.abc import DatagramPort, Settings
from trimq.testing import check_datagram_transport


@pytest.mark.parametrize(
    ("address", "wrong"),
    [("127.0.0.1:*", "127.0.0.1:port"), ("[::1]:*", "[::1]"), ("*:*", "eth0;127.0.0.1:5555")],
)
async def test_udp(address: str, wrong: str) -> None:
    """udp does what `trimq.abc.DatagramTransport` promises, over IPv4, IPv6 and both."""
    await check_datagram_transport(UdpTransport, address, wrong_address=wrong)


async def test_in_memory(autojump_clock: MockClock) -> None:
    """The datagrams in memory are some, too: what is tested on them holds for udp."""
    await check_datagram_transport(MemoryDatagrams, "127.0.0.1:*", wrong_address="127.0.0.1")


class Alters(MemoryDatagrams):
    """Its ports are of another kind."""

    Port: type[MemoryPort] = MemoryPort

    def bind(self, address: str, settings: Settings) -> DatagramPort:
        port: Any = super().bind(address, settings)
        port.__class__ = type(self).Port
        return port  # type: ignore[no-any-return]

    async def connect(self, address: str, settings: Settings) -> DatagramPort:
        port: Any = await super().connect(address, settings)
        port.__class__ = type(self).Port
        return port  # type: ignore[no-any-return]


class NoScheme(MemoryDatagrams):
    scheme = "udp://"


class RefusesAll(MemoryDatagrams):
    def check(self, address: str, *, bind: bool) -> None:
        raise ValueError(address)


class ChecksNothing(MemoryDatagrams):
    def check(self, address: str, *, bind: bool) -> None:
        pass


class KeepsWildcard(Alters):
    class Port(MemoryPort):
        @property
        def address(self) -> str:
            return "udp://127.0.0.1:*"


class BindsTwice(MemoryDatagrams):
    def bind(self, address: str, settings: Settings) -> DatagramPort:
        while address in self.ports:
            address += "0"
        return super().bind(address, settings)


class UnbindsWhenRefused(MemoryDatagrams):
    def bind(self, address: str, settings: Settings) -> DatagramPort:
        try:
            return super().bind(address, settings)
        except AddressInUse:
            self.ports[address].close()
            raise


class Cuts(Alters):
    class Port(MemoryPort):
        def send_now(self, data: bytes, to: str) -> bool:
            return super().send_now(data[:1000], to)


class OneAnswersForAll(Alters):
    """Whoever sent it, it says that somebody else did."""

    class Port(MemoryPort):
        def receive_now(self, max_size: int) -> tuple[bytes, str] | None:
            received = super().receive_now(max_size)
            return received and (received[0], "127.0.0.1:9")


class TellsNames(Alters):
    class Port(MemoryPort):
        def receive_now(self, max_size: int) -> tuple[bytes, str] | None:
            received = super().receive_now(max_size)
            return received and (received[0], "somebody:50000")


class OneSource(MemoryDatagrams):
    """All that connect to one place are one port."""

    def __init__(self) -> None:
        super().__init__()
        self.one: dict[str, DatagramPort] = {}

    async def connect(self, address: str, settings: Settings) -> DatagramPort:
        port = await super().connect(address, settings)
        return self.one.setdefault(address, port)


class CutsWhatIsNotWanted(Alters):
    class Port(MemoryPort):
        def receive_now(self, max_size: int) -> tuple[bytes, str] | None:
            received = super().receive_now(max_size)
            return received and (received[0][:max_size], received[1])


class RaisesAnything(Alters):
    class Port(MemoryPort):
        def send_now(self, data: bytes, to: str) -> bool:
            if len(data) > 65507:
                raise ValueError("too large")
            return super().send_now(data, to)


class SendsTwice(Alters):
    """It takes what it says it did not: who tries again sends it twice."""

    class Port(MemoryPort):
        def send_now(self, data: bytes, to: str) -> bool:
            target = self.network.ports.get(to or self.target)
            if target is not None and target.arrived:
                target.arrived.append((data, self.name))
                return len(target.arrived) > 2
            return super().send_now(data, to)


class ComesToAll(Alters):
    """What is sent to one port comes to those that were bound before it, too."""

    class Port(MemoryPort):
        def send_now(self, data: bytes, to: str) -> bool:
            sent = super().send_now(data, to)
            for port in self.network.ports.values():
                if port is not self and data == b"there" and not port.arrived:
                    port.arrived.append((data, self.name))
            return sent


class NoCancelPoint(MemoryDatagrams):
    async def connect(self, address: str, settings: Settings) -> DatagramPort:
        return MemoryPort(self, f"127.0.0.1:{next(self.numbers)}", address)


class NeverWaits(Alters):
    class Port(MemoryPort):
        async def wait_receivable(self) -> None:
            self.open()
            await trio.lowlevel.checkpoint()


class AlwaysWaits(Alters):
    class Port(MemoryPort):
        async def wait_sendable(self) -> None:
            await super().wait_sendable()
            if not self.refused:
                await trio.sleep_forever()


class WaitsOnlyWhenItMust(Alters):
    class Port(MemoryPort):
        async def wait_receivable(self) -> None:
            while self.open() and not self.arrived:
                await self.network.changed.park()


class CloseWakesNobody(Alters):
    class Port(MemoryPort):
        def close(self) -> None:
            if not self.closed:
                self.closed = True
                del self.network.ports[self.name]


class KeepsAddress(Alters):
    class Port(MemoryPort):
        def close(self) -> None:
            self.closed = True
            self.network.changed.unpark_all()


class GivesUp(Alters):
    """Once nobody was there, it sends no more."""

    class Port(MemoryPort):
        def send_now(self, data: bytes, to: str) -> bool:
            if (to or self.target) not in self.network.ports:
                self.target = "nowhere"
            return super().send_now(data, to)


class NotForSockets(Alters):
    """What looks like a group's message is lost."""

    class Port(MemoryPort):
        def send_now(self, data: bytes, to: str) -> bool:
            return super().send_now(data.replace(b"group", b"GROUP"), to)


BROKEN: list[tuple[type[MemoryDatagrams], str, str]] = [
    (NoScheme, "the scheme is what stands before ://", "'udp://'"),
    (RefusesAll, "check accepts the address to bind", "ValueError"),
    (ChecksNothing, "check refuses an address that is wrong with InvalidEndpoint", "nothing was raised"),
    (KeepsWildcard, "a port's address is the resolved endpoint", "InvalidEndpoint"),
    (BindsTwice, "to bind what is bound is an AddressInUse", "nothing was raised"),
    (UnbindsWhenRefused, "and the first port stays", "ClosedResourceError"),
    (Cuts, "a datagram that was sent to a bound port arrives there, whole", "of 1000 bytes arrived"),
    (OneAnswersForAll, "what is sent to who sent a datagram arrives at its port", "still waits"),
    (TellsNames, "who sent a datagram is told as host:port, numeric", "InvalidEndpoint"),
    (OneSource, "two ports that send to one are told from each other", "both have one address"),
    (CutsWhatIsNotWanted, "a datagram larger than wanted comes with more bytes than that", "it was cut to 100"),
    (RaisesAnything, "a datagram that cannot be sent is an OSError", "ValueError: too large"),
    (SendsTwice, "of many datagrams none arrives twice", "one came twice"),
    (ComesToAll, "one transport binds several addresses, each with its own datagrams", "it came to the other one"),
    (NoCancelPoint, "connect is a cancel point", "it did not raise Cancelled"),
    (NeverWaits, "wait_receivable waits for a datagram, and takes none", "it has returned"),
    (AlwaysWaits, "wait_sendable returns where there is room", "still waits"),
    (WaitsOnlyWhenItMust, "are cancel points, even where they need not wait", "did not raise Cancelled"),
    (CloseWakesNobody, "close wakes who waits with ClosedResourceError", "still waits"),
    (KeepsAddress, "after close the address is free at once", "AddressInUse"),
    (GivesUp, "a port whose datagrams nobody took is heard again when somebody is there", "still waits"),
    (NotForSockets, "sockets over the transport exchange messages, RADIO to DISH and DGRAM to DGRAM", "still waits"),
]


@pytest.mark.parametrize(("transport", "clause", "detail"), BROKEN, ids=[kind.__name__ for kind, _, _ in BROKEN])
async def test_a_broken_transport(transport: Any, clause: str, detail: str, autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match=told(clause, detail)):
        await check_datagram_transport(transport, "127.0.0.1:*", wrong_address="127.0.0.1")


def test_each_clause_was_broken() -> None:
    """There is no clause that cannot fail."""
    assert unbroken(clauses_of(["clause"], "_check_datagram_transport"), [clause for _, clause, _ in BROKEN]) == []
