"""Queues with another idea of what is full: by bytes, or of the latest message only.

A pipe is used by the million, and its users look into it without a call; so what is special is the deque inside, and a
mark that is computed. Who sets neither option pays nothing for them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ._message import Item, Shared, Subscription
from ._pipe import Pipe
from ._remote import FilteredPipe

__all__ = ["Latest", "item_size", "keep_latest", "make_filtered_pipe", "make_pipe", "set_byte_limit"]

_FEW = 16  # messages that are let through while there is room for many of their size


def item_size(item: Any) -> int:
    """Bytes of a message, and at least one for each frame."""
    if isinstance(item, Shared):
        item = item.item
    if isinstance(item, Subscription):
        return len(item.topic)
    # An empty frame is not nothing: a peer could send them without end.
    return len(item) or 1 if isinstance(item, bytes) else sum(len(frame) or 1 for frame in item)


class Latest(deque[Any]):
    """Keeps the latest message only (ZMQ_CONFLATE), and tells how many it replaced."""

    # As `_Measured` has them, for a pipe that was made to count bytes: one message is no limit's business.
    bytes = held = 0
    limit = mark = math.inf

    def __init__(self, on_drop: Callable[[int], object]) -> None:
        super().__init__((), 1)
        self._on_drop = on_drop

    def append(self, item: Item, /) -> None:
        if self:
            self._on_drop(1)
        super().append(item)

    def extend(self, items: Iterable[Item], /) -> None:
        batch = list(items)
        if len(self) + len(batch) > 1 and batch:
            self._on_drop(len(self) + len(batch) - 1)
        super().extend(batch)


class _Measured(deque[Any]):
    """Knows how many bytes it holds."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.mark = 0.0  # in messages
        self.bytes = 0
        self.held = 0  # bytes of what the reader has taken out in a batch

    def append(self, item: Item, /) -> None:
        self.bytes += item_size(item)
        super().append(item)

    def appendleft(self, item: Item, /) -> None:
        self.bytes += item_size(item)
        super().appendleft(item)

    def extend(self, items: Iterable[Item], /) -> None:
        for item in items:
            self.append(item)

    def popleft(self) -> Any:
        item = super().popleft()
        self.bytes -= item_size(item)
        return item

    def __delitem__(self, place: Any, /) -> None:
        self.bytes -= item_size(self[place])
        super().__delitem__(place)

    def clear(self) -> None:
        self.bytes = 0
        super().clear()


class _Measuring(Pipe):
    """A pipe that is full also while it holds too many bytes."""

    __slots__ = ()

    queue: Any  # a _Measured

    @property
    def hwm(self) -> float:
        """The high-water mark in messages; none has room while there are too many bytes."""
        queue = self.queue
        return 0 if queue.bytes + queue.held >= queue.limit else queue.mark

    @hwm.setter
    def hwm(self, mark: float) -> None:
        self.queue.mark = mark

    @property
    def room(self) -> int:
        """How many more messages may be put by who has them already: few, for they may be large."""
        queue = self.queue
        count = len(queue) + self.held
        most = super().room
        if most > 1 and queue.limit < math.inf:
            size = queue.bytes + queue.held
            average = size / count if count else 1024
            most = min(most, _FEW if size + _FEW * average < queue.limit else 1)
        return most

    @property
    def sure_room(self) -> int:
        """Whether there is room for one message, as 1 or less: how large it is does not matter, but for the next one."""
        return min(1, self.room)

    def hold(self, limit: int) -> list[Item]:
        queue = self.queue
        before = queue.bytes
        batch = super().hold(limit)
        queue.held += before - queue.bytes
        return batch

    def taken(self) -> None:
        self.queue.held = 0
        super().taken()

    def opened(self) -> None:
        queue = self.queue
        if 2 * (queue.bytes + queue.held) <= queue.limit:
            super().opened()


class _MeasuringFilteredPipe(_Measuring, FilteredPipe):
    __slots__ = ()


def make_pipe(hwm: float, most_bytes: float) -> Pipe:
    """A pipe with room for so many messages, and about so many bytes."""
    return Pipe(hwm) if most_bytes == math.inf else _Measuring(hwm, _Measured(most_bytes))


def make_filtered_pipe(
    hwm: float,
    most_bytes: float,
    wanted: Callable[[Any], bool],
    select: Callable[[Sequence[Any]], Sequence[Any]],
) -> FilteredPipe:
    """The same for what is wanted only; see `FilteredPipe`."""
    if most_bytes == math.inf:
        return FilteredPipe(hwm, wanted, select)
    return _MeasuringFilteredPipe(hwm, wanted, select, _Measured(most_bytes))


def keep_latest(pipe: Pipe, on_drop: Callable[[int], object]) -> None:
    """Lets the pipe, which must be empty, hold one message: the latest."""
    pipe.queue = Latest(on_drop)
    pipe.hwm = math.inf


def set_byte_limit(pipe: Pipe, most_bytes: float) -> None:
    """Changes the limit of a pipe that was made with one."""
    if isinstance(pipe, _Measuring):
        pipe.queue.limit = most_bytes
