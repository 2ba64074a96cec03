"""Routing: which peer a message goes to, and whose turn it is to be heard.

`RoundRobin` out, `FairQueue` in, `FanOut` to many, `ByIdentity` to one: each only moves items between
callers and remotes' pipes, synchronously. They know nothing of tasks, sockets or bytes. Orders are those of
libzmq's load balancer, fair queue and distributor, so that who gets what is the same there and here.

`RoundRobin` and `FairQueue` lend, where a type lets them (`lend_to`): while there is one peer, they give out in advance the
queue's own function for the next puts or takes, as many as are sure to succeed and to have no consequence (nobody to be
called, no mark to be passed). How many have passed is made up for in `recall`, which comes before anything that would
have to know it, or would make a loan unsure. Who waits in line came after a put or take that failed, so after a recall.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import length_hint
from typing import Any

from ._message import Body, Item, Shared, pack
from ._pace import Ahead, Credit
from ._pipe import Pipe
from ._remote import Remote

__all__ = ["UNLIMITED", "ByIdentity", "ByNumber", "FairQueue", "FanOut", "RoundRobin"]

UNLIMITED = 1 << 30
"""Room for more messages than there can be."""

_SMALL = 64  # a high-water mark below which nothing is lent: each message may open or close a queue


class RoundRobin:
    """Sends each message to the next peer that has room.

    Peers join at the end. One that is full leaves its place to the last of the line, and joins at the end
    again when it has room.
    """

    __slots__ = ("_active", "_ahead", "_credit", "_cursor", "_lent", "_remotes")

    def __init__(self) -> None:
        self._remotes: dict[Remote, None] = {}
        self._active: list[Remote] = []
        self._ahead: Ahead | None = None
        self._cursor = 0
        self._lent: list[Callable[[Any], object]] = []

    def lend_to(self, credit: Credit, ahead: Ahead) -> None:
        """From now on lends puts: `offer` is all that the socket does with a message."""
        self._credit, self._ahead = credit, ahead

    def _lend(self, ahead: Ahead, outbox: Pipe) -> None:
        queue = outbox.queue
        room = outbox.hwm - len(queue) - outbox.held
        if room >= Ahead.LEAST and outbox.hwm >= _SMALL and type(queue) is deque and (most := ahead.most(room)):
            self._lent = [queue.append] * most
            self._credit.puts = iter(self._lent)

    def recall(self) -> None:
        """Ends the loan."""
        self._lent.clear()

    def add(self, remote: Remote) -> None:
        """A peer joins."""
        self.recall()
        self._remotes[remote] = None
        self._active.append(remote)

    def remove(self, remote: Remote) -> None:
        """A peer leaves."""
        self.recall()
        self._remotes.pop(remote, None)
        if remote in self._active:
            self._deactivate(self._active.index(remote))

    def activate(self, remote: Remote) -> None:
        """A peer that was full has room again."""
        if remote in self._remotes and remote not in self._active:
            self.recall()
            self._active.append(remote)

    def _deactivate(self, index: int) -> None:
        last = self._active.pop()
        if index < len(self._active):
            self._active[index] = last
        if self._cursor >= len(self._active):
            self._cursor = 0

    def _next(self) -> Remote | None:
        if self._lent:
            self.recall()
        active = self._active
        while active:
            remote = active[self._cursor]
            outbox = remote.outbox
            if len(outbox.queue) + outbox.held < outbox.hwm:
                return remote
            outbox.writer_waits = True
            self._deactivate(self._cursor)
        return None

    def next_full(self) -> Remote | None:
        """Whose turn it is where all are full; None if there is no peer."""
        remote = next(iter(self._remotes), None)
        if remote is not None:
            del self._remotes[remote]
            self._remotes[remote] = None
        return remote

    def room(self) -> int:
        """How many messages may be offered now without being refused (no more than the next peer takes)."""
        remote = self._next()
        return 0 if remote is None else remote.outbox.sure_room

    def send(self, item: Body) -> Remote | None:
        """Queues the message; returns the peer it goes to, or None if no peer has room."""
        remote = self._next()
        if remote is not None:
            remote.outbox.put(item)
            cursor = self._cursor + 1
            self._cursor = cursor if cursor < len(self._active) else 0
        return remote

    def offer(self, item: Body) -> bool:
        """Queues the message, unless no peer has room. The hot path: `send` with its calls inlined."""
        if self._lent:
            self.recall()
        active = self._active
        if active:
            cursor = self._cursor
            outbox = active[cursor].outbox
            queue = outbox.queue
            if len(queue) + outbox.held < outbox.hwm:
                if outbox.reader_waits:
                    outbox.put(item)
                else:
                    queue.append(item)
                if len(active) > 1:
                    cursor += 1
                    self._cursor = cursor if cursor < len(active) else 0
                elif (ahead := self._ahead) is not None and ahead.pace.ahead and not outbox.reader_waits:
                    self._lend(ahead, outbox)
                return True
        return self.send(item) is not None

    def offer_many(self, values: Iterator[Any], limit: int, pack: Callable[[Any], Body] = pack) -> int:
        """Queues up to ``limit`` messages, no more than `room`; returns how many it took from the iterator.

        Args:
          pack: what makes a message of what the iterator gives.
        """
        self.recall()
        taken = 0
        if len(self._active) != 1:
            for value in islice(values, limit):
                taken += 1
                self.send(value if type(value) is bytes else pack(value))
            return taken
        outbox = self._active[0].outbox
        append = outbox.queue.append
        try:
            for value in islice(values, limit):
                taken += 1
                append(value if type(value) is bytes else pack(value))
        finally:
            outbox.put_many(())  # one wake, also for what came before a value that is no message
        return taken

    def put_all(self, bodies: Sequence[Body]) -> None:
        """Queues messages that are packed already, no more than `room`."""
        self.recall()
        if len(self._active) == 1:
            self._active[0].outbox.put_many(bodies)
        else:
            for body in bodies:
                self.send(body)


class FairQueue:
    """Takes one message from each peer in turn.

    A peer that has nothing leaves its place to the last of the line, and joins at the end when it has.
    """

    __slots__ = ("_active", "_ahead", "_credit", "_cursor", "_lent", "_loan", "source")

    def __init__(self) -> None:
        self._active: list[Remote] = []
        self._ahead: Ahead | None = None
        self._cursor = 0
        self._lent: list[Callable[[], Any]] = []
        self._loan: Iterator[Callable[[], Any]] = iter(())
        self.source: Remote | None = None  # whom the last message came from

    def lend_to(self, credit: Credit, ahead: Ahead) -> None:
        """From now on lends takes: `take` is all that the socket does to have a message."""
        self._credit, self._ahead = credit, ahead

    def _lend(self, ahead: Ahead, inbox: Pipe) -> None:
        queue = inbox.queue
        possible: float = len(queue)
        if inbox.writer_waits:  # who only begins to wait finds it full, and no loan is long enough to half empty it
            possible -= inbox.hwm // 2 + 1
        if possible >= Ahead.LEAST and inbox.hwm >= _SMALL and type(queue) is deque and (most := ahead.most(possible)):
            self._lent = [queue.popleft] * most
            self._credit.takes = self._loan = iter(self._lent)

    def recall(self) -> None:
        """Ends the loan."""
        if self._lent:
            self._active[0].inbox.passed += len(self._lent) - length_hint(self._loan)
            self._lent.clear()

    def activate(self, remote: Remote) -> None:
        """A peer that had nothing has something."""
        self.recall()
        self._active.append(remote)

    def sources(self) -> tuple[Remote, ...]:
        """The peers from whom something may wait, those that are gone included."""
        return tuple(self._active)

    def _deactivate(self, index: int) -> None:
        last = self._active.pop()
        if index < len(self._active):
            self._active[index] = last
        if self._cursor >= len(self._active):
            self._cursor = 0

    def ready(self) -> bool:
        """Whether there is something to take."""
        self.recall()
        active = self._active
        while active:
            inbox = active[self._cursor].inbox
            if inbox.queue:
                return True
            inbox.ask()
            self._deactivate(self._cursor)
        return False

    def take(self) -> Body | None:
        """The next message, or None if there is none."""
        if self._lent:
            self.recall()
        active = self._active
        while active:
            cursor = self._cursor
            remote = active[cursor]
            inbox = remote.inbox
            queue = inbox.queue
            if queue:
                item: Body = queue.popleft()
                inbox.passed += 1
                if inbox.writer_waits and 2 * len(queue) <= inbox.hwm:
                    inbox.opened()
                self.source = remote
                if len(active) > 1:
                    cursor += 1
                    self._cursor = cursor if cursor < len(active) else 0
                elif queue and (ahead := self._ahead) is not None and ahead.pace.ahead:
                    self._lend(ahead, inbox)
                return item
            inbox.ask()
            self._deactivate(cursor)
        return None

    def take_many(self, limit: int) -> list[Body]:
        """Up to ``limit`` messages, from each peer in turn."""
        self.recall()
        if len(self._active) == 1:
            inbox = self._active[0].inbox
            queue = inbox.queue
            if 0 < len(queue) <= limit:
                batch: list[Body] = list(queue)
                queue.clear()
            else:
                batch = [queue.popleft() for _ in range(min(limit, len(queue)))]
            if batch:
                inbox.passed += len(batch)
                if inbox.writer_waits:
                    inbox.opened()
                return batch
        batch = []
        while len(batch) < limit and (item := self.take()) is not None:
            batch.append(item)
        return batch


class FanOut:
    """Sends one message to many peers; those that are full miss it, and that is counted."""

    @staticmethod
    def blocked(remotes: Iterable[Remote]) -> bool:
        """Whether one of these is full; if so, it will call when it has room."""
        blocked = False
        for remote in remotes:
            outbox = remote.outbox
            if len(outbox.queue) + outbox.held >= outbox.hwm:
                blocked = outbox.writer_waits = True
        return blocked

    @staticmethod
    def room(remotes: Iterable[Remote]) -> int:
        """How many messages find room at each of these, whoever gets them."""
        return min((remote.outbox.sure_room for remote in remotes), default=UNLIMITED)

    @staticmethod
    def spread(item: Body, remotes: Iterable[Remote], many: bool) -> None:
        """Queues the message for each of these, which are known to have room. One encoding serves ``many``."""
        shared: Item = Shared(item) if many else item
        for remote in remotes:
            outbox = remote.outbox
            if remote.partner is not None:  # inproc: the receiver's message is a list of its own
                outbox.put(item if isinstance(item, bytes) else list(item))
            elif outbox.reader_waits:
                outbox.put(shared)
            else:
                outbox.queue.append(shared)

    @staticmethod
    def send(item: Body, remotes: Iterable[Remote], many: bool, *, drop_old: bool = False) -> None:
        """Queues the message for each of these that has room. One encoding serves ``many``.

        Args:
          drop_old: where there is none, the oldest message makes room, if it is not being written already.
        """
        shared: Item = Shared(item) if many else item
        for remote in remotes:
            outbox = remote.outbox
            if len(outbox.queue) + outbox.held >= outbox.hwm:
                remote.drop()
                if not drop_old or not outbox.drop_oldest():
                    continue
            if remote.partner is None:
                outbox.put(shared)
            else:  # inproc: the receiver's message is a list of its own
                outbox.put(item if isinstance(item, bytes) else list(item))


class ByIdentity:
    """Finds a peer by its routing id.

    Args:
      last_id: where to begin with ids for peers that have none.
    """

    __slots__ = ("_last_id", "remotes")

    def __init__(self, last_id: int) -> None:
        self.remotes: dict[Any, Remote] = {}
        self._last_id = last_id

    def make_id(self) -> Any:
        """A routing id for a peer that has none: a zero byte and a 32-bit counter."""
        while True:
            self._last_id = (self._last_id + 1) & 0xFFFFFFFF
            made = self._form(self._last_id)
            if made and made not in self.remotes:
                return made

    @staticmethod
    def _form(number: int) -> Any:
        return b"\0" + number.to_bytes(4, "big")

    def add(self, remote: Remote) -> None:
        """A peer joins under its routing id, which must be free."""
        self.remotes[remote.routing_id] = remote

    def remove(self, remote: Remote) -> None:
        """A peer leaves; one that took over its id stays."""
        if self.remotes.get(remote.routing_id) is remote:
            del self.remotes[remote.routing_id]


class ByNumber(ByIdentity):
    """The same where all ids are made here: numbers of 32 bits, never 0 (RFC 41)."""

    __slots__ = ()

    @staticmethod
    def _form(number: int) -> int:
        return number
