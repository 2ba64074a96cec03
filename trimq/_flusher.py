"""Flusher: writes what waits on a context's links, without waiting, many links in one step.

A link whose stream can be written without waiting (`Direct`) has nothing to do but ask to be flushed; what the system
does not take is its writer's to deal with. How links encode and write is not known here, only when they should.
"""

from __future__ import annotations

from time import perf_counter
from typing import NoReturn, Protocol

import trio
from trio.lowlevel import Abort, checkpoint, current_task, reschedule, wait_task_rescheduled

from ._util import Pace

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
        pace = self.pace
        while True:
            if not self._links:
                await self._park()
            start = perf_counter()
            while pace.busy and perf_counter() - start < min(_LONGEST, _COST * len(self._links)):
                self._links = [link for link in self._links if not self._flushed(link)]
                await checkpoint()
            links, self._links = self._links, []
            start = perf_counter()
            for link in links:
                link.flush()
                if perf_counter() - start > _SLICE:
                    await checkpoint()
                    start = perf_counter()

    @staticmethod
    def _flushed(link: Flushable) -> bool:
        much = link.much()
        if much:
            link.flush()
        return much

    async def _park(self) -> None:
        self._task = current_task()

        def abort(_: object) -> Abort:
            self._task = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
