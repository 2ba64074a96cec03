"""Small tools for waiting that every room with tasks uses.

- `Waiter` and `park`: a call in line for something that will be handed to it.
- `Bell` and `until`: a call that waits for a level, and takes nothing.
- `fixup_module`: public names say in tracebacks where users import them from.

Nothing here knows of sockets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from trio.lowlevel import (
    Abort,
    checkpoint_if_cancelled,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from ._pace import Pace

__all__ = ["Bell", "Waiter", "fixup_module", "new_line", "park", "until"]

T = TypeVar("T")


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
