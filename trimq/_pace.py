"""When a call that need not wait lets others run all the same, and how many go on then (promise 5).

- `Pace`: how long calls may go on, and how much links may deliver, before they yield.
- `Turns`: how many of those that yield go on in the next tick.
- `Credit` and `Ahead`: calls that need not even ask.

Nothing here knows of sockets, or of waiting for anything but one's turn.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from threading import get_ident, local
from time import perf_counter, thread_time
from typing import Any, NoReturn
from weakref import WeakSet

import trio
from trio.lowlevel import (
    Abort,
    Task,
    checkpoint_if_cancelled,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from ._errors import NoIOThread

__all__ = ["Ahead", "Credit", "Pace", "Turns"]

_SLICE = 500e-6  # seconds that other tasks wait for all of trimq's ready calls together
_LEAST = 32  # messages: so many are decoded at one go (`_wire._runs`), and cost little more than half of them
_MOST = 320  # messages: with 700 lists in a batch, the garbage collector would run each time
_MESSAGE = 0.25e-6  # seconds that a message takes in a batch
_CALLS = 4  # that go on in a tick, after they were interrupted: each then has time to do much for what it costs
_LINKS = 2  # that deliver a portion in a tick
_FLOOR = 10e-6  # seconds: below this, switching tasks would cost more than it gives
_CROWDED = _SLICE / 16  # seconds
_AHEAD = 32  # calls: more would save little, and hold others up if what is done between them suddenly took long
_INSTANT = 1e-9  # seconds: for clocks that may stand still


class _Slice(local):
    """When the next call has to yield. For calls from other threads that is now and always: there they are refused."""

    due: float = -math.inf


class Credit(local):
    """What a socket's calls may do without looking at anything first. Other threads have none: there calls are refused.

    Attributes:
      puts: gives functions, each of which queues one message.
      takes: gives functions, each of which takes one.
    """

    puts: Iterator[Callable[[Any], object]] | None = None
    takes: Iterator[Callable[[], Any]] | None = None

    def revoke(self) -> None:
        """From now on every call in this thread looks."""
        self.puts = iter(())
        self.takes = iter(())


class Turns:
    """Tasks that let others run, and could go on at once: so many do in the next tick, the others in later ones, in order.

    If all went on in every tick, each could do the less in it the more there are, while to switch to it costs the same.
    Nobody sees to the line: who comes first in a tick chooses who is next, and while there is a line somebody comes.

    Args:
      most: that go on in one tick.
    """

    __slots__ = ("_line", "_tick", "going", "most")

    def __init__(self, most: int) -> None:
        self.most: int = most
        self.going: int = 0  # in the next tick
        self._tick = 0
        self._line: OrderedDict[_Place, None] = OrderedDict()

    @enable_ki_protection
    async def next(self, *, at_once: bool = False) -> tuple[int, float]:
        """Yields until it is the caller's turn, and checks for cancellation, which leaves no trace.

        Args:
          at_once: it is the caller's turn in the next tick, however many others there are.

        Returns:
          to the first of a tick: how many have this turn, and the seconds since they were chosen; 0 to the others.
        """
        place = _Place(self._tick)
        if at_once or self.going < self.most:
            self.going += 1
            try:
                await trio.lowlevel.checkpoint()
            except BaseException:
                if place.tick == self._tick:
                    self._choose()
                raise
        else:
            self._line[place] = None

            def abort(_: object) -> Abort:
                del self._line[place]
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)
        if place.tick != self._tick:
            return 0, 0.0
        return self._choose(), perf_counter() - place.since

    def _choose(self) -> int:
        """Lets others go on in the next tick; returns how many did so in this one."""
        went, self.going = self.going, min(self.most, len(self._line))
        self._tick += 1
        for _ in range(self.going):
            place, _none = self._line.popitem(last=False)
            place.choose(self._tick)
        return went


class _Place:
    """One task that waits for its turn: which tick that is in, and since when it is known."""

    __slots__ = ("since", "task", "tick")

    def __init__(self, tick: int) -> None:
        self.task = current_task()
        self.tick = tick
        self.since = perf_counter()

    def choose(self, tick: int) -> None:
        self.tick = tick
        self.since = perf_counter()
        reschedule(self.task)


_paces: WeakSet[Pace] = WeakSet()


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_forked_child)


def _in_forked_child() -> None:
    """What the child has are copies of the parent's runs, which nobody drives: their contexts are of no use."""
    for pace in list(_paces):
        pace.disown()


