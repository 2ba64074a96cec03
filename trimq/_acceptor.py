"""Acceptor: the connector task behind `bind`. It accepts connections, and holds each in a task of the context."""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Awaitable, Callable
from time import perf_counter

import trio
from trio.lowlevel import checkpoint, enable_ki_protection

from ._abc import AcceptRefused, Listener, StreamTransport
from ._endpoint import Endpoint, EndpointState
from ._monitor import Accepted as ConnectionAccepted, AcceptFailed, Closed, CloseFailed
from ._options import Settings
from ._remote import Remote
from ._session import close_remote, describe, hold, report_unsent
from ._sockets._socket import Socket

__all__ = ["Acceptor"]

logger = logging.getLogger("trimq")

_BREATHE = 0.1  # seconds: out of descriptors, the next accept may find one
_RUN = 64  # connections accepted without a yield,
_SLICE = 500e-6  # if they take no longer than these seconds (promise 5)
_ONCE = 1.0  # seconds between two words of the log on the same: failures to accept, connections beyond max_connections


class Acceptor:
    """Accepts at one bound endpoint."""

    def __init__(
        self,
        socket: Socket,
        transport: StreamTransport,
        listener: Listener,
        endpoint: Endpoint,
        settings: Settings,
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._listener = listener
        self._endpoint = endpoint
        self._settings = settings
        self._spawn = spawn
        self._scope = trio.CancelScope()
        self._accepted: dict[Accepted, None] = {}
        self._shaking = 0  # connections whose handshake is unfinished
        self._shaken = trio.Event()  # they may have become fewer
        self._untold = 0  # connections beyond max_connections of which the log does not know yet
        self._told = -math.inf
        self._complained = -math.inf  # when a failure to accept was in the log

    @enable_ki_protection
    async def run(self) -> None:
        """Accepts until the endpoint is closed."""
        try:
            with self._scope:
                await self._accept()
        finally:
            self._listener.close()
            self._socket._carriers -= 1
            self._socket._gone()

    async def _accept(self) -> None:
        run, start = 0, perf_counter()
        stream: trio.abc.Stream | None
        while True:
            while self._shaking >= self._settings.max_handshakes:
                self._shaken = trio.Event()
                await self._shaken.wait()
            try:
                stream = await self._listener.accept()
            except AcceptRefused as error:
                self._refuse(error)
                stream = None
            except OSError as error:
                # Out of descriptors or memory: connections wait in the backlog, spinning would not help.
                now, level = trio.current_time(), logging.DEBUG
                if now - self._complained >= _ONCE:
                    self._complained, level = now, logging.WARNING
                logger.log(level, "%s: accept failed, trying again: %s", self._endpoint, describe(error))
                if self._socket._monitor.listeners:
                    self._socket._monitor.tell(AcceptFailed(str(self._endpoint), error))
                await trio.sleep(_BREATHE)
                continue
            except trio.ClosedResourceError:
                return
            if stream is not None:
                if self._endpoint.state is EndpointState.CLOSED:  # in the very tick in which the connection came
                    await trio.aclose_forcefully(stream)
                    return
                if len(self._accepted) >= self._settings.max_connections:
                    self._turn_away()
                    await trio.aclose_forcefully(stream)
                    continue
                accepted = Accepted(self, stream)
                self._accepted[accepted] = None
                self._shaking += 1
                self._socket._carriers += 1
                self._spawn(accepted.run)
            run += 1
            # A listener need not yield while there are connections in line. (The time it waited counts too: the first
            # connection after a pause costs a yield more.)
            if run >= _RUN or perf_counter() - start > _SLICE:
                await checkpoint()
                run, start = 0, perf_counter()

    def _refuse(self, error: AcceptRefused) -> None:
        """A connection was not let in: it is counted and told."""
        self._socket._tally.refused += 1
        logger.debug("%s: %s", self._endpoint, describe(error))
        if self._socket._monitor.listeners:
            self._socket._monitor.tell(AcceptFailed(str(self._endpoint), error))

    def _turn_away(self) -> None:
        """A connection is one too many. Many may come: the log says so at most once a second, and how many they were."""
        most = self._settings.max_connections
        self._refuse(
            AcceptRefused(errno.EACCES, f"a connection was refused: there are {most}, as max_connections says")
        )
        self._untold += 1
        now = trio.current_time()
        if now - self._told >= _ONCE:
            logger.warning("%s: %d connections refused: max_connections=%d", self._endpoint, self._untold, most)
            self._told, self._untold = now, 0

    def close(self, linger: float) -> None:
        """Unbinds: the address is free at once; connections that came in here end, as ``linger`` says."""
        self._listener.close()
        left, self._listener.left = self._listener.left, None
        if left is not None:
            logger.warning("%s", left)
        self._scope.cancel()
        if self._endpoint.state is not EndpointState.CLOSED and self._socket._monitor.listeners:
            self._socket._monitor.tell(
                Closed(str(self._endpoint)) if left is None else CloseFailed(str(self._endpoint), left)
            )
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.discard(self._endpoint)
        for accepted in list(self._accepted):
            accepted.close(linger)


class Accepted:
    """One accepted connection. Its remote exists once the handshake is complete."""

    def __init__(self, acceptor: Acceptor, stream: trio.abc.Stream) -> None:
        self._acceptor = acceptor
        self._stream = stream
        self._remote: Remote | None = None
        self._shaking = True
        self._scope = trio.CancelScope()

    @enable_ki_protection
    async def run(self) -> None:
        """Holds the connection until it ends."""
        acceptor = self._acceptor
        socket = acceptor._socket
        cause: Exception | None = None
        try:
            with self._scope:
                endpoint = acceptor._endpoint
                if socket._monitor.listeners:
                    socket._monitor.tell(
                        ConnectionAccepted(str(endpoint), acceptor._transport.peer_address(self._stream))
                    )
                cause = await hold(
                    socket, self._stream, acceptor._transport, acceptor._settings, endpoint, self._open, self._tell
                )
        finally:
            if cause is not None:
                logger.debug("%s: a connection ended: %s", acceptor._endpoint, describe(cause))
            if self._remote is not None:
                report_unsent(socket, self._remote)
                socket._detach(self._remote)
            self._shaken()
            del acceptor._accepted[self]
            socket._carriers -= 1
            socket._gone()

    def _tell(self, state: EndpointState, cause: Exception | None) -> None:
        """An accepted connection has no endpoint of its own: all that matters is whether its handshake is unfinished."""
        if state is EndpointState.READY:
            self._shaken()

    def _shaken(self) -> None:
        """The handshake is complete, or will never be. Idempotent."""
        if self._shaking:
            self._shaking = False
            self._acceptor._shaking -= 1
            self._acceptor._shaken.set()

    def _open(self) -> Remote:
        remote = self._acceptor._socket._open(dialled=False)
        remote.carrier = self
        remote.where = f"a peer of {self._acceptor._endpoint}"
        self._remote = remote
        return remote

    def part(self) -> None:
        """The context has ended: the peer may still take what is queued."""

    def close(self, linger: float) -> None:
        """Ends the connection; what is queued may take ``linger`` seconds more."""
        if self._remote is None:
            self._scope.cancel()
        else:
            close_remote(self._acceptor._socket, self._remote, self._scope, linger)
