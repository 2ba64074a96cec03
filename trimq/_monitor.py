"""Events: what happens to a socket's endpoints and peers, typed, and who listens (zmq_socket_monitor).

A listener has a queue of its own, of limited length: it can neither stall a socket nor another listener. What an event
says can also be read as a level (``socket.endpoints``, ``socket.peers``, ``socket.statistics()``), so that who comes
late is not wrong. No socket is known here.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, Self

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from ._abc import PeerInfo
from ._errors import ContextTerminated, ProtocolError, SocketClosed
from ._pace import Pace
from ._util import Bell, until

__all__ = [
    "AcceptFailed",
    "Accepted",
    "BindFailed",
    "CloseFailed",
    "Closed",
    "ConnectDelayed",
    "ConnectFailed",
    "ConnectRetried",
    "Connected",
    "Disconnected",
    "Dropped",
    "Event",
    "EventStream",
    "GaveUp",
    "HandedOver",
    "HandshakeFailed",
    "HandshakeSucceeded",
    "InDoubt",
    "Listening",
    "Lost",
    "Missed",
    "Monitor",
    "MonitorStopped",
    "Subscribed",
    "Unsubscribed",
]


@attrs.frozen
class Event:
    """Something that happened to a socket."""

    code: ClassVar[int] = 0
    """libzmq's number for it (ZMQ_EVENT_...); 0 for what libzmq does not tell."""

    endpoint: str
    """The endpoint that it concerns: as it is bound, or as it was connected to; empty if it concerns none."""

    @property
    def value(self) -> int:
        """An errno or milliseconds, as libzmq has it, and 0 where that would mean nothing here."""
        return 0


@attrs.frozen
class _Failure(Event):
    cause: Exception
    """Why, in words and as the error that it was."""

    @property
    def value(self) -> int:
        """The errno of the cause; 0 if it has none."""
        return getattr(self.cause, "errno", None) or 0


@attrs.frozen
class Listening(Event):
    """It is bound (ZMQ_EVENT_LISTENING)."""

    code = 0x0008


@attrs.frozen
class BindFailed(_Failure):
    """It could not be bound; ``bind`` raised the same (ZMQ_EVENT_BIND_FAILED)."""

    code = 0x0010


@attrs.frozen
class ConnectDelayed(Event):
    """A connection is being made, and that takes its time (ZMQ_EVENT_CONNECT_DELAYED)."""

    code = 0x0002

    @property
    def value(self) -> int:
        """EINPROGRESS."""
        return errno.EINPROGRESS


@attrs.frozen
class Connected(Event):
    """A connection was made; its handshake begins (ZMQ_EVENT_CONNECTED)."""

    code = 0x0001


@attrs.frozen
class ConnectFailed(_Failure):
    """An attempt to connect failed, or took too long (ZMQ_EVENT_CLOSED, of the attempt's descriptor)."""

    code = 0x0080


@attrs.frozen
class ConnectRetried(_Failure):
    """The next attempt is due after ``delay`` (ZMQ_EVENT_CONNECT_RETRIED)."""

    code = 0x0004
    delay: float
    """Seconds from now on."""

    @property
    def value(self) -> int:
        """The delay in milliseconds."""
        return round(1000 * self.delay)


@attrs.frozen
class GaveUp(_Failure):
    """The endpoint is lost: no further attempt will be made."""


@attrs.frozen
class Accepted(Event):
    """A connection came in; its handshake begins (ZMQ_EVENT_ACCEPTED)."""

    code = 0x0020
    address: str
    """Where it comes from, as in `PeerInfo.address`."""


@attrs.frozen
class AcceptFailed(_Failure):
    """A connection could not be accepted, or was refused by a filter or a limit (ZMQ_EVENT_ACCEPT_FAILED)."""

    code = 0x0040


@attrs.frozen
class HandshakeSucceeded(Event):
    """The peer is there (ZMQ_EVENT_HANDSHAKE_SUCCEEDED)."""

    code = 0x1000
    peer: PeerInfo
    """Who it is."""


@attrs.frozen
class HandshakeFailed(_Failure):
    """The handshake failed; `Disconnected` follows.

    Its code is ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL where one side broke the protocol or refused the other, and
    ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL where the connection was lost or time ran out.
    """

    @property
    def code(self) -> int:  # type: ignore[override]
        """See above."""
        return 0x2000 if isinstance(self.cause, ProtocolError) and not self.cause.hung_up else 0x0800


@attrs.frozen
class Disconnected(_Failure):
    """A connection ended otherwise than from here (ZMQ_EVENT_DISCONNECTED)."""

    code = 0x0200
    peer: PeerInfo | None
    """Who it was; None if the handshake was not complete."""


@attrs.frozen
class Closed(Event):
    """It is not bound any more (ZMQ_EVENT_CLOSED)."""

    code = 0x0080


@attrs.frozen
class CloseFailed(_Failure):
    """It is not bound any more, but something is left, as an ipc file that could not be removed (ZMQ_EVENT_CLOSE_FAILED)."""

    code = 0x0100


@attrs.frozen
class MonitorStopped(Event):
    """The socket was closed: the last event (ZMQ_EVENT_MONITOR_STOPPED)."""

    code = 0x0400


