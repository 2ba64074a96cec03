"""What a PGM receiver knows of one sender: packets in order, and those that are missing (RFC 3208, 6). Sans-I/O.

Who the sender is, and which packets are its own, is the receiver's business, and so is what is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Final

import attrs

from ._pgm_events import Stream
from ._pgm_settings import BACK_OFF, QUIET_AFTER_LOSS, REPEAT, TRIES
from ._pgm_stream import Unpacker

__all__ = ["ASK", "CONFIRM", "HELD_COST", "KNOCK", "REPAIR", "Round", "Suspect", "Timers", "Window"]

_WRAP = 0xFFFFFFFF
_HALF = 0x80000000
_FIRST_MISSING, _MOST_MISSING = 126, 1008
"""How many packets a window asks for at a time: 2 NAKs' worth, and one more for each that was repaired, up to 16.

The next ones' turn comes as these arrive. A sender that never repairs anything is never asked for much.
"""
_STEPS = 64
"""A window may move by so many packets at once, however small it is; so many are looked for one by one."""

_GAP_COST = 200
HELD_COST = 100
"""What a packet that is held takes beside its own bytes."""


ASK: Final = 0
"""A NAK is to be sent, unless somebody else does it first."""
CONFIRM: Final = 1
"""One was sent; an NCF is to come."""
REPAIR: Final = 2
"""An NCF has come; the data is to come."""
KNOCK: Final = 3
"""An SPM is to come."""


class Round:
    """Packets of one sender that are waited for together, and for what."""

    __slots__ = ("kind", "sqns", "window")

    def __init__(self, window: Window, kind: int, sqns: Sequence[int]) -> None:
        self.window: Window = window
        self.kind: int = kind
        self.sqns: Sequence[int] = sqns


class Timers:
    """When rounds end, the earliest first. A round that has nobody left ends all the same."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Round]] = []
        self._numbers = count()

    @property
    def next(self) -> float:
        """When the first one ends."""
        return self._heap[0][0] if self._heap else math.inf

    def add(self, when: float, what: Round) -> None:
        """Starts a round."""
        heappush(self._heap, (when, next(self._numbers), what))

    def pop(self, now: float) -> Round | None:
        """One that has ended."""
        return heappop(self._heap)[2] if self._heap and self._heap[0][0] <= now else None

    def clear(self) -> None:
        """Forgets all."""
        self._heap.clear()


@attrs.frozen
class Suspect:
    """What one packet said that would move a window by more than it can hold. A second one has to say so, too."""

    sqn: int
    witness: tuple[int, int]
    """The packet's type and number."""
    tsdu: bytes | None
    trail: int
    """The oldest that is to be had, as it says."""


class _Gap:
    """A missing packet: the round that it is in, and how often one has ended in vain."""

    __slots__ = ("confirms", "repairs", "round")

    def __init__(self, its_round: Round) -> None:
        self.round: Round = its_round
        self.confirms: int = 0
        self.repairs: int = 0


