"""Lines and bells (promises 1 and 2, design 5)."""

from __future__ import annotations

import itertools

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trimq._pace import Pace
from trimq._util import Bell, Waiter, fixup_module, park, until

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
