"""The contract of a socket type (docs: "what trimq promises"), as a check that anyone can run on their own.

Here are its entry and what all sockets owe: options, endpoints, and their end. The verbs are `_check_sending` and
`_check_receiving`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from .._context import open_context
from .._errors import ContextTerminated, IncompatibleProtocol, InvalidEndpoint, ProtocolNotSupported, SocketClosed
from .._sockets._socket import Socket
from ._check_receiving import WAITS, receiving
from ._check_sending import sending, sends
from ._clauses import clause, expect_raises, plain_clause, raises
from ._conversation import Clauses, Conversation, Subject, Table, begin
from ._memory import MemoryTransport

__all__ = ["check_socket_type"]

_ENDPOINTS = ("inproc://check", "tcp://check:1")  # of the latter, a MemoryTransport
_RECEIVE = ("receive", "receive_nowait", "receive_many", "wait_receivable", "__aiter__", "__anext__")
_SEND = ("send", "send_nowait", "wait_sendable")
_SECONDS = 10.0  # of linger


async def check_socket_type(
    kind: type[Socket], peer: type[Socket], conversation: type[Conversation] = Conversation
) -> None:
    """Checks a socket type: that its verbs, its options and its end are as trimq promises, over inproc and in memory.

    Checked is what holds for every type: that a cancelled call did nothing, who is served first, WouldBlock where there is
    nothing or no room, what is no message, what is copied, cancel points, checkpoints, options, SocketClosed and
    ContextTerminated. Whom a message goes to, and what its frames mean, is the type's own. For one like Router::

        class Routing(Conversation):
            peer_options = {"routing_id": b"peer"}
            waits_with = {"mandatory": True}  # it drops, unless it is told to wait

            def message(self, text):
                return [b"peer", text]


        await check_socket_type(MyRouter, trimq.Dealer, Routing)

    Nothing else may run in the trio run meanwhile, since it waits until all tasks are blocked. A clause that waits has ten
    seconds by trio's clock; on the autojump clock, what hangs fails at once.

    Args:
      kind: the socket type.
      peer: a type that talks with it, one that itself keeps its promises.
      conversation: how the two talk, if there is more to it than to send and receive bytes, as with Req, Router or Sub.

    Raises:
      AssertionError: a clause of the contract is broken; the message says which.

    A cancellation closes what the check has opened.
    """
    _check_class(kind)
    subjects = [
        Subject(kind, peer, conversation, endpoint) for endpoint in _ENDPOINTS if await _carries(kind, endpoint)
    ]
    with plain_clause("inproc or tcp carries it"):
        assert subjects, "none of them does"
    if hasattr(kind, "receive"):
        await receiving.check(subjects)
    if hasattr(kind, "send"):
        await sending.check(subjects)
    await _life.check(subjects)


def _check_class(kind: type[Socket]) -> None:
    with plain_clause("it is a subclass of trimq.Socket, and its socket_type is its name on the wire"):
        assert isinstance(kind, type), repr(kind)
        assert issubclass(kind, Socket), repr(kind)
        name = getattr(kind, "socket_type", None)
        assert isinstance(name, str), f"its socket_type is {name!r}"
        assert name.isascii() and name.isupper(), f"its socket_type is {name!r}"  # noqa: PT018
    with plain_clause("who has one way to receive, or to send, has its kin"):
        has = {verb for verb in (*_RECEIVE, *_SEND) if hasattr(kind, verb)}
        for group in (_RECEIVE, _SEND):
            assert has.isdisjoint(group) or has.issuperset(group), f"it lacks {', '.join(sorted({*group} - has))}"
        assert has, "it can do neither"


async def _carries(kind: Any, endpoint: str) -> bool:
    with clause("context.socket makes one"):
        async with open_context(transports=[MemoryTransport()]) as context:
            socket = context.socket(kind)
            try:
                socket.bind(endpoint)
            except IncompatibleProtocol:
                return False
    return True


_life = Clauses()


@_life("a socket belongs to a context: made without, it is a TypeError")
async def _no_context(subject: Subject) -> None:
    with raises(TypeError):
        subject.kind()


def _other(value: Any) -> Any:
    """Another value that the option may have, as far as its present one tells."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return 4 if value == 3 else 3
    return b"other" if isinstance(value, bytes) else value