class Window:
    """One sender's packets.

    Sequence numbers do not wrap in here: `absolute` makes them from the wire's. Every packet from ``next`` up to ``lead`` is
    held, or missing and known as such, or beyond ``_frontier``, up to which has been looked.

    Args:
      stream: who it is.
      first: the sequence number of the packet that is expected first, as on the wire.
      size: how many packets can be waited for.
      timers: of all windows.
      chance: a number from 0 up to 1 on each call.
      max_message_size: the most bytes in a frame.
      now: the time.
    """

    def __init__(
        self,
        stream: Stream,
        first: int,
        size: int,
        timers: Timers,
        chance: Callable[[], float],
        max_message_size: float,
        now: float,
    ) -> None:
        self.stream = stream
        self._size = size
        self._timers = timers
        self._chance = chance
        self.unpacker = Unpacker(max_message_size)
        self.heard = now
        self.next = (1 << 32) + first
        self.expected = first
        """The packet that is next, as on the wire, while none is missing and none is held; else -1."""
        self.ahead = -1
        """The packet after the newest, as on the wire, while one is missing; else -1."""
        self._lead = self.next - 1
        self._frontier = self.next
        self._held: dict[int, bytes | None] = {}  # None: lost
        self._held_bytes = 0
        self._missing: dict[int, _Gap] = {}
        self._allowed = _FIRST_MISSING
        self.fresh: list[bytes | None] = []
        """What has come in order and was not taken; None: something was lost there."""
        self.lost = 0
        """Packets lost that nobody was told of."""
        self.path: bytes | None = None
        """Where NAKs go, from its SPMs."""
        self.suspect: Suspect | None = None
        self.spm_sqn = -1
        self.spm_at = now
        self.fin = False
        self.knocks = 0
        """How often an SPM was asked for."""
        self.knocked = False
        """Somebody else has done so since."""
        self.counted = 0
        """Its `cost` as the receiver has it."""

    @property
    def lead(self) -> int:
        """The newest packet that is known to be."""
        return self.next - 1 if self.expected >= 0 else self._lead

    @property
    def missing(self) -> int:
        """How many packets it asks for."""
        return len(self._missing)

    @property
    def cost(self) -> int:
        """Some bytes that it takes beside what can be taken."""
        return self._held_bytes + HELD_COST * len(self._held) + _GAP_COST * len(self._missing) + self.unpacker.kept

    def absolute(self, sqn: int) -> int:
        """A sequence number of the wire, as the one that is nearest to what is expected."""
        return self.next + ((sqn - self.next + _HALF) & _WRAP) - _HALF

    def reaches(self, sqn: int) -> bool:
        """Whether a packet up to that one can be waited for."""
        return sqn <= self.lead + max(self._size, _STEPS)

    # what comes

    def data(self, sqn: int, tsdu: bytes | None, now: float) -> bool:
        """Takes a packet (None: one without content that could be used); False: it was there, or is late."""
        if sqn < self.next or sqn in self._held:
            return False
        self._dirty()
        if self._missing.pop(sqn, None) is not None and self._allowed < _MOST_MISSING:
            self._allowed += 1
        if tsdu is None:
            self.lost += 1
        self._held[sqn] = tsdu
        self._held_bytes += len(tsdu or b"")
        self._lead = max(self._lead, sqn)
        if sqn == self._frontier:
            self._frontier += 1
        self._go_on(now)
        return True

    def hold(self, tsdu: bytes, trail: int) -> bool:
        """Takes the packet that ``ahead`` names; False: not so simple, see `data`. ``trail`` is as on the wire."""
        sqn = self._lead + 1
        if sqn - self.next >= self._size or 0 < (trail - self.next) & _WRAP < _HALF:
            return False
        self._held[sqn] = tsdu
        self._held_bytes += len(tsdu)
        self._lead = sqn
        self.ahead = (sqn + 1) & _WRAP
        if sqn == self._frontier:
            self._frontier += 1
        return True

    def there_is(self, lead: int, now: float) -> None:
        """There are packets up to that one."""
        if lead > self.lead:
            self._dirty()
            self._lead = lead
            self._go_on(now)

    def there_is_no_more(self, trail: int, now: float) -> None:
        """Packets before that one cannot be had any more."""
        if trail > self.next:
            self._dirty()
            self._give_up(trail)
            self._go_on(now)

    def confirmed(self, sqns: Iterable[int], now: float) -> None:
        """Somebody has asked for these, and they are on their way."""
        missing = self._missing
        named = [sqn for sqn in dict.fromkeys(sqns) if sqn in missing and missing[sqn].round.kind != REPAIR]
        self._move(Round(self, REPAIR, named), now + REPEAT)

    def give_up_all(self) -> None:
        """Whatever is missing is lost, and so is a message that is not whole."""
        if self.expected < 0:
            self._give_up(self._lead + 1)
            self._settle()
        self.fresh.append(None)

    # rounds

    def living(self, ended: Round) -> list[int]:
        """The packets that are still missing of a round."""
        missing = self._missing
        return [sqn for sqn in ended.sqns if (gap := missing.get(sqn)) is not None and gap.round is ended]

    def asked(self, sqns: Sequence[int], now: float) -> None:
        """A NAK for these was sent."""
        self._move(Round(self, CONFIRM, sqns), now + REPEAT)

    def in_vain(self, ended: Round, now: float) -> None:
        """A round has ended, and its packets, or their NCF, have not come: they are asked for again, or lost."""
        gone = self.fin and now >= self.heard + QUIET_AFTER_LOSS
        again: list[int] = []
        for sqn in self.living(ended):
            gap = self._missing[sqn]
            if ended.kind == REPAIR:
                gap.repairs += 1
            else:
                gap.confirms += 1
            if max(gap.repairs, gap.confirms) < TRIES and not gone:
                again.append(sqn)
            else:
                del self._missing[sqn]
                self._held[sqn] = None
                self.lost += 1
        self._move(Round(self, ASK, again), now + BACK_OFF * self._chance())
        self._go_on(now)

    def _move(self, where: Round, until: float) -> None:
        if where.sqns:
            for sqn in where.sqns:
                self._missing[sqn].round = where
            self._timers.add(until, where)

    # what follows

    def _dirty(self) -> None:
        """From now on, ``_lead`` and ``_frontier`` are looked at."""
        if self.expected >= 0:
            self.expected = -1
            self._lead = self.next - 1
            self._frontier = self.next

    def _go_on(self, now: float) -> None:
        """Whatever is next and held is fresh; a gap that is too wide is given up; what else is missing is asked for."""
        if self._lead - self.next >= self._size:
            self._give_up(self._lead + 1 - self._size)
        held = self._held
        while self.next in held:
            self._freshen(held.pop(self.next))
            self.next += 1
        if self.next > self._lead:
            self._settle()
            return
        self.ahead = (self._lead + 1) & _WRAP
        if self._frontier <= self._lead and len(self._missing) <= self._allowed // 2:
            self._look(now)

    def _settle(self) -> None:
        """Nothing is missing, nothing is held."""
        self.expected, self.ahead = self.next & _WRAP, -1

    def _freshen(self, tsdu: bytes | None) -> None:
        if tsdu is not None:
            self._held_bytes -= len(tsdu)
            self.fresh.append(tsdu)
        elif not self.fresh or self.fresh[-1] is not None:
            self.fresh.append(None)

    def _give_up(self, trail: int) -> None:
        """What is missing before that one is lost."""
        held, missing = self._held, self._missing
        if trail - self.next <= _STEPS:
            had = [sqn for sqn in range(self.next, trail) if sqn in held]
            for sqn in range(self.next, trail):
                missing.pop(sqn, None)
        else:
            had = sorted(sqn for sqn in held if sqn < trail)
            for sqn in [sqn for sqn in missing if sqn < trail]:
                del missing[sqn]
        for sqn in had:
            if sqn > self.next:
                self._freshen(None)
            self._freshen(held.pop(sqn))
            self.lost += sqn - self.next
            self.next = sqn + 1
        if trail > self.next:
            self._freshen(None)
            self.lost += trail - self.next
            self.next = trail
        self._lead = max(self._lead, trail - 1)

    def _look(self, now: float) -> None:
        """Finds what is missing, as many as may be asked for."""
        held, missing = self._held, self._missing
        found: list[int] = []
        sqn = max(self._frontier, self.next)
        room = self._allowed - len(missing)
        while sqn <= self._lead and len(found) < room:
            if sqn not in held:
                found.append(sqn)
            sqn += 1
        self._frontier = sqn
        if found:
            ask = Round(self, ASK, found)
            for one in found:
                missing[one] = _Gap(ask)
            self._timers.add(now + BACK_OFF * self._chance(), ask)
