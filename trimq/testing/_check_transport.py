"""The contract of transports whose connections are streams (`trimq.abc.StreamTransport`, `Listener`), as a check.

Only what the contracts say is used, so that a check runs over a network as well as in memory. A clause that waits has ten
seconds by trio's clock. What the system keeps (files, descriptors) is the caller's to look after.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio
from trio.lowlevel import Task, current_task
from trio.testing import check_half_closeable_stream, check_two_way_stream, wait_all_tasks_blocked

from .._abc import Listener, StreamTransport
from .._context import open_context
from .._errors import AddressInUse, InvalidEndpoint
from .._options import Settings
from .._sockets._pipeline import Pull, Push
from .._sockets._request_reply import Rep, Req
from ._check_join_transport import converse, exchange
from ._clauses import clause, raises
from ._yielding import yielding

__all__ = ["check_transport"]

_MOST = 200  # moments at which a call is cancelled


async def check_transport(
    make_transport: Callable[[], StreamTransport],
    bind_address: str,
    *,
    wrong_address: str | None = None,
    shared: bool = False,
    settings: Settings | None = None,
) -> None:
    """Checks a transport whose connections are streams, its listeners and its streams.

    A connect may end before its connection is accepted (tcp), or only then (tipc).

    Args:
      make_transport: makes the transport; each clause has one of its own.
      bind_address: where to bind (what stands after ``://``), with a wildcard for what the system chooses. What it is
        resolved to must be free to be bound again once it is closed.
      wrong_address: one that ``check`` refuses, if there is any.
      shared: whether several listeners may be bound to one address; else the second is an AddressInUse.
      settings: for bind and connect; the defaults if None.

    Raises:
      AssertionError: a clause of the contract is broken; the message says which.

    A cancellation closes what the check has opened.
    """
    case = _Case(make_transport, bind_address, settings or Settings())
    await _check_addresses(case, wrong_address, shared=shared)
    await _check_connections(case)
    await _check_streams(case)
    await _check_closing(case)
    await _check_cancelled_accepts(case)
    await _check_cancelled_connects(case)
    with clause("sockets over the transport exchange messages, PUSH to PULL and REQ to REP"):
        transport = make_transport()
        async with open_context(transports=[transport], linger=0) as context:
            pull, push = context.socket(Pull), context.socket(Push)
            rep, req = context.socket(Rep), context.socket(Req)
            endpoint = pull.bind(f"{transport.scheme}://{bind_address}")
            await push.connect(endpoint).ready()
            await exchange(push, pull)
            pull.close()
            push.close()
            endpoint = rep.bind(f"{transport.scheme}://{bind_address}")
            await req.connect(endpoint).ready()
            await converse(req, rep)


class _Case:
    """What the clauses share."""

    def __init__(self, make_transport: Callable[[], StreamTransport], address: str, settings: Settings) -> None:
        self.make = make_transport
        self.address = address
        self.settings = settings

    @asynccontextmanager
    async def bound(self) -> AsyncGenerator[_Place, None]:
        """Something that listens; closed at the end, with all streams."""
        transport = self.make()
        place = _Place(transport, transport.bind(self.address, self.settings), self.settings)
        try:
            yield place
        finally:
            place.listener.close()
            for stream in place.streams:
                with trio.move_on_after(1, shield=True):
                    await trio.aclose_forcefully(stream)


class _Place:
    """A listener, and the streams that came of it."""

    def __init__(self, transport: StreamTransport, listener: Listener, settings: Settings) -> None:
        self.transport = transport
        self.listener = listener
        self.settings = settings
        self.streams: list[trio.abc.Stream] = []
        self.where = listener.address.partition("://")[2]

    async def connect(self) -> trio.abc.Stream:
        """As a dialer does: resolves, and connects."""
        address = self.transport.dial_address(self.where)
        resolved = await self.transport.resolve(address, self.settings)
        stream = await self.transport.connect(address, self.settings, resolved)
        assert isinstance(stream, trio.abc.Stream), f"connect gave no trio stream, but {stream!r}"
        self.streams.append(stream)
        return stream

    async def accept(self) -> trio.abc.Stream:
        """As an acceptor does, without its patience."""
        stream = await self.listener.accept()
        assert isinstance(stream, trio.abc.Stream), f"accept gave no trio stream, but {stream!r}"
        self.streams.append(stream)
        return stream

    async def pair(self) -> tuple[trio.abc.Stream, trio.abc.Stream]:
        """Both ends of a new connection."""
        ends: list[trio.abc.Stream] = []

        async def connect() -> None:
            ends.append(await self.connect())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            theirs = await self.accept()
        return ends[0], theirs


async def _check_addresses(case: _Case, wrong_address: str | None, *, shared: bool) -> None:
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
        with clause(
            "a listener's address is the resolved endpoint, fit to bind, and by way of dial_address to connect to"
        ):
            scheme, _, address = place.listener.address.partition("://")
            assert scheme == place.transport.scheme, f"it is {place.listener.address!r}"
            place.transport.check(address, bind=True)
            place.transport.check(place.transport.dial_address(address), bind=False)
        with clause("to bind what is bound is an AddressInUse, or right if it is shared, and the first listener stays"):
            if shared:
                place.transport.bind(address, case.settings).close()
            else:
                with raises(AddressInUse):
                    place.transport.bind(address, case.settings)
            await place.pair()


async def _check_connections(case: _Case) -> None:
    async with case.bound() as place:
        with clause("connect and accept give both ends of one connection"):
            pairs = [await place.pair() for _ in range(3)]
            for number, (ours, theirs) in enumerate(pairs):  # each has its own
                for one, other in ((ours, theirs), (theirs, ours)):
                    await one.send_all(b"hello %d" % number)
                    assert await _exactly(other, 7) == b"hello %d" % number
            ours, theirs = pairs[-1]
        with clause("peer_address is text, for both ends"):
            for end in (ours, theirs):
                address = place.transport.peer_address(end)
                assert isinstance(address, str), repr(address)
        with clause("a stream that is closed ends at the other side"):
            await theirs.aclose()
            assert await _ended(ours), "more bytes came"
        with clause("one transport binds several addresses, each with its own connections"):
            second = place.transport.bind(case.address, case.settings) if "*" in case.address else None
            if second is not None:
                elsewhere = _Place(place.transport, second, case.settings)
                assert elsewhere.where != place.where, "both have one address"
                ours, theirs = await elsewhere.pair()
                place.streams += [ours, theirs]
                await ours.send_all(b"x")
                assert await theirs.receive_some(1) == b"x"
                second.close()


async def _check_streams(case: _Case) -> None:
    async with case.bound() as place:

        async def pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
            ours, theirs = await place.pair()
            return yielding(ours), yielding(theirs)

        with clause("its streams pass trio's checks of streams"):
            ours, _ = await pair()
            if isinstance(ours, trio.abc.HalfCloseableStream):
                await check_half_closeable_stream(pair, None)  # type: ignore[arg-type]
            else:
                await check_two_way_stream(pair, None)
    async with case.bound() as place:
        with clause("a stream carries 2 MB unaltered, whatever the pieces"):
            ours, theirs = await place.pair()
            data = bytes(range(251)) * 8000
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.send_all, data)
                assert await _exactly(theirs, len(data)) == data, "they are altered"


async def _check_closing(case: _Case) -> None:
    with clause("close wakes accept with ClosedResourceError; a later accept raises it; close is idempotent"):
        async with case.bound() as place:

            async def accept() -> None:
                with raises(trio.ClosedResourceError):
                    await place.accept()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept)
                await wait_all_tasks_blocked()
                place.listener.close()
            await accept()
            place.listener.close()
    with clause("after close the address is free at once, though connections of before are open"):
        async with case.bound() as place:
            _, theirs = await place.pair()
            await theirs.aclose()  # for tcp, the side that closes first keeps the port
            await place.pair()
            place.listener.close()
            again = place.transport.bind(place.where, case.settings)
            again.close()
    with clause("connections outlive their listener"):
        async with case.bound() as place:
            ours, theirs = await place.pair()
            place.listener.close()
            await ours.send_all(b"x")
            assert await theirs.receive_some(1) == b"x"
    with clause("to connect where nobody listens any more is an OSError"):
        async with case.bound() as place:
            place.listener.close()
            with raises(OSError):
                await place.connect()
    with clause("a connection that was in line when its listener closed ends"):
        async with case.bound() as place, trio.open_nursery() as nursery:

            async def connect() -> None:
                with suppress(OSError):  # which is an end, too
                    assert await _ended(await place.connect()), "bytes came"

            nursery.start_soon(connect)
            await wait_all_tasks_blocked()
            place.listener.close()


async def _check_cancelled_connects(case: _Case) -> None:
    moments = 0
    cancelled = True
    while cancelled and moments < _MOST:
        async with case.bound() as place:
            with clause(f"a connect that is cancelled (at its moment {moments}) leaves no connection"):
                accepted: list[trio.abc.Stream] = []
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_accept_into, place, accepted)
                    cancelled = await _cancel_at(moments, place.connect)
                    nursery.cancel_scope.cancel()
                if cancelled:
                    await _check_no_other(place, accepted)
        moments += cancelled
    with clause("connect is a cancel point"):
        assert moments, "cancelled before it was called, it did not raise Cancelled"


async def _check_no_other(place: _Place, accepted: list[trio.abc.Stream]) -> None:
    """Whoever was accepted, or is in line, before the one that connects now must have ended."""

    async def connect() -> None:
        await (await place.connect()).send_all(b"!")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        while (first := await _first_byte(accepted.pop() if accepted else await place.accept())) != b"!":
            assert not first, "another byte came"


async def _check_cancelled_accepts(case: _Case) -> None:
    with clause("an accept that is cancelled took no connection: the next one has it"):
        async with case.bound() as place, trio.open_nursery() as nursery:

            async def connect() -> None:
                await (await place.connect()).send_all(b"x")

            await _check_no_accept(place)
            nursery.start_soon(connect)
            await wait_all_tasks_blocked()
            await _check_no_accept(place)
            theirs = await place.accept()
            assert await theirs.receive_some(1) == b"x"
    with clause("an accept that is cancelled in the tick of a connection has it, or the next one has"):
        for _ in range(10):  # who runs first in a tick is up to trio
            async with case.bound() as place:
                accepted: list[trio.abc.Stream] = []
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_accept_into, place, accepted)
                    await wait_all_tasks_blocked()
                    ours = await place.connect()
                    nursery.cancel_scope.cancel()
                theirs = accepted[0] if accepted else await place.accept()
                await ours.send_all(b"x")
                assert await theirs.receive_some(1) == b"x"


async def _check_no_accept(place: _Place) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await place.accept()
    assert scope.cancelled_caught, "accept is no cancel point"


async def _accept_into(place: _Place, accepted: list[trio.abc.Stream]) -> None:
    accepted.append(await place.accept())


class _After(trio.abc.Instrument):
    """Cancels a task's scope when the task has run its n-th step since."""

    def __init__(self, task: Task, steps: int, scope: trio.CancelScope) -> None:
        self._task = task
        self._steps = steps
        self._scope = scope

    def after_task_step(self, task: Task) -> None:
        if task is self._task:
            self._steps -= 1
            if self._steps == 0:
                self._scope.cancel()


async def _cancel_at(moment: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Makes a call and cancels it after so many steps; whether the cancellation ended it."""
    with trio.CancelScope() as scope:
        if moment == 0:
            scope.cancel()
        instrument = _After(current_task(), moment, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


async def _first_byte(stream: trio.abc.Stream) -> bytes:
    try:
        return bytes(await stream.receive_some(1))
    except trio.BrokenResourceError:
        return b""


async def _ended(stream: trio.abc.Stream) -> bool:
    return not await _first_byte(stream)


async def _exactly(stream: trio.abc.Stream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        assert piece, f"the stream ended after {len(data)} of {count} bytes"
        data += piece
    return bytes(data)
