"""Endpoint: what ``bind`` and ``connect`` return, and how the connector behind it stands.

It only tells: the connector (a dialer, an acceptor, a join) sets its state; users read it and wait for it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator

from trio.lowlevel import enable_ki_protection

from ._errors import SocketClosed, end_of
from ._pace import Pace
from ._util import Bell, until

__all__ = ["Endpoint", "EndpointState", "Endpoints"]


class EndpointState(enum.Enum):
    """How a connector stands."""

    RESOLVING = "resolving"
    """An attempt is under way: its name is being looked up."""
    CONNECTING = "connecting"
    """An attempt is under way: a connection is being made."""
    HANDSHAKING = "handshaking"
    """The connection is there, the ZMTP handshake is under way."""
    READY = "ready"
    """Bound: it listens. Connected: there is a peer."""
    WAITING = "waiting"
    """An attempt failed or the connection was lost; the next attempt comes after a back-off."""
    LOST = "lost"
    """It has given up: a Pair whose peer went away, a refused inproc peer, no reconnects wanted."""
    CLOSED = "closed"
    """Unbound or disconnected, or its socket was closed."""


_OVER = (EndpointState.LOST, EndpointState.CLOSED)


class Endpoint:
    """A place where a socket is bound or connected.

    ``str(endpoint)`` is the resolved address: wildcards are filled in, so that it can be given to a
    ``connect`` elsewhere. Given to ``connect`` as it is, a bound wildcard means loopback.
    """

    def __init__(
        self,
        address: str,
        *,
        bound: bool,
        pace: Pace,
        dial_address: str | None = None,
    ) -> None:
        self._address = address
        self._dial_address = dial_address or address
        self._bound = bound
        self._pace = pace
        self._routing_id: bytes | int | None = None
        self._state = EndpointState.READY if bound else EndpointState.CONNECTING
        self._cause: Exception | None = None
        self._fault: Exception | None = None  # a failure that does not pass by itself
        self._last_fault: Exception | None = None
        self._faults = 0
        self._ended_context: object = None
        self._next_attempt: float | None = None
        self._bell = Bell()
        self._close: Callable[[], None] = lambda: None

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        verb = "bound" if self._bound else "connected"
        return f"<Endpoint {self._address} ({verb}, {self._state.value})>"

    @property
    def bound(self) -> bool:
        """True if it is bound, False if it is connected."""
        return self._bound

    @property
    def state(self) -> EndpointState:
        """How it stands now."""
        return self._state

    @property
    def cause(self) -> Exception | None:
        """The last failure, of an attempt, a handshake or the connection. None while all is well."""
        return self._cause

    @property
    def next_attempt(self) -> float | None:
        """When the next attempt to connect begins, by ``trio.current_time()``; None unless the state is WAITING."""
        return self._next_attempt

    @property
    def routing_id(self) -> bytes | int | None:
        """The routing id by which the socket reaches this endpoint's peer, if it has one and it is known.

        Bytes for a Router and a Stream, a number for a Server and a Peer.
        """
        return self._routing_id

    @enable_ki_protection
    def close(self) -> None:
        """Unbinds (zmq_unbind) or disconnects (zmq_disconnect). Idempotent, never blocks.

        The address is free at once. What is queued for the endpoint's peers lingers as the socket's
        ``linger`` says; what was received from them already can still be received.
        """
        self._pace.check_thread()
        self._close()

    async def ready(self) -> None:
        """Waits until the endpoint is ready: at once where it is bound, else until there is a peer.

        It waits through what may pass: a refused connection, an unreachable host, an unknown name, time-outs.
        A cancellation leaves everything as it is.

        Raises:
          ProtocolError: the handshake with the peer failed, now or since the call.
          SocketClosed: the endpoint or its socket was closed.
          ContextTerminated: the context has ended.
          OSError: the cause, if it has given up.
        """
        faults = self._faults

        def test() -> bool:
            if self._ended_context is not None:
                raise end_of(self._ended_context)
            if self._state is EndpointState.READY:
                return True
            if self._state is EndpointState.CLOSED:
                raise SocketClosed(f"the endpoint {self._address} was closed")
            if self._fault is not None:
                raise self._fault.with_traceback(None)
            if self._faults != faults and self._last_fault is not None:
                raise self._last_fault.with_traceback(None)
            if self._state is EndpointState.LOST:
                raise (self._cause or SocketClosed(f"{self._address} has given up")).with_traceback(None)
            return False

        await until(test, self._bell, pace=self._pace)

    # for the connectors

    def _enter(
        self,
        state: EndpointState,
        cause: Exception | None = None,
        *,
        fault: bool = False,
        next_attempt: float | None = None,
    ) -> None:
        """Sets the state; a fault is a failure that `ready` raises instead of waiting through it."""
        if self._state in _OVER:
            return
        self._state = state
        self._next_attempt = next_attempt
        if state is EndpointState.READY:
            self._cause = self._fault = None
        elif cause is not None:
            self._cause = cause
            self._fault = cause if fault else None
            if fault:
                self._last_fault = cause
                self._faults += 1
        self._bell.ring()

    def _terminate(self, context: object) -> None:
        """The context has ended."""
        self._ended_context = context
        self._bell.ring()


class Endpoints:
    """The endpoints of a socket, in order; those of an address are found without a look at the others."""

    __slots__ = ("_all", "_at")

    def __init__(self) -> None:
        self._all: dict[Endpoint, None] = {}
        self._at: dict[tuple[str, bool], dict[Endpoint, None]] = {}

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._all)

    def at(self, address: str, *, bound: bool) -> list[Endpoint]:
        """Those that are bound, or connected, to this very address."""
        return list(self._at.get((address, bound), ()))

    def add(self, endpoint: Endpoint) -> None:
        """One more, the last in order."""
        self._all[endpoint] = None
        self._at.setdefault((endpoint._address, endpoint._bound), {})[endpoint] = None

    def discard(self, endpoint: Endpoint) -> None:
        """It is closed, or lost. Idempotent."""
        if endpoint in self._all:
            del self._all[endpoint]
            place = (endpoint._address, endpoint._bound)
            same = self._at[place]
            del same[endpoint]
            if not same:
                del self._at[place]
