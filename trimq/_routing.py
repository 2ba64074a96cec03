"""Routing: which peer a message goes to, and whose turn it is to be heard.

`RoundRobin` out, `FairQueue` in, `FanOut` to many, `ByIdentity` to one: each only moves items between
callers and remotes' pipes, synchronously. They know nothing of tasks, sockets or bytes. Orders are those of
libzmq's load balancer, fair queue and distributor, so that who gets what is the same there and here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from ._message import Body, Item, Shared, pack
from ._remote import Remote

__all__ = ["UNLIMITED", "ByIdentity", "ByNumber", "FairQueue", "FanOut", "RoundRobin"]

UNLIMITED = 1 << 30
"""Room for more messages than there can be."""


class RoundRobin:
    """Sends each message to the next peer that has room.

    Peers join at the end. One that is full leaves its place to the last of the line, and joins at the end
    again when it has room.
    """

    __slots__ = ("_active", "_cursor", "_remotes")

    def __init__(self) -> None:
        self._remotes: dict[Remote, None] = {}
        self._active: list[Remote] = []
        self._cursor = 0

    def add(self, remote: Remote) -> None:
        """A peer joins."""
        self._remotes[remote] = None
        self._active.append(remote)

    def remove(self, remote: Remote) -> None:
        """A peer leaves."""
        self._remotes.pop(remote, None)
        if remote in self._active:
            self._deactivate(self._active.index(remote))

    def activate(self, remote: Remote) -> None:
        """A peer that was full has room again."""
        if remote in self._remotes and remote not in self._active:
            self._active.append(remote)

    def _deactivate(self, index: int) -> None:
        last = self._active.pop()
        if index < len(self._active):
            self._active[index] = last
        if self._cursor >= len(self._active):
            self._cursor = 0

    def _next(self) -> Remote | None:
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
                return True
        return self.send(item) is not None

    def offer_many(self, values: Iterator[Any], limit: int, pack: Callable[[Any], Body] = pack) -> int:
        """Queues up to ``limit`` messages, no more than `room`; returns how many it took from the iterator.

        Args:
          pack: what makes a message of what the iterator gives.
        """
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
        if len(self._active) == 1:
            self._active[0].outbox.put_many(bodies)
        else:
            for body in bodies:
                self.send(body)


class FairQueue:
    """Takes one message from each peer in turn.

    A peer that has nothing leaves its place to the last of the line, and joins at the end when it has.
    """

    __slots__ = ("_active", "_cursor", "source")

    def __init__(self) -> None:
        self._active: list[Remote] = []
        self._cursor = 0
        self.source: Remote | None = None  # whom the last message came from

    def activate(self, remote: Remote) -> None:
        """A peer that had nothing has something."""
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
        active = self._active
        while active:
            inbox = active[self._cursor].inbox
            if inbox.queue:
                return True
            inbox.reader_waits = True
            self._deactivate(self._cursor)
        return False

    def take(self) -> Body | None:
        """The next message, or None if there is none."""
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
                if len(active) > 1:
                    cursor += 1
                    self._cursor = cursor if cursor < len(active) else 0
                self.source = remote
                return item
            inbox.reader_waits = True
            self._deactivate(cursor)
        return None

    def take_many(self, limit: int) -> list[Body]:
        """Up to ``limit`` messages, from each peer in turn."""
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
