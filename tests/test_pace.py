"""Pace and turns (promises 1 and 5, design 5)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import Self

import pytest
import trio
from trio.testing import assert_checkpoints

import trimq
import trimq._pace
import trimq._sockets._flow
from trimq._pace import _CALLS, Pace, Turns

SLICE = 500e-6  # "about half a millisecond"


class FakeClock:
    """Stands in for `time.perf_counter`. Each look at it costs as much as a call with a message does."""

    def __init__(self, cost: float) -> None:
        self.now = 1000.0
        self.cost = cost

    def __call__(self) -> float:
        self.now += self.cost
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock(1e-6)
    monkeypatch.setattr(trimq._pace, "perf_counter", fake)
    monkeypatch.setattr(trimq._sockets._flow, "perf_counter", fake)
    return fake


class Ticks(trio.abc.Instrument):
    """Measures the scheduler's ticks: how long all that is ready runs until others, and I/O, get their turn."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.lengths: list[float] = []
        self._start: float | None = None

    def after_io_wait(self, timeout: float) -> None:
        self._start = self.clock.now

    def before_io_wait(self, timeout: float) -> None:
        if self._start is not None:
            self.lengths.append(self.clock.now - self._start)

    def __enter__(self) -> Self:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *exc: object) -> None:
        trio.lowlevel.remove_instrument(self)


# Pace


@pytest.mark.parametrize("cost", [1e-6, 20e-6])
async def test_ready_calls_yield_in_time(cost: float, clock: FakeClock) -> None:
    """Promise 5: loops over ready messages let others run every half millisecond or so, and no more often than that."""
    clock.cost = 0  # not every call looks at it
    async with trimq.open_context(linger=0.0) as context:
        push, pull = context.socket(trimq.Push, send_hwm=10_000), context.socket(trimq.Pull)
        push.connect(pull.bind("inproc://a"))
        with Ticks(clock) as ticks:
            for _ in range(5000):
                clock.now += cost
                await push.send(b"x")
            for _ in range(2500):
                clock.now += cost
                await pull.receive()
            for _ in range(2500):
                clock.now += cost
                await pull.receive_many(1)
        assert max(ticks.lengths) <= SLICE + 5 * cost
        assert 10_000 * cost / SLICE / 2 <= len(ticks.lengths) <= 10_000 * cost / SLICE * 1.5 + 5


@pytest.mark.parametrize("kind", [trimq.Push, trimq.Pub])
async def test_send_many_yields_in_time(kind: type[trimq.Push | trimq.Pub], clock: FakeClock) -> None:
    """Promise 5: send_many too, also where its iterator takes its time for each message."""
    clock.cost = 0

    def slow() -> Iterator[bytes]:
        for _ in range(3000):
            clock.now += 10e-6
            yield b"x"

    async with trimq.open_context(linger=0.0) as context:
        socket = context.socket(kind, send_hwm=10_000)
        peer = context.socket(trimq.Pull if kind is trimq.Push else trimq.Sub)
        peer.connect(socket.bind("inproc://a"))
        with Ticks(clock) as ticks:
            await socket.send_many(slow())
        assert max(ticks.lengths) <= 2 * SLICE


@pytest.mark.parametrize("loops", [2, 10, 40])
async def test_many_busy_loops_share_it(loops: int, clock: FakeClock) -> None:
    """Promise 5: the half millisecond belongs to the run, however many sockets are busy (10 us each at the least)."""
    async with trimq.open_context(linger=0.0) as context, trio.open_nursery() as nursery:

        async def busy() -> None:
            push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
            push.connect(pull.bind(f"inproc://{id(push)}"))
            while True:
                await push.send(b"x")
                await pull.receive()

        for _ in range(loops):
            nursery.start_soon(busy)
        while clock.now < 1000.02:  # let the shares settle
            await trio.lowlevel.checkpoint()
        with Ticks(clock) as ticks:
            while clock.now < 1000.2:
                await trio.lowlevel.checkpoint()
        # A call more than its share each; the last to start is in two ticks at once.
        assert max(ticks.lengths[1:]) <= max(SLICE, loops * 10e-6) + loops * 5e-6
        nursery.cancel_scope.cancel()


async def test_one_pace_for_the_run() -> None:
    """Design 5: it is the run's, not a context's or socket's; a strict context has its own."""
    async with (
        trimq.open_context() as one,
        trimq.open_context() as other,
        trimq.open_context(checkpoints="every") as strict,
    ):
        assert one._pace is other._pace
        assert strict._pace is not one._pace


