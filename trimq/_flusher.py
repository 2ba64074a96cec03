"""Flusher: writes what waits on a context's links, without waiting, many links in one step.

A link whose stream can be written without waiting (`Direct`) has nothing to do but ask to be flushed; what the system
does not take is its writer's to deal with. How links encode and write is not known here, only when they should.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import NoReturn, Protocol

import trio
from trio.lowlevel import Abort, checkpoint, current_task, reschedule, wait_task_rescheduled

from ._pace import Pace

__all__ = ["Flusher"]

_COST = 20e-6  # seconds: about what one write takes, wherever it goes
_LONGEST = 2e-3  # seconds that a message waits at most to be written together with others
_SLICE = 250e-6  # seconds of writing between two looks at what else there is to do


class Flushable(Protocol):
    """A link, as it is known here."""

    def much(self) -> bool:
        """Whether so much waits that no more could be written together with it."""
        ...

    def flush(self) -> None:
        """Writes what waits."""


class Flusher:
    """One for each context.

    While calls are only interrupted, and have more to do, writing can wait: a server that answers a hundred
    clients in turn would write one message to each, and then the next to each. It waits for no longer than the
    writes that it may save would take.
    """

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._links: list[Flushable] = []
        self._task: trio.lowlevel.Task | None = None

    def add(self, link: Flushable) -> None:
        """The link has something to write, and will be flushed once."""
        self._links.append(link)
        if self._task is not None:
            reschedule(self._task)
            self._task = None

    async def run(self) -> NoReturn:
        """Flushes, for as long as the context has services."""
        turn = perf_counter()  # since others could run
        while True:
            if not self._links:
                await self._park()
                turn = perf_counter()
            since = perf_counter()
            while self.pace.busy and perf_counter() - since < min(_LONGEST, _COST * len(self._links)):
                for link in self._take(lambda link: link.much()):
                    link.flush()
                await checkpoint()
                turn = perf_counter()
            for link in self._take(lambda link: True):
                link.flush()
                if perf_counter() - turn > _SLICE:
                    await checkpoint()
                    turn = perf_counter()

    def _take(self, which: Callable[[Flushable], bool]) -> list[Flushable]:
        """Takes links out; those that ask again while they are flushed come after all others."""
        links, self._links = self._links, []
        taken: list[Flushable] = []
        for link in links:
            (taken if which(link) else self._links).append(link)
        return taken

    async def _park(self) -> None:
        self._task = current_task()

        def abort(_: object) -> Abort:
            self._task = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
