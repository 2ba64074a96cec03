"""Socket: what every type has. Its life, its endpoints, its peers, and the hooks a pattern fills in.

No message passes through here: `_flow` has the verbs, the types have the routing.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import trio
from trio.lowlevel import enable_ki_protection

from .._abc import PeerInfo, Wire
from .._endpoint import Endpoint
from .._errors import ContextTerminated, InvalidEndpoint, SocketClosed
from .._mechanisms._null import Null
from .._options import (
    Option,
    Settings,
    boolean,
    count,
    high_water_mark,
    seconds,
    size,
)
from .._pipe import Pipe
from .._remote import Intake, Remote
from .._util import Bell, Pace, Waiter, until
from .._wire._connection import Connection

if TYPE_CHECKING:
    from typing import Protocol

    class Host(Protocol):
        """What a socket knows of its context."""

        pace: Pace

        def bind(self, socket: Socket, endpoint: str) -> Endpoint: ...
        def connect(self, socket: Socket, endpoint: str | Endpoint, routing_id: bytes | None) -> Endpoint: ...
        def forget(self, socket: Socket) -> None: ...


__all__ = ["Socket"]


class Socket(trio.abc.AsyncResource):
    """A ZeroMQ socket: made by ``context.socket(...)``, ended by `close`, `aclose`, ``async with``, or its context.

    Options are keyword arguments of ``context.socket`` and attributes. Those that a connection takes along
    (all but ``linger`` and the high-water marks) hold for later binds and connects.
    """

    socket_type: ClassVar[str]
    """The type's name on the wire, as ``"DEALER"``."""

    _accepts: ClassVar[frozenset[str]] = frozenset()  # which types may be peers (RFC 37)
    _sends: ClassVar[bool] = True
    _publishes: ClassVar[bool] = False  # peers may subscribe
    _announces_identity: ClassVar[bool] = False
    _connects_once: ClassVar[bool] = False  # a second connect to the same endpoint is ignored
    _one_peer: ClassVar[bool] = False  # exclusive, and not reconnected after a loss (PAIR)
    _default_linger: ClassVar[float] = math.inf

    linger = Option(math.inf, seconds, "Seconds that unsent messages may take after a close (ZMQ_LINGER).")
    send_hwm = Option[float](1000, high_water_mark, "Messages that may wait for each peer (ZMQ_SNDHWM).")
    receive_hwm = Option[float](1000, high_water_mark, "Messages that may wait from each peer (ZMQ_RCVHWM).")
    max_message_size = Option(math.inf, size, "Bytes; a peer's larger frame ends its connection (ZMQ_MAXMSGSIZE).")
    ipv6 = Option(True, boolean, "Whether IPv6 is used beside IPv4 (ZMQ_IPV6; off in libzmq).")
    backlog = Option(100, count, "Connections that may wait to be accepted (ZMQ_BACKLOG).")
    tcp_keepalive = Option(True, boolean, "Whether TCP looks after idle connections (ZMQ_TCP_KEEPALIVE).")
    immediate = Option(False, boolean, "Queue only for peers that are there, not for endpoints (ZMQ_IMMEDIATE).")
    connect_timeout = Option(math.inf, seconds, "Seconds for one attempt to connect (ZMQ_CONNECT_TIMEOUT).")
    handshake_timeout = Option(30.0, seconds, "Seconds from connection to handshake (ZMQ_HANDSHAKE_IVL).")
    reconnect_interval = Option(
        0.1, seconds, "Seconds before the first new attempt, math.inf for none (ZMQ_RECONNECT_IVL)."
    )
    reconnect_interval_max = Option(5.0, seconds, "Seconds up to which the back-off grows (ZMQ_RECONNECT_IVL_MAX).")

    _context: Host

    def __init__(self, **options: object) -> None:
        try:
            self._pace = self._context.pace
        except AttributeError:
            name = type(self).__name__
            raise TypeError(f"a socket belongs to a context: context.socket(trimq.{name}), not {name}()") from None
        self._options: dict[str, Any] = {"linger": self._default_linger}
        self._remotes: dict[Remote, None] = {}
        self._endpoints: dict[Endpoint, None] = {}
        self._carriers = 0  # connectors and connections that still run, lingering ones included
        self._closed = False
        self._closed_by_user = False  # and not by its context
        self._terminated = False
        self._peer_bell = Bell()
        self._write_bell = Bell()
        self._read_bell = Bell()
        self._gone_bell = Bell()
        for name, value in options.items():
            self._set_option(name, value)
        self._prepare()

    def _prepare(self) -> None:
        """Sets up what the type needs, once, after its options."""

    def _set_option(self, name: str, value: Any) -> None:
        if not isinstance(getattr(type(self), name, None), Option):
            known = self._option_names()
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
            raise TypeError(f"{type(self).__name__} has no option {name}: {hint}")
        setattr(self, name, value)

    @classmethod
    def _option_names(cls) -> list[str]:
        return sorted(name for name in dir(cls) if isinstance(getattr(cls, name, None), Option))

    def _option_set(self, name: str) -> None:
        """An option was set: high-water marks change on all that is there, and drop nothing."""
        if name in ("send_hwm", "receive_hwm"):
            for remote in getattr(self, "_remotes", ()):
                self._set_marks(remote)

    def _set_marks(self, remote: Remote) -> None:
        remote.marks = out, back = (self.send_hwm, self.receive_hwm)
        if remote.partner is not None:  # inproc: one pipe stands for both sides' queues (libzmq.md 5.2)
            out += remote.partner.marks[1]
            back += remote.partner.marks[0]
        for pipe, hwm in ((remote.outbox, out), (remote.inbox, back)):
            if not isinstance(pipe, Intake):
                pipe.hwm = hwm
            if pipe.writer_waits:
                pipe.opened()

    def _settings(self) -> Settings:
        return Settings(
            max_message_size=self.max_message_size,
            ipv6=self.ipv6,
            backlog=self.backlog,
            tcp_keepalive=self.tcp_keepalive,
            immediate=self.immediate,
            connect_timeout=self.connect_timeout,
            handshake_timeout=self.handshake_timeout,
            reconnect_interval=self.reconnect_interval,
            reconnect_interval_max=self.reconnect_interval_max,
        )

    # What users call

    def bind(self, endpoint: str) -> Endpoint:
        """Listens at an endpoint (zmq_bind), at once; never blocks, looks up no names.

        Args:
          endpoint: ``transport://address``; wildcards are filled in, see the endpoint returned.

        Raises:
          InvalidEndpoint, ProtocolNotSupported, IncompatibleProtocol: what is wrong with the text.
          AddressInUse, AddressNotAvailable, NoSuchDevice, PermissionError, OSError: it cannot be bound.
          ContextTerminated, SocketClosed, NoIOThread: the socket cannot be used any more, or not from here.
        """
        self._check_open()
        return self._context.bind(self, endpoint)

    def connect(self, endpoint: str | Endpoint) -> Endpoint:
        """Connects to an endpoint (zmq_connect); returns at once, whether or not anything is there.

        The connection is made, and made again after a loss, in the context's nursery. A Dealer, Sub, Pub or Req
        that is connected to the very same endpoint already gets the same `Endpoint` back.

        Args:
          endpoint: ``transport://address``, or what ``bind`` returned: a wildcard then means loopback.

        Raises:
          InvalidEndpoint, ProtocolNotSupported, IncompatibleProtocol: what is wrong with the text.
          StateError: a Pair has its one peer already.
          ContextTerminated, SocketClosed, NoIOThread: the socket cannot be used any more, or not from here.
        """
        self._check_open()
        return self._context.connect(self, endpoint, None)

    def unbind(self, endpoint: str | Endpoint) -> None:
        """Stops listening at an endpoint, and closes the connections that came in there (zmq_unbind).

        Raises:
          InvalidEndpoint: the socket is not bound there. A wildcard was filled in: give what ``bind`` returned.
        """
        self._close_endpoints(endpoint, bound=True)

    def disconnect(self, endpoint: str | Endpoint) -> None:
        """Ends all connections to an endpoint (zmq_disconnect); what is queued for it lingers.

        Raises:
          InvalidEndpoint: the socket is not connected there.
        """
        self._close_endpoints(endpoint, bound=False)

    def _close_endpoints(self, endpoint: str | Endpoint, *, bound: bool) -> None:
        self._check_open()
        if isinstance(endpoint, Endpoint):
            found = [mine for mine in self._endpoints if mine is endpoint and mine.bound is bound]
        else:
            found = [mine for mine in self._endpoints if str(mine) == endpoint and mine.bound is bound]
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
        return tuple(remote.info for remote in self._remotes if remote.info is not None)

    async def wait_for_peers(self, n: int = 1) -> None:
        """Waits until there are at least ``n`` peers; true at return. A cancellation leaves no trace.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """

        def test() -> bool:
            self._check_open()
            return sum(remote.info is not None for remote in self._remotes) >= n

        await until(test, self._peer_bell, pace=self._pace)

    async def flush(self) -> None:
        """Waits until all that was sent before is written to the peers' connections, or dropped with its peer.

        For inproc, until it is in the peer's queue. A cancellation leaves everything queued as it is.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """
        marks = [(remote.outbox, remote.outbox.passed + len(remote.outbox)) for remote in self._remotes]
        marks = [(pipe, mark) for pipe, mark in marks if pipe.passed < mark]

        def test() -> bool:
            self._check_open()
            live = {id(remote.outbox) for remote in self._remotes if remote.partner is None}
            marks[:] = [(pipe, mark) for pipe, mark in marks if pipe.passed < mark and id(pipe) in live]
            return not marks

        await until(test, self._write_bell, pace=self._pace)

    @enable_ki_protection
    def close(self) -> None:
        """Closes the socket (zmq_close). Idempotent, never blocks, never raises.

        Its addresses are free at once; its pending calls in other tasks raise SocketClosed; what is queued
        lingers in the context, as ``linger`` says.
        """
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

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_value is None:
            await self.aclose()
        elif isinstance(exc_value, ContextTerminated) and exc_value._context is self._context:
            self.close()  # the normal end of a context: what is queued lingers there
        else:
            self._closed_by_user = True
            self._close(0)

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<trimq.{type(self).__name__}{state} [{', '.join(map(str, self._endpoints))}]>"

    # Its end

    def _check_open(self) -> None:
        error = self._end_error()
        if error is not None:
            raise error

    def _end_error(self) -> SocketClosed | ContextTerminated | None:
        if self._terminated and not self._closed_by_user:
            error = ContextTerminated()
            error._context = self._context
            return error
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

    def _close(self, linger: float) -> None:
        if not self._closed:
            self._closed = True
            self._end_calls()
            for endpoint in list(self._endpoints):
                endpoint.close()
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
            self._context.forget(self)

    # What connectors call, in this order: _open, _attach, _link, _unlink, _detach

    def _wire(self, settings: Settings) -> Wire:
        """A new conversation with a peer on a stream."""
        return Connection(
            socket_type=self.socket_type,
            accepts=self._accepts,
            mechanism=Null(),
            identity=self._options.get("routing_id", b"") if self._announces_identity else None,
            max_message_size=settings.max_message_size,
            publishes=self._publishes,
        )

    def _open(self, *, dialled: bool, routing_id: bytes = b"") -> Remote:
        """A peer's queues."""
        remote = Remote(Pipe(self.receive_hwm), Pipe(self.send_hwm), dialled=dialled, routing_id=routing_id)
        self._opened(remote)
        self._hook(remote)
        return remote

    def _hook(self, remote: Remote) -> None:
        """Listens to the remote's pipes. Joining replaces pipes, and hooks again."""
        remote.inbox.on_readable = partial(self._arrived, remote)
        remote.inbox.reader_waits = True
        remote.outbox.on_writable = partial(self._roomy, remote)
        remote.outbox.on_passed = self._write_bell.ring

    def _attach(self, remote: Remote) -> None:
        """The remote takes part in routing: a dialled one from `connect` on, an accepted one once it is linked."""
        remote.attached = True
        self._remotes[remote] = None
        if not self._closed:
            self._joined(remote)

    def _link(self, remote: Remote, info: PeerInfo) -> None:
        """The handshake with the remote's peer is complete.

        Raises:
          ProtocolError: the peer is refused.
        """
        self._admit(remote, info)
        remote.info = info
        if not remote.attached:
            self._attach(remote)
        if not self._closed:
            self._linked(remote)
        self._peer_bell.ring()

    def _unlink(self, remote: Remote) -> None:
        """The connection is lost, or over."""
        if remote.info is not None:
            remote.info = None
            self._unlinked(remote)
            self._peer_bell.ring()

    def _detach(self, remote: Remote) -> None:
        """The remote is gone for good; what came from it can still be received."""
        if remote.attached:
            remote.attached = False
            del self._remotes[remote]
            self._left(remote)
            self._write_bell.ring()
            self._peer_bell.ring()

    # What a pattern fills in

    def _joins_at_connect(self, remote: Remote) -> bool:
        """Whether a dialled remote takes part in routing before its peer is there."""
        return not self.immediate

    def _opened(self, remote: Remote) -> None:
        """The remote is new; a pattern may give it an inbox of another kind."""

    def _arrived(self, remote: Remote) -> None:
        """The remote's inbox was empty and is not."""

    def _roomy(self, remote: Remote) -> None:
        """The remote's outbox was full and has room."""

    def _admit(self, remote: Remote, info: PeerInfo) -> None:
        """Refuses a peer by raising ProtocolError."""

    def _joined(self, remote: Remote) -> None:
        """The remote takes part in routing."""

    def _linked(self, remote: Remote) -> None:
        """The remote's peer is there."""

    def _unlinked(self, remote: Remote) -> None:
        """The remote's peer is not there any more."""

    def _left(self, remote: Remote) -> None:
        """The remote no longer takes part in routing."""