async def test_not_due_is_a_cancel_point_all_the_same(clock: FakeClock) -> None:
    """Promise 5: every call checks for cancellation, also when it does not yield."""
    pace = Pace()
    await pace.pause()
    for _ in range(10):
        await pace.checkpoint()
    with trio.CancelScope() as scope:
        scope.cancel()
        await pace.checkpoint()
    assert scope.cancelled_caught


async def test_strict_is_always_due() -> None:
    """Promise 5: checkpoints="every"."""
    pace = Pace(strict=True)
    for _ in range(5):
        with assert_checkpoints():
            await pace.checkpoint()
        pace.woken()


async def test_who_had_no_turn_does_not_wait_behind_those_that_have() -> None:
    """Promise 5: however many loops are busy, a call of another task goes on in the next tick.

    (Save when it happens to be the last in one tick and the first in the next: who had the last turn is all that is known.)
    """
    pace = Pace()

    async def busy() -> None:
        while True:
            await pace.pause()

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(busy)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        ticks = Counter()
        trio.lowlevel.add_instrument(ticks)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
            await pace.pause()
        trio.lowlevel.remove_instrument(ticks)
        assert ticks.count < 20 * 50 / _CALLS / 2
        nursery.cancel_scope.cancel()


# Turns


class Counter(trio.abc.Instrument):
    """Counts the scheduler's ticks."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


async def take_turns(turns: Turns, tasks: int, ticks: int) -> list[list[int]]:
    """Who went on, tick by tick, of so many tasks that do nothing else."""
    went: list[list[int]] = [[] for _ in range(ticks)]

    async def loop(number: int) -> None:
        while True:
            await turns.next()
            if counter.count >= ticks:
                return
            went[counter.count].append(number)

    counter = Counter()
    async with trio.open_nursery() as nursery:
        for number in range(tasks):
            nursery.start_soon(loop, number)
        await trio.lowlevel.checkpoint()
        trio.lowlevel.add_instrument(counter)
    trio.lowlevel.remove_instrument(counter)
    return went


@pytest.mark.parametrize(("tasks", "most"), [(1, 4), (4, 4), (5, 4), (23, 4), (6, 1)])
async def test_turns(tasks: int, most: int) -> None:
    """So many go on in a tick, no fewer and no more, and nobody waits longer than for all others once."""
    went = (await take_turns(Turns(most), tasks, 50))[2:]
    assert {len(set(tick)) for tick in went} == {min(tasks, most)}
    assert sum(map(len, went)) == 48 * min(tasks, most)
    for number in range(tasks):
        mine = [tick for tick, those in enumerate(went) if number in those]
        assert max(b - a for a, b in itertools.pairwise(mine)) <= math.ceil(tasks / most) + 1


async def test_the_first_of_a_tick_is_told() -> None:
    """How many go on in it, and how long since they were chosen; the others are told nothing."""
    turns = Turns(3)
    told: list[int] = []

    async def loop() -> None:
        for _ in range(4):
            went, took = await turns.next()
            assert (took > 0) is (went > 0)
            told.append(went)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(loop)
    assert [went for went in told if went] == [3] * 8
    assert told.count(0) == 16


async def test_at_once_is_ahead_of_the_line() -> None:
    """It is the caller's turn in the next tick, and the line moves on all the same."""
    turns = Turns(1)
    done: list[str] = []

    async def one(name: str, *, at_once: bool) -> None:
        await turns.next(at_once=at_once)
        done.append(name)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(partial(one, f"{number}", at_once=False))
        await trio.lowlevel.checkpoint()
        before = len(done)
        await one("at once", at_once=True)
        assert len(done) - before <= 2
    assert len(done) == 6


@pytest.mark.parametrize("which", ["going", "in line", "all but one", "all"])
async def test_cancelled_turns(which: str) -> None:
    """Promise 1: a cancellation leaves no trace; the others go on, whoever was to choose who is next."""
    turns = Turns(2)
    scopes: dict[trio.lowlevel.Task, trio.CancelScope] = {}
    went: list[trio.lowlevel.Task] = []

    async def one() -> None:
        task = trio.lowlevel.current_task()
        with scopes.setdefault(task, trio.CancelScope()):
            await turns.next()
            went.append(task)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one)
        while len(scopes) < 20:
            await trio.lowlevel.checkpoint()
        line = {place.task for place in turns._line}
        waiting = set(scopes) - set(went)
        chosen = {"going": waiting - line, "in line": line, "all but one": set(list(waiting)[1:]), "all": waiting}[
            which
        ]
        for task in chosen:
            scopes[task].cancel()
    cancelled = {task for task, scope in scopes.items() if scope.cancelled_caught}
    assert cancelled <= chosen
    assert cancelled | set(went) == set(scopes)
    assert not cancelled & set(went)
    assert not turns._line
    await turns.next()  # and all is as new
    assert turns.going == 0
