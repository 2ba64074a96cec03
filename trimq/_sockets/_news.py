"""News: what an XPub has to tell its user, in order: who subscribed to what, and what subscribers sent.

A user who does not receive must not cost more than the subscriptions that there are: beyond the high-water mark, a
subscription and its cancellation that are both untold cancel out. What is no state (messages, cancellations of what
was never subscribed to) counts as queued from its peer, whose link waits at the mark as with any other socket.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from .._message import Body
from .._remote import Remote

__all__ = ["News"]


class _Piece(NamedTuple):
    remote: Remote
    body: Body
    key: object  # of the state that it changes; None if it changes none
    subscribe: bool


class News:
    """A queue from all peers to the user."""

    __slots__ = ("_limit", "_queue")

    def __init__(self) -> None:
        self._queue: deque[_Piece] = deque()
        self._limit = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    def change(self, remote: Remote, topic: bytes, subscribe: bool, key: object, mark: float) -> None:
        """Adds a change of what is subscribed to.

        Args:
          key: what stands for the state that it changes. Of one key, changes go to and fro.
          mark: how many pieces may wait before changes cancel out.
        """
        self._queue.append(_Piece(remote, (b"\1" if subscribe else b"\0") + topic, key, subscribe))
        if len(self._queue) > max(self._limit, mark):
            self._settle()

    def add(self, remote: Remote, body: Body) -> None:
        """Adds what counts as queued from its peer."""
        remote.inbox.held += 1
        self._queue.append(_Piece(remote, body, None, subscribe=False))

    def take(self) -> tuple[Remote, Body]:
        """The next piece, and who sent it."""
        remote, body, key, _ = self._queue.popleft()
        inbox = remote.inbox
        if key is None:
            inbox.held -= 1
            if inbox.writer_waits:
                inbox.opened()
        return remote, body

    def _settle(self) -> None:
        kept: dict[int, _Piece] = {}
        untold: dict[object, int] = {}
        for number, piece in enumerate(self._queue):
            if piece.key is not None and piece.key in untold:
                before = untold[piece.key]
                if kept[before].subscribe is not piece.subscribe:
                    del kept[before], untold[piece.key]
                continue  # else it says the same again
            if piece.key is not None:
                untold[piece.key] = number
            kept[number] = piece
        self._queue = deque(kept.values())
        self._limit = 2 * len(kept)  # so that each piece is looked at a few times at most
