"""The ends of a connection in memory, as trio streams. What happens between them is `Connection`'s business."""

from __future__ import annotations

import math
import operator
from collections.abc import Generator
from contextlib import contextmanager

import trio
from trio.lowlevel import ParkingLot, checkpoint

from ._network import EOF, GONE, Connection, Way, tear

__all__ = ["MemoryStream", "ends"]


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory. `MemoryTransport` makes them."""

    def __init__(self, connection: Connection, outgoing: Way, incoming: Way, peer: str) -> None:
        self._connection = connection
        self._out = outgoing
        self._in = incoming
        self._other: MemoryStream | None = None
        self._closed = False
        self._said_eof = False
        self._sending = False
        self._receiving = False
        self.peer = peer
        """Where the other end is."""

    @property
    def other(self) -> MemoryStream:
        """The other end of the same connection."""
        assert self._other is not None
        return self._other

    @property
    def connected(self) -> bool:
        """Whether neither end was closed or has vanished, and the connection was not lost."""
        self._connection.advance()
        return not (self._connection.broken or self._out.closed or self._in.closed or self._out.deaf or self._in.deaf)

    def cut(self) -> None:
        """Breaks the connection for both ends, at once, as a reset does; what was on its way is lost."""
        self._connection.lose()
        self._out.data.clear()
        self._in.data.clear()

    def cut_after(self, *, sent: int | None = None, received: int | None = None) -> None:
        """Loses the connection at a chosen byte of a chosen direction.

        That byte and all before it arrive and can be read; none after it does. In the other direction, what has arrived
        by then can be read. After that, both ends find the connection broken. If the byte has passed, it is lost now.
        Given both, the byte that comes first decides; a later call for a direction replaces the earlier one.

        Args:
          sent: with which of the bytes that this end sends, counted from the beginning of the connection;
            0 is before the first.
          received: the same for the bytes that the other end sends.

        Raises:
          ValueError: neither was given, or one is negative.
        """
        counts = [(way, count) for way, count in ((self._out, sent), (self._in, received)) if count is not None]
        if not counts or any(count < 0 for _, count in counts):
            raise ValueError("say with which byte, as sent=10 or received=0: the bytes of a direction that still pass")
        for way, count in counts:
            self._connection.lose_after(way, count)

    def vanish(self) -> None:
        """Takes this end away without a word, as when a machine loses power: the other end is left half-open.

        Calls on this end raise trio.BrokenResourceError from now on. The other end hears nothing: what it sends (up to
        the buffer) seems to be accepted and disappears, and what was on its way to it never comes. As with Linux's tcp
        it finds out when what it has sent was not answered for 924.6 seconds, or, if its socket's option
        ``tcp_keepalive`` is set, after 7875 seconds of silence.
        """
        self._connection.vanish(self._in)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends all of it, waiting for room as needed. Cancelled, a part may have been sent.

        Raises:
          trio.BrokenResourceError: the other end was closed, or the connection lost.
          trio.ClosedResourceError: this end was closed.
          trio.BusyResourceError: another task is sending.
        """
        way = self._out
        with self._one_sender(), memoryview(data) as whole, whole.cast("B") as view:
            self._check_send()
            await checkpoint()
            sent = 0
            while True:
                self._check_send()
                piece = view[sent : sent + self._connection.most(way, len(view) - sent)]
                sent += len(piece)
                if piece:
                    self._connection.put(way, piece)
                piece.release()
                if sent == len(view):
                    if way.lost:
                        raise trio.BrokenResourceError("the connection was lost while this was sent")
                    return
                if self._full():
                    await self._wait_for_room()
                elif way.tear_writes is not None:
                    await checkpoint()  # the reader sees that it is torn

    async def wait_send_all_might_not_block(self) -> None:
        """Waits for room; raises as `send_all` does."""
        with self._one_sender():
            self._check_send()
            await checkpoint()
            if self._full():
                await self._wait_for_room()

    async def send_eof(self) -> None:
        """Says that nothing will follow, once; again, or where nobody could hear it, it does nothing.

        Raises:
          trio.ClosedResourceError: this end was closed.
          trio.BusyResourceError: another task is sending.
        """
        with self._one_sender():
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            await checkpoint()
            self._say(EOF)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has arrived, up to ``max_bytes``; empty once the other end has closed or sent EOF.

        Raises:
          trio.BrokenResourceError: the connection was lost.
          trio.ClosedResourceError: this end was closed.
          trio.BusyResourceError: another task is receiving.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError(f"max_bytes is at least 1, not {max_bytes}")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            await checkpoint()
            return await self._take(max_bytes)
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        """Closes this end; the other may still read what was sent. Closes even if cancelled."""
        if not self._closed:
            self._closed = True
            self._in.closed = True
            self._in.data.clear()
            self._say(EOF)
            self._say(GONE)
            self._out.wake()
            self._in.wake()
        await checkpoint()

    def _say(self, mark: str) -> None:
        """Sends a mark, unless nobody could hear it."""
        if mark is EOF and self._said_eof:
            return
        self._said_eof = True
        if not (self._connection.broken or self._in.deaf):
            self._connection.put(self._out, mark)

    async def _take(self, max_bytes: int | None) -> bytes:
        way = self._in
        while True:
            if not self._connection.plain:
                self._connection.advance()
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            if way.data:
                if way.tear_reads is not None:
                    max_bytes = tear(way.tear_reads, min(max_bytes or len(way.data), len(way.data)))
                taken = bytes(way.data[:max_bytes])
                del way.data[: len(taken)]
                way.writers.unpark_all()
                return taken
            if self._connection.broken or way.deaf:
                raise trio.BrokenResourceError("the connection was lost")
            if way.ended:
                return b""
            await self._wait(way.readers)

    async def _wait(self, lot: ParkingLot) -> None:
        """Waits until somebody does something, or something arrives."""
        if lot is self._in.readers:
            moment = self._connection.next_moment(self._in, reading=True)
        else:
            moment = self._connection.next_moment(self._out, reading=False)
        if moment == math.inf:
            await lot.park()
        else:
            with trio.CancelScope(deadline=moment):
                await lot.park()

    def _full(self, *, waiting: bool = False) -> bool:
        self._check_send()
        return self._connection.full(self._out, waiting=waiting)

    async def _wait_for_room(self) -> None:
        while self._full(waiting=True):
            await self._wait(self._out.writers)

    def _check_send(self) -> None:
        if not self._connection.plain:
            self._connection.advance()
        if self._closed or (self._said_eof and not self._connection.broken):
            raise trio.ClosedResourceError("this stream was closed, or has sent EOF")
        if self._connection.broken or self._out.refused or self._in.deaf:
            raise trio.BrokenResourceError("the connection was lost, or the other end closed")

    @contextmanager
    def _one_sender(self) -> Generator[None, None, None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False


def ends(connection: Connection, peer: str) -> tuple[MemoryStream, MemoryStream]:
    """The connecting end, and the accepting one."""
    there, back = connection.ways
    ours = MemoryStream(connection, there, back, peer)
    theirs = MemoryStream(connection, back, there, connection.hosts[0])
    ours._other, theirs._other = theirs, ours
    return ours, theirs
