"""What every socket type owes that can receive: `receive` and its kin, `async for`, `wait_receivable`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import trio
from trio.lowlevel import checkpoint
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from .._errors import StateError
from ._clauses import plain_clause, raises
from ._conversation import Call, Clauses, Subject, Table, begin, text_of

__all__ = ["WAITS", "receiving"]

_TICKS = 8  # after so many, what a peer sent has arrived or never will


async def _receive(socket: Any) -> Any:
    return await socket.receive()


async def _receive_many(socket: Any) -> Any:
    got = await socket.receive_many(1)
    assert type(got) is list, f"it gave no list, but {got!r}"
    messages = cast("list[object]", got)
    assert len(messages) == 1, f"receive_many(1) gave {len(messages)} messages"
    return messages[0]


async def _async_for(socket: Any) -> Any:
    async for message in socket:
        return message
    raise AssertionError("it ended by itself")


async def _wait(socket: Any) -> None:
    await socket.wait_receivable()


async def _nowait(socket: Any) -> Any:
    return socket.receive_nowait()


RECEIVES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "receive": _receive,
    "receive_many": _receive_many,
    "async for": _async_for,
}
"""The ways to receive a message, by their names; each waits."""

WAITS: dict[str, Callable[[Any], Awaitable[Any]]] = {**RECEIVES, "wait_receivable": _wait}
"""And the one that waits for a message, and takes none."""

receiving = Clauses()
"""The clauses; each opens sockets of its own."""


async def _check_there(table: Table, *texts: bytes) -> None:
    """These are there for the socket, in order, and nothing else."""
    got: list[bytes] = []
    with raises(trio.WouldBlock, StateError):  # Req and Rep: it is not their turn
        for _ in range(len(texts) + 1):
            got.append(text_of(table.socket.receive_nowait()))  # noqa: PERF401 - some come before it raises
    assert got == list(texts), f"received afterwards: {got}; {list(texts)} had been sent and not been received"


async def _check_comes(table: Table, *texts: bytes) -> None:
    """The peer sends these, and nothing but these can be received."""
    await table.put(*texts)
    await _check_there(table, *texts)


@receiving("what a peer sends is received once and in order, as a list of bytes")
async def _in_order(subject: Subject) -> None:
    for name, take in {**RECEIVES, "receive_nowait": _nowait}.items():
        with plain_clause(name):
            async with subject.receiving(*subject.texts) as table:
                for text in subject.texts:
                    got = text_of(await take(table.socket))
                    assert got == text, f"{got!r}, not {text!r}"
                await _check_there(table)


@receiving("receive_many takes what is there, max at most, and a max of less than 1 is a ValueError")
async def _many(subject: Subject) -> None:
    texts = subject.texts
    async with subject.receiving(*texts) as table:
        for wrong in (0, -1):
            with raises(ValueError):
                await table.socket.receive_many(wrong)
        most = max(1, len(texts) - 2)
        got = [text_of(message) for message in await table.socket.receive_many(most)]
        assert len(got) <= most, f"receive_many({most}) took {len(got)}"
        if len(got) < len(texts):
            got += [text_of(message) for message in await table.socket.receive_many(max=1000)]
        await _check_there(table, *texts[len(got) :])
        assert got == texts[: len(got)], f"it took {got}, not {texts}"


@receiving("where nothing is there, receive_nowait raises WouldBlock, and what comes later is received")
async def _would_block(subject: Subject) -> None:
    async with subject.receiving() as table:
        for _ in range(2):
            with raises(trio.WouldBlock):
                table.socket.receive_nowait()
        await _check_comes(table, *subject.texts)


@receiving("a call that is cancelled before it is made raises Cancelled and takes nothing")
async def _cancelled_before(subject: Subject) -> None:
    for name, take in WAITS.items():
        with plain_clause(name):
            async with subject.receiving(*subject.texts) as table:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await take(table.socket)
                assert scope.cancelled_caught, "it returned: it is no cancel point"
                await _check_there(table, *subject.texts)


@receiving("a call that is cancelled while it waits takes nothing")
async def _cancelled_waiting(subject: Subject) -> None:
    for name, take in WAITS.items():
        with plain_clause(name):
            async with subject.receiving() as table, table.calls() as nursery:
                call = await begin(nursery, partial(take, table.socket))
                call.scope.cancel()
                await wait_all_tasks_blocked()
                assert call.cancelled, f"cancelled, {call}"
                await _check_comes(table, *subject.texts)


@receiving("a call that is cancelled about when its message arrives has it, or the next call has it")
async def _cancelled_meanwhile(subject: Subject) -> None:
    for name, take in RECEIVES.items():
        for ticks in range(_TICKS):
            with plain_clause(f"{name}, cancelled {ticks} ticks after its message was sent"):
                async with subject.receiving() as table, table.calls() as nursery:
                    call = await begin(nursery, partial(take, table.socket))
                    await table.conversation.peer_sends(b"<0>")
                    for _ in range(ticks):
                        await checkpoint()
                    call.scope.cancel()
                    await wait_all_tasks_blocked()
                    if call.cancelled:
                        await _check_there(table, b"<0>")
                    else:
                        assert call.error is None, str(call)
                        assert text_of(call.value) == b"<0>", str(call)
                        await _check_there(table)


@receiving("tasks that wait are served first come, first served, and none is stranded when another is cancelled")
async def _in_line(subject: Subject) -> None:
    if subject.conversation.in_turn:
        return
    for name, take in RECEIVES.items():
        with plain_clause(name):
            async with subject.receiving() as table, table.calls() as nursery:
                calls = [await begin(nursery, partial(take, table.socket)) for _ in range(4)]
                calls.pop(1).scope.cancel()
                for count, text in enumerate([b"<0>", b"<1>", b"<2>"], 1):
                    await table.put(text)
                    states = [
                        str(call) if call.error or not call.done else text_of(call.value) for call in calls[:count]
                    ]
                    assert states == [b"<0>", b"<1>", b"<2>"][:count], f"the first calls of the line: {states}"
                await _check_there(table)


@receiving("a message belongs to those who wait: a later receive_nowait does not overtake them")
async def _no_overtaking(subject: Subject) -> None:
    if subject.conversation.in_turn:
        return
    async with subject.receiving() as table, table.calls() as nursery:
        call = await begin(nursery, table.socket.receive)
        await table.conversation.peer_sends(b"<0>")
        for _ in range(_TICKS):
            with raises(trio.WouldBlock):
                table.socket.receive_nowait()
            await checkpoint()
        await wait_all_tasks_blocked()
        assert call.value is not None, f"the call that was first: {call}"


@receiving(
    "where a socket receives in turn, a second concurrent receive raises BusyResourceError, and the first goes on"
)
async def _busy(subject: Subject) -> None:
    if not subject.conversation.in_turn:
        return
    for name, take in RECEIVES.items():
        with plain_clause(name):
            async with subject.receiving() as table, table.calls() as nursery:
                first = await begin(nursery, table.socket.receive)
                with raises(trio.BusyResourceError):
                    await take(table.socket)
                await table.put(b"<0>")
                assert first.done, str(first)
                assert first.error is None, str(first)
                assert text_of(first.value) == b"<0>", str(first)


@receiving("wait_receivable waits until there is a message, for all who wait, and takes nothing")
async def _level(subject: Subject) -> None:
    async with subject.receiving() as table, table.calls() as nursery:
        calls: list[Call] = [await begin(nursery, table.socket.wait_receivable) for _ in range(3)]
        calls.pop(1).scope.cancel()
        await table.put(b"<0>")
        for call in calls:
            assert call.done, str(call)
            assert call.error is None, str(call)
        for _ in range(2):  # it is a level
            await table.socket.wait_receivable()
        await _check_there(table, b"<0>")
        if not subject.conversation.in_turn:
            await begin(nursery, table.socket.wait_receivable)


@receiving('with checkpoints="every" a call that need not wait to receive is a full checkpoint')
async def _checkpoints(subject: Subject) -> None:
    for name, take in WAITS.items():
        with plain_clause(name):
            async with subject.receiving(b"<0>", checkpoints="every") as table:
                with assert_checkpoints():
                    await take(table.socket)
