"""Link: one live connection between a stream and two pipes, and what the flusher does with it.

Over a stream that takes what the test lets it take and gives what the test gives it, over one that is not `Direct`, and
over real sockets.
"""

from __future__ import annotations

import errno
import math
import random
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from wire.helpers import G, R, command, connection, frame, greeting

import trimq
from trimq._abc import Direct
from trimq._errors import ProtocolError
from trimq._flusher import Flusher
from trimq._heart import Heart
from trimq._link import Link
from trimq._message import Subscription
from trimq._options import Settings
from trimq._pace import Pace
from trimq._pipe import Pipe
from trimq._remote import Remote
from trimq._transports._system import SystemStream

ALL = 1 << 40
PING = command(b"PING", b"\0\0context")
PONG = command(b"PONG", b"context")
OURS = command(b"PING", b"\0\0")


def broken(number: int = errno.EPIPE) -> OSError:
    """What the system says of a connection that is lost."""
    return OSError(number, "lost")


class Taker(trio.abc.HalfCloseableStream, Direct):
    """A direct stream. It writes up to ``takes`` bytes in a call as long as it has ``room``, or raises.

    Attributes:
      written: all that was.
      calls: how many bytes each write took.
      asked: how many bytes each read wanted.
      ended: send_eof was called.
    """

    def __init__(self, takes: int = ALL, room: float = ALL) -> None:
        self.takes = takes
        self.room = room
        self.error: OSError | None = None
        self.written = bytearray()
        self.calls: list[int] = []
        self.asked: list[int] = []
        self.ended = False
        self._roomy = trio.Event()
        self._come: list[bytes | OSError] = []
        self._news = trio.Event()

    def give(self, *data: bytes | OSError) -> None:
        """The peer sends this; ``b""`` is its end."""
        self._come += data
        self._news.set()

    def give_room(self, room: float = ALL) -> None:
        """The peer reads."""
        self.room += room
        self._roomy.set()
        self._roomy = trio.Event()

    def lose(self, error: OSError) -> None:
        """From now on nothing can be written."""
        self.error = error
        self.give_room()

    def send_now(self, buffers: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
        if self.error is not None:
            raise self.error
        data = b"".join(buffers)
        size = int(min(self.takes, self.room, len(data)))
        self.room -= size
        self.written += data[:size]
        self.calls.append(size)
        return [memoryview(data)[size:]] if size < len(data) else []

    async def send_buffers(self, buffers: Sequence[bytes | memoryview]) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while buffers := self.send_now(buffers):
            if self.room > 0:
                await trio.lowlevel.checkpoint()
            else:
                await self._roomy.wait()

    async def receive_now(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        self.asked.append(max_bytes)
        while not self._come:
            self._news = trio.Event()
            await self._news.wait()
        data = self._come.pop(0)
        if isinstance(data, OSError):
            raise data
        if len(data) > max_bytes:
            self._come.insert(0, data[max_bytes:])
        return data[:max_bytes]

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return await self.receive_now(max_bytes or 65536)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.send_buffers([memoryview(data)])

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self.ended = True

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Case:
    """A link past its handshake, its pipes, and what became of it.

    ``hands`` is the peer's side of the handshake; without it nothing is known of the peer.
    """

    def __init__(self, stream: trio.abc.Stream, flusher: Flusher, outbox: Pipe | None = None, **kwargs: Any) -> None:
        self.stream: Any = stream
        self.flusher = flusher
        self.inbox = Pipe(kwargs.pop("receive_hwm", 1000))
        self.outbox = Pipe(1000) if outbox is None else outbox
        heart = kwargs.pop("heart", None) or Heart(lambda service: None)
        hands = kwargs.pop("hands", b"")
        wire = connection(**kwargs)
        if hands:
            wire.begin()
            wire.handshake_untrusted(hands)
        self.link = Link(stream, wire, flusher, heart, Settings(heartbeat_interval=math.inf))
        self.scope = trio.CancelScope()
        self.outcome: Any = "still running"

    async def run(self) -> None:
        with self.scope:
            self.outcome = await self.link.run(self.inbox, self.outbox)

    def put(self, *items: Any, fresh: bool = False) -> None:
        """A call puts these; fresh, it has just waited."""
        for item in items:
            self.flusher.pace.fresh = fresh
            self.outbox.put(item)
        self.flusher.pace.fresh = False

    @property
    def received(self) -> list[Any]:
        return list(self.inbox.queue)


@pytest.fixture
def pace() -> Pace:
    return Pace()


@pytest.fixture
def flusher(pace: Pace) -> Flusher:
    return Flusher(pace)


@asynccontextmanager
async def linked(
    flusher: Flusher, stream: trio.abc.Stream | None = None, *, flushes: bool = True, **kwargs: Any
) -> AsyncIterator[Case]:
    """A link that runs, with a writer that is parked."""
    async with trio.open_nursery() as nursery:
        case = Case(stream or Taker(), flusher, **kwargs)
        if flushes:
            nursery.start_soon(flusher.run)
        nursery.start_soon(case.run)
        await wait_all_tasks_blocked()
        yield case
        nursery.cancel_scope.cancel()


# when it writes


async def test_a_call_that_has_just_waited_writes_at_once(flusher: Flusher) -> None:
    """In the call of put: no yield on the way; one write; and only the first message, the call may have more."""
    async with linked(flusher) as case:
        flusher.pace.fresh = True
        case.outbox.put(b"one")
        assert case.stream.written == frame(b"one")
        assert (len(case.outbox), case.outbox.passed) == (0, 1)
        case.outbox.put(b"two")
        case.outbox.put(b"three")
        assert case.stream.written == frame(b"one")
        await wait_all_tasks_blocked()
        assert case.stream.written == frame(b"one") + frame(b"two") + frame(b"three")
        assert len(case.stream.calls) == 2


async def test_what_waits_is_written_together(flusher: Flusher) -> None:
    """By the flusher, in one write, in order; a call that comes fresh then does not overtake it."""
    async with linked(flusher) as case:
        case.put(b"a", [b"b", b"c"])
        case.put(b"d", fresh=True)
        assert case.stream.written == b""
        await wait_all_tasks_blocked()
        assert case.stream.written == frame(b"a") + frame(b"b", 1) + frame(b"c") + frame(b"d")
        assert len(case.stream.calls) == 1


async def test_a_long_queue_goes_in_batches(flusher: Flusher) -> None:
    """Nothing lost, doubled or out of order; each batch is dealt with when it is written, and says so."""
    passed: list[int] = []
    async with linked(flusher) as case:
        case.outbox.on_passed = lambda: passed.append(case.outbox.passed)
        case.put(*[b"%d" % number for number in range(5000)])
        await wait_all_tasks_blocked()
        assert case.stream.written == b"".join(frame(b"%d" % number) for number in range(5000))
        assert passed[-1] == 5000
        assert 5 < len(passed) < 20


async def test_how_much_waits(flusher: Flusher) -> None:
    """`much`: a batch; never for a link whose writer has not parked yet."""
    early = Case(Taker(), flusher)
    early.put(*[b""] * 1000)
    assert not early.link.much()
    async with linked(flusher, flushes=False) as case:
        case.put(*[b""] * 63)
        assert not case.link.much()
        case.put(b"")
        assert case.link.much()


@pytest.mark.parametrize("takes", [1, 2, 7, 100, 10_000])
@pytest.mark.parametrize("fresh", [False, True])
async def test_a_stream_that_takes_little_at_a_time(flusher: Flusher, takes: int, fresh: bool) -> None:
    """However the writes fall: all of it, in order, once; a batch counts as queued until its last byte is written."""
    items: list[Any] = [b"a" * 60, [b"id", b"", b"b" * 300], b"", Subscription(b"t", True), b"c" * 5000] * 3
    expected = (
        frame(b"a" * 60)
        + (frame(b"id", 1) + frame(b"", 1) + frame(b"b" * 300))
        + (frame(b"") + command(b"SUBSCRIBE", b"t") + frame(b"c" * 5000))
    ) * 3
    async with linked(flusher, Taker(takes)) as case:
        states: list[tuple[int, int]] = []
        case.outbox.on_passed = lambda: states.append((case.outbox.passed, len(case.stream.written)))
        for item in items:
            case.put(item, fresh=fresh)
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        assert case.stream.written == expected
        assert (len(case.outbox), case.outbox.passed) == (0, len(items))
        ends = [0]
        for _ in range(3):
            for size in (62, 315, 2, 13, 5009):
                ends.append(ends[-1] + size)
        assert all(ends[count] == written for count, written in states)


async def test_what_is_put_while_the_rest_is_written(flusher: Flusher) -> None:
    """It waits behind the half that is on its way, and counts beside it."""
    async with linked(flusher, Taker(room=5)) as case:
        case.put(b"a" * 10, fresh=True)
        assert case.stream.written == b"\0\x0aaaa"
        assert (case.outbox.held, case.outbox.passed) == (1, 0)
        case.put(b"b", fresh=True)
        await wait_all_tasks_blocked()
        case.put(b"c", fresh=True)
        await wait_all_tasks_blocked()
        assert (len(case.outbox), case.outbox.held) == (3, 1)
        case.stream.give_room()
        await wait_all_tasks_blocked()
        assert case.stream.written == frame(b"a" * 10) + frame(b"b") + frame(b"c")
        assert case.outbox.passed == 3
        # And it writes directly again.
        case.put(b"d", fresh=True)
        assert case.stream.written.endswith(frame(b"d"))


async def test_who_waits_for_room_is_called_once_it_is_there(flusher: Flusher) -> None:
    """Also in the very call that put something; what they put then goes out as well."""
    async with linked(flusher, outbox=Pipe(2)) as case:
        outbox = case.outbox
        more = [b"c", b"d"]

        def roomy() -> None:
            while more and outbox.room > 0:
                outbox.put(more.pop(0))

        outbox.on_writable = roomy
        case.put(b"a", b"b")
        assert outbox.room == 0
        outbox.writer_waits = True
        await wait_all_tasks_blocked()
        assert case.stream.written == b"".join(map(frame, [b"a", b"b", b"c", b"d"]))


async def test_put_first(flusher: Flusher) -> None:
    """A probe, or a message of welcome, goes before what waits; alone it wakes the link as well."""
    async with linked(flusher) as case:
        case.outbox.put_first(b"alone")
        await wait_all_tasks_blocked()
        case.put(b"1", b"2")
        case.outbox.put_first(b"probe")
        await wait_all_tasks_blocked()
        assert case.stream.written == b"".join(map(frame, [b"alone", b"probe", b"1", b"2"]))


@pytest.mark.parametrize("waits", [[], [b"queued"]])
@pytest.mark.parametrize("fresh", [False, True])
async def test_pong_while_the_writer_is_parked(flusher: Flusher, waits: list[bytes], fresh: bool) -> None:
    """RFC 37: a PING is answered whatever else there is to write, and whoever has just waited."""
    async with linked(flusher) as case:
        case.put(*waits)
        flusher.pace.fresh = fresh
        case.stream.give(PING + frame(b"message"))
        await wait_all_tasks_blocked()
        assert sorted([bytes(case.stream.written)]) in (
            [PONG + b"".join(map(frame, waits))],
            [b"".join(map(frame, waits)) + PONG],
        )
        assert case.received == [b"message"]
        case.put(b"later", fresh=True)
        assert case.stream.written.endswith(frame(b"later"))


async def test_pong_while_a_half_is_written(flusher: Flusher) -> None:
    """Between messages, not in one."""
    async with linked(flusher, Taker(room=5)) as case:
        case.put(b"a" * 10, fresh=True)
        case.stream.give(PING, PING)
        await wait_all_tasks_blocked()
        case.put(b"b")
        case.stream.give_room()
        await wait_all_tasks_blocked()
        assert case.stream.written == frame(b"a" * 10) + PONG + frame(b"b")


# PINGs, and what they tell. When they go out: tests/test_heart.py.


async def test_ping_between_messages(flusher: Flusher) -> None:
    """Whatever the writer does; one that waits is enough; and with a PONG in the order in which they were made."""
    async with linked(flusher, Taker(room=5)) as case:
        case.put(b"a" * 10, fresh=True)
        case.link.ping()
        case.stream.give(command(b"PING", b"\0\0one"), command(b"PING", b"\0\0two"))
        await wait_all_tasks_blocked()
        case.link.ping()
        case.put(b"b")
        case.stream.give_room()
        await wait_all_tasks_blocked()
        assert case.stream.written == frame(b"a" * 10) + OURS + command(b"PONG", b"two") + frame(b"b")
        case.link.ping()
        await wait_all_tasks_blocked()
        assert case.stream.written.endswith(frame(b"b") + OURS)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("direct", [True, False])
async def test_ping_while_the_writer_is_parked(flusher: Flusher, direct: bool, fresh: bool) -> None:
    """Whoever has just waited; messages go on as before it."""
    ours, theirs = memory_stream_pair()
    async with linked(flusher, Taker() if direct else ours) as case:
        flusher.pace.fresh = fresh
        case.link.ping()
        case.put(b"later", fresh=True)
        await wait_all_tasks_blocked()
        written = case.stream.written if direct else await theirs.receive_some(100)
        assert written in (OURS + frame(b"later"), frame(b"later") + OURS)


@pytest.mark.parametrize("room", [5, ALL])
async def test_expire(flusher: Flusher, room: int) -> None:
    """Promise 1: what is being written is in doubt, what waits stays queued; the cause is what was given."""
    async with linked(flusher, Taker(room=room)) as case:
        case.put(b"a" * 10, fresh=True)
        case.put(b"b")
        error = TimeoutError("gone")
        case.link.expire(error)
        await wait_all_tasks_blocked()
        assert case.outcome is error
        assert (case.outbox.held, list(case.outbox.queue)) == ((1, [b"b"]) if room == 5 else (0, [b"b"]))


async def test_expire_after_a_write_that_failed(flusher: Flusher) -> None:
    """The first failure is the cause."""
    async with linked(flusher) as case:
        case.stream.error = broken()
        case.put(b"in doubt", fresh=True)
        await wait_all_tasks_blocked()
        case.link.expire(TimeoutError("gone"))
        await wait_all_tasks_blocked()
        assert case.outcome is case.stream.error


# confirm


class Asking:
    """A call of `Link.confirm`, and what became of it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.scope = trio.CancelScope()
        self.outcome: Any = "waits"

    async def run(self) -> None:
        with self.scope:
            self.outcome = await self.case.link.confirm()


@asynccontextmanager
async def asking(case: Case, calls: int = 1) -> AsyncIterator[list[Asking]]:
    """So many calls, begun one after the other."""
    async with trio.open_nursery() as nursery:
        made = [Asking(case) for _ in range(calls)]
        for one in made:
            nursery.start_soon(one.run)
            await wait_all_tasks_blocked()
        yield made
        nursery.cancel_scope.cancel()


def asked(number: int) -> bytes:
    """The n-th PING of a link that asks for an answer of its own."""
    return command(b"PING", b"\0\0" + number.to_bytes(8, "big"))


def answer(number: int) -> bytes:
    """The PONG to that."""
    return command(b"PONG", number.to_bytes(8, "big"))


async def test_confirm(flusher: Flusher) -> None:
    """A PING of its own, at most 16 bytes of context (RFC 37); only the PONG to it counts."""
    async with linked(flusher, hands=G + R) as case, asking(case) as [call]:
        assert case.stream.written == asked(1)
        case.link.ping()
        case.stream.give(PONG + command(b"PONG") + answer(2) + answer(1)[:-1])
        await wait_all_tasks_blocked()
        assert call.outcome == "waits"
        case.stream.give(answer(1)[-1:])
        await wait_all_tasks_blocked()
        assert call.outcome is True


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
async def test_confirm_comes_behind_what_is_queued(flusher: Flusher, direct: bool, fresh: bool) -> None:
    """All that waited at the call is written before the PING; what comes later may be, too."""
    ours, theirs = memory_stream_pair()
    async with linked(flusher, Taker() if direct else ours, hands=G + R) as case:
        passed: list[int] = []
        case.outbox.on_passed = hook = lambda: passed.append(case.outbox.passed)
        messages = [b"%d" % number for number in range(700)]
        case.put(*messages, fresh=fresh)
        async with asking(case) as [call]:
            written = bytes(case.stream.written if direct else await theirs.receive_some(1 << 20))
            assert written == b"".join(map(frame, messages)) + asked(1)
            assert passed[-1] == 700
            assert case.outbox.on_passed is hook
            if direct:
                case.stream.give(answer(1))
            else:
                await theirs.send_all(answer(1))
            await wait_all_tasks_blocked()
            assert call.outcome is True
        case.put(b"later", fresh=True)
        await wait_all_tasks_blocked()
        assert passed[-1] == 701


async def test_confirm_waits_for_what_is_half_written(flusher: Flusher) -> None:
    """What counts as queued is not written yet."""
    async with linked(flusher, Taker(room=5), hands=G + R) as case:
        case.put(b"a" * 10, fresh=True)
        async with asking(case) as [call]:
            case.put(b"b")
            case.stream.give(answer(1))
            await wait_all_tasks_blocked()
            assert call.outcome == "waits"
            case.stream.give_room()
            await wait_all_tasks_blocked()
            assert case.stream.written in (
                frame(b"a" * 10) + asked(1) + frame(b"b"),
                frame(b"a" * 10) + frame(b"b") + asked(1),
            )
            case.stream.give(answer(1))
            await wait_all_tasks_blocked()
            assert call.outcome is True


async def test_several_confirm(flusher: Flusher) -> None:
    """Each has a PING and an answer of its own; one that is cancelled takes nothing from the others."""
    async with linked(flusher, Taker(room=0), hands=G + R) as case:
        case.put(b"a")
        async with asking(case, 4) as calls:
            calls[1].scope.cancel()
            await wait_all_tasks_blocked()
            case.stream.give_room()
            await wait_all_tasks_blocked()
            assert case.stream.written == frame(b"a") + asked(1) + asked(2) + asked(3)
            calls[2].scope.cancel()
            await wait_all_tasks_blocked()
            confirmed = 0
            for number in (3, 1, 2):  # which of them is whose, is left to chance
                case.stream.give(answer(number))
                await wait_all_tasks_blocked()
                before, confirmed = confirmed, [call.outcome for call in calls].count(True)
                assert confirmed - before in (0, 1)
            assert [call.outcome for call in calls] == [True, "waits", "waits", True]


async def test_all_that_wait_to_ask_are_cancelled(flusher: Flusher) -> None:
    """No trace: no PING goes out, and the outbox tells whom it told before."""
    async with linked(flusher, Taker(room=0), hands=G + R) as case:
        hook = case.outbox.on_passed
        case.put(b"a")
        async with asking(case, 2) as calls:
            for call in calls:
                call.scope.cancel()
            await wait_all_tasks_blocked()
            case.stream.give_room()
            await wait_all_tasks_blocked()
            assert case.stream.written == frame(b"a")
            assert case.outbox.on_passed is hook


async def test_an_answer_in_the_tick_of_a_cancellation(flusher: Flusher) -> None:
    """Promise 1: a call that was handed its result returns it."""
    async with linked(flusher, hands=G + R) as case, asking(case) as [call]:
        assert case.link._wire.on_pong is not None
        case.link._wire.on_pong((1).to_bytes(8, "big"))
        call.scope.cancel()
        await wait_all_tasks_blocked()
        assert call.outcome is True


@pytest.mark.parametrize("room", [0, ALL])
@pytest.mark.parametrize("how", ["the peer closes", "expires", "cancelled", "in the tick in which it is written"])
async def test_a_connection_that_ends_confirms_nothing(flusher: Flusher, how: str, room: int) -> None:
    """False, whatever the call was waiting for; and the outbox, which outlives the link, is as before."""
    async with linked(flusher, Taker(room=room), hands=G + R) as case:
        hook = case.outbox.on_passed
        case.put(b"a", fresh=True)
        async with asking(case) as [call]:
            if how == "the peer closes":
                case.stream.give(b"")
            elif how == "expires":
                case.link.expire(TimeoutError("gone"))
            elif how == "cancelled":
                case.scope.cancel()
            else:
                case.outbox.taken()
                case.scope.cancel()
            await wait_all_tasks_blocked()
            assert call.outcome is False
            assert case.outbox.on_passed is hook
            assert await case.link.confirm() is False


@pytest.mark.parametrize("hands", [greeting(minor=0) + R, b""], ids=["ZMTP 3.0", "no handshake"])
async def test_nobody_to_confirm(flusher: Flusher, hands: bytes) -> None:
    """A peer without PING is not asked."""
    async with linked(flusher, hands=hands) as case:
        assert await case.link.confirm() is False
        await wait_all_tasks_blocked()
        assert case.stream.written == b""
    early = Case(Taker(), flusher, hands=G + R)
    assert await early.link.confirm() is False


async def test_confirm_is_a_cancel_point(flusher: Flusher) -> None:
    """Promise 5, and nothing is sent."""
    async with linked(flusher, hands=G + R) as case:
        with trio.CancelScope() as scope:
            scope.cancel()
            await case.link.confirm()
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert case.stream.written == b""


# how it ends


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET])
@pytest.mark.parametrize("fresh", [True, False])
async def test_a_write_that_fails(flusher: Flusher, number: int, fresh: bool) -> None:
    """Nobody's call raises. What was in the write stays held, in doubt; what came before is still read; later messages
    only wait, for another connection.
    """
    async with linked(flusher) as case:
        case.stream.error = broken(number)
        case.put(b"in doubt", fresh=fresh)
        await wait_all_tasks_blocked()
        assert (case.outbox.held, len(case.outbox.queue)) == (1, 0)
        case.put(b"later", fresh=True)
        case.stream.give(frame(b"sent before"))
        await wait_all_tasks_blocked()
        assert (case.outbox.held, list(case.outbox.queue)) == (1, [b"later"])
        assert case.received == [b"sent before"]
        assert case.outcome == "still running"
        case.stream.give(b"")
        await wait_all_tasks_blocked()
        assert case.outcome is case.stream.error
        assert case.outbox.held == 1


async def test_a_write_that_fails_half_way(flusher: Flusher) -> None:
    """The same for what the writer does with the rest."""
    async with linked(flusher, Taker(room=5)) as case:
        case.put(b"a" * 10, fresh=True)
        case.put(b"b")
        await wait_all_tasks_blocked()
        case.stream.lose(broken())
        case.stream.give(broken(errno.ECONNRESET))
        await wait_all_tasks_blocked()
        assert isinstance(case.outcome, OSError)
        assert (case.outbox.held, list(case.outbox.queue)) == (1, [b"b"])


@pytest.mark.parametrize("when", ["in the tick", "while the rest waits", "before the flusher ran"])
async def test_cancelled(flusher: Flusher, when: str) -> None:
    """What may have been written is held; the rest of it is never written, not even by a flusher that comes later."""
    async with linked(flusher, Taker(room=5), flushes=when != "before the flusher ran") as case:
        case.put(b"a" * 10, fresh=when != "before the flusher ran")
        if when == "while the rest waits":
            await wait_all_tasks_blocked()
        case.put(b"b")
        case.scope.cancel()
        await wait_all_tasks_blocked()
        assert case.outcome == "still running"
        assert case.scope.cancelled_caught
        before = bytes(case.stream.written)
        case.stream.give_room()
        case.put(b"c", fresh=True)
        case.link.flush()
        await wait_all_tasks_blocked()
        assert case.stream.written == before
        held = 0 if when == "before the flusher ran" else 1
        assert case.outbox.held == held
        assert list(case.outbox.queue) == [b"a" * 10, b"b", b"c"][held:]


async def test_a_link_that_ends_in_the_flushers_list(flusher: Flusher) -> None:
    """Its messages are the next link's: none lost, none written twice; the old link's place in the list does no harm."""
    async with linked(flusher, flushes=False) as case:
        case.put(*[b"%d" % number for number in range(300)])
        case.stream.give(b"")
        await wait_all_tasks_blocked()
        assert isinstance(case.outcome, ConnectionResetError)
        assert case.stream.written == b""
        async with linked(flusher, outbox=case.outbox) as second:
            second.put(b"last")
            await wait_all_tasks_blocked()
            assert second.stream.written == b"".join(frame(b"%d" % number) for number in range(300)) + frame(b"last")
        assert case.stream.written == b""


@pytest.mark.parametrize("received", [False, True])
@pytest.mark.parametrize("waits", [[], [b"one", b"two"]])
async def test_an_outbox_that_ends(flusher: Flusher, waits: list[bytes], received: bool) -> None:
    """All that waits, in the flusher's list or not, is written; then the peer is told, and has the last word."""
    async with linked(flusher) as case:
        if received:
            case.stream.give(frame(b"hello"))
            await wait_all_tasks_blocked()
        case.put(*waits)
        case.outbox.end()
        await wait_all_tasks_blocked()
        assert case.stream.written == b"".join(map(frame, waits))
        assert case.stream.ended is received
        if received:
            case.stream.give(frame(b"discarded"), b"")
            await wait_all_tasks_blocked()
            assert case.received == [b"hello"]
        assert case.outcome is None


async def test_an_outbox_that_ends_while_the_rest_waits(flusher: Flusher) -> None:
    """Not before that is written."""
    async with linked(flusher, Taker(room=5)) as case:
        case.put(b"a" * 10, fresh=True)
        case.outbox.end()
        await wait_all_tasks_blocked()
        assert case.outcome == "still running"
        case.stream.give_room()
        await wait_all_tasks_blocked()
        assert case.stream.written == frame(b"a" * 10)
        assert case.outcome is None


async def test_a_peer_that_breaks_the_protocol(flusher: Flusher) -> None:
    """What was complete before is delivered first; whatever waits to be written stays queued."""
    async with linked(flusher, Taker(room=0)) as case:
        case.put(b"in doubt", fresh=True)
        case.put(b"waits")
        case.stream.give(frame(b"fine") * 3 + b"\xf0\0")
        await wait_all_tasks_blocked()
        assert isinstance(case.outcome, ProtocolError)
        assert "reserved flags" in str(case.outcome)
        assert case.received == [b"fine"] * 3
        assert (case.outbox.held, list(case.outbox.queue)) == (1, [b"waits"])


def test_control_c_in_a_direct_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Design 2: every public method that changes state is protected; `subscribe` writes directly."""
    trio.run(_control_c_in_a_direct_write, monkeypatch)


async def _control_c_in_a_direct_write(monkeypatch: pytest.MonkeyPatch) -> None:
    hit = False
    async with trimq.open_context(linger=0.0) as context:
        publisher, subscriber = context.socket(trimq.XPub), context.socket(trimq.Sub)
        await subscriber.connect(publisher.bind("tcp://127.0.0.1:*")).ready()
        await publisher.wait_for_peers()
        send_now = SystemStream.send_now

        def interrupted(self: SystemStream, buffers: Any) -> Any:
            nonlocal hit
            if not hit:
                hit = True
                signal.raise_signal(signal.SIGINT)
            return send_now(self, buffers)

        await wait_all_tasks_blocked(0.01)  # the writer has nothing to do
        monkeypatch.setattr(SystemStream, "send_now", interrupted)
        subscriber._pace.fresh = True
        with pytest.raises(KeyboardInterrupt):
            subscriber.subscribe(b"first")
            await trio.sleep(1)
        assert hit
        subscriber.subscribe(b"second")
        with trio.fail_after(1):
            assert await publisher.receive() == [b"\1first"]
            assert await publisher.receive() == [b"\1second"]


# reading


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """These bytes in pieces."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


SIZES = [0, 5, 255, 256, 8 * 1024, 32 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("direct", [True, False])
async def test_frames_of_all_sizes(flusher: Flusher, seed: int, direct: bool) -> None:
    """Large and small ones in any order, in one message too, cut anywhere, read by a reader that is slow: as sent."""
    rng = random.Random(seed)

    def body() -> bytes:
        size = max(0, rng.choice(SIZES[: 4 if rng.random() < 0.7 else 9]) + rng.randint(-10, 10))
        return rng.randbytes(8).ljust(size, b".")[:size]

    sent = [[body() for _ in range(rng.choice([1, 1, 1, 2, 5]))] for _ in range(40)]
    data = b"".join(frame(part, int(n < len(parts) - 1)) for parts in sent for n, part in enumerate(parts))
    pieces = cut(data, [rng.randrange(len(data)) for _ in range(rng.choice([0, 3, 200]))])
    ours, theirs = memory_stream_pair()
    stream = Taker() if direct else ours
    received: list[Any] = []
    async with linked(flusher, stream, receive_hwm=rng.choice([1, 2, 1000])) as case:
        if isinstance(stream, Taker):
            stream.give(*pieces)
        else:
            for piece in pieces:
                await theirs.send_all(piece)
        while len(received) < len(sent):
            await wait_all_tasks_blocked()
            assert case.inbox.queue
            assert len(case.inbox) <= case.inbox.hwm
            received += case.inbox.queue
            case.inbox.queue.clear()
            if case.inbox.writer_waits:
                case.inbox.opened()
    assert received == [parts[0] if len(parts) == 1 else parts for parts in sent]


async def test_a_large_frame_is_read_alone(flusher: Flusher) -> None:
    """Rules of speed: what it lacks and nothing else, so that the piece is the frame and need not be cut out."""
    async with linked(flusher) as case:
        case.stream.give(frame(b"l" * 100_000)[:9])
        await wait_all_tasks_blocked()
        assert case.stream.asked[-1] == 100_000
        piece = b"l" * 100_000
        case.stream.give(piece)
        await wait_all_tasks_blocked()
        assert case.received[0] is piece
        # And after it the header of another, which is as good; or small messages, which are soon read as before.
        case.stream.give(frame(piece)[:9], piece)
        await wait_all_tasks_blocked()
        assert case.received[1] is piece
        case.stream.give(frame(b"small") * 10)
        await wait_all_tasks_blocked()
        assert case.stream.asked[-1] > 1000
        assert case.received[2:] == [b"small"] * 10


async def test_a_peer_that_trickles(flusher: Flusher) -> None:
    """Byte by byte, headers too."""
    sent = [b"x" * 300, b"", b"l" * 40_000, b"end"]
    data = b"".join(map(frame, sent))
    async with linked(flusher) as case:
        case.stream.give(*[data[n : n + 1] for n in range(len(data))])
        await wait_all_tasks_blocked()
        assert case.received == sent


async def test_a_peer_that_trickles_lets_others_run(flusher: Flusher) -> None:
    """Promise 5: reads of a byte that are always there are a peer's way to keep everybody else waiting."""
    looks = 0
    async with linked(flusher) as case:
        case.stream.give(frame(b"l" * 60_000)[:9], *[b"l"] * 60_000)
        while not case.inbox.queue:
            looks += 1
            await trio.lowlevel.checkpoint()
    assert looks > 30


async def test_a_full_inbox_stops_the_reader(flusher: Flusher) -> None:
    """Never more than the high-water mark is queued; what is behind it comes when half was taken."""
    async with linked(flusher, receive_hwm=4) as case:
        case.stream.give(b"".join(frame(b"%d" % number) for number in range(10)))
        await wait_all_tasks_blocked()
        assert case.received == [b"0", b"1", b"2", b"3"]
        case.inbox.queue.popleft()
        case.inbox.queue.popleft()
        case.inbox.opened()
        await wait_all_tasks_blocked()
        assert case.received == [b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("direct", [True, False])
async def test_a_frame_that_is_too_large(flusher: Flusher, direct: bool) -> None:
    """max_message_size holds for frames that would be read in one piece, before a byte of them is read."""
    ours, theirs = memory_stream_pair()
    stream = Taker() if direct else ours
    start = frame(b"ok") + b"\2" + (100_001).to_bytes(8, "big") + b"x" * 10
    async with linked(flusher, stream, max_message_size=100_000) as case:
        if isinstance(stream, Taker):
            stream.give(start)
        else:
            await theirs.send_all(start)
        await wait_all_tasks_blocked()
        assert isinstance(case.outcome, ProtocolError)
        assert "100001 bytes" in str(case.outcome)
        assert case.received == [b"ok"]


# others


@pytest.mark.parametrize("fresh", [True, False])
async def test_others_run_while_a_long_queue_is_written(flusher: Flusher, fresh: bool) -> None:
    """Promise 5: a peer that takes all at once is no reason to keep everybody else waiting."""
    looks = 0
    outbox = Pipe(1 << 30)
    async with linked(flusher, Taker(room=0 if fresh else ALL), outbox=outbox) as case:
        case.put(b"first", fresh=fresh)
        await wait_all_tasks_blocked()
        outbox.put_many([b"%d" % number for number in range(300_000)])
        case.stream.give_room()
        while len(outbox):
            looks += 1
            await trio.lowlevel.checkpoint()
    assert looks > 10


async def test_a_stream_that_is_not_direct(flusher: Flusher) -> None:
    """The plain path: the same bytes, buffers one after the other."""
    ours, theirs = memory_stream_pair()
    async with linked(flusher, ours) as case:
        case.put(b"a", [b"b", b"L" * 100_000], b"c", fresh=True)
        await theirs.send_all(PING)
        await wait_all_tasks_blocked()
        expected = frame(b"a") + frame(b"b", 1) + frame(b"L" * 100_000) + frame(b"c")
        got = bytes(await theirs.receive_some(1 << 20))
        assert got in (expected + PONG, PONG + expected)
        assert case.outbox.passed == 3
        case.put(b"d")
        case.outbox.end()
        await wait_all_tasks_blocked()
        assert await theirs.receive_some(1 << 20) == frame(b"d")
        assert case.outcome is None


# over the system's sockets


def two_ends(kind: str) -> tuple[SystemStream, SystemStream]:
    """A connection."""
    if kind == "ipc":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
    return SystemStream(ours), SystemStream(theirs)


systems = pytest.mark.parametrize("kind", ["tcp", "ipc"])


@systems
async def test_both_ways_at_once(flusher: Flusher, kind: str) -> None:
    """Two links, each with more than the system holds, large frames and small ones: all of it, in order."""
    ours, theirs = two_ends(kind)
    rng = random.Random(7)
    sent = [[rng.randbytes(4).ljust(rng.choice([4, 300, 50_000, 1_500_000]), b".")] * 3 for _ in range(40)]
    received: dict[str, list[Any]] = {"a": [], "b": []}
    async with linked(flusher, ours, receive_hwm=2) as a, linked(flusher, theirs, receive_hwm=2, flushes=False) as b:

        async def write(case: Case) -> None:
            for item in sent:
                while case.outbox.room <= 0:
                    await case.outbox.wait_writable()
                case.put(list(item))
                await trio.lowlevel.checkpoint()

        async def read(name: str, case: Case) -> None:
            while len(received[name]) < len(sent):
                if not case.inbox.queue:
                    await case.inbox.wait_readable()
                received[name].append(case.inbox.queue.popleft())
                if case.inbox.writer_waits:
                    case.inbox.opened()

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for name, case in (("a", a), ("b", b)):
                    nursery.start_soon(write, case)
                    nursery.start_soon(read, name, case)
    assert received["a"] == received["b"] == sent
    for stream in (ours, theirs):
        await trio.aclose_forcefully(stream)


@systems
@pytest.mark.parametrize("fresh", [True, False])
async def test_a_peer_that_is_gone(flusher: Flusher, kind: str, fresh: bool) -> None:
    """Written to in the very tick in which that could be seen: the call does not raise, and the link ends."""
    ours, theirs = two_ends(kind)
    async with linked(flusher, ours) as case:
        theirs.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.socket.close()
        case.put(b"x", fresh=fresh)
        with trio.fail_after(5):
            while case.outcome == "still running":
                await trio.lowlevel.checkpoint()
        assert isinstance(case.outcome, OSError | trio.BrokenResourceError)
        assert len(case.outbox) <= 1
    await trio.aclose_forcefully(ours)


def remotes(context_socket: trimq.Socket) -> list[Remote]:
    """A socket's peers."""
    return list(context_socket._remotes)


def endpoint(kind: str, tmp_path: Path) -> str:
    """Where to bind."""
    return "tcp://127.0.0.1:*" if kind == "tcp" else f"ipc://{tmp_path}/s"


@systems
@pytest.mark.parametrize("leave", ["block", "socket", "aclose", "flush"])
async def test_leaving_at_once(kind: str, leave: str, tmp_path: Path) -> None:
    """What was sent in the last tick, and is in the flusher's list, lingers as all else does."""
    got: list[trimq.Message] = []
    sent = [[b"%d" % number] for number in range(700)]
    async with trimq.open_context() as theirs:
        pull = theirs.socket(trimq.Pull)
        bound = pull.bind(endpoint(kind, tmp_path))
        async with trimq.open_context(linger=5.0) as ours:
            push = ours.socket(trimq.Push)
            await push.connect(bound).ready()
            for message in sent:
                push.send_nowait(message)
            assert len(remotes(push)[0].outbox), "it was written already: this test proves nothing"
            if leave == "socket":
                push.close()
            elif leave == "aclose":
                await push.aclose()
            elif leave == "flush":
                await push.flush()
                assert not len(remotes(push)[0].outbox)
        with trio.fail_after(5):
            while len(got) < len(sent):
                got += await pull.receive_many()
    assert got == sent


@systems
@pytest.mark.parametrize("kinds", [(trimq.Push, trimq.Pull), (trimq.Pub, trimq.Sub)], ids=["push", "pub"])
async def test_high_water_marks(kind: str, kinds: tuple[Any, Any], tmp_path: Path) -> None:
    """Never more than send_hwm is queued for a peer that does not read, whatever the system took; then all of it comes."""
    sender_kind, receiver_kind = kinds
    nodrop = {"nodrop": True} if sender_kind is trimq.Pub else {}
    async with trimq.open_context(linger=0.0) as context:
        sender = context.socket(sender_kind, send_hwm=3, **nodrop)
        receiver = context.socket(receiver_kind, receive_hwm=2)
        if receiver_kind is trimq.Sub:
            receiver.subscribe(b"")
        await receiver.connect(sender.bind(endpoint(kind, tmp_path))).ready()
        await sender.wait_for_peers()
        if nodrop:
            await sender.wait_for_subscribers()
        [peer] = remotes(sender)
        sent: list[bytes] = []
        quiet = 0
        while quiet < 50:
            message = b"%d" % len(sent) + b"." * 300_000
            try:
                sender.send_nowait(message)
            except trio.WouldBlock:
                quiet += 1
            else:
                sent.append(message)
                quiet = 0
            assert len(peer.outbox) <= 3
            await trio.lowlevel.checkpoint()
        assert len(peer.outbox) > 1  # a queue that was full opens again once half of it was read
        got: list[trimq.Message] = []
        with trio.fail_after(10):
            while len(got) < len(sent):
                got.append(await receiver.receive())
        assert got == [[message] for message in sent]


@systems
async def test_a_lost_connection_loses_only_what_is_in_doubt(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 6: what the next peer gets begins where the doubt ends, in order; how much is in doubt is logged."""
    place = endpoint(kind, tmp_path)
    sent = [b"%04d" % number for number in range(200)]
    async with trimq.open_context(linger=0.0, reconnect_interval=0.01) as context:
        first = context.socket(trimq.Pull)
        bound = first.bind(place)
        push = context.socket(trimq.Push)
        await push.connect(bound).ready()
        await first.wait_for_peers()
        push.send_nowait(b"arrives")
        assert await first.receive() == [b"arrives"]
        first.close()
        for message in sent:
            push.send_nowait(message)
        second = context.socket(trimq.Pull)
        with trio.fail_after(5):
            await first.aclose()
            second.bind(str(bound))
            got: list[trimq.Message] = []
            while not got or got[-1] != [sent[-1]]:
                if not got:
                    push.send_nowait(b"wake")
                    sent.append(b"wake")
                    await second.wait_for_peers()
                got += await second.receive_many()
    assert got == [[message] for message in sent[len(sent) - len(got) :]]
    doubt = sum(int(record.getMessage().split()[1]) for record in caplog.records if "in doubt" in record.getMessage())
    written = len(sent) - len(got) - doubt
    assert written >= 0


@systems
@pytest.mark.parametrize("socket_type", ["Dealer", "Stream"])
async def test_a_peer_that_has_gone_before_it_is_read(kind: str, socket_type: str, tmp_path: Path) -> None:
    """All that it had to say is received; nothing is written meanwhile, which some systems would not let pass."""
    async with trimq.open_context(linger=0.0) as context:
        ours = context.socket(getattr(trimq, socket_type))
        bound = str(ours.bind(endpoint(kind, tmp_path))).partition("://")[2]
        if kind == "tcp":
            raw = socket.create_connection(("127.0.0.1", int(bound.rpartition(":")[2])))
        else:
            raw = socket.socket(socket.AF_UNIX)
            raw.connect(bound)
        said = b"\x00\x02ok"
        if socket_type == "Dealer":
            raw.sendall(G)
            raw.setblocking(False)
            heard = b""
            while not heard.endswith(b"DEALER\x08Identity\0\0\0\0"):
                await trio.lowlevel.wait_readable(raw)
                heard += raw.recv(1000)
            said = R + said
        raw.setblocking(True)
        raw.sendall(said)
        raw.close()  # in the same tick: nobody has read yet
        with trio.fail_after(5):
            if socket_type == "Dealer":
                assert await ours.receive() == [b"ok"]
            else:
                assert [(await ours.receive())[1] for _ in range(3)] == [b"", said, b""]


# when many read


async def deliveries(flusher: Flusher, sizes: Sequence[int]) -> list[int]:
    """What links deliver in each tick, in messages, whose peers have all sent so many bytes at once."""
    frame = b"\0\x3e" + bytes(62)
    cases = [Case(Taker(), flusher, receive_hwm=math.inf) for _ in sizes]
    counts: list[int] = []

    class Count(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            counts.append(sum(len(case.inbox.queue) for case in cases))

    async with trio.open_nursery() as nursery:
        for case in cases:
            nursery.start_soon(case.run)
        await wait_all_tasks_blocked()
        count = Count()
        trio.lowlevel.add_instrument(count)
        for case, size in zip(cases, sizes, strict=True):
            assert isinstance(case.stream, Taker)
            case.stream.give(frame * (size // 64))
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(count)
        nursery.cancel_scope.cancel()
    assert counts[-1] == sum(sizes) // 64, "nothing was lost"
    return [b - a for a, b in pairwise([0, *counts])]


async def test_many_links_that_read_much_take_turns(flusher: Flusher) -> None:
    """Promise 5: what is delivered in a tick does not grow with the number of busy links."""
    few = max(await deliveries(flusher, [64_000] * 4))
    many = max(await deliveries(flusher, [64_000] * 40))
    assert many <= 2 * few
    assert many < 40 * 64


async def test_links_that_read_little_need_no_turn(flusher: Flusher) -> None:
    """A few messages from each are delivered at once, also beside links that have much."""
    assert max(await deliveries(flusher, [1024] * 40)) == 40 * 16
