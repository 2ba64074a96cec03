"""What Sub, XSub and Dish have in common: they filter what comes in, and tell their peers what they want."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import trio

from .._errors import alone
from .._remote import FilteredPipe
from ._flow import Received_co
from ._patterns import FairQueued
from ._socket import Socket

__all__ = ["Filtering", "confirmed"]

P = ParamSpec("P")
T = TypeVar("T")


class Filtering(FairQueued[Received_co]):
    """Leaves out what it does not want, as it comes, and looks again at what waits when it wants less."""

    def _choose_takes(self) -> None:
        """Sets how messages are taken; a type may take them otherwise."""
        self._take, self._take_many, self._receivable = self._fair.take, self._fair.take_many, self._fair.ready

    def _refilter_soon(self) -> None:
        """Looks again at all that waits: soon, or before anything is taken, once for all changes of this tick."""
        if self._fair.sources():
            self._fair.recall()
            trio.lowlevel.current_trio_token().run_sync_soon(self._refilter, idempotent=True)
            self._choose_takes()
            self._take = self._refiltered(self._take)
            self._take_many = self._refiltered(self._take_many)
            self._receivable = self._refiltered(self._receivable)

    def _refiltered(self, strategy: Callable[P, T]) -> Callable[P, T]:
        def first(*args: P.args, **kwargs: P.kwargs) -> T:
            self._refilter()
            return strategy(*args, **kwargs)

        return first

    def _refilter(self) -> None:
        if not self._closed and not self._terminated:
            self._fair.recall()
            self._choose_takes()
            for remote in self._fair.sources():
                assert isinstance(remote.inbox, FilteredPipe)
                remote.inbox.refilter()


async def confirmed(socket: Socket) -> bool:
    """Waits until the peers that are there now have read all that was queued for them before.

    Returns:
      whether all of them have; one that goes away meanwhile, or cannot say so (ZMTP 3.0), has not.

    Raises:
      ContextTerminated, SocketClosed: the socket has ended.

    A cancellation leaves no trace.
    """
    await socket._pace.checkpoint()
    socket._check_open()
    answers: list[bool] = []

    async def ask(confirm: Callable[[], Awaitable[bool]]) -> None:
        answers.append(await confirm())

    try:
        async with trio.open_nursery() as nursery:
            for remote in socket._remotes:
                if remote.confirm is not None:
                    nursery.start_soon(ask, remote.confirm)
    except BaseExceptionGroup as group:  # KeyboardInterrupt, for nothing else is raised in there
        error = alone(group)
        assert error is not None
        raise error from None
    await trio.lowlevel.checkpoint_if_cancelled()
    socket._check_open()
    return all(answers)
