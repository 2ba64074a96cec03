"""Remote: one peer of a socket, as its queues. It outlives its links.

A remote that was dialled exists from `connect` on and keeps its queues while connections come and go
(RFC 28, 30); one that was accepted lives as long as its connection. Who moves the messages (a link, or
another socket of the same context) is its carrier's business; who they go to is the routing's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from ._abc import PeerInfo
from ._message import Item
from ._pipe import Pipe, nobody

__all__ = ["Carrier", "FilteredPipe", "Intake", "Remote", "discard"]


class Carrier(Protocol):
    """What moves a remote's messages: a dialer, an accepted session, or a join."""

    def close(self, linger: float) -> None:
        """Ends the connection, and for good; what is queued may take ``linger`` seconds more."""

    def part(self) -> None:
        """The context has ended: ends what can come to nothing any more."""


class Remote:
    """One peer of one socket.

    Attributes:
      inbox, outbox: what came from the peer, what goes to it.
      info: who it is, while it is linked; None when there is no connection.
      routing_id: by which id a Router or Stream (bytes), a Server or Peer (a number) or nobody reaches it.
      last_info: who it was when it was linked last.
      dropped: messages for this peer, or from it, that were dropped, since the pattern or an option says so.
      in_doubt: messages of which nobody knows whether they arrived: their connection ended while they were written.
      unsent: messages that were dropped since they could not be sent in time.
      lost: datagrams from there that should have been repaired, and are lost for good.
      datagram_size: over datagrams, where nobody knows who is there: the most bytes in a message; None over connections.
      confirm: while it is linked over a stream: waits until the peer has read all that is queued now (`Link.confirm`).
      on_drop: called when messages are dropped, with the remote and how many.
      attached: it belongs to the socket's peers, and takes part in routing unless it is retired.
      retired: it only finishes what is queued; nothing more goes to it.
    """

    __slots__ = (
        "attached",
        "carrier",
        "confirm",
        "datagram_size",
        "dialled",
        "dropped",
        "in_doubt",
        "inbox",
        "info",
        "last_info",
        "lost",
        "marks",
        "on_drop",
        "on_marks",
        "outbox",
        "partner",
        "retired",
        "routing_id",
        "topics",
        "unsent",
        "where",
    )

    def __init__(self, inbox: Pipe, outbox: Pipe, *, dialled: bool, routing_id: Any = b"") -> None:
        self.inbox = inbox
        self.outbox = outbox
        self.dialled = dialled
        self.routing_id: Any = routing_id
        self.info: PeerInfo | None = None
        self.last_info: PeerInfo | None = None
        self.attached = False
        self.retired = False
        self.dropped: int = 0
        self.in_doubt: int = 0
        self.unsent: int = 0
        self.lost: int = 0
        self.on_drop: Callable[[Remote, int], object] = _nobody
        self.where = ""  # for people: which endpoint it belongs to
        self.carrier: Carrier | None = None
        self.datagram_size: float | None = None
        self.confirm: Callable[[], Awaitable[bool]] | None = None
        self.marks: tuple[float, float] = (outbox.hwm, inbox.hwm)  # its socket's own, for sending and receiving
        self.partner: Remote | None = None  # the other end of an inproc join,
        self.on_marks: Callable[[], object] = nobody  # and what to do when that has changed our high-water marks
        self.topics: set[bytes] = set()  # what the peer has subscribed to

    def drop(self, count: int = 1) -> None:
        """Counts messages that are dropped, and has that told."""
        self.dropped += count
        self.on_drop(self, count)


def _nobody(remote: Remote, count: int) -> None:
    """Before there is a socket."""


class FilteredPipe(Pipe):
    """A pipe that leaves out what its reader would not have."""

    __slots__ = ("_select", "_wanted")

    def __init__(
        self,
        hwm: float,
        wanted: Callable[[Any], bool],
        select: Callable[[Sequence[Any]], Sequence[Any]],
        queue: deque[Any] | None = None,
    ) -> None:
        super().__init__(hwm, queue)
        self._wanted = wanted  # whether one is
        self._select = select  # those that are, of several

    def set_filter(self, wanted: Callable[[Any], bool], select: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        """Leaves out other things from now on."""
        self._wanted, self._select = wanted, select

    def put(self, item: Item) -> None:
        if self._wanted(item):
            super().put(item)

    def put_first(self, item: Item) -> None:
        if self._wanted(item):
            super().put_first(item)

    def put_many(self, items: Sequence[Item]) -> None:
        super().put_many(self._select(items))

    def wants(self, item: Item) -> bool:
        """Whether it would not leave this out."""
        return self._wanted(item)

    def refilter(self) -> None:
        """Takes out what is no longer wanted."""
        wanted = [item for item in self.queue if self._wanted(item)]
        if len(wanted) != len(self.queue):
            self.queue.clear()
            self.queue.extend(wanted)
            if self.writer_waits:
                self.opened()


class Intake(Pipe):
    """A pipe whose reader deals with each item as it comes; what it cannot deal with at once, it counts as ``held``.

    Args:
      handle: deals with an item.
      hwm: how much may be held; None where nothing ever is.
    """

    __slots__ = ("_handle", "keeps")

    def __init__(self, handle: Callable[[Any], object], hwm: float | None = None) -> None:
        super().__init__(math.inf if hwm is None else hwm)
        self.keeps: bool = hwm is not None
        self._handle = handle

    def put(self, item: Item) -> None:
        self.passed += 1
        self._handle(item)

    def put_first(self, item: Item) -> None:
        self.put(item)

    def put_many(self, items: Sequence[Item]) -> None:
        for item in items:
            self.put(item)

    @property
    def put_ever(self) -> int:
        """How many items came, ever; what is held has passed already."""
        return self.passed


def discard(item: Any) -> None:
    """The handler of an `Intake` for what nobody may read (a Push discards whatever comes)."""