@_life("an option is what it was set to, a wrong one is refused and changes nothing, an unknown one is a TypeError")
async def _options(subject: Subject) -> None:
    async with subject.apart() as table:
        make: Callable[..., Any] = partial(table.context.socket, subject.kind)
        with raises(TypeError):
            make(no_such_option=1)
        assert make().linger == 0.0, "the context's default of linger is not taken"
        for name in subject.kind._option_names():
            with plain_clause(name):
                socket: Any = make()
                value = getattr(socket, name)
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                for wrong in [object(), *[-1, math.nan, "1"] * number]:
                    with raises(TypeError, ValueError):
                        setattr(socket, name, wrong)
                    assert getattr(socket, name) == value, f"refused, it is {getattr(socket, name)!r}"
                    with raises(TypeError, ValueError):
                        make(**{name: wrong})
                other = _other(value)
                with suppress(ValueError):  # it may depend on other options
                    setattr(socket, name, other)
                    assert getattr(socket, name) == other, f"set to {other!r}, it is {getattr(socket, name)!r}"
                    given = getattr(make(**{name: other}), name)
                    assert given == other, f"made with {other!r}, it is {given!r}"
        for name in ("send_hwm", "receive_hwm"):
            with plain_clause(f"{name}=0"), raises(ValueError):
                make(**{name: 0})


@_life("an endpoint that is none is refused: InvalidEndpoint, ProtocolNotSupported")
async def _endpoints(subject: Subject) -> None:
    async with subject.apart() as table:
        for verb in (table.socket.bind, table.socket.connect):
            with raises(InvalidEndpoint):
                verb("no endpoint")
            with raises(ProtocolNotSupported):
                verb("nobody-knows://a")
        for verb in (table.socket.unbind, table.socket.disconnect):
            with raises(InvalidEndpoint):
                verb(subject.endpoint)
        assert table.socket.endpoints == (), "it has endpoints all the same"


@_life("endpoints and peers are what is bound and connected; wait_for_peers waits for them")
async def _peers(subject: Subject) -> None:
    async with subject.apart() as table, table.calls() as nursery:
        assert table.socket.peers == (), "it has peers before it is bound"
        call = await begin(nursery, table.socket.wait_for_peers)
        table.meet()
        await wait_all_tasks_blocked()
        assert call.done, str(call)
        assert call.error is None, str(call)
        assert len(table.socket.peers) == 1, f"its peers are {table.socket.peers}"
        assert [str(endpoint) for endpoint in table.socket.endpoints] == [subject.endpoint]


@_life("flush, wait_for_peers and aclose are cancel points; a cancelled aclose closes all the same")
async def _cancel_points(subject: Subject) -> None:
    for name in ("flush", "wait_for_peers", "aclose"):
        with plain_clause(name):
            async with subject.met() as table:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await getattr(table.socket, name)()
                assert scope.cancelled_caught, "it returned"
                if name == "aclose":
                    with raises(SocketClosed):
                        table.socket.bind("inproc://other")
            async with subject.met(checkpoints="every") as table:
                with assert_checkpoints():
                    await getattr(table.socket, name)()


# The end

_Opens = Callable[[], AbstractAsyncContextManager[Table]]


class _Pending(NamedTuple):
    """A call that waits, once a table is set for it."""

    name: str
    set_table: _Opens
    make: Callable[[Table], Awaitable[Any]]


def _pending(subject: Subject) -> list[_Pending]:
    async def sends_by(way: Callable[[Any, Any], Awaitable[None]], table: Table) -> None:
        await way(table.socket, table.conversation.message(b"<pending>"))

    async def receives_by(take: Callable[[Any], Awaitable[Any]], table: Table) -> Any:
        return await take(table.socket)

    async def peers(table: Table) -> None:
        await table.socket.wait_for_peers(99)

    async def level(table: Table) -> None:
        await table.socket.wait_sendable()

    calls = [_Pending("wait_for_peers", subject.met, peers)]
    if hasattr(subject.kind, "receive"):
        calls += [_Pending(name, subject.receiving, partial(receives_by, take)) for name, take in WAITS.items()]
    if hasattr(subject.kind, "send") and subject.conversation.waits_with is not None:
        ways = sends(subject.kind).items()
        calls += [_Pending(name, subject.full, partial(sends_by, way)) for name, way in ways]
        if not subject.conversation.always_sendable:
            calls.append(_Pending("wait_sendable", subject.full, level))
    return calls


class _End(NamedTuple):
    """A way in which a socket ends."""

    name: str
    end: Callable[[Table], None]
    error: type[Exception]


def _close(table: Table) -> None:
    table.socket.close()


def _shut_down(table: Table) -> None:
    table.context.shutdown()


_ENDS = (_End("close", _close, SocketClosed), _End("the context's shutdown", _shut_down, ContextTerminated))


@_life("the end of a socket reaches every call that waits: SocketClosed, or ContextTerminated")
async def _end_of_calls(subject: Subject) -> None:
    for call in _pending(subject):
        for end in _ENDS:
            with plain_clause(f"{call.name}, at {end.name}"):
                async with call.set_table() as table, table.calls() as nursery:
                    begun = await begin(nursery, partial(call.make, table))
                    end.end(table)
                    await wait_all_tasks_blocked()
                    assert isinstance(begun.error, end.error), f"{end.error.__name__} was expected, but {begun}"


