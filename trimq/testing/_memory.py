"""A network in memory, to hand to ``open_context(transports=[...])`` in tests.

Nothing here touches the system: every wait is trio's own, so that trio's autojump clock runs through
back-offs and time-outs at once. Streams hold a limited number of bytes, as a kernel's do, so that
high-water marks fill up; and they can be cut.
"""

from __future__ import annotations

import errno
import itertools
import operator
from collections.abc import Generator
from contextlib import contextmanager

import trio
from trio.lowlevel import ParkingLot, checkpoint

from .._abc import Listener, StreamTransport
from .._errors import AddressInUse, InvalidEndpoint
from .._options import Settings

__all__ = ["MemoryStream", "MemoryTransport"]


class MemoryTransport(StreamTransport):
    """A network of its own. Contexts that are given the same one reach each other, and nobody else.

    An address is ``name:port``, where the name is any text and the port a number, or ``*`` when binding.
    A connect to ``name:port`` finds the listener of that very text, or else that of ``*:port``.

    Args:
      scheme: the scheme it stands for. With the default, endpoints of the program under test stay as they are.
      buffer: bytes on their way in each direction of a connection before a sender has to wait.
    """

    def __init__(self, scheme: str = "tcp", *, buffer: int = 65536) -> None:
        if buffer < 1:
            raise ValueError(f"buffer is at least 1 byte, not {buffer}")
        self._scheme = scheme
        self._buffer = buffer
        self._listeners: dict[str, _MemoryListener] = {}
        self._connections: list[MemoryStream] = []
        self._ports = itertools.count(49152)

    @property
    def scheme(self) -> str:
        """The scheme it was made for."""
        return self._scheme

    @property
    def connections(self) -> tuple[MemoryStream, ...]:
        """The connecting ends of the connections that are open, oldest first."""
        self._connections = [stream for stream in self._connections if stream.connected]
        return tuple(self._connections)

    def drop_all(self) -> int:
        """Cuts every connection, as a network that fails; returns how many. Listeners go on listening."""
        connections = self.connections
        for stream in connections:
            stream.cut()
        return len(connections)

    def check(self, address: str, *, bind: bool) -> None:
        """Checks that it is ``name:port``.

        Raises:
          InvalidEndpoint: it is not.
        """
        name, _, port = address.rpartition(":")
        if not name or not ((bind and port == "*") or (port.isascii() and port.isdecimal())):
            raise InvalidEndpoint(
                f"{f'{self._scheme}://{address}'!r} is no endpoint in memory: "
                f"write {self._scheme}://name:5555{' or name:*' if bind else ''}"
            )

    def bind(self, address: str, settings: Settings) -> Listener:
        """Listens there.

        Raises:
          AddressInUse: somebody does already.
          InvalidEndpoint: see `check`.
        """
        self.check(address, bind=True)
        name, _, port = address.rpartition(":")
        if port in ("*", "0"):
            address = next(free for n in self._ports if (free := f"{name}:{n}") not in self._listeners)
        if address in self._listeners:
            raise AddressInUse(f"cannot bind {self._scheme}://{address}: something is bound there already")
        listener = self._listeners[address] = _MemoryListener(self._scheme, address, settings.backlog, self._listeners)
        return listener

    async def connect(self, address: str, settings: Settings, resolved: None = None) -> MemoryStream:
        """Connects; waits while the listener's backlog is full. A cancellation leaves no connection.

        Raises:
          ConnectionRefusedError: nobody listens there.
          InvalidEndpoint: see `check`.
        """
        self.check(address, bind=False)
        name, _, port = address.rpartition(":")
        await checkpoint()
        listener = self._listeners.get(address) or self._listeners.get(f"*:{port}")
        if listener is not None:
            ours, theirs = _connection(self._buffer, name)
            try:
                await listener.offer(theirs)
            except trio.BrokenResourceError:
                pass  # it closed while we waited
            else:
                self._connections = [*self.connections, ours]
                return ours
        raise ConnectionRefusedError(
            errno.ECONNREFUSED, f"cannot connect to {self._scheme}://{address}: nobody is bound there"
        )

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """The name that was connected to; ``memory`` on the other side."""
        assert isinstance(stream, MemoryStream)
        return stream.peer


