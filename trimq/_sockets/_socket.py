"""Socket: what every type has for its users. Its life, its endpoints, its peers.

No message passes through here: `_flow` has the verbs, the types have the routing, `_peering` what connectors see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

import trio
from trio.lowlevel import enable_ki_protection

from .._abc import PeerInfo
from .._endpoint import Endpoint, Endpoints
from .._errors import ContextTerminated, HostUnreachable, InvalidEndpoint, SocketClosed, end_of, is_end_of, without
from .._monitor import EventStream, Monitor, MonitorStopped
from .._options import count
from .._pace import Pace
from .._remote import Remote
from .._statistics import SocketStatistics
from .._util import Bell, Waiter, until
from ._peering import Peering

if TYPE_CHECKING:
    import socket as system
    from typing import Protocol

    from .._flusher import Flusher
    from .._heart import Heart

    class Host(Protocol):
        """What a socket knows of its context."""

        _pace: Pace
        _flusher: Flusher
        _heart: Heart
        _libzmq: bool

        def _bind(self, socket: Socket, endpoint: str, use_fd: int | system.socket | None) -> Endpoint: ...
        def _connect(self, socket: Socket, endpoint: str | Endpoint, routing_id: bytes | None) -> Endpoint: ...
        def _forget(self, socket: Socket) -> None: ...


__all__ = ["Socket"]


class Socket(Peering, trio.abc.AsyncResource):
    """A ZeroMQ socket: made by ``context.socket(...)``, ended by `close`, `aclose`, ``async with``, or its context.

    Options are keyword arguments of ``context.socket`` and attributes. Those that a connection takes along
    (all but ``linger`` and the high-water marks) hold for later binds and connects.
    """

    _context: Host

    _form: ClassVar[str] = "frames"  # what its messages are: "frames", one "frame", or otherwise; a `proxy` looks

    def __init__(self, **options: object) -> None:
        try:
            self._pace = self._context._pace
        except AttributeError:
            name = type(self).__name__
            raise TypeError(f"a socket belongs to a context: context.socket(trimq.{name}), not {name}()") from None
        super().__init__()
        self._slice = self._pace.slice
        self._credit = self._pace.credit()
        self._libzmq = self._context._libzmq
        self._monitor = Monitor(self._end_error)
        self._endpoints = Endpoints()
        self._carriers = 0  # connectors and connections that still run, lingering ones included
        self._closed_by_user = False  # and not by its context
        self._terminated = False
        self._gone_bell = Bell()
        self._prepare()
        for name, value in options.items():
            self._set_option(name, value)

    def _prepare(self) -> None:
        """Sets up what the type needs, once, before its options."""

    # What users call

    def bind(self, endpoint: str, *, use_fd: int | system.socket | None = None) -> Endpoint:
        """Listens at an endpoint (zmq_bind), at once; never blocks, looks up no names.

        Args:
          endpoint: ``transport://address``; wildcards are filled in, see the endpoint returned.
          use_fd: a descriptor, by number, or a socket, which somebody else has bound there: a parent process, or systemd
            (ZMQ_USE_FD). The trimq socket owns it from now on, but not the path of an ipc socket. If this raises, it
            stays the caller's.

        Raises:
          InvalidEndpoint, ProtocolNotSupported, IncompatibleProtocol: what is wrong with the text, or that use_fd
            is bound elsewhere, or not for this transport.
          AddressInUse, AddressNotAvailable, NoSuchDevice, PermissionError, OSError: it cannot be bound, or the system
            lacks or refuses an option, which is named.
          ContextTerminated, SocketClosed, NoIOThread: the socket cannot be used any more, or not from here.
        """
        self._check_open()
        return self._context._bind(self, endpoint, use_fd)

    def connect(self, endpoint: str | Endpoint) -> Endpoint:
        """Connects to an endpoint (zmq_connect); returns at once, whether or not anything is there.

        The connection is made, and made again after a loss, in the context's nursery. A Dealer, Sub, Pub or Req
        that is connected to the very same endpoint already gets the same `Endpoint` back.

        Args:
          endpoint: ``transport://address``, or what ``bind`` returned: a wildcard then means loopback.

        Raises:
          InvalidEndpoint, ProtocolNotSupported, IncompatibleProtocol: what is wrong with the text.
          StateError: a Pair or Channel has its one peer already.
          ContextTerminated, SocketClosed, NoIOThread: the socket cannot be used any more, or not from here.
        """
        self._check_open()
        return self._context._connect(self, endpoint, None)

    @enable_ki_protection
    def unbind(self, endpoint: str | Endpoint) -> None:
        """Stops listening at an endpoint, and closes the connections that came in there (zmq_unbind).

        Raises:
          InvalidEndpoint: the socket is not bound there. A wildcard was filled in: give what ``bind`` returned.
        """
        self._close_endpoints(endpoint, bound=True)

    @enable_ki_protection
    def disconnect(self, endpoint: str | Endpoint) -> None:
        """Ends all connections to an endpoint (zmq_disconnect); what is queued for it lingers.

        Raises:
          InvalidEndpoint: the socket is not connected there.
        """
        self._close_endpoints(endpoint, bound=False)

    def _close_endpoints(self, endpoint: str | Endpoint, *, bound: bool) -> None:
        self._check_open()
        # What was given to connect may be what another socket's bind returned.
        text = endpoint._dial_address if isinstance(endpoint, Endpoint) and not bound else str(endpoint)
        found = self._endpoints.at(text, bound=bound)
        if not found:
            have = ", ".join(str(mine) for mine in self._endpoints if mine.bound is bound) or "nothing"
            verb = "bound" if bound else "connected"
            raise InvalidEndpoint(f"this socket is not {verb} to {endpoint}; it is {verb} to {have}")
        for mine in found:
            mine.close()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints that are bound or connected now, in order."""
        return tuple(self._endpoints)

    @property
    def peers(self) -> tuple[PeerInfo, ...]:
        """The peers that are connected now, their handshakes complete, in order."""
        return tuple(remote.info for remote in self._remotes if remote.info is not None and not remote.retired)

    def statistics(self) -> SocketStatistics:
        """What went through this socket so far, in messages and bytes, and through the queues of each of its peers.

        A snapshot. After a close it says what was written, what was not, and what is in doubt; once nothing lingers
        any more (`aclose` has returned) it does not change again.

        Raises:
          NoIOThread: called from another thread.
        """
        self._pace.check_thread()
        return self._statistics()

    def _statistics(self) -> SocketStatistics:
        gone = [remote for remote in self._sources() if not remote.attached]
        return self._tally.of_socket(self.socket_type, list(self._remotes), gone, self._topic_count())

    def _sources(self) -> Sequence[Remote]:
        """The peers from whom something may wait, those that are gone included."""
        return ()

    def _topic_count(self) -> int:
        """Distinct topics that are subscribed to."""
        return 0

    def events(self, limit: int = 1000) -> EventStream:
        """What happens to this socket's endpoints and peers from now on (zmq_socket_monitor)::

            async with socket.events() as events:
                async for event in events: ...

        There may be any number of listeners; none of them can stall the socket. Connections over inproc tell no events.

        Args:
          limit: how many events may wait for this listener. One that is slower misses the events after them, and is told
            how many: see `Missed <trimq.events.Missed>`.

        Raises:
          ContextTerminated, SocketClosed, NoIOThread: the socket cannot be used any more, or not from here.
        """
        self._check_open()
        return EventStream(self._monitor, count("limit", limit), self._pace)

    async def wait_for_peers(self, n: int = 1) -> None:
        """Waits until there are at least ``n`` peers; true at return. A cancellation leaves no trace.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """

        def test() -> bool:
            self._check_open()
            return len(self.peers) >= n

        await until(test, self._peer_bell, pace=self._pace)

    @enable_ki_protection
    def disconnect_peer(self, peer: PeerInfo) -> None:
        """Ends the connection with a peer, and for good: what is queued for it may take ``linger`` seconds more.

        Who came to a bound endpoint may come again (see ``max_connections`` and the filters); of a peer that was connected
        to, the endpoint is closed.

        Args:
          peer: one of `peers`, or what `receive_from <trimq.Pull.receive_from>` or an event said: this very connection.

        Raises:
          HostUnreachable: it is not connected any more.
          ContextTerminated, SocketClosed, NoIOThread: the socket cannot be used any more, or not from here.
        """
        self._check_open()
        for remote in list(self._remotes):
            if remote.info is peer:
                self._dismiss(remote, self.linger)
                return
        raise HostUnreachable(
            f"the {peer.socket_type or 'peer'} at {peer.address or 'this context'} is not connected any more"
        )

    async def flush(self) -> None:
        """Waits until all that was sent before is written to the peers' connections, or dropped with its peer.

        For inproc, until it is in the peer's queue. A cancellation leaves everything queued as it is.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """
        waits = [(remote, remote.outbox, remote.outbox.passed + len(remote.outbox)) for remote in self._remotes]

        def test() -> bool:
            self._check_open()
            while waits:  # only the last is looked at, however many peers there are
                remote, pipe, mark = waits[-1]
                if pipe.passed < mark and remote.attached and remote.partner is None:
                    return False
                waits.pop()
            return True

        await until(test, self._write_bell, pace=self._pace)

    @enable_ki_protection
    def close(self) -> None:
        """Closes the socket (zmq_close). Idempotent, never blocks; raises nothing but NoIOThread in another thread.

        Its addresses are free at once; its pending calls in other tasks raise SocketClosed; what is queued
        lingers in the context, as ``linger`` says.
        """
        self._pace.check_thread()
        self._closed_by_user = True
        self._close(self.linger)

    @enable_ki_protection
    async def aclose(self) -> None:
        """Closes the socket, then waits up to ``linger`` seconds until what is queued is written.

        Cancelled, it drops what is left, logs how much, and raises Cancelled. Idempotent.
        """
        self.close()
        try:
            await until(lambda: not self._carriers, self._gone_bell, pace=self._pace)
        except trio.Cancelled:
            self._drop()
            raise

    async def __aenter__(self) -> Self:
        return self

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_value is None:
            await self.aclose()
        elif without(exc_value, lambda error: is_end_of(error, self._context)) is None:
            self.close()  # the normal end of a context: what is queued lingers there
        else:
            self._closed_by_user = True
            self._close(0)

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<trimq.{type(self).__name__}{state} [{', '.join(map(str, self._endpoints))}]>"

    # Its end

    def _may_set(self, name: str) -> None:
        self._pace.check_thread()
        if self._closed:
            raise SocketClosed(f"this {type(self).__name__} socket is closed: {name} has no effect any more")

    def _check_open(self) -> None:
        self._pace.check_thread()
        error = self._end_error()
        if error is not None:
            raise error

    def _end_error(self) -> SocketClosed | ContextTerminated | None:
        if self._terminated and not self._closed_by_user:
            return end_of(self._context)
        if self._closed:
            return SocketClosed(f"this {type(self).__name__} socket is closed")
        return None

    def _lines(self) -> Iterable[dict[Waiter, None]]:
        """The lines in which calls wait on this socket."""
        return ()

    def _stop(self) -> None:
        """From now on no call finds anything to do (`_flow` and types add to this)."""

    def _end_calls(self) -> None:
        self._stop()
        for line in self._lines():
            for waiter in line:
                error = self._end_error()
                assert error is not None
                waiter.fail(error)
            line.clear()
        for bell in (self._peer_bell, self._read_bell, self._write_bell):
            bell.ring()

    def _terminate(self) -> None:
        """The context has ended: every call raises ContextTerminated."""
        if not self._terminated:
            self._terminated = True
            for endpoint in self._endpoints:
                endpoint._terminate(self._context)
            if not self._closed:
                self._end_calls()
            self._monitor.ended()
            for remote in list(self._remotes):
                if remote.carrier is not None:
                    remote.carrier.part()

    def _close(self, linger: float) -> None:
        if not self._closed:
            self._closed = True
            self._end_calls()
            for endpoint in list(self._endpoints):
                endpoint.close()
            self._monitor.tell(MonitorStopped(""))
            self._monitor.ended()
            for remote in list(self._remotes):
                self._dismiss(remote, linger)
            self._gone()
        elif linger == 0:
            self._drop()

    def _drop(self) -> None:
        """Drops what still lingers."""
        for remote in list(self._remotes):
            self._dismiss(remote, 0)

    @staticmethod
    def _dismiss(remote: Remote, linger: float) -> None:
        if remote.carrier is not None:
            remote.carrier.close(linger)

    def _gone(self) -> None:
        """Called when a carrier has ended; the last one takes a closed socket off its context."""
        self._gone_bell.ring()
        if self._closed and not self._carriers:
            self._context._forget(self)
