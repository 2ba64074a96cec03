"""Heart: when a context's links ping their peers, and which silence means that a peer is gone (RFC 37; design.md 2).

One task for all links of a context, and none as long as no link has anything to watch. A link's reader only notes when
something came: all else is found out when it is time to look. How a PING is written, and how a connection ends, is the
link's business.

Who stands at its high-water mark reads nothing, neither messages nor PINGs nor their answers. So nobody is taken for dead
while our own reader is held back, and while it is, we send PINGs of our own: to a peer that waits for an answer
any of them is a sign of life. (libzmq does neither: its own reader's high-water mark makes it end good connections.)
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from heapq import heapify, heappop, heappush
from itertools import count
from time import perf_counter
from typing import NoReturn, Protocol

import trio
from trio.lowlevel import checkpoint

from ._options import Settings
from ._pace import Pace
from ._pipe import Pipe
from ._util import Waiter, park

__all__ = ["Echoes", "Heart", "Pulse"]

_NOTHING = -math.inf  # when something came, if nothing did
_LEAST = 1e-3  # seconds, libzmq's unit: between two PINGs
_GRAIN = 10e-3  # seconds between two looks: those of many links together
_SLICE = 250e-6  # seconds of looking before others may run
_TICKS = 3  # in which whoever has something to read reads it: a program that stood still has heard nothing until then
_STILL = 0.1  # of a period: how late a look can be that shows that one is over
_FEW = 64  # entries that need not be tidied up


class Beating(Protocol):
    """A link, as it is known here."""

    @property
    def peer_pings(self) -> bool:
        """Whether the peer has sent PINGs on this connection."""
        ...

    def ping(self) -> None:
        """Sends a PING as soon as anything can be written."""

    def expire(self, error: TimeoutError) -> None:
        """Ends the connection."""


class Heart:
    """One for each context.

    Args:
      spawn: starts a service of the context.
    """

    def __init__(self, spawn: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        self._spawn = spawn
        self._runs = False
        self._scope: trio.CancelScope | None = None  # of the sleep
        self._awake = -math.inf  # when it was last
        self._heap: list[tuple[float, int, Pulse]] = []
        self._numbers = count()
        self._stale = 0  # entries in the heap whose pulse is to be looked at earlier, or never

    def schedule(self, pulse: Pulse, due: float) -> None:
        """Looks at the pulse at this time, unless that is to be done earlier anyway."""
        if due >= pulse.due:
            return
        if pulse.due < math.inf:
            self.stale()
        pulse.due = due
        heappush(self._heap, (due, next(self._numbers), pulse))
        if not self._runs:
            self._runs = True
            self._spawn(self.run)
        elif self._scope is not None:
            self._scope.deadline = self._next()

    def stale(self) -> None:
        """An entry means nothing any more."""
        self._stale += 1
        if self._stale > _FEW and 2 * self._stale > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].due]
            heapify(self._heap)
            self._stale = 0

    def _next(self) -> float:
        return max(self._heap[0][0], self._awake + _GRAIN) if self._heap else math.inf

    async def run(self) -> NoReturn:
        """Looks at each pulse when it is due, for as long as the context has services."""
        while True:
            with trio.CancelScope(deadline=self._next()) as self._scope:
                await trio.sleep_forever()
            self._scope = None
            for _ in range(_TICKS):
                await checkpoint()
            self._awake = now = trio.current_time()
            turn = perf_counter()
            while self._heap and self._heap[0][0] <= now:
                due, _, pulse = heappop(self._heap)
                if due != pulse.due:
                    self._stale -= 1
                    continue
                pulse.due = math.inf
                self.schedule(pulse, pulse.beat(now, now - due))
                if perf_counter() - turn > _SLICE:
                    await checkpoint()
                    turn = perf_counter()


class Pulse:
    """What one link has heard of its peer.

    Args:
      heart: looks at it when it is due.
      link: whose it is.
      settings: the socket's options, as they were at bind or connect.
      now: the time.
      pings: whether the peer can be sent PINGs.

    Attributes:
      heard: when something came; the link's reader sets it at each read.
      held_back: the reader does not read, for there is no room for what came before; see `hold` and `resume`.
      due: when the heart looks at it; math.inf for never.
    """

    __slots__ = (
        "_announced",
        "_every",
        "_gap",
        "_heart",
        "_last",
        "_link",
        "_pinged",
        "_regular",
        "_sent",
        "_settings",
        "_their_ping",
        "_ttl",
        "due",
        "heard",
        "held_back",
    )

    def __init__(self, heart: Heart, link: Beating, settings: Settings, now: float, *, pings: bool) -> None:
        self._heart = heart
        self._link: Beating | None = link
        self._settings = settings
        # Who announces a TTL has to be heard within it, whatever the peer sends (libzmq pings anyhow).
        ttl = settings.heartbeat_ttl
        self._regular = settings.libzmq or ttl > 0
        self._every = math.inf
        if pings and settings.heartbeat_interval < math.inf:
            self._every = max(_LEAST, settings.heartbeat_interval)
            if ttl and not settings.libzmq:
                self._every = min(self._every, ttl / 2)
        self._last = now  # when something was heard that has been seen here
        self._sent = now  # when the last PING was
        self._pinged = math.inf  # when the first PING was sent that nothing has come after
        self._ttl = 0.0  # what the peer's last PING announced,
        self._announced = math.inf  # and when, if nothing has come after it
        self._their_ping = _NOTHING
        self._gap = math.inf  # the shortest time between two of the peer's PINGs
        self.heard: float = _NOTHING
        self.held_back: bool = False
        self.due: float = math.inf
        heart.schedule(self, now + self._every)

    @property
    def _every_held_back(self) -> float:
        """Seconds between PINGs while the reader is held back: often enough for a peer that does as we do, or, in its own
        time, as libzmq does, which by default waits for an answer as long as between two PINGs.
        """
        return min(self._every, self._gap) / 2 if self._every < math.inf else math.inf

    @property
    def _patience(self) -> float:
        """Seconds from a PING to the end, if nothing comes."""
        settings = self._settings
        if settings.heartbeat_timeout is not None:
            return settings.heartbeat_timeout
        # A peer that sends PINGs does so whatever its reader does; another may only have no room for ours.
        assert self._link is not None
        return settings.heartbeat_interval if settings.libzmq or self._link.peer_pings else math.inf

    def hold(self, now: float) -> None:
        """The reader stops, until there is room."""
        self.held_back = True
        self._heart.schedule(self, now + self._every_held_back)

    def resume(self, now: float) -> None:
        """The reader goes on: what it finds, if there was anything, counts from now."""
        self.held_back = False
        if self.heard > _NOTHING:
            self.heard = now
            return
        self._last = now
        if self._pinged < math.inf:
            self._pinged = now
            self._heart.schedule(self, now + self._patience)
        if self._announced < math.inf:
            self._announced = now
            self._heart.schedule(self, now + self._ttl)

    def announced(self, ttl: float) -> None:
        """The peer has sent a PING: if nothing comes after it for so many seconds, the peer is gone; 0 does not say."""
        self._see()
        now = self._last
        if (gap := now - self._their_ping) >= 2 * _GRAIN:  # else they were read late, together
            self._gap = min(self._gap, gap)
        self._their_ping = now
        self._ttl, self._announced = ttl, now if ttl else math.inf
        self._heart.schedule(self, self._announced + ttl)

    def _see(self) -> None:
        """Takes note of what was heard."""
        if self.heard > _NOTHING:
            self._last, self.heard = self.heard, _NOTHING
            self._pinged = self._announced = math.inf

    def beat(self, now: float, late: float = 0.0) -> float:
        """Does what was due so many seconds ago; returns when to look again, unless a call makes that earlier."""
        link = self._link
        assert link is not None
        self._see()
        if not self.held_back and (error := self._end(now, late)) is not None:
            link.expire(error)
            return math.inf
        every = self._every_held_back if self.held_back else self._every
        since = self._sent if self._regular or self.held_back else max(self._sent, self._last)
        if now >= since + every:
            link.ping()
            since = self._sent = now
            self._pinged = min(self._pinged, now)
        if self.held_back:
            return since + every
        return min(since + every, self._pinged + self._patience, self._announced + self._ttl)

    def _end(self, now: float, late: float) -> TimeoutError | None:
        """Why the peer is taken for dead, if it is.

        Where our own program stood still, the period begins anew: our PING may not even have been written.
        """
        patience = self._patience
        if now >= self._announced + self._ttl:
            if late <= _STILL * self._ttl + _GRAIN:
                return TimeoutError(f"nothing came for the {self._ttl} s that the peer announced")
            self._announced = now
        if now >= self._pinged + patience:
            if late <= _STILL * patience + _GRAIN:
                return TimeoutError(f"no answer to a PING within {patience:g} s")
            self._pinged = now
        return None

    def stop(self) -> None:
        """The link has ended."""
        if self.due < math.inf:
            self.due = math.inf
            self._heart.stale()
        self._link = None


class Echoes:
    """Who waits on one link for the answers to PINGs of their own.

    Args:
      outbox: the link's.
      pace: the run's.
    """

    def __init__(self, outbox: Pipe, pace: Pace) -> None:
        self._outbox = outbox
        self._pace = pace
        self._line: dict[Waiter, None] = {}  # each wants so many messages to be written, or a context to come back
        self._on_passed = outbox.on_passed
        self._number = 0
        self._ended = False

    async def written(self) -> bool:
        """Waits until all is written that is queued now; returns whether the link is still there then."""
        outbox = self._outbox
        if not len(outbox):
            return True
        outbox.on_passed = self._passed
        written = await park(Waiter(outbox.passed + len(outbox), self._pace), self._line)
        return written and not self._ended

    def new_context(self) -> bytes:
        """A context for a PING, 8 bytes that this link has not had before."""
        self._number += 1
        return self._number.to_bytes(8, "big")

    async def answer(self, context: bytes) -> bool:
        """Waits for the PONG with this context; returns whether it has come before the link ended."""
        return bool(await park(Waiter(context, self._pace), self._line))

    def heard(self, context: bytes) -> None:
        """A PONG has come."""
        self._serve([waiter for waiter in self._line if waiter.want == context], True)

    def _passed(self) -> None:
        """A batch was written."""
        outbox = self._outbox
        self._on_passed()
        done = outbox.passed if len(outbox) else math.inf
        counting = [waiter for waiter in self._line if isinstance(waiter.want, int)]
        written = [waiter for waiter in counting if waiter.want <= done]
        self._serve(written, True)
        if len(written) == len(counting):
            outbox.on_passed = self._on_passed

    def end(self) -> None:
        """The link has ended."""
        self._ended = True
        if self._outbox.on_passed == self._passed:
            self._outbox.on_passed = self._on_passed
        self._serve(list(self._line), False)

    def _serve(self, waiters: list[Waiter], result: bool) -> None:
        for waiter in waiters:
            del self._line[waiter]
            waiter.serve(result)
