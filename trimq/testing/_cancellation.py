"""Cancellation, at every moment: runs a scenario again and again, and cancels it a little later each time.

Each run goes the way of the one before, up to the moment of its cancellation: whatever is random is seeded, the clock is
trio's mock one, work takes no time as far as trimq can see, and every call of trimq is a full checkpoint. Nothing here
knows of pytest.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal, Unpack

import trio
from trio.lowlevel import Task, current_task
from trio.testing import MockClock

from .._abc import Transport
from .._context import Context, open_context
from .._options import AnyOptions
from ._memory import MemoryTransport

__all__ = ["Trial", "cancel_everywhere"]


class Trial:
    """One run of a scenario; made by `cancel_everywhere`."""

    def __init__(self, context: Context, moments: _Moments) -> None:
        self._context = context
        self._moments = moments

    @property
    def context(self) -> Context:
        """A context of this run's own, in which every call is a full checkpoint."""
        return self._context

    @contextmanager
    def cancelling(self) -> Generator[trio.CancelScope, None, None]:
        """The block that is cancelled: ``with trial.cancelling() as scope:``, once in each scenario.

        Gives the block's cancel scope, whose ``cancelled_caught`` tells, after the block, whether the cancellation ended it.
        Only what runs in the block is cancelled, nurseries opened in it included; tasks started before live on.

        Raises:
          RuntimeError: the scenario has had such a block already.
        """
        with trio.CancelScope() as scope:
            self._moments.enter(scope)
            try:
                yield scope
            finally:
                self._moments.leave()


class _Moments(trio.abc.Instrument):
    """Counts the moments at which a trial's block can be cancelled, and cancels it at one of them.

    Args:
      target: the number of that moment, from 1 on; None for none.
      meanwhile: whether each step of another task, while the block waits, is a moment too.
    """

    def __init__(self, target: int | None, *, meanwhile: bool) -> None:
        self.count: int = 0
        self.where: str = "nowhere"  # the target was not reached
        self._target = target
        self._meanwhile = meanwhile
        self._entered = False
        self._scope: trio.CancelScope | None = None
        self._task: Task | None = None
        self._outside: tuple[trio.Nursery, ...] = ()
        self._runnable: set[Task] = set()

    @property
    def entered(self) -> bool:
        """Whether there was a block."""
        return self._entered

    def enter(self, scope: trio.CancelScope) -> None:
        """The block begins."""
        if self._entered:
            raise RuntimeError("a scenario has one block that is cancelled: trial.cancelling() was entered twice")
        self._entered = True
        self._scope = scope
        self._task = current_task()
        self._outside = tuple(self._task.child_nurseries)
        self._moment("as it begins", self._task)

    def leave(self) -> None:
        """The block has ended."""
        self._scope = None

    # What trio calls

    def task_scheduled(self, task: Task) -> None:
        self._runnable.add(task)

    def before_task_step(self, task: Task) -> None:
        # A cancellation in the same tick, by whatever ran before: the task cannot tell which moment of the tick it was.
        if self._scope is not None and self._within(task):
            self._moment("woken", task)
        self._runnable.discard(task)

    def after_task_step(self, task: Task) -> None:
        if self._scope is None:
            return
        if self._within(task):
            if task not in self._runnable:  # else it only yields, and is cancelled when it is woken
                self._moment("waiting", task)
        elif self._meanwhile and self._task is not None and not any(map(self._within, self._runnable)):
            self._moment(f"waiting, after a step of {task.name}", self._task)

    def _within(self, task: Task) -> bool:
        """Whether the task runs in the block."""
        while task is not self._task:
            nursery = task.parent_nursery
            if nursery is None or nursery in self._outside:
                return False
            task = nursery.parent_task
        return True

    def _moment(self, how: str, task: Task) -> None:
        self.count += 1
        if self.count == self._target and self._scope is not None:
            self.where = f"{how}, at {_place(task)}"
            self._scope.cancel()


def _place(task: Task) -> str:
    """Where a task stands, in the words of whoever wrote the scenario: their innermost line, and what it called."""
    frames = [(frame, line) for frame, line in task.iter_await_frames()]
    own = [number for number, (frame, _) in enumerate(frames) if _is_users(frame)]
    if not own:  # it runs: it is entering its block
        running = sys._getframe()
        while not _is_users(running) and running.f_back is not None:
            running = running.f_back
        return _line(running, running.f_lineno)
    here = _line(*frames[own[-1]])
    below = frames[own[-1] + 1 :]
    return f"{here}, in {below[0][0].f_code.co_qualname}" if below else here


def _is_users(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] not in ("trio", "trimq", "contextlib")


def _line(frame: FrameType, line: int) -> str:
    return f"{os.path.basename(frame.f_code.co_filename)}:{line}, in {frame.f_code.co_qualname}"