class _MemoryListener(Listener):
    def __init__(self, scheme: str, name: str, backlog: int, listeners: dict[str, _MemoryListener]) -> None:
        self._address = f"{scheme}://{name}"
        self._name = name
        self._listeners = listeners
        self._send, self._receive = trio.open_memory_channel[MemoryStream](backlog)

    @property
    def address(self) -> str:
        return self._address

    async def offer(self, stream: MemoryStream) -> None:
        """Puts a connection in line to be accepted."""
        await self._send.send(stream)

    async def accept(self) -> MemoryStream:
        return await self._receive.receive()

    def close(self) -> None:
        if self._listeners.get(self._name) is self:
            del self._listeners[self._name]
        try:
            while True:  # whoever was never accepted is cut off
                self._receive.receive_nowait().cut()
        except (trio.WouldBlock, trio.ClosedResourceError):
            pass
        self._receive.close()


class _Way:
    """One direction of a connection: bytes, and who waits for them or for room."""

    __slots__ = ("broken", "closed", "data", "ended", "limit", "readers", "writers")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.data: bytearray = bytearray()
        self.ended: bool = False  # nothing will follow
        self.closed: bool = False  # nobody will read
        self.broken: bool = False
        self.readers: ParkingLot = ParkingLot()
        self.writers: ParkingLot = ParkingLot()

    def wake(self) -> None:
        """Lets everybody look again."""
        self.readers.unpark_all()
        self.writers.unpark_all()


def _connection(limit: int, name: str) -> tuple[MemoryStream, MemoryStream]:
    there, back = _Way(limit), _Way(limit)
    return MemoryStream(there, back, name), MemoryStream(back, there, "memory")


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory. `MemoryTransport` makes them."""

    def __init__(self, outgoing: _Way, incoming: _Way, peer: str) -> None:
        self._out = outgoing
        self._in = incoming
        self._closed = False
        self._sending = False
        self._receiving = False
        self.peer = peer
        """Where the other end is."""

    @property
    def connected(self) -> bool:
        """Whether neither end was closed and the connection was not cut."""
        return not (self._out.closed or self._in.closed or self._out.broken)

    def cut(self) -> None:
        """Breaks the connection for both ends; what was on its way is lost."""
        for way in (self._out, self._in):
            way.broken = True
            way.data.clear()
            way.wake()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends all of it, waiting for room as needed. Cancelled, a part may have been sent.

        Raises:
          trio.BrokenResourceError: the other end was closed, or the connection cut.
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
                piece = view[sent : sent + way.limit - len(way.data)]
                way.data += piece
                sent += len(piece)
                piece.release()
                way.readers.unpark_all()
                if sent == len(view):
                    return
                await way.writers.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Waits for room; raises as `send_all` does."""
        with self._one_sender():
            self._check_send()
            await checkpoint()
            while self._full():
                await self._out.writers.park()

    async def send_eof(self) -> None:
        """Says that nothing will follow; raises as `send_all` does."""
        with self._one_sender():
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            await checkpoint()
            self._out.ended = True
            self._out.wake()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has arrived, up to ``max_bytes``; empty once the other end has closed or sent EOF.

        Raises:
          trio.BrokenResourceError: the connection was cut.
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
            self._out.ended = True
            self._in.closed = True
            self._in.data.clear()
            self._out.wake()
            self._in.wake()
        await checkpoint()

    async def _take(self, max_bytes: int | None) -> bytes:
        way = self._in
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            if way.broken:
                raise trio.BrokenResourceError("the connection was cut")
            if way.data or way.ended:
                taken = bytes(way.data[:max_bytes])
                del way.data[: len(taken)]
                way.writers.unpark_all()
                return taken
            await way.readers.park()

    def _full(self) -> bool:
        """Whether a sender has to wait."""
        self._check_send()
        return len(self._out.data) >= self._out.limit

    def _check_send(self) -> None:
        if self._closed or (self._out.ended and not self._out.broken):
            raise trio.ClosedResourceError("this stream was closed, or has sent EOF")
        if self._out.broken or self._out.closed:
            raise trio.BrokenResourceError("the connection was cut, or the other end closed")

    @contextmanager
    def _one_sender(self) -> Generator[None, None, None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False
