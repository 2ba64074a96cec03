"""Pipe, the only queue (design 3 and 5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trimq._pipe import Pipe


class Calls:
    """Counts the calls of a pipe's hooks."""

    def __init__(self, pipe: Pipe) -> None:
        self.readable = self.writable = self.passed = 0
        pipe.on_readable = partial(self._count, "readable")
        pipe.on_writable = partial(self._count, "writable")
        pipe.on_passed = partial(self._count, "passed")

    def _count(self, name: str) -> None:
        setattr(self, name, getattr(self, name) + 1)


def take(pipe: Pipe, n: int) -> None:
    pipe.hold(n)
    pipe.taken()


def test_the_reader_is_called_once() -> None:
    """A reader that found it empty is called once, when that has changed; one that did not ask is not."""
    pipe = Pipe(10)
    calls = Calls(pipe)
    pipe.put(b"1")
    assert calls.readable == 0
    pipe.reader_waits = True
    pipe.put(b"2")
    pipe.put(b"3")
    assert calls.readable == 1
    pipe.reader_waits = True
    pipe.put_many([])
    assert calls.readable == 2  # it asked though something waits
    assert list(pipe.queue) == [b"1", b"2", b"3"]


def test_putting_nothing_wakes_nobody() -> None:
    """An empty batch is no change of an empty pipe."""
    pipe = Pipe(10)
    calls = Calls(pipe)
    pipe.reader_waits = True
    pipe.put_many([])
    assert (calls.readable, pipe.reader_waits) == (0, True)
    pipe.put_many([b"1", b"2"])
    assert (calls.readable, pipe.reader_waits) == (1, False)


@pytest.mark.parametrize("hwm", [1, 2, 3, 10, 11])
def test_opens_when_half_was_read(hwm: int) -> None:
    """A full pipe opens again, once, when at most half of it waits (libzmq's low-water mark)."""
    pipe = Pipe(hwm)
    calls = Calls(pipe)
    for _ in range(hwm):
        assert pipe.room > 0
        pipe.put(b"")
    assert pipe.room == 0
    pipe.writer_waits = True
    while len(pipe):
        before = calls.writable
        take(pipe, 1)
        assert (calls.writable > before) is (before == 0 and 2 * len(pipe) <= hwm)
    assert calls.writable == 1


def test_held_counts_as_queued() -> None:
    """Design 4: a batch counts as queued until it is written."""
    pipe = Pipe(4)
    calls = Calls(pipe)
    pipe.put_many([b"1", b"2", b"3", b"4"])
    assert pipe.hold(3) == [b"1", b"2", b"3"]
    assert (len(pipe), pipe.room, pipe.held, pipe.passed) == (4, 0, 3, 0)
    pipe.writer_waits = True
    assert pipe.hold(10) == [b"4"]
    assert (len(pipe), calls.writable) == (4, 0)
    pipe.taken()
    assert (len(pipe), pipe.passed, pipe.held, calls.writable, calls.passed) == (0, 4, 0, 1, 1)


def test_no_limit() -> None:
    """math.inf: always room, and still a number that counts."""
    pipe = Pipe(math.inf)
    pipe.put_many([b""] * 5000)
    assert pipe.room > 1_000_000
    pipe.writer_waits = True
    calls = Calls(pipe)
    pipe.opened()
    assert calls.writable == 1


def test_clear_tells_how_many() -> None:
    """What waits is dropped, what is held included; who waits for room or for what was sent is called."""
    pipe = Pipe(4)
    calls = Calls(pipe)
    pipe.put_many([b"1", b"2", b"3", b"4"])
    pipe.hold(1)
    pipe.writer_waits = True
    assert pipe.clear() == 4
    assert (len(pipe), pipe.passed, calls.writable, calls.passed) == (0, 4, 1, 1)
    assert pipe.clear() == 0


def test_end_and_release_call_whoever_waits() -> None:
    """The end is seen by a waiting reader; release lets a waiting writer go on, room or not."""
    pipe = Pipe(1)
    calls = Calls(pipe)
    pipe.end()
    pipe.release()
    assert (calls.readable, calls.writable) == (0, 0)
    pipe.put(b"")
    pipe.reader_waits = pipe.writer_waits = True
    pipe.end()
    pipe.nudge()
    pipe.release()
    pipe.release()
    assert (calls.readable, calls.writable, pipe.ended) == (1, 1, True)


async def _readable(pipe: Pipe) -> None:
    await pipe.wait_readable()


async def _writable(pipe: Pipe) -> None:
    pipe.put(b"")
    await pipe.wait_writable()


@pytest.mark.parametrize(
    ("wait", "wake"),
    [
        (_readable, lambda pipe: pipe.put(b"")),
        (_readable, lambda pipe: pipe.put_many([b"", b""])),
        (_readable, lambda pipe: pipe.end()),
        (_readable, lambda pipe: pipe.nudge()),
        (_writable, lambda pipe: take(pipe, 1)),
        (_writable, lambda pipe: pipe.release()),
        (_writable, lambda pipe: pipe.clear()),
    ],
)
async def test_tasks_park(wait: Callable[[Pipe], object], wake: Callable[[Pipe], object]) -> None:
    """A task that waits is woken once; cancelled, it leaves no trace, and a later change wakes nobody."""
    for cancel, woken in ((False, True), (True, False), (True, True)):
        pipe = Pipe(1)
        scope = trio.CancelScope()
        done = False

        async def run(pipe: Pipe = pipe, scope: trio.CancelScope = scope) -> None:
            nonlocal done
            with scope:
                await wait(pipe)  # type: ignore[misc]
                done = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await wait_all_tasks_blocked()
            assert not done
            if woken and cancel:  # in one tick: who was woken goes on
                wake(pipe)
                scope.cancel()
            elif cancel:
                scope.cancel()
                wake(pipe)
            else:
                wake(pipe)
                wake(pipe)
        assert done is woken
        assert not pipe.reader_waits
        assert not pipe.writer_waits