def _scheduler() -> Any:
    """trio's run loop, whose order of tasks in a tick has no public switch: pytest-trio sets the same names.

    Raises:
      RuntimeError: this trio does not have them.
    """
    scheduler: Any = importlib.import_module("trio._core._run")
    missing = [name for name in ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING") if not hasattr(scheduler, name)]
    if missing:
        raise RuntimeError(
            f"runs cannot be made to repeat with trio {trio.__version__}, whose run loop has no {', '.join(missing)}: "
            "use an older trio, or a trimq that knows this one"
        )
    return scheduler


@contextmanager
def _repeatable(seed: int) -> Generator[None, None, None]:
    """Chance, the order in which trio runs the tasks of a tick, and what trimq measures of time are the same each time."""
    scheduler = _scheduler()
    shuffler = scheduler._r
    state, order, sort = random.getstate(), shuffler.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    # Work is portioned by how long it took, so that on a busy machine a link yields once more: here it takes no time.
    clocks = [
        (module, name, getattr(module, name))
        for path, module in list(sys.modules.items())
        if path.startswith("trimq.")
        for name in ("perf_counter", "thread_time")
        if hasattr(module, name)
    ]
    random.seed(seed)
    shuffler.seed(seed)
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    for module, name, _ in clocks:
        setattr(module, name, _no_time)
    try:
        yield
    finally:
        for module, name, clock in clocks:
            setattr(module, name, clock)
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = sort
        shuffler.setstate(order)
        random.setstate(state)


def _no_time() -> float:
    return 0.0


def _network() -> Iterable[Transport]:
    return [MemoryTransport()]


def cancel_everywhere(
    scenario: Callable[[Trial], Awaitable[object]],
    *,
    only: int | None = None,
    meanwhile: bool = False,
    checkpoints: Literal["every", "amortised"] = "every",
    seed: int = 0,
    limit: float = 3600.0,
    transports: Callable[[], Iterable[Transport]] = _network,
    **options: Unpack[AnyOptions],
) -> int:
    """Runs a scenario, and cancels a block of it at its n-th checkpoint, for every n until the block ends uncancelled.

    A scenario sets up what it needs, does in ``with trial.cancelling():`` what is to be cancelled, and then checks, by
    ``assert`` or in any other way that raises, what the cancellation has left::

        async def scenario(trial):
            push, pull = trial.context.socket(trimq.Push), trial.context.socket(trimq.Pull)
            push.connect(pull.bind("inproc://jobs"))
            await push.send_many([b"1", b"2", b"3"])
            done = []
            with trial.cancelling():
                await my_worker(pull, done)
            assert done + drain(pull) == [b"1", b"2", b"3"]


        cancel_everywhere(scenario)

    Each checkpoint is tried in two ways: the block is cancelled while it waits there, and in the very tick in which it has
    been woken, when a call that was handed its result must return it all the same. Both are moments, and so is the
    block's beginning; failures are told by a moment's number. Each run is a ``trio.run`` of its own on trio's autojump
    clock, so call this from a plain function; files, real sockets and threads do not belong into a scenario.

    Args:
      scenario: an async function that is given a `Trial`. It must take the same steps each time: see ``seed``.
      only: the number of one moment, to repeat just that.
      meanwhile: whether to cancel also after each step that another task takes while the block waits. It takes as many
        runs more as there are such steps.
      checkpoints: as for ``open_context``. With ``"amortised"``, as programs run by default, a call that need not wait is
        no checkpoint of its own; there are fewer moments.
      seed: for Python's random numbers, and for the order in which trio runs the tasks of a tick; another seed tries
        another order.
      limit: seconds, of the mock clock, that a run may take; one that hangs fails then.
      transports: makes the transports of each run; by default a `MemoryTransport`, which stands in for tcp.
      options: options for the context's sockets, as for ``open_context``.

    Returns:
      how many moments there were.

    Raises:
      AssertionError: the scenario failed. Says at which moment, where the block stood, and how to repeat just that.
        Its ``__cause__`` is what the scenario raised.
      RuntimeError: the scenario does not repeat: two runs that were not cancelled differ in their number of moments, or a
        moment did not come again. Or it has no such block, or two. Or this trio has no way to make runs repeat.
      ValueError: there is no moment ``only``.
    """
    _scheduler()  # before anything runs

    def run(target: int | None) -> _Moments:
        moments = _Moments(target, meanwhile=meanwhile)

        async def main() -> None:
            with trio.fail_after(limit):
                async with open_context(transports=transports(), checkpoints=checkpoints, **options) as context:
                    await scenario(Trial(context, moments))

        try:
            with _repeatable(seed):
                trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[moments])
        except BaseException as error:
            repeat = _arguments(target, meanwhile=meanwhile, checkpoints=checkpoints, seed=seed)
            told = _tell(target, moments, total, repeat)
            if not isinstance(error, Exception):  # KeyboardInterrupt, and test frameworks' own ways to end a test
                error.add_note(told)
                raise
            if moments.entered or target is not None:
                raise AssertionError(f"{told}\nIt raised {error!r}.") from error
            raise
        if not moments.entered:
            raise RuntimeError("the scenario has no block that can be cancelled: write `with trial.cancelling():`")
        return moments

    total: int | None = None
    if only is not None:
        if only < 1 or run(only).count < only:
            raise ValueError(f"the scenario has no moment {only}")
        return 1
    total, again = run(None).count, run(None).count
    if total != again:
        raise RuntimeError(
            f"the scenario does not repeat: its block has {total} moments in one run and {again} in another; "
            "see that it uses no clock but trio's, no real sockets, no threads, and leaves nothing behind"
        )
    for target in range(1, total + 1):
        if run(target).count < target:
            raise RuntimeError(f"the scenario does not repeat: moment {target} of {total} did not come again")
    return total


def _arguments(target: int | None, *, meanwhile: bool, checkpoints: str, seed: int) -> str:
    """The arguments beside the scenario that repeat a run."""
    arguments = ["" if target is None else f"only={target}"]
    arguments += ["meanwhile=True"] * meanwhile
    arguments += [f'checkpoints="{checkpoints}"'] * (checkpoints != "every") + [f"seed={seed}"] * (seed != 0)
    return ", ".join(filter(None, arguments))


def _tell(target: int | None, moments: _Moments, total: int | None, arguments: str) -> str:
    if target is None:
        return "The scenario fails without any cancellation."
    of = "" if total is None else f" of {total}"
    return (
        f"The scenario fails when it is cancelled at moment {target}{of} ({moments.where}).\n"
        f"To repeat just this: cancel_everywhere(scenario, {arguments})"
    )
