"""What every socket type owes that can send: `send`, `send_nowait`, `wait_sendable`, and `send_many` where there is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

import trio
from trio.lowlevel import checkpoint
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from ._clauses import expect_raises, plain_clause, raises
from ._conversation import Call, Clauses, Conversation, Subject, Table, begin

__all__ = ["sending", "sends"]

_TICKS = 10  # after so many, room at the peer has let a message go, or never will


async def _send(socket: Any, message: Any) -> None:
    await socket.send(message)


async def _send_many(socket: Any, message: Any) -> None:
    await socket.send_many([message])


async def _send_nowait(socket: Any, message: Any) -> None:
    socket.send_nowait(message)


_Way = Callable[[Any, Any], Awaitable[None]]


def sends(kind: Any) -> dict[str, _Way]:
    """The ways in which such a socket sends a message and waits for room, by their names."""
    return {"send": _send, **({"send_many": _send_many} if hasattr(kind, "send_many") else {})}


def _all(kind: Any) -> dict[str, _Way]:
    return {**sends(kind), "send_nowait": _send_nowait}


sending = Clauses()
"""The clauses; each opens sockets of its own."""


class _Taken:
    """An iterator that knows how many messages were taken from it."""

    def __init__(self, messages: Iterable[Any]) -> None:
        self.count = 0
        self._messages = iter(messages)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        message = next(self._messages)
        self.count += 1
        return message


def _calls(table: Table, text: bytes) -> dict[str, Callable[[], Awaitable[None]]]:
    """The calls that wait while there is no room."""
    message = table.conversation.message(text)
    return {
        **{name: partial(way, table.socket, message) for name, way in sends(type(table.socket)).items()},
        "wait_sendable": table.socket.wait_sendable,
    }


def _names(subject: Subject, *, full: bool = False) -> list[str]:
    """The names of these calls; of those that wait where it is ``full``."""
    level = not (full and subject.conversation.always_sendable)
    return [*sends(subject.kind), *["wait_sendable"] * level]


@sending("what is sent arrives once and in order, and flush returns when it is written")
async def _in_order(subject: Subject) -> None:
    for name, way in _all(subject.kind).items():
        with plain_clause(name):
            async with subject.sending() as table:
                for text in subject.texts:
                    await way(table.socket, table.conversation.message(text))
                await table.socket.flush()
                await table.check_arrives(*subject.texts)
    if hasattr(subject.kind, "send_many"):
        with plain_clause("send_many of an iterator"):
            async with subject.sending() as table:
                await table.socket.send_many(map(table.conversation.message, subject.texts))
                await table.check_arrives(*subject.texts)


@sending(
    "str and iterators are no messages (TypeError), nor is an empty sequence (ValueError), nor any where a message is one "
    "frame (TypeError); nothing is sent"
)
async def _no_message(subject: Subject) -> None:
    for name, way in _all(subject.kind).items():
        async with subject.sending() as table:
            good = table.conversation.message(b"<good>")
            wrongs: list[tuple[str, Any, type[Exception]]] = [("a str", "text", TypeError), ("a number", 7, TypeError)]
            if type(good) is list:
                head = cast("list[bytes]", good)[:-1]
                wrongs += [
                    ("a str as a frame", [*head, "text"], TypeError),
                    ("an iterator", iter(head), TypeError),
                    ("None as a frame", [*head, None], TypeError),
                    ("an empty list", [], ValueError),
                    ("an empty tuple", (), ValueError),
                ]
            else:
                wrongs += [
                    ("a list of frames", [b"<one>", b"<two>"], TypeError),
                    ("a list of one frame", [b"<one>"], TypeError),
                    ("a tuple", (b"<one>",), TypeError),
                    ("an iterator", iter([b"<one>"]), TypeError),
                    ("None", None, TypeError),
                ]
                if type(good) is not bytes:
                    wrongs.append(("bytes", b"<bytes>", TypeError))
            for what, wrong, error in wrongs:
                with plain_clause(f"{name} of {what}"):
                    await expect_raises(partial(way, table.socket, wrong), error)
            with plain_clause(f"{name} of a good message after wrong ones"):
                await way(table.socket, good)
                await table.check_arrives(b"<good>")


@sending("what is mutable is copied: bytearray, memoryview, and the list itself")
async def _snapshot(subject: Subject) -> None:
    for name, way in _all(subject.kind).items():
        for what in ("a bytearray", "a memoryview", "a list", "a bare bytearray"):
            with plain_clause(f"{name} of {what} that is changed afterwards"):
                async with subject.sending() as table:
                    data = bytearray(b"<before>")
                    message = table.conversation.message(memoryview(data) if what == "a memoryview" else data)
                    if what == "a list":
                        if type(message) is not list:
                            continue
                        message[-1] = b"<before>"
                    elif what == "a bare bytearray":
                        if type(message) is not list or len(cast("list[bytes]", message)) > 1:
                            continue
                        message = data
                    await way(table.socket, message)
                    data[:] = b"<-after>"
                    if what == "a list":
                        frames = cast("list[bytes]", message)
                        frames[-1] = b"<-after>"
                        frames.append(b"<more>")
                    await table.check_arrives(b"<before>")


@sending("each receiver's list is its own, and not the sender's")
async def _own_lists(subject: Subject) -> None:
    async with subject.apart() as table:
        table.socket.bind(subject.endpoint)
        count = 3 if subject.conversation.to_all else 1
        kinds = [
            table.peer,
            *(table.context.socket(subject.peer, **subject.conversation.peer_options) for _ in range(count - 1)),
        ]
        talks = [subject.conversation(table.socket, peer) for peer in kinds]
        for talk in talks:
            talk.peer.connect(subject.endpoint)
            await talk.start()
        await talks[0].before_send()
        given = talks[0].message(b"<text>")
        if type(given) is list:
            given = [*cast("list[bytes]", given), b"<more>"]
        got: list[Any] = []

        async def take(talk: Conversation) -> None:
            got.append(await talk.peer_receives())

        async with trio.open_nursery() as nursery:
            for talk in talks:
                nursery.start_soon(take, talk)
            await wait_all_tasks_blocked()
            try:
                await table.socket.send(given)
            except ValueError:  # the type's messages are shorter
                given = talks[0].message(b"<text>")
                await table.socket.send(given)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(got) == count, f"{len(got)} of {count} peers got it"
        for number, message in enumerate(got):
            if type(message) is not list:
                continue  # what cannot be changed may be shared
            assert message is not given, "a peer got the very list that was sent"
            assert all(message is not other for other in got[:number]), "two peers got one list"


@sending("a call that is cancelled before it is made raises Cancelled, and sends nothing")
async def _cancelled_before(subject: Subject) -> None:
    for name in _names(subject):
        with plain_clause(name):
            async with subject.sending() as table:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await _calls(table, b"<cancelled>")[name]()
                assert scope.cancelled_caught, "it returned: it is no cancel point"
                await table.socket.send(table.conversation.message(b"<after>"))
                await table.check_arrives(b"<after>")
    if hasattr(subject.kind, "send_many"):
        with plain_clause("send_many of an iterator"):
            async with subject.sending() as table:
                given = _Taken([table.conversation.message(b"<cancelled>")])
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await table.socket.send_many(given)
                assert not given.count, "it took from the iterator"


@sending('with checkpoints="every" a call that need not wait to send is a full checkpoint')
async def _checkpoints(subject: Subject) -> None:
    for name in _names(subject):
        with plain_clause(name):
            async with subject.sending(checkpoints="every") as table:
                with assert_checkpoints():
                    await _calls(table, b"<text>")[name]()


def _waiting(text: str) -> Callable[[Callable[[Subject], Awaitable[None]]], Callable[[Subject], Awaitable[None]]]:
    """A clause for types that wait for room."""

    def add(check: Callable[[Subject], Awaitable[None]]) -> Callable[[Subject], Awaitable[None]]:
        async def checked(subject: Subject) -> None:
            if subject.conversation.waits_with is not None:
                await check(subject)

        return sending(text)(checked)

    return add


@_waiting("where there is no room, send_nowait raises WouldBlock and sends nothing")
async def _would_block(subject: Subject) -> None:
    async with subject.full() as table:
        for _ in range(2):
            with raises(trio.WouldBlock):
                table.socket.send_nowait(table.conversation.message(b"<refused>"))
        table.meet()
        await table.check_arrives()


@_waiting("where there is no room, a call waits, and goes on when there is some")
async def _goes_on(subject: Subject) -> None:
    for name in _names(subject, full=True):
        with plain_clause(name):
            async with subject.full() as table, table.calls() as nursery:
                call = await begin(nursery, _calls(table, b"<late>")[name])
                table.meet()
                await table.check_arrives(*[b"<late>"] * (name != "wait_sendable"))
                assert call.done, str(call)
                assert call.error is None, str(call)


@_waiting("a call that is cancelled while it waits for room sends nothing")
async def _cancelled_waiting(subject: Subject) -> None:
    for name in _names(subject, full=True):
        with plain_clause(name):
            async with subject.full() as table, table.calls() as nursery:
                call = await begin(nursery, _calls(table, b"<cancelled>")[name])
                call.scope.cancel()
                await wait_all_tasks_blocked()
                assert call.cancelled, f"cancelled, {call}"
                table.meet()
                await table.check_arrives()
    if hasattr(subject.kind, "send_many"):
        with plain_clause("send_many of an iterator"):
            async with subject.full() as table, table.calls() as nursery:
                given = _Taken([table.conversation.message(b"<cancelled>")])
                call = await begin(nursery, partial(table.socket.send_many, given))
                assert not given.count, "it took from the iterator before there was room"
                call.scope.cancel()


@_waiting("a call that is cancelled about when there is room has sent its message, or nothing")
async def _cancelled_meanwhile(subject: Subject) -> None:
    for name in sends(subject.kind):
        for ticks in range(_TICKS):
            with plain_clause(f"{name}, cancelled {ticks} ticks after the peer began to read"):
                async with subject.full() as table:
                    async with table.calls() as nursery:
                        call = await begin(nursery, _calls(table, b"<mine>")[name])
                        table.meet()
                        nursery.start_soon(table.read)
                        for _ in range(ticks):
                            await checkpoint()
                        call.scope.cancel()
                        await wait_all_tasks_blocked()
                    assert call.error is None, str(call)
                    await table.check_arrives(*[b"<mine>"] * (not call.cancelled))


@_waiting(
    "calls that wait for room are served first come, first served, and none is stranded when another is cancelled"
)
async def _in_line(subject: Subject) -> None:
    if subject.conversation.in_turn:
        return
    async with subject.full() as table, table.calls() as nursery:
        texts = [b"<line %d>" % n for n in range(4)]
        ways = [_send, _send, next(reversed(sends(subject.kind).values())), _send]
        calls: list[Call] = []
        for text, way in zip(texts, ways, strict=True):
            calls.append(await begin(nursery, partial(way, table.socket, table.conversation.message(text))))
        calls[1].scope.cancel()
        await wait_all_tasks_blocked()
        await table.check_arrives(texts[0], *texts[2:])
        for call in calls:
            assert call.done, str(call)
            assert call.error is None, str(call)


@_waiting("wait_sendable takes no room: all who wait for it return, and then there is room")
async def _level(subject: Subject) -> None:
    async with subject.full() as table, table.calls() as nursery:
        if subject.conversation.always_sendable:
            await table.socket.wait_sendable()
            return
        calls = [await begin(nursery, table.socket.wait_sendable) for _ in range(3)]
        calls.pop(1).scope.cancel()
        table.meet()
        await table.check_arrives()
        for call in calls:
            assert call.done, str(call)
            assert call.error is None, str(call)
        for _ in range(2):
            await table.socket.wait_sendable()
        table.socket.send_nowait(table.conversation.message(b"<room>"))
        await table.check_arrives(b"<room>")


@_waiting("flush waits until what was sent is written, and takes no room")
async def _flush(subject: Subject) -> None:
    if subject.conversation.in_turn or subject.transport == "inproc":  # what is sent is where it belongs, at once
        return
    async with subject.full() as table, table.calls() as nursery:
        calls = [await begin(nursery, table.socket.flush) for _ in range(3)]
        calls.pop(1).scope.cancel()
        await table.check_arrives()
        for call in calls:
            assert call.done, str(call)
            assert call.error is None, str(call)


@sending("where send never waits, it does not, nor does wait_sendable, though nobody reads")
async def _never_waits(subject: Subject) -> None:
    if subject.conversation.waits_with is not None:
        return
    async with subject.sending({"send_hwm": 1}, peer_options={"receive_hwm": 1}) as table:
        for n in range(1 if subject.conversation.in_turn else 100):
            await table.socket.wait_sendable()
            await table.socket.send(table.conversation.message(b"<%d>" % n))
