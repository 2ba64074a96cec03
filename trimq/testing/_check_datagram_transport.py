"""The contract of transports without connections (`trimq.abc.DatagramTransport`, `DatagramPort`), as a check.

Only what the contracts say is used, so that a check runs over a network as well as in memory. Datagrams may be lost, so
the clauses send again where they send many; a single one, with nothing else under way, is expected to arrive.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from .._abc_datagrams import DatagramPort, DatagramTransport
from .._address import parse_datagram_peer
from .._context import open_context
from .._errors import AddressInUse, InvalidEndpoint
from .._message import GroupMessage
from .._options import Settings
from .._sockets._dgram import Dgram
from .._sockets._radio_dish import Dish, Radio
from ._clauses import clause, expect_raises, raises

__all__ = ["check_datagram_transport"]

_LARGE = 1_000_000  # bytes, more than a datagram of udp's has
_MANY = 300
_AGAIN = 0.02  # seconds until something that may have been lost is sent again


async def check_datagram_transport(
    make_transport: Callable[[], DatagramTransport],
    bind_address: str,
    *,
    wrong_address: str | None = None,
    settings: Settings | None = None,
) -> None:
    """Checks a transport of datagrams, and its ports.

    Args:
      make_transport: makes the transport; each clause has one of its own.
      bind_address: where to bind (what stands after ``://``), with a wildcard for what the system chooses; not a group,
        which several may bind. What it is resolved to must be free to be bound again once it is closed.
      wrong_address: one that ``check`` refuses, if there is any.
      settings: for bind and connect; the defaults if None.

    Raises:
      AssertionError: a clause of the contract is broken; the message says which.

    A cancellation closes what the check has opened.
    """
    case = _Case(make_transport, bind_address, settings or Settings())
    await _check_addresses(case, wrong_address)
    await _check_datagrams(case)
    await _check_waits(case)
    await _check_closing(case)
    with clause("sockets over the transport exchange messages, RADIO to DISH and DGRAM to DGRAM"):
        transport = make_transport()
        async with open_context(transports=[transport], linger=0) as context:
            await _radiate(context.socket(Radio), context.socket(Dish), f"{transport.scheme}://{bind_address}")
            one, other = context.socket(Dgram), context.socket(Dgram)
            place = one.bind(f"{transport.scheme}://{bind_address}")
            other.bind(f"{transport.scheme}://{bind_address}")
            probe = await transport.connect(transport.dial_address(str(place).partition("://")[2]), case.settings)
            try:
                await _ask(one, other, await _address_of(one, probe))
            finally:
                probe.close()


class _Case:
    """What the clauses share."""

    def __init__(self, make_transport: Callable[[], DatagramTransport], address: str, settings: Settings) -> None:
        self.make = make_transport
        self.address = address
        self.settings = settings

    @asynccontextmanager
    async def bound(self) -> AsyncGenerator[_Place, None]:
        """A port that is bound; closed at the end, with those that were opened."""
        transport = self.make()
        place = _Place(transport, transport.bind(self.address, self.settings), self.settings)
        try:
            yield place
        finally:
            for port in place.ports:
                port.close()


class _Place:
    """A bound port, and those that send there."""

    def __init__(self, transport: DatagramTransport, port: DatagramPort, settings: Settings) -> None:
        self.transport = transport
        self.port = port
        self.settings = settings
        self.ports = [port]
        self.where = port.address.partition("://")[2]

    async def connect(self) -> DatagramPort:
        """As a connector does."""
        port = await self.transport.connect(self.transport.dial_address(self.where), self.settings)
        assert isinstance(port, DatagramPort), f"connect gave no DatagramPort, but {port!r}"
        self.ports.append(port)
        return port

    def bind_again(self) -> DatagramPort:
        """The same place once more."""
        port = self.transport.bind(self.where, self.settings)
        self.ports.append(port)
        return port


async def _send(port: DatagramPort, data: bytes, to: str = "") -> None:
    while not port.send_now(data, to):
        await port.wait_sendable()


async def _receive(port: DatagramPort, max_size: int = 8192) -> tuple[bytes, str]:
    while (received := port.receive_now(max_size)) is None:
        await port.wait_receivable()
    data, sender = received
    assert isinstance(data, bytes), f"a datagram is bytes, not {data!r:.40}"
    return data, sender


async def _check_addresses(case: _Case, wrong_address: str | None) -> None:
    transport = case.make()
    with clause("the scheme is what stands before ://"):
        assert re.fullmatch("[a-z][a-z0-9+.-]*", transport.scheme), repr(transport.scheme)
    with clause("check accepts the address to bind"):
        transport.check(case.address, bind=True)
    if wrong_address is not None:
        for bind in (True, False):
            with clause("check refuses an address that is wrong with InvalidEndpoint"), raises(InvalidEndpoint):
                transport.check(wrong_address, bind=bind)
    async with case.bound() as place:
        with clause("a port's address is the resolved endpoint, with its scheme, fit to connect to and to bind"):
            scheme, _, address = place.port.address.partition("://")
            assert scheme == place.transport.scheme, f"it is {place.port.address!r}"
            for bind in (True, False):
                place.transport.check(address, bind=bind)
            place.transport.check(place.transport.dial_address(address), bind=False)
        with clause("to bind what is bound is an AddressInUse, and the first port stays"):
            with raises(AddressInUse):
                place.bind_again()
            await _send(await place.connect(), b"stays")
            assert (await _receive(place.port))[0] == b"stays"


async def _check_datagrams(case: _Case) -> None:
    async with case.bound() as place:
        with clause("a datagram that was sent to a bound port arrives there, whole, and nothing else does"):
            ours = await place.connect()
            for size in (0, 1, 255, 8192):
                data = (bytes(range(251)) * 33)[:size]
                await _send(ours, data)
                got, sender = await _receive(place.port)
                assert got == data, f"{got!r:.40} of {len(got)} bytes arrived, not {data!r:.40} of {size}"
            assert place.port.receive_now(8192) is None, "there is another one"
        with clause("who sent a datagram is told as host:port, numeric, with brackets around IPv6"):
            parse_datagram_peer(sender.encode())
        with clause("what is sent to who sent a datagram arrives at its port"):
            await _send(place.port, b"answer", sender)
            data, bound = await _receive(ours)
            assert data == b"answer", f"{data!r:.40} arrived"
            await _send(ours, b"again", bound)
            assert (await _receive(place.port))[0] == b"again", "the answer's sender is not who was asked"
        with clause("two ports that send to one are told from each other"):
            other = await place.connect()
            await _send(other, b"other")
            assert (await _receive(place.port))[1] != sender, "both have one address"
        with clause("a datagram larger than wanted comes with more bytes than that"):
            await _send(ours, bytes(200))
            data, _ = await _receive(place.port, 100)
            assert len(data) > 100, f"it was cut to {len(data)}, and looks as if it were right"
        with clause("a datagram that cannot be sent is an OSError, and the next one goes"):
            try:
                ours.send_now(bytes(_LARGE), "")
            except OSError:
                pass  # where it can be, it arrives
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send, ours, b"next")
                while (await _receive(place.port))[0] != b"next":
                    pass
        with clause("of many datagrams none arrives twice, and none that was not sent"):
            await _flood(ours, place.port)
    with clause("one transport binds several addresses, each with its own datagrams"):
        async with case.bound() as place:
            if "*" in case.address:
                elsewhere = _Place(place.transport, place.transport.bind(case.address, case.settings), case.settings)
                place.ports.append(elsewhere.port)
                assert elsewhere.where != place.where, "both have one address"
                ours = await elsewhere.connect()
                place.ports.append(ours)
                await _send(ours, b"there")
                assert (await _receive(elsewhere.port))[0] == b"there"
                assert place.port.receive_now(8192) is None, "it came to the other one"


async def _flood(ours: DatagramPort, theirs: DatagramPort) -> None:
    """Sends faster than what is there may be taken."""
    sent = [b"%d" % n for n in range(_MANY)]
    arrived: list[bytes] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            for data in sent:
                await _send(ours, data)
            while True:
                await _send(ours, b"end")
                await trio.sleep(_AGAIN)

        while (data := (await _receive(theirs))[0]) != b"end":
            arrived.append(data)
        nursery.cancel_scope.cancel()
    assert len(set(arrived)) == len(arrived), "one came twice"
    assert set(arrived) <= set(sent), "one was not sent"


async def _check_waits(case: _Case) -> None:
    async with case.bound() as place:
        with clause("connect is a cancel point"):
            await _cancelled(place.connect)
        ours = await place.connect()
        with clause("wait_receivable waits for a datagram, and takes none"):
            with trio.move_on_after(_AGAIN) as scope:
                await place.port.wait_receivable()
            assert scope.cancelled_caught, "nothing was sent, and it has returned"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(place.port.wait_receivable)
                await wait_all_tasks_blocked()
                await _send(ours, b"one")
            await place.port.wait_receivable()
            assert place.port.receive_now(8192) is not None, "it has returned, and nothing is there"
        with clause("wait_sendable returns where there is room"):
            await ours.wait_sendable()
        with clause("wait_receivable and wait_sendable are cancel points, even where they need not wait"):
            await _send(ours, b"two")
            await place.port.wait_receivable()
            await _cancelled(place.port.wait_receivable)
            await _cancelled(ours.wait_sendable)
            assert place.port.receive_now(8192) is not None, "a cancelled wait took the datagram"


async def _cancelled(call: Callable[[], Awaitable[object]]) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await call()
    assert scope.cancelled_caught, "cancelled before it was called, it did not raise Cancelled"


async def _check_closing(case: _Case) -> None:
    with clause("close wakes who waits with ClosedResourceError; a later wait raises it; close is idempotent"):
        async with case.bound() as place:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_raises, place.port.wait_receivable, trio.ClosedResourceError)
                await wait_all_tasks_blocked()
                place.port.close()
            await expect_raises(place.port.wait_receivable, trio.ClosedResourceError)
            await expect_raises(place.port.wait_sendable, trio.ClosedResourceError)
            place.port.close()
    with clause("after close the address is free at once"):
        async with case.bound() as place:
            ours = await place.connect()
            await _send(ours, b"first")
            await place.port.wait_receivable()
            place.port.close()
            place.bind_again()
    with clause("a port whose datagrams nobody took is heard again when somebody is there"):
        async with case.bound() as place:
            ours = await place.connect()
            place.port.close()
            for _ in range(2):
                try:
                    await _send(ours, b"to nobody")
                    ours.receive_now(8192)
                except OSError:
                    pass  # the system has heard that nobody is there
            again = place.bind_again()
            await _send(ours, b"to somebody")
            assert (await _receive(again))[0] == b"to somebody", "what was sent before it was bound arrived"


async def _radiate(radio: Radio, dish: Dish, endpoint: str) -> None:
    """Messages of some sizes, one way; of another group, none."""
    dish.join("group")
    await radio.connect(dish.bind(endpoint)).ready()
    for size in (0, 1, 254, 255, 8000):
        message = GroupMessage("group", bytes(size))
        await radio.send(GroupMessage("other", bytes(size)))
        await radio.send(message)
        got = await dish.receive()
        assert got == message, f"{got!r:.60} arrived in the place of {message!r:.60}"


async def _address_of(socket: Dgram, probe: DatagramPort) -> str:
    """Where a Dgram is, in numbers, as its answer to the probe has it."""
    await _send(probe, b"question")
    [sender, _] = await socket.receive()
    await socket.send([sender, b"answer"])
    return (await _receive(probe))[1]


async def _ask(one: Dgram, other: Dgram, where: str) -> None:
    """Questions and answers, by who sent what."""
    for question in (b"", b"question", bytes(8000)):
        await other.send([where.encode(), question])
        sender, got = await one.receive()
        assert got == question, f"{got!r:.40} arrived in the place of {question!r:.40}"
        await one.send([sender, b"answer"])
        assert (await other.receive())[1] == b"answer"
