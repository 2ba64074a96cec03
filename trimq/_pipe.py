"""The only queue in trimq: bounded, one way, from one writer to one reader, both in the same run.

A pipe never waits and never knows what it carries. Each side that found it empty (or full) leaves word
once, and is called back once, synchronously, when that has changed:

- `put` calls `on_readable` if the reader said `reader_waits`;
- taking calls `on_writable` if the writer said `writer_waits` and the pipe is at most half full: a full
  queue opens again after half of it was read, so that neither side is woken for each message
  (libzmq's low-water mark, half of the high-water mark).

A side that is a task, and not a socket, parks in `wait_readable` or `wait_writable`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import trio

from ._message import Item, Subscription

__all__ = ["Pipe", "nobody"]

Hook: TypeAlias = Callable[[], object]


def nobody() -> None:
    """The hook of a side that never asked to be called."""


class Pipe:
    """One direction between a socket and one peer.

    Attributes:
      queue: what waits. The reader takes from it and then says so with `taken`.
      hwm: how many messages may wait, or ``math.inf``.
      held: messages the reader took out in a batch and has not dealt with yet; they count as queued.
      passed: how far the reader has come, in messages that it has dealt with; `on_passed` is called for each batch.
      ahead: messages that were put before others.
      bytes: how many the link that reads, or writes, has moved for it.
      ended: the writer will put nothing more.
      lent_puts, lent_takes: take back what the writer, or the reader, may do without a look here (see `_routing`).
    """

    __slots__ = (
        "ahead",
        "bytes",
        "ended",
        "held",
        "hwm",
        "lent_puts",
        "lent_takes",
        "on_passed",
        "on_readable",
        "on_writable",
        "passed",
        "queue",
        "reader_waits",
        "writer_waits",
    )

    def __init__(self, hwm: float, queue: deque[Any] | None = None) -> None:
        self.queue: deque[Any] = deque() if queue is None else queue
        self.hwm = hwm
        self.held: int = 0
        self.passed: int = 0
        self.ahead: int = 0
        self.bytes: int = 0
        self.ended = False
        self.reader_waits = False
        self.writer_waits = False
        self.on_readable: Hook = nobody
        self.on_writable: Hook = nobody
        self.on_passed: Hook = nobody
        self.lent_puts: Hook = nobody
        self.lent_takes: Hook = nobody

    def __len__(self) -> int:
        return len(self.queue) + self.held

    @property
    def room(self) -> int:
        """How many more messages may be put."""
        if self.hwm == math.inf:
            return 1 << 30
        return int(self.hwm) - len(self.queue) - self.held

    @property
    def sure_room(self) -> int:
        """The same, whatever their size."""
        return self.room

    @property
    def put_ever(self) -> int:
        """How many messages were put, ever."""
        return self.passed + self.ahead + len(self.queue) + self.held

    # the writer's side

    def put(self, item: Item) -> None:
        """Adds one item; whether there is room was the writer's question to ask before."""
        self.queue.append(item)
        if self.reader_waits:
            self.reader_waits = False
            self.on_readable()

    def put_first(self, item: Item) -> None:
        """Adds one item before all that waits."""
        self.queue.appendleft(item)
        self.passed -= 1  # it says how far the queue has come that was there before
        self.ahead += 1
        self.nudge()

    def put_many(self, items: Sequence[Item]) -> None:
        """Adds several, with one call to the reader."""
        self.queue.extend(items)
        if self.reader_waits and self.queue:
            self.reader_waits = False
            self.on_readable()

    def drop_oldest(self) -> bool:
        """Drops what was put first of all that waits; false if nothing does, or it must not be lost."""
        if not self.queue or isinstance(self.queue[0], Subscription):
            return False
        self.queue.popleft()
        self.passed += 1
        self.ahead -= 1  # as if it had not been put
        return True

    def skip(self, count: int) -> None:
        """So many were taken out by their writer: as if they had not been put."""
        self.passed += count
        self.ahead -= count

    def take_back(self, item: Item) -> bool:
        """Takes out this very item, if it still waits."""
        for place, other in enumerate(self.queue):
            if other is item:
                del self.queue[place]
                self.passed += 1
                self.ahead -= 1
                if self.writer_waits:
                    self.opened()
                return True
        return False

    def end(self) -> None:
        """Nothing more will be put: the reader, if it waits, is called to see that."""
        self.ended = True
        self.nudge()

    def nudge(self) -> None:
        """Calls the waiting reader, though nothing was put."""
        if self.reader_waits:
            self.reader_waits = False
            self.on_readable()

    async def wait_writable(self) -> None:
        """Parks the writing task until half of the pipe is free. A cancellation leaves no trace."""
        self.on_writable = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        self.writer_waits = True

        def abort(_: object) -> trio.lowlevel.Abort:
            self.writer_waits = False
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    # the reader's side

    def hold(self, limit: int) -> list[Item]:
        """Takes out up to ``limit`` items; they count as queued until `taken` says otherwise."""
        queue = self.queue
        if len(queue) <= limit:
            batch = list(queue)
            queue.clear()
        else:
            batch = [queue.popleft() for _ in range(limit)]
        self.held += len(batch)
        return batch

    def taken(self) -> None:
        """What was held is dealt with; the writer, if it waits for room, is called."""
        self.passed += self.held
        self.held = 0
        if self.writer_waits:
            self.opened()
        self.on_passed()

    def opened(self) -> None:
        """Calls the waiting writer if the pipe is at most half full."""
        if 2 * (len(self.queue) + self.held) <= self.hwm:
            self.writer_waits = False
            self.on_writable()

    def release(self) -> None:
        """Calls the waiting writer, room or not: what it writes is no longer wanted."""
        if self.writer_waits:
            self.writer_waits = False
            self.on_writable()

    def clear(self) -> int:
        """Drops what waits; returns how many items that was."""
        dropped = len(self.queue) + self.held
        self.held = dropped
        self.queue.clear()
        self.taken()
        return dropped

    def ask(self) -> None:
        """The reader wants to be called when something is put."""
        self.reader_waits = True
        self.lent_puts()

    def leave(self) -> None:
        """The reader is gone, and not to be called any more."""
        self.reader_waits = False
        self.on_readable = nobody

    async def wait_readable(self) -> None:
        """Parks the reading task until something is put or the pipe ends. A cancellation leaves no trace."""
        self.on_readable = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        self.ask()

        def abort(_: object) -> trio.lowlevel.Abort:
            self.reader_waits = False
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
