"""Connections in memory: what happens to bytes between two ends, and when.

Who reaches whom is the business of `MemoryTransport`. No task carries the bytes: each piece is given the moment at which
it arrives, and whoever looks, or waits with that moment as the deadline, finds what has arrived by then. A connection
on a network without latency and faults does none of this: its bytes are there as soon as they are sent.
"""

from __future__ import annotations

import math
from collections import deque
from random import Random

import attrs
import trio
from trio.lowlevel import ParkingLot

__all__ = ["EOF", "GONE", "Conditions", "Connection", "Way", "tear"]

# Linux's, as they are unless somebody has changed them; seconds.
_UNANSWERED = 924.6  # tcp_retries2=15: how long bytes are sent again and again
_UNHEARD = 7200.0 + 9 * 75.0  # tcp_keepalive_time, then the probes: how long a connection may be silent
_SEGMENT = 1460  # bytes that arrive together, where that takes time

EOF, GONE = "eof", "gone"  # what arrives behind the last byte: nothing follows; nobody reads here


def tear(random: Random, length: int) -> int:
    """How long a piece of this is: as often of one byte as of half of it."""
    return min(length, random.randint(1, 1 << int((length.bit_length() + 1) * random.random())))


@attrs.frozen
class Conditions:
    """How a network is."""

    buffer: int
    latency: float
    bandwidth: float
    torn: bool
    seed: int


class Way:
    """One direction of a connection: bytes that are under way, bytes that have arrived, and who waits."""

    __slots__ = (
        "arrived", "closed", "data", "deaf", "ended", "flying", "free_at", "last", "lost", "readers", "refused", "stuck",
        "tear_reads", "tear_writes", "under_way", "writers",
    )  # fmt: skip

    def __init__(self, tear_writes: Random | None, tear_reads: Random | None) -> None:
        self.data: bytearray = bytearray()  # arrived, not read yet
        self.flying: deque[tuple[float, bytes | str]] = deque()  # and when it arrives
        self.under_way: int = 0  # bytes of that
        self.free_at: float = 0.0  # when the last byte has been put on the wire
        self.arrived: int = 0  # bytes, ever
        self.last: float = math.inf  # with this byte the connection is lost
        self.lost: bool = False  # bytes that were sent did not arrive
        self.ended: bool = False  # the reader knows that nothing will follow
        self.refused: bool = False  # the writer knows that nobody reads
        self.closed: bool = False  # the reader has closed
        self.deaf: bool = False  # the reader's end is gone without a word
        self.stuck: float = math.inf  # since when bytes are not answered
        self.readers: ParkingLot = ParkingLot()
        self.writers: ParkingLot = ParkingLot()
        self.tear_writes: Random | None = tear_writes
        self.tear_reads: Random | None = tear_reads

    def __len__(self) -> int:
        return len(self.data) + self.under_way

    def wake(self) -> None:
        """Lets everybody look again."""
        self.readers.unpark_all()
        self.writers.unpark_all()


