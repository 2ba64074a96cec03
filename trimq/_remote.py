"""Remote: one peer of a socket, as its queues. It outlives its links.

A remote that was dialled exists from `connect` on and keeps its queues while connections come and go
(RFC 28, 30); one that was accepted lives as long as its connection. Who moves the messages (a link, or
another socket of the same context) is its carrier's business; who they go to is the routing's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
      routing_id: by which id a Router, a Stream or nobody reaches it.
      dropped: messages for this peer that were dropped, since the pattern says so.
      attached: it belongs to the socket's peers, and takes part in routing unless it is retired.
      retired: it only finishes what is queued; nothing more goes to it.
    """

    __slots__ = (
        "attached",
        "carrier",
        "dialled",
        "dropped",
        "inbox",
        "info",
        "marks",
        "on_marks",
        "outbox",
        "partner",
        "retired",
        "routing_id",
        "topics",
        "where",
    )

    def __init__(self, inbox: Pipe, outbox: Pipe, *, dialled: bool, routing_id: bytes = b"") -> None:
        self.inbox = inbox
        self.outbox = outbox
        self.dialled = dialled
        self.routing_id = routing_id
        self.info: PeerInfo | None = None
        self.attached = False
        self.retired = False
        self.dropped = 0
        self.where = ""  # for people: which endpoint it belongs to
        self.carrier: Carrier | None = None
        self.marks: tuple[float, float] = (outbox.hwm, inbox.hwm)  # its socket's own, for sending and receiving
        self.partner: Remote | None = None  # the other end of an inproc join,
        self.on_marks: Callable[[], object] = nobody  # and what to do when that has changed our high-water marks
        self.topics: set[bytes] = set()  # what the peer has subscribed to


class FilteredPipe(Pipe):
    """A pipe that leaves out what its reader would not have."""

    __slots__ = ("_select", "_wanted")

    def __init__(
        self, hwm: float, wanted: Callable[[Any], bool], select: Callable[[Sequence[Any]], Sequence[Any]]
    ) -> None:
        super().__init__(hwm)
        self._wanted = wanted  # whether one is
        self._select = select  # those that are, of several

    def put(self, item: Item) -> None:
        if self._wanted(item):
            super().put(item)

    def put_first(self, item: Item) -> None:
        if self._wanted(item):
            super().put_first(item)

    def put_many(self, items: Sequence[Item]) -> None:
        super().put_many(self._select(items))

    def refilter(self) -> None:
        """Takes out what is no longer wanted."""
        wanted = [item for item in self.queue if self._wanted(item)]
        if len(wanted) != len(self.queue):
            self.queue.clear()
            self.queue.extend(wanted)
            if self.writer_waits:
                self.opened()


class Intake(Pipe):
    """A pipe that never holds anything: its reader deals with each item as it comes."""

    __slots__ = ("_handle",)

    def __init__(self, handle: Callable[[Any], object]) -> None:
        super().__init__(float("inf"))
        self._handle = handle

    def put(self, item: Item) -> None:
        self._handle(item)

    def put_first(self, item: Item) -> None:
        self._handle(item)

    def put_many(self, items: Sequence[Item]) -> None:
        for item in items:
            self._handle(item)


def discard(item: Any) -> None:
    """The handler of an `Intake` for what nobody may read (a Push discards whatever comes)."""