class Pace:
    """Amortised checkpoints: a yield costs 3 us, a message a tenth of that (design, rules of speed).

    One for all contexts of a run. The half millisecond belongs to the run: at each tick it is divided by the
    number of calls that go on in it, so that they take no longer than one would, and it shrinks by as much as the tick
    before took longer than it should. Of a hundred busy loops only a few go on in each tick (`Turns`), and of links, too.
    The clock is `time.perf_counter`, since trio's may be a mock that stands still.

    Args:
      strict: every call is a full checkpoint, as trio's own calls are.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_credits",
        "_delivered",
        "_links",
        "_looked",
        "_share",
        "_strict",
        "_thread",
        "_used",
        "_whose",
        "ahead",
        "fresh",
        "more",
        "portion",
        "slice",
        "waking",
    )

    def __init__(self, *, strict: bool = False) -> None:
        self.slice: _Slice = _Slice()
        self.waking: int = 0  # calls that were handed what they waited for, and have not run yet
        self.more: bool = False  # more came than one message
        # A call has waited, nothing was sent since, and as far as is known nothing else is to be done.
        self.fresh: bool = False
        self._strict = strict
        self._thread: int | None = get_ident()  # the run's; who is not on it has to be refused
        self._credits: WeakSet[Credit] = WeakSet()
        _watch_forks()
        _paces.add(self)
        self._share = _SLICE
        self.ahead: float = 0.0  # seconds that calls may take together without a look at the clock
        self.portion: int = _MOST  # messages that a link delivers at one go
        self._looked = self._used = 0.0
        self._calls = Turns(_CALLS)
        self._links = Turns(_LINKS)
        self._delivered = 0  # messages, by links, since one of them last had a turn
        self._whose: Task | None = None  # the task that had a turn last

    def check_thread(self) -> None:
        """Refuses calls from outside the run.

        Raises:
          NoIOThread: this is another thread.
        """
        if get_ident() != self._thread:
            self.refuse()

    def refuse(self) -> NoReturn:
        """Raises NoIOThread: this is another thread."""
        raise NoIOThread(
            "a context belongs to the trio run, and the process, that opened it: from a thread use "
            "trio.from_thread.run(socket.send, ...), in another run or a forked child open a context of its own"
        )

    def disown(self) -> None:
        """From now on every call is refused."""
        self._thread = None
        self.slice.due = -math.inf
        for credit in self._credits:
            credit.puts = credit.takes = None

    def credit(self) -> Credit:
        """A new one, for a socket of this run."""
        credit = Credit()
        credit.revoke()
        self._credits.add(credit)
        return credit

    async def checkpoint(self) -> None:
        """Checks for cancellation, and yields if it is time."""
        if perf_counter() >= self.slice.due:
            await self.pause()
        else:
            await checkpoint_if_cancelled()

    async def pause(self) -> None:
        """Yields, and checks for cancellation."""
        self.check_thread()
        # Who had no turn is not the one that used up the time, and need not wait behind those that did.
        went, took = await self._calls.next(at_once=self._strict or current_task() is not self._whose)
        if went:  # it took so long with all that is not counted: links that read, the users' own code
            share = _SLICE / went * min(1.0, _SLICE / took if took else 1.0)
            # It shrinks at once and grows slowly: calls that only wait for each other now come back together.
            self._share = max(_FLOOR, min(share, 1.25 * self._share))
        self._whose = current_task()
        self._renew()

    def delivered(self, messages: int) -> None:
        """A link has handed over so many."""
        self._delivered += messages

    @property
    def enough(self) -> bool:
        """Whether links have delivered as much as they should in a tick."""
        return self._delivered > _LINKS * self.portion

    async def pause_link(self) -> None:
        """A link lets others run: all that is done in a tick should take no longer than half a millisecond of the thread's
        own time. (Other programs are not to blame on the links.)
        """
        went, took = await self._links.next()
        if went:
            self._delivered = 0
            if took > _SLICE and (took := took * self._own_part(perf_counter())) > _SLICE:
                self.portion = max(_LEAST, int(self.portion * _SLICE / took) // _LEAST * _LEAST)
            elif self.portion < _MOST:
                self.portion = min(_MOST, self.portion + max(self.portion // 2 // _LEAST, 1) * _LEAST)

    def _own_part(self, now: float) -> float:
        """Which part of the time since the last look the thread has run, from 0 to 1. (To ask that is a system call.)"""
        used = thread_time()
        part = min(1.0, (used - self._used) / (now - self._looked or _INSTANT))
        self._used, self._looked = used, now
        return part

    @property
    def room_for_links(self) -> float:
        """From 0, where many links are busy, to 1: how much they should deliver at one go."""
        return (self.portion - _LEAST) / (_MOST - _LEAST)

    @property
    def most(self) -> int:
        """How many messages one call should take at most, so that it does not take longer than its share."""
        return 1 << 30 if self._share > _SLICE / 4 else int(self._share / _MESSAGE)

    @property
    def busy(self) -> bool:
        """Whether calls were interrupted only to let others run, and go on in the next tick."""
        return self._calls.going > 0 and not self._strict

    def woken(self) -> None:
        """The calling task has waited, and was just scheduled: it may go on for its share."""
        self.fresh = not self.waking and not self.more
        self.more = False
        self._whose = current_task()
        self._renew()

    def _renew(self) -> None:
        if not self._strict:
            self.slice.due = perf_counter() + self._share
            # Where many are busy, turns are short, and to look how long they still are costs more than it saves.
            self.ahead = self._share / 8 if self._share > _CROWDED else 0.0


class Ahead:
    """How many calls of one kind may go on without a look at the clock: as many as should not take long, judging by the
    last ones and by what was done between them.
    """

    __slots__ = ("_calls", "_due", "_since", "_took", "pace")

    LEAST = 4  # calls; with fewer, what it takes to find out would not pay

    def __init__(self, pace: Pace) -> None:
        self.pace: Pace = pace
        self._calls = 1  # that were to be made since
        self._since = 0.0
        self._due = 0.0
        self._took = 1.0  # seconds, a call

    def most(self, possible: float) -> int:
        """So many of those that are possible; 0 if it is not worth while."""
        pace, calls = self.pace, self._calls
        now = perf_counter()
        due: float = pace.slice.due
        left = due - now
        if left <= 0:
            return 0
        if due == self._due:  # else others had their turn since
            self._took = (now - self._since) / calls or _INSTANT
        self._since, self._due = now, due
        most = int(min(min(left, pace.ahead) / self._took, 4 * calls, possible, _AHEAD))
        self._calls = most if most >= self.LEAST else 1
        return most if most >= self.LEAST else 0
