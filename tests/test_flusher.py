"""Flusher: when links write what waits. With links, and a clock, that are the test's; each look at it takes as long
as the test says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trimq import _flusher
from trimq._flusher import Flusher
from trimq._pace import Pace


class Clock:
    """Stands still but for what it is told, and for what a look at it takes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.look = 0.0

    def __call__(self) -> float:
        self.now += self.look
        return self.now


class Calls:
    """A pace that says what the test says: whether calls were only interrupted."""

    busy = False


class Link:
    """What asks to be flushed."""

    def __init__(self, name: str, log: list[str], during: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.log = log
        self.during = during
        self.has_much = False

    def much(self) -> bool:
        return self.has_much

    def flush(self) -> None:
        self.log.append(self.name)
        self.during()


class Case:
    """A flusher, its clock, and what it did."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.calls: Any = Calls()
        self.flusher = Flusher(self.calls)
        self.log: list[str] = []

    def link(self, name: str, during: Callable[[], object] = lambda: None) -> Link:
        return Link(name, self.log, during)

    def add(self, *names: str) -> list[Link]:
        links = [self.link(name) for name in names]
        for link in links:
            self.flusher.add(link)
        return links


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    made = Case()
    monkeypatch.setattr(_flusher, "perf_counter", made.clock)
    return made


@pytest.fixture
async def running(case: Case, nursery: trio.Nursery) -> Case:
    """The flusher runs, and waits."""
    nursery.start_soon(case.flusher.run)
    await wait_all_tasks_blocked()
    return case


async def test_each_is_flushed_once_in_order(running: Case) -> None:
    """Not in the call that adds it, but as soon as others may run; then the flusher waits again."""
    running.add("a", "b", "c")
    assert running.log == []
    await wait_all_tasks_blocked()
    assert running.log == ["a", "b", "c"]
    running.add("d")
    await wait_all_tasks_blocked()
    assert running.log == ["a", "b", "c", "d"]


async def test_what_was_added_before_it_ran(case: Case, nursery: trio.Nursery) -> None:
    """Nothing is lost while the services start."""
    case.add("early")
    nursery.start_soon(case.flusher.run)
    await wait_all_tasks_blocked()
    assert case.log == ["early"]


async def test_calls_that_are_busy_are_waited_for(running: Case) -> None:
    """What is added meanwhile is written together with the rest, once."""
    running.calls.busy = True
    running.add("a")
    for name in ("b", "c"):
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        running.add(name)
    assert running.log == []
    running.calls.busy = False
    await wait_all_tasks_blocked()
    assert running.log == ["a", "b", "c"]


@pytest.mark.parametrize(("links", "longest"), [(1, 20e-6), (10, 200e-6), (100, 2e-3), (1000, 2e-3)])
async def test_but_not_for_longer_than_it_may_save(running: Case, links: int, longest: float) -> None:
    """About what the writes would take, and two milliseconds at most, however busy the calls are."""
    running.calls.busy = True
    running.clock.look = 1e-6
    start = running.clock.now
    added = [Link(str(number), running.log, lambda: stamps.append(running.clock.now)) for number in range(links)]
    stamps: list[float] = []
    for link in added:
        running.flusher.add(link)
    while not running.log:
        await trio.lowlevel.checkpoint()
    waited = stamps[0] - start
    assert 0.8 * longest < waited < longest + 10e-6
    await wait_all_tasks_blocked()
    assert running.log == [str(number) for number in range(links)]


async def test_much_does_not_wait(running: Case) -> None:
    """Where no more could be written together, nothing is gained by waiting; the others still wait."""
    running.calls.busy = True
    few, much = running.link("few"), running.link("much")
    later = running.link("later")
    much.has_much = True
    for link in (few, much, later):
        running.flusher.add(link)
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    assert running.log == ["much"]
    later.has_much = True
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    assert running.log == ["much", "later"]
    running.calls.busy = False
    await wait_all_tasks_blocked()
    assert running.log == ["much", "later", "few"]


@pytest.mark.parametrize("busy", [False, True])
async def test_what_a_flush_adds(running: Case, busy: bool) -> None:
    """A link that has more to write adds itself, and one that makes room may fill another: both are flushed, too."""
    other = running.link("other")
    rounds = iter([1, 2])

    def more() -> None:
        if next(rounds, None):
            running.flusher.add(again)
            running.flusher.add(other)

    again = running.link("again", more)
    again.has_much = busy  # then it is flushed on the other path
    running.calls.busy = busy
    running.flusher.add(again)
    running.add("first")
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    running.calls.busy = False
    await wait_all_tasks_blocked()
    assert running.log.count("again") == 3
    assert running.log.count("first") == 1
    assert running.log.count("other") == 2
    assert running.log.index("first") < running.log.index("other")
    if not busy:
        assert running.log == ["again", "first", "again", "other", "again", "other"]


async def test_others_run_between_writes(running: Case) -> None:
    """Promise 5: a thousand links are not written in one step; about a quarter of a millisecond each."""
    seen: list[int] = []

    async def other() -> None:
        while len(running.log) < 100:
            seen.append(len(running.log))
            await trio.lowlevel.checkpoint()

    def takes() -> None:
        running.clock.now += 100e-6

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for number in range(100):
            running.flusher.add(running.link(str(number), takes))
    assert max(after - before for before, after in zip(seen, [*seen[1:], 100], strict=True)) <= 6  # two turns
    assert running.log == [str(number) for number in range(100)]


async def test_others_run_while_one_link_writes_a_long_queue(running: Case) -> None:
    """Promise 5: a link that adds itself again and again is no exception."""
    left = 300
    seen: list[int] = []

    def more() -> None:
        nonlocal left
        running.clock.now += 100e-6
        left -= 1
        if left:
            running.flusher.add(link)

    async def other() -> None:
        while left:
            seen.append(left)
            await trio.lowlevel.checkpoint()

    link = running.link("long", more)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        running.flusher.add(link)
    assert max(before - after for before, after in zip([300, *seen], [*seen, 0], strict=True)) <= 10


@pytest.mark.parametrize("busy", [False, True])
async def test_cancelled_it_leaves_no_trace(case: Case, busy: bool) -> None:
    """Waiting or holding back: what is added later wakes nobody, and is written by whoever runs next."""
    case.calls.busy = busy
    async with trio.open_nursery() as nursery:
        nursery.start_soon(case.flusher.run)
        await wait_all_tasks_blocked()
        if busy:
            case.add("held back")
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    case.add("later")
    await wait_all_tasks_blocked()
    assert case.log == []
    case.calls.busy = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(case.flusher.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert case.log == (["held back", "later"] if busy else ["later"])


async def test_a_bug_in_a_link_surfaces(case: Case) -> None:
    """Promise 4."""

    def crash() -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(case.flusher.run)
            await wait_all_tasks_blocked()
            case.flusher.add(case.link("bad", crash))


@pytest.mark.parametrize("strict", [False, True])
async def test_when_calls_are_busy(strict: bool) -> None:
    """Busy is who yields though it need not wait, from then until it goes on; with checkpoints="every" nobody is."""
    pace = Pace(strict=strict)
    seen: list[bool] = []

    async def calls() -> None:
        for _ in range(100):
            await pace.pause()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls)
        while nursery.child_tasks:
            seen.append(pace.busy)
            await trio.lowlevel.checkpoint()
    assert any(seen) is not strict
    assert not pace.busy


async def test_a_cancelled_call_is_not_busy_for_ever() -> None:
    """It does not go on; links must not be held back for its sake."""
    pace = Pace()
    with trio.CancelScope() as scope:
        scope.cancel()
        await pace.pause()
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    assert not pace.busy