class Connection:
    """Two ways, and how they end.

    Args:
      conditions: how the network is.
      name: what the random pieces of this connection follow from, beside the seed.
      hosts: where the connecting and the accepting end are.
      keepalive: whether they probe a silent peer.
    """

    def __init__(self, conditions: Conditions, name: str, hosts: tuple[str, str], keepalive: tuple[bool, bool]) -> None:
        self.conditions: Conditions = conditions
        self.hosts: tuple[str, str] = hosts
        self.broken: bool = False
        self.plain: bool = not conditions.latency and conditions.bandwidth == math.inf  # what is sent is there
        self._held = math.inf  # since when nothing passes
        self._keepalive = keepalive
        self._silent = False  # an end has vanished: nothing will pass ever again
        there, again, back, forth = (
            Random(f"{conditions.seed} {name} {use}") if conditions.torn else None  # noqa: S311
            for use in ("sent there", "received there", "sent back", "received back")
        )
        self.ways: tuple[Way, Way] = (Way(there, again), Way(back, forth))

    @property
    def over(self) -> bool:
        """Whether nothing can happen on it any more."""
        return self.broken or all(way.closed or way.deaf for way in self.ways)

    def other(self, way: Way) -> Way:
        """The way back."""
        return self.ways[self.ways[0] is way]

    def most(self, way: Way, wanted: int) -> int:
        """How many bytes of those that somebody wants to send may be put now, in one piece."""
        room = self.conditions.buffer - len(way.data) - way.under_way
        if way.tear_writes is not None:
            room = min(room, wanted)
            room = tear(way.tear_writes, room) if room > 0 else 0
        return room if self.conditions.bandwidth == math.inf else min(room, _SEGMENT)

    def full(self, way: Way, *, waiting: bool = False) -> bool:
        """Whether a sender has to wait.

        Where bytes travel, or are torn, who waits does so until half is free: else each small read would let a small
        piece in, for ever (in tcp, the silly window syndrome).
        """
        buffer = self.conditions.buffer
        halves = waiting and (self.conditions.torn or not self.plain)
        return len(way) > (buffer // 2 if halves else buffer - 1)

    def put(self, way: Way, piece: bytes | memoryview | str) -> None:
        """Sends a piece, or one of the marks behind the last."""
        if self.plain:
            if isinstance(piece, str):
                self._land(way, piece)
                self.other(way).writers.unpark_all()
            else:
                way.data += piece
                way.arrived += len(piece)
            way.readers.unpark_all()
            return
        now = trio.current_time()
        piece = piece if isinstance(piece, str) else bytes(piece)
        if not way.flying or isinstance(piece, str) or self._held < math.inf:
            way.wake()
            self.other(way).wake()  # they have to look at another moment now
        way.free_at = max(way.free_at, now)
        self._fly(way, piece)
        if not isinstance(piece, str):
            way.under_way += len(piece)
        if self._held < math.inf:
            way.stuck = min(way.stuck, now)
        self._arrive(now)

    def _fly(self, way: Way, piece: bytes | str) -> None:
        if not isinstance(piece, str):
            way.free_at += len(piece) / self.conditions.bandwidth
        way.flying.append((way.free_at + self.conditions.latency, piece))

    def advance(self) -> None:
        """Lets everything have happened that has happened by now."""
        if not self.plain:
            if self._held < math.inf:
                self._give_up()
            else:
                self._arrive(trio.current_time())

    def _arrive(self, now: float) -> None:
        if self._held < math.inf:
            return
        for way in self.ways:
            came = False
            while way.flying and way.flying[0][0] <= now:
                self._land(way, way.flying.popleft()[1])
                came = True
            if came:
                way.readers.unpark_all()
                if self.other(way).refused:
                    self.other(way).wake()

    def _land(self, way: Way, piece: bytes | str) -> None:
        if isinstance(piece, str):
            way.ended = True
            self.other(way).refused |= piece is GONE
            return
        way.under_way -= len(piece)
        if way.deaf:
            self.lose()  # an end that has given up answers with a reset
        elif not way.closed:
            rest = way.last - way.arrived
            way.lost = len(piece) > rest
            way.data += piece[: int(rest)] if way.lost else piece
            way.arrived += len(piece)
            if way.arrived >= way.last:
                self.lose()

    def lose_after(self, way: Way, count: int) -> None:
        """Loses the connection with this byte of that way."""
        self.advance()
        way.last = count
        self.plain = False
        if way.arrived >= count:
            self.lose()

    def lose(self) -> None:
        """Ends it for both: what has arrived may still be read."""
        self.plain = False
        self.broken = True
        for way in self.ways:
            way.lost = way.lost or way.under_way > 0
            way.flying.clear()
            way.under_way = 0
            way.wake()

    def hold(self) -> None:
        """From now on nothing passes."""
        if self._held == math.inf:
            self.advance()
            self.plain = False
            self._held = trio.current_time()
            for way in self.ways:
                if way.flying:
                    way.stuck = self._held
                way.wake()

    def release(self) -> None:
        """What was held is sent again."""
        if self._held == math.inf or self._silent:
            return
        self._give_up()
        self._held = math.inf
        now = trio.current_time()
        for way in self.ways:
            way.stuck = math.inf
            way.free_at = now
            pieces = [piece for _, piece in way.flying]
            way.flying.clear()
            for piece in pieces:
                self._fly(way, piece)
            way.wake()
        self._arrive(now)

    def vanish(self, incoming: Way) -> None:
        """The end that reads here is gone without a word."""
        self.hold()
        self._silent = True
        incoming.deaf = True
        incoming.data.clear()
        incoming.wake()
        self.other(incoming).wake()

    def _patience(self, outgoing: Way) -> float:
        """When the end that writes here gives up."""
        unheard = self._held + _UNHEARD if self._keepalive[outgoing is self.ways[1]] else math.inf
        return min(outgoing.stuck + _UNANSWERED, unheard)

    def _give_up(self) -> None:
        """An end that has waited for an answer for too long takes the other for dead."""
        now = trio.current_time()
        for way in self.ways:
            if now >= self._patience(way) and not self.other(way).deaf:
                self.other(way).deaf = True
                self.other(way).wake()
                way.wake()

    def next_moment(self, way: Way, *, reading: bool) -> float:
        """When who reads or writes there has to look again, unless somebody wakes it before."""
        if self.plain:
            return math.inf
        if self._held < math.inf:
            return min((self._patience(way) for way in self.ways if not self.other(way).deaf), default=math.inf)
        if any(one.last < math.inf or one.deaf for one in self.ways):  # any byte may be the last
            return min((one.flying[0][0] for one in self.ways if one.flying), default=math.inf)
        if reading:
            return way.flying[0][0] if way.flying else math.inf
        answers = self.other(way).flying
        return answers[-1][0] if answers and answers[-1][1] is GONE else math.inf
