"""Small tools for waiting and yielding that every room with tasks uses.

- `Pace`: when a call that did not have to wait yields to the scheduler all the same.
- `Credit` and `Ahead`: calls that need not even ask.
- `Waiter` and `park`: a call in line for something that will be handed to it.
- `Bell` and `until`: a call that waits for a level, and takes nothing.
- `fixup_module`: public names say in tracebacks where users import them from.

Nothing here knows of sockets.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from threading import get_ident, local
from time import perf_counter, thread_time
from typing import Any, NoReturn, TypeVar
from weakref import WeakSet

import trio
from trio.lowlevel import (
    Abort,
    checkpoint_if_cancelled,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from ._errors import NoIOThread

__all__ = ["Ahead", "Bell", "Credit", "Pace", "Waiter", "fixup_module", "new_line", "park", "until"]

T = TypeVar("T")

_SLICE = 500e-6  # seconds that other tasks wait for all of trimq's ready calls together
_LEAST = 32  # messages: so many are decoded at one go (`_wire._runs`), and cost little more than half of them
_MOST = 320  # messages: with 700 lists in a batch, the garbage collector would run each time
_MESSAGE = 0.25e-6  # seconds that a message takes in a batch
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
    number of calls that yielded in the tick before, so that a hundred busy loops take no longer than one; and it shrinks
    by as much as that tick took longer than it should.
    The clock is `time.perf_counter`, since trio's may be a mock that stands still.

    Args:
      strict: every call is a full checkpoint, as trio's own calls are.
    """

    __slots__ = (
        "__weakref__",
        "_credits",
        "_looked",
        "_portioned",
        "_share",
        "_strict",
        "_thread",
        "_tick",
        "_used",
        "_yields",
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
        self.portion: int = _LEAST  # messages that a link delivers at one go
        self._portioned = 0.0
        self._looked = self._used = 0.0
        self._tick = 0
        self._yields = 0

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
        self._yields += 1
        tick, start = self._tick, perf_counter()
        try:
            await trio.lowlevel.checkpoint()
        except BaseException:
            if tick == self._tick:
                self._yields -= 1  # it does not go on
            raise
        if tick == self._tick:  # the first to come back in a new tick
            self._tick += 1
            took = perf_counter() - start  # with all that is not counted: links that read, the users' own code
            share = _SLICE / self._yields * min(1.0, _SLICE / took if took else 1.0)
            # It shrinks at once and grows slowly: calls that only wait for each other now come back together.
            self._share = max(_FLOOR, min(share, 1.25 * self._share))
            self._yields = 0
        self._renew()

    def portioned(self, last: float) -> float:
        """A link has delivered a portion, and says when it did so last; returns what to say next time.

        All that the run does in between, the portions of other links and what is done with them, should take no longer
        than half a millisecond of the thread's own time: other programs are not to blame on the links.
        """
        now = perf_counter()
        took = now - last
        if now - self._portioned > took / 2:  # once a round, whichever link it is
            if took > _SLICE and (took := took * self._own_part(now)) > _SLICE:
                self.portion = max(_LEAST, int(self.portion * _SLICE / took) // _LEAST * _LEAST)
                self._portioned = now
            elif self.portion < _MOST:
                self.portion = min(_MOST, self.portion + max(self.portion // 2 // _LEAST, 1) * _LEAST)
                self._portioned = now
        return now

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
        return self._yields > 0 and not self._strict

    def woken(self) -> None:
        """The calling task has waited, and was just scheduled: it may go on for its share."""
        self.fresh = not self.waking and not self.more
        self.more = False
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


class Waiter:
    """A call that waits in line until somebody hands it its result, or an error."""

    __slots__ = ("error", "pace", "result", "served", "task", "want")

    def __init__(self, want: Any, pace: Pace) -> None:
        self.pace: Pace = pace
        self.task = current_task()
        self.want: Any = want
        self.result: Any = None
        self.error: BaseException | None = None
        self.served = False

    def serve(self, result: Any = None) -> None:
        """Hands over the result. From now on the call returns it, even if it is cancelled in this tick."""
        self.result = result
        self.served = True
        self.pace.waking += 1
        reschedule(self.task)

    def fail(self, error: BaseException) -> None:
        """Lets the call raise."""
        self.error = error
        if not self.served:
            reschedule(self.task)


def new_line() -> dict[Waiter, None]:
    """A line for `park`. (To find the first key of a plain dict takes longer the more of them were taken out before.)"""
    return OrderedDict()


async def park(waiter: Waiter, line: dict[Waiter, None], left: Callable[[], object] | None = None) -> Any:
    """Waits at the end of the line; whoever serves the waiter takes it out of the line.

    A cancellation takes it out without a trace, and then calls ``left``. An error yields to a cancellation.
    """
    pace = waiter.pace
    pace.check_thread()
    line[waiter] = None

    def abort(_: object) -> Abort:
        del line[waiter]
        if left is not None:
            left()
        return Abort.SUCCEEDED

    await wait_task_rescheduled(abort)
    pace.waking -= waiter.served
    pace.woken()
    if waiter.error is not None:
        await checkpoint_if_cancelled()
        raise waiter.error
    return waiter.result


class Bell:
    """Rung when a level may have changed; wakes all that wait for it, to look again."""

    __slots__ = ("_sleepers",)

    def __init__(self) -> None:
        self._sleepers: dict[_Sleeper, None] = {}

    def ring(self) -> None:
        """Wakes everybody. Costs next to nothing when nobody waits."""
        if self._sleepers:
            sleepers, self._sleepers = self._sleepers, {}
            for sleeper in sleepers:
                sleeper.wake()


class _Sleeper:
    __slots__ = ("awake", "task")

    def __init__(self) -> None:
        self.task = current_task()
        self.awake = False

    def wake(self) -> None:
        if not self.awake:
            self.awake = True
            reschedule(self.task)


@enable_ki_protection
async def until(test: Callable[[], T | None], *bells: Bell, pace: Pace) -> T:
    """Waits until ``test()`` is true, looking again whenever one of the bells rings; returns what it gave.

    What the test found is still so when this returns. An error that the test raises yields to a cancellation.
    A cancellation leaves no trace.
    """
    pace.check_thread()
    await pace.checkpoint()
    while not (found := test()):
        sleeper = _Sleeper()
        for bell in bells:
            bell._sleepers[sleeper] = None

        def abort(_: object, sleeper: _Sleeper = sleeper) -> Abort:
            sleeper.awake = True
            return Abort.SUCCEEDED

        try:
            await wait_task_rescheduled(abort)
        finally:
            for bell in bells:
                bell._sleepers.pop(sleeper, None)
        pace.woken()
        await checkpoint_if_cancelled()
    return found


def fixup_module(module: str, names: Mapping[str, Any]) -> None:
    """Lets the public classes and functions among ``names`` go by the public module they are reached by."""
    for name in names["__all__"]:
        value = names[name]
        if getattr(value, "__module__", module).startswith("trimq._"):
            value.__module__ = module