@attrs.frozen
class Dropped(Event):
    """Messages were dropped since the pattern, or an option, says so. Several drops may be told as one."""

    peer: PeerInfo | None
    """For whom they were, or from whom; None if nobody could have them."""
    count: int
    """How many messages."""


@attrs.frozen
class Lost(Event):
    """Packets of reliable multicast are lost for good: not repaired in time, or no more to be had. Messages that had a part
    in them are missing; the next ones follow.
    """

    sender: str
    """Whose: the host."""
    count: int
    """How many packets."""


@attrs.frozen
class InDoubt(Event):
    """A connection ended in a write: these messages may have arrived or not, and are not sent again."""

    peer: PeerInfo | None
    """For whom they were."""
    count: int
    """How many messages."""


@attrs.frozen
class HandedOver(Event):
    """A peer took over the routing id of another, which was disconnected (option ``handover``)."""

    peer: PeerInfo
    """The new one."""


@attrs.frozen
class Subscribed(Event):
    """A peer subscribed."""

    peer: PeerInfo
    """Who."""
    topic: bytes
    """To what."""


@attrs.frozen
class Unsubscribed(Event):
    """A peer cancelled a subscription, or left with it."""

    peer: PeerInfo | None
    """Who."""
    topic: bytes
    """Of what."""


@attrs.frozen
class Missed(Event):
    """This listener was too slow: here, so many events are missing."""

    count: int
    """How many."""


class EventStream(trio.abc.AsyncResource):
    """A socket's events, from ``async with socket.events() as events:`` on; ``async for event in events``.

    Iterating ends as it does with messages: by SocketClosed once the socket is closed and its last event, MonitorStopped,
    was taken; by ContextTerminated, at once.
    """

    def __init__(self, monitor: Monitor, limit: int, pace: Pace) -> None:
        self._monitor = monitor
        self._limit = limit
        self._pace = pace
        self._queue: deque[Event | _Drops] = deque()
        self._drops: dict[object, _Drops] = {}  # those in the queue
        self._bell = Bell()
        self._lost = 0  # since the last one that is in the queue
        self._closed = False
        self._missed = 0
        monitor.listeners.append(self)

    @property
    def missed(self) -> int:
        """How many events this listener has missed, ever."""
        return self._missed

    async def receive(self) -> Event:
        """Waits for the next event. A cancelled call has taken none.

        Raises:
          SocketClosed, ContextTerminated: the socket has ended; see above.
          trio.ClosedResourceError: this stream was closed.
        """
        return await until(self._take, self._bell, pace=self._pace)

    @enable_ki_protection
    def receive_nowait(self) -> Event:
        """The next event.

        Raises:
          trio.WouldBlock: there is none.
          SocketClosed, ContextTerminated, trio.ClosedResourceError: as `receive`.
        """
        self._pace.check_thread()
        event = self._take()
        if event is None:
            raise trio.WouldBlock
        return event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await self.receive()

    @enable_ki_protection
    def close(self) -> None:
        """Listens no more. Idempotent; waiting calls raise trio.ClosedResourceError."""
        if not self._closed:
            self._closed = True
            if self in self._monitor.listeners:
                self._monitor.listeners.remove(self)
            self._bell.ring()

    async def aclose(self) -> None:
        """The same."""
        self.close()
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self) -> Event | None:
        if self._closed:
            raise trio.ClosedResourceError("this stream of events was closed")
        error = self._monitor.end()
        if isinstance(error, ContextTerminated):
            raise error
        if self._queue:
            event = self._queue.popleft()
            if isinstance(event, _Drops):
                del self._drops[event.key]
                return Dropped(event.endpoint, event.peer, event.count)
            return event
        if self._lost:
            count, self._lost = self._lost, 0
            return Missed("", count)
        if error is not None:
            raise error
        return None

    def _put(self, event: Event) -> None:
        queued: Event | _Drops = event
        if isinstance(event, Dropped):
            key = (event.endpoint, id(event.peer))
            if key in self._drops:
                self._drops[key].count += event.count
                return
            queued = _Drops(key, event)
        if len(self._queue) >= self._limit:
            self._lost += 1
            self._missed += 1
            return
        if self._lost:
            self._queue.append(Missed("", self._lost))
            self._lost = 0
        self._queue.append(queued)
        if isinstance(queued, _Drops):
            self._drops[queued.key] = queued
        self._bell.ring()


class _Drops:
    """A `Dropped` in a queue, to which more may come."""

    __slots__ = ("count", "endpoint", "key", "peer")

    def __init__(self, key: object, event: Dropped) -> None:
        self.key = key
        self.endpoint = event.endpoint
        self.peer = event.peer
        self.count = event.count


class Monitor:
    """Who listens to one socket.

    Args:
      end: gives the error that says how the socket has ended; None while it is there.
    """

    __slots__ = ("end", "listeners")

    def __init__(self, end: Callable[[], SocketClosed | ContextTerminated | None]) -> None:
        self.end: Callable[[], SocketClosed | ContextTerminated | None] = end
        self.listeners: list[EventStream] = []

    def tell(self, event: Event) -> None:
        """Puts the event before all listeners."""
        for listener in self.listeners:
            listener._put(event)

    def ended(self) -> None:
        """The socket has ended: nothing more will be told, and who waits is to see that."""
        for listener in self.listeners:
            listener._bell.ring()
        self.listeners.clear()