@_life("a call that is cancelled in the tick of its socket's end raises Cancelled")
async def _cancelled_wins(subject: Subject) -> None:
    for call in _pending(subject):
        for end in _ENDS:
            for end_first in (True, False):
                with plain_clause(f"{call.name}, at {end.name}"):
                    async with call.set_table() as table, table.calls() as nursery:
                        begun = await begin(nursery, partial(call.make, table))
                        if end_first:
                            end.end(table)
                        begun.scope.cancel()
                        if not end_first:
                            end.end(table)
                        await wait_all_tasks_blocked()
                        assert begun.cancelled, f"Cancelled was expected, but {begun}"


def _calls(table: Table) -> dict[str, Callable[[], Awaitable[Any]]]:
    """All calls of a socket."""
    socket, message = table.socket, table.conversation.message(b"<text>")
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "flush": socket.flush,
        "wait_for_peers": socket.wait_for_peers,
        "bind": _plain(socket.bind, "inproc://other"),
        "connect": _plain(socket.connect, "inproc://other"),
    }
    if hasattr(socket, "receive"):
        calls |= {name: partial(take, socket) for name, take in WAITS.items()}
        calls["receive_nowait"] = _plain(socket.receive_nowait)
    if hasattr(socket, "send"):
        calls |= {name: partial(way, socket, message) for name, way in sends(type(socket)).items()}
        calls |= {"wait_sendable": socket.wait_sendable, "send_nowait": _plain(socket.send_nowait, message)}
    return calls


def _plain(call: Callable[..., Any], *args: Any) -> Callable[[], Awaitable[Any]]:
    async def wrapped() -> Any:
        return call(*args)

    return wrapped


@_life("close and aclose are idempotent, and raise nothing, also after the context's end")
async def _idempotent(subject: Subject) -> None:
    for order in (("close", "aclose", "shutdown"), ("aclose", "shutdown", "close"), ("shutdown", "close", "aclose")):
        async with subject.met() as table:
            for what in order:
                if what == "shutdown":
                    table.context.shutdown()
                for _ in range(2):
                    if what == "close":
                        table.socket.close()
                    if what == "aclose":
                        await table.socket.aclose()


@_life("after a socket's end every call raises SocketClosed, or ContextTerminated")
async def _calls_later(subject: Subject) -> None:
    for end in _ENDS:
        async with subject.met() as table:
            end.end(table)
            for name, call in _calls(table).items():
                with plain_clause(f"{name}, after {end.name}"):
                    await expect_raises(call, end.error)
    with plain_clause("after the context's shutdown and then close, which counts"):
        async with subject.met() as table:
            table.context.shutdown()
            table.socket.close()
            await expect_raises(_plain(table.socket.bind, "inproc://other"), SocketClosed)


@_life("leaving a socket's block closes it, and passes on what was raised")
async def _block(subject: Subject) -> None:
    async with subject.met() as table:
        async with table.socket as socket:
            assert socket is table.socket, f"the block is given {socket!r}"
        with raises(SocketClosed):
            socket.bind("inproc://other")
    async with subject.met() as table:
        error = KeyError("the block's own")
        try:
            async with table.socket:
                raise error
        except KeyError as got:
            assert got is error  # noqa: PT017
        else:
            raise AssertionError("what was raised in the block is lost")
        with raises(SocketClosed):
            table.socket.bind("inproc://other")


@_life("close and unbind free the address at once")
async def _address(subject: Subject) -> None:
    for what in ("close", "unbind"):
        with plain_clause(what):
            async with subject.met() as table:
                if what == "close":
                    table.socket.close()
                else:
                    table.socket.unbind(subject.endpoint)
                other = table.context.socket(subject.peer, **subject.conversation.peer_options)
                other.bind(subject.endpoint)


@asynccontextmanager
async def _owing(subject: Subject) -> AsyncGenerator[tuple[Table, list[bytes]], None]:
    """A socket with something to write: as much as it can have."""
    if subject.conversation.waits_with is not None and not subject.conversation.in_turn:
        async with subject.full() as table:
            yield table, []
    else:
        async with subject.sending() as table:
            await table.socket.send(table.conversation.message(b"<last>"))
            yield table, [b"<last>"]


@_life("what was sent before close arrives, while linger lasts")
async def _linger(subject: Subject) -> None:
    if not hasattr(subject.kind, "send"):
        return
    for how in ("close", "aclose"):
        with plain_clause(how):
            async with _owing(subject) as (table, texts):
                table.socket.linger = _SECONDS
                async with trio.open_nursery() as nursery:
                    if how == "close":
                        table.socket.close()
                    else:
                        nursery.start_soon(table.socket.aclose)
                        await wait_all_tasks_blocked()
                    await table.check_arrives(*texts)
