"""Pace, lines and bells (promises 1, 2 and 5, design 5)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Self

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

import trimq
import trimq._sockets._flow
import trimq._util
from trimq._util import Bell, Pace, Waiter, fixup_module, park, until

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
    monkeypatch.setattr(trimq._util, "perf_counter", fake)
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


# Lines


async def test_a_served_call_returns_even_if_cancelled() -> None:
    """Promise 1: a call that was handed its result returns it even if cancelled in that tick."""
    line: dict[Waiter, None] = {}
    left: list[int] = []
    results: list[object] = []
    pace = Pace()

    async def call(scope: trio.CancelScope, n: int) -> None:
        with scope:
            results.append(await park(Waiter(n, pace), line, lambda: left.append(n)))

    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(3)]
        for n, scope in enumerate(scopes):
            nursery.start_soon(call, scope, n)
            await wait_all_tasks_blocked()
        assert [waiter.want for waiter in line] == [0, 1, 2]
        first = next(iter(line))
        del line[first]
        first.serve("served")
        scopes[0].cancel()
        scopes[1].cancel()
        assert [waiter.want for waiter in line] == [2]
        assert left == [1]
        last = next(iter(line))
        del line[last]
        last.fail(KeyError())
        scopes[2].cancel()
    assert results == ["served"]
    assert [scope.cancelled_caught for scope in scopes] == [False, True, True]  # an error yields to a cancellation


async def test_a_failed_call_raises() -> None:
    """An error handed to a call that waits is raised there."""
    line: dict[Waiter, None] = {}
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(KeyError):
                await park(Waiter(None, Pace()), line)

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        [waiter] = line
        line.clear()
        waiter.fail(KeyError())


# Bells


async def test_until_looks_again_at_each_ring() -> None:
    """A wait for a level wakes at any of its bells, however often they ring, and leaves nothing on them."""
    one, other = Bell(), Bell()
    level = 0
    looks = itertools.count()
    seen = -1

    def test() -> int:
        nonlocal seen
        seen = next(looks)
        return level

    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            assert await until(test, one, other, pace=Pace()) == 7

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert seen == 0
        one.ring()
        one.ring()
        other.ring()
        await wait_all_tasks_blocked()
        assert seen == 1
        level = 7
        other.ring()
    assert seen == 2
    assert not one._sleepers
    assert not other._sleepers
    one.ring()


async def test_until_cancelled_and_rung_in_one_tick() -> None:
    """Cancelled wins, and nothing is left on the bell, in either order."""
    for cancel_first in (True, False):
        bell, level = Bell(), False
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def wait(scope: trio.CancelScope = scope, bell: Bell = bell) -> None:
                with scope:
                    await until(lambda: level, bell, pace=Pace())  # noqa: B023 - it is to change
                    raise AssertionError("it was cancelled")

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            level = True
            if cancel_first:
                scope.cancel()
                bell.ring()
            else:
                bell.ring()
                scope.cancel()
        assert scope.cancelled_caught
        assert not bell._sleepers


async def test_many_wait_on_a_bell() -> None:
    """A ring wakes everybody; who looks in vain goes on waiting."""
    bell = Bell()
    level = 0
    woken: list[int] = []

    async def wait(n: int) -> None:
        await until(lambda: level >= n, bell, pace=Pace())
        woken.append(n)

    async with trio.open_nursery() as nursery:
        for n in (1, 2, 3):
            nursery.start_soon(wait, n)
        await wait_all_tasks_blocked()
        for level in (1, 2, 3):
            bell.ring()
            await wait_all_tasks_blocked()
            assert woken == list(range(1, level + 1))


def test_fixup_module_leaves_strangers_alone() -> None:
    """Only what is trimq's own goes by its public module."""

    class Mine:
        pass

    Mine.__module__ = "trimq._somewhere"
    names = {"__all__": ["Mine", "Theirs", "number"], "Mine": Mine, "Theirs": dict, "number": 1}
    fixup_module("trimq", names)
    assert Mine.__module__ == "trimq"
    assert dict.__module__ == "builtins"
