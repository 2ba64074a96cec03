"""Back-off: how long an attempt to connect may take, when the next one is due, and when there is none any more.

Dialers and datagram connectors share it. It knows trio's clock and an endpoint's settings; it neither waits nor tells.
"""

from __future__ import annotations

import math
import random

import trio

from ._options import Settings

__all__ = ["BackOff"]


class BackOff:
    """The attempts of one endpoint, from now on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._interval = settings.reconnect_interval
        self._deadline = trio.current_time() + settings.give_up_after

    @property
    def limit(self) -> float:
        """Seconds that an attempt which begins now may take."""
        return min(self._settings.connect_timeout, max(0.0, self._deadline - trio.current_time()))

    @property
    def late(self) -> bool:
        """Whether all attempts together have taken ``give_up_after``."""
        return trio.current_time() >= self._deadline

    def connected(self, *, quick: bool) -> None:
        """A connection was there: the time to give up counts anew, and, if ``quick``, so do the pauses."""
        self._deadline = trio.current_time() + self._settings.give_up_after
        if quick:
            self._interval = self._settings.reconnect_interval

    def over(self, cause: Exception) -> bool:
        """Whether, after an attempt that failed by this, there is to be no other."""
        settings = self._settings
        if settings.reconnect_interval == math.inf or self.late:
            return True
        return "refused" in settings.reconnect_stop and _is_refused(cause)

    def pause(self) -> float:
        """Seconds until the next attempt; each pause is longer than the one before, up to ``reconnect_interval_max``."""
        settings, interval = self._settings, self._interval
        self._interval = min(2 * interval, max(settings.reconnect_interval_max, settings.reconnect_interval))
        if not settings.libzmq:
            # Jitter, so that a thousand clients do not come back in one instant.
            interval *= 0.5 + random.random() / 2  # noqa: S311
        elif settings.reconnect_interval_max <= settings.reconnect_interval:
            interval *= 1 + random.random()  # noqa: S311
        return min(interval, self._deadline - trio.current_time())


def _is_refused(cause: BaseException | None) -> bool:
    """Whether a failure to connect is that nobody listens, at any of the addresses."""
    if isinstance(cause, BaseExceptionGroup):
        return all(map(_is_refused, cause.exceptions))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return isinstance(cause, ConnectionRefusedError) or (cause is not None and _is_refused(cause.__cause__))
