"""Datagrams: the connector of endpoints without connections. It moves messages between a remote, a session and a port.

Here the towers meet, as in `_dialer` and `_acceptor`. There is no handshake and no peer: the remote has no `info`, and
takes part in routing from the beginning on. What is said in datagrams, and when, is the session's business.
"""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ._abc import PeerInfo, Transport
from ._abc_datagrams import DatagramPort, DatagramSession, MulticastTransport
from ._back_off import BackOff
from ._endpoint import Endpoint, EndpointState
from ._errors import IncompatibleProtocol
from ._limits import item_size
from ._monitor import BindFailed, ConnectFailed, ConnectRetried, GaveUp, Listening
from ._options import Settings
from ._remote import FilteredPipe
from ._session import close_remote, describe, is_fault, report_unsent
from ._sockets._socket import Socket
from ._wire._datagrams import OneByOne

__all__ = ["DatagramConnector", "check_verb", "open_multicast"]

logger = logging.getLogger("trimq")

_BATCH = 64  # datagrams that are moved before others may run
_BATCH_BYTES = 65536  # of messages that a session is given at a time, where it is not messages that are datagrams

# What the system says of datagrams before, to hosts that do not listen (ICMP): no reason not to go on.
_HEARSAY = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNRESET)


def check_verb(socket: Socket, transport: Transport, verb: str) -> None:
    """Over datagrams a type cannot do everything, and most types nothing.

    Raises:
      IncompatibleProtocol: it cannot do this.
    """
    multicast = isinstance(transport, MulticastTransport)
    can = _BOTH if multicast and socket._multicasts else frozenset[str]() if multicast else socket._datagram_verbs
    if verb not in can:
        name = type(socket).__name__
        raise IncompatibleProtocol(
            f"a {name} cannot {verb} over {transport.scheme}"
            + (f"; it can {' and '.join(sorted(can))} there" if can else ": it has no way to speak in datagrams")
        )


_BOTH = frozenset({"bind", "connect"})


def open_multicast(
    socket: Socket,
    transport: MulticastTransport,
    text: str,
    address: str,
    spawn: Callable[[Callable[[], Awaitable[None]]], None],
    *,
    bound: bool,
) -> Endpoint:
    """Binds or connects, which is the same, and at once.

    Args:
      text: the whole endpoint.
      address: what stands behind its ``://``.
      spawn: starts a service.
      bound: which of the two it is called.

    Raises:
      ZMQError, OSError: it cannot be opened, or the system lacks or refuses an option, which is named.
    """
    settings = socket._settings()
    try:
        port, session = transport.open(address, settings, trio.current_time(), publishes=socket._publishes)
    except OSError as error:
        socket._monitor.tell(BindFailed(text, error) if bound else ConnectFailed(text, error))
        raise
    endpoint = Endpoint(text, bound=bound, pace=socket._pace)
    endpoint._enter(EndpointState.READY)
    connector = DatagramConnector(socket, endpoint, settings, port, session)
    endpoint._close = lambda: connector.close(socket.linger)
    socket._endpoints.add(endpoint)
    socket._carriers += 1
    spawn(connector.run)
    if bound:
        socket._monitor.tell(Listening(text))
    return endpoint


class DatagramConnector:
    """Runs one endpoint: bound, with a port that is open; or connected, with one that is to be opened.

    Args:
      session: what is said over the port; None: what the socket's type says in datagrams, one for each message.
    """

    def __init__(
        self,
        socket: Socket,
        endpoint: Endpoint,
        settings: Settings,
        port: DatagramPort | Callable[[], Awaitable[DatagramPort]],
        session: DatagramSession | None = None,
    ) -> None:
        self._socket = socket
        self._endpoint = endpoint
        self._settings = settings
        self._open_port: Callable[[], Awaitable[DatagramPort]] | None = None
        self._port: DatagramPort | None = None
        if isinstance(port, DatagramPort):
            self._port = port
        else:
            self._open_port = port
        self._session: DatagramSession = session or OneByOne(socket._datagrams())
        self._rests_until = -math.inf  # the writer's; in the past while it does not rest
        self._wake: Callable[[], object] = _nothing
        self._stalled = False  # nothing is read: there is no room for it
        self._refusal: int | None = None  # what the system said last of a datagram that it would not send
        self._hung_up = False  # the session and the port are closed
        self._scope = trio.CancelScope()
        remote = self._remote = socket._open(dialled=True)
        remote.carrier = self
        remote.where = str(endpoint)
        remote.datagram_size = self._session.max_size if session is None else math.inf
        # Whoever sends: what is known of them is in their messages, if anything.
        remote.last_info = PeerInfo(socket_type="", mechanism="")
        socket._attach(remote)

    @enable_ki_protection
    async def run(self) -> None:
        """Moves datagrams until the endpoint is closed, and what was queued is sent."""
        try:
            with self._scope:
                port = self._port or await self._open()
                if port is None:
                    return
                self._port = port
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read, port)
                    with suppress(trio.ClosedResourceError):  # closed from here, before the cancellation is there
                        await self._write(port)
                    nursery.cancel_scope.cancel()
        finally:
            self._end()

    async def _open(self) -> DatagramPort | None:
        """The port, as soon as it can be opened; None if that is given up."""
        endpoint, monitor, back_off = self._endpoint, self._socket._monitor, BackOff(self._settings)
        cause: OSError | None = None
        while True:
            endpoint._enter(EndpointState.RESOLVING)
            try:
                port = await self._attempt(back_off.limit, cause)
            except OSError as error:
                cause = error.with_traceback(None)
            else:
                endpoint._enter(EndpointState.READY)
                return port
            monitor.tell(ConnectFailed(str(endpoint), cause))
            if not back_off.over(cause):
                pause = back_off.pause()
                logger.debug("%s: next attempt in %.3g s: %s", endpoint, pause, describe(cause))
                next_attempt = trio.current_time() + pause
                endpoint._enter(EndpointState.WAITING, cause, fault=is_fault(cause), next_attempt=next_attempt)
                monitor.tell(ConnectRetried(str(endpoint), cause, pause))
                await trio.sleep(pause)
                if not back_off.late:
                    continue
            logger.warning("%s: given up: %s", endpoint, describe(cause))
            endpoint._enter(EndpointState.LOST, cause, fault=is_fault(cause))
            monitor.tell(GaveUp(str(endpoint), cause))
            return None

    async def _attempt(self, limit: float, before: OSError | None) -> DatagramPort:
        """One attempt to open the port, of so many seconds at most.

        Raises:
          OSError: it could not be opened, or not in time.
        """
        assert self._open_port is not None
        with trio.move_on_after(limit):
            return await self._open_port()
        late = TimeoutError(f"{self._endpoint} was not opened within {round(limit, 3):g} s")
        late.__cause__ = before
        raise late

    # Sending

    async def _write(self, port: DatagramPort) -> None:
        outbox, session = self._remote.outbox, self._session
        while not self._hung_up:
            now = trio.current_time()
            if not session.pending:
                if outbox.held:
                    outbox.taken()
                if outbox.queue:
                    session.send(outbox.hold(self._share(outbox.queue[0])), now)
                elif outbox.ended:
                    session.close(now)
            datagrams = session.poll(now)
            if datagrams:
                await self._send(port, datagrams)
            self._deliver()
            if datagrams or (outbox.queue and not session.pending):
                await trio.lowlevel.checkpoint()
            elif outbox.ended and session.finished:
                return
            else:
                await self._rest()

    def _share(self, first: Any) -> int:
        """How many messages the session is given at a time."""
        return max(1, min(1000, _BATCH_BYTES // (1 + item_size(first)))) if self._session.reliable else _BATCH

    async def _send(self, port: DatagramPort, datagrams: Sequence[tuple[bytes, str]]) -> None:
        outbox, reliable = self._remote.outbox, self._session.reliable
        at = 0
        while at < len(datagrams):
            try:
                while not (sent := port.send_some_now(datagrams, at)):
                    await port.wait_sendable()
            except OSError as error:
                # The system does not take it: to somewhere that it cannot reach, too large for it, forbidden.
                logger.debug("%s: a datagram was not sent: %s", self._endpoint, describe(error))
                if not reliable:
                    self._remote.drop()
                elif error.errno != self._refusal:  # who is to ask for a repair may hear nothing at all
                    self._refusal = error.errno
                    logger.warning("%s: the system does not send: %s", self._endpoint, describe(error))
                at += 1
            else:
                outbox.bytes += sum(len(data) for data, _ in datagrams[at : at + sent])
                at += sent

    async def _rest(self) -> None:
        """Waits for messages, where the session takes any; for its deadline; or until the reader has something for it."""
        outbox = self._remote.outbox
        # While the reader stalls nothing is asked for again: what was may wait to be read.
        self._rests_until = math.inf if self._stalled else self._session.deadline
        with trio.CancelScope(deadline=self._rests_until):
            if self._session.pending:
                woken = trio.Event()
                self._wake = woken.set
                await woken.wait()
            else:
                self._wake = outbox.nudge
                await outbox.wait_readable()
        self._rests_until, self._wake = -math.inf, _nothing

    # Receiving

    async def _read(self, port: DatagramPort) -> None:
        session, inbox = self._session, self._remote.inbox
        while True:
            try:
                await port.wait_receivable()
            except trio.ClosedResourceError:
                return
            while self._receive(port):
                await trio.lowlevel.checkpoint()
            if session.reliable and inbox.room <= 0:
                self._stalled = True
                await inbox.wait_writable()
                self._stalled = False
            if session.deadline < self._rests_until:
                self._wake()

    def _receive(self, port: DatagramPort) -> bool:
        """Takes datagrams from the port; returns whether there may be more, and room for them."""
        session, inbox = self._session, self._remote.inbox
        now = trio.current_time()
        more, count = False, 0
        while count < _BATCH:
            try:
                received = port.receive_some_now(session.max_size)
            except OSError as error:
                if error.errno not in _HEARSAY:
                    logger.debug("%s: the system reports: %s", self._endpoint, describe(error))
                break
            if received is None:
                break
            run, sender = received
            count += len(run)
            inbox.bytes += sum(map(len, run))
            for fault in session.receive_run_untrusted(run, sender, now):
                logger.debug("%s: dropped: %s", self._endpoint, fault)
                self._remote.drop()
        else:
            more = session.deadline >= self._rests_until
        self._deliver()
        return more and (inbox.room > 0 or not session.reliable)

    def _deliver(self) -> None:
        remote, inbox = self._remote, self._remote.inbox
        items = self._session.take()
        if items and not remote.outbox.ended:  # once it is closed, what is queued still goes out, and that is all
            if self._session.reliable:
                inbox.put_many(items)
            else:
                for item in items:
                    if inbox.room > 0:
                        inbox.put(item)
                    elif not isinstance(inbox, FilteredPipe) or inbox.wants(item):
                        remote.drop()
        for sender, count in self._session.lost():
            self._socket._packets_lost(remote, sender, count)

    # The end

    def close(self, linger: float) -> None:
        """Unbinds or disconnects: what is queued may take ``linger`` seconds more."""
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.discard(self._endpoint)
        rest = not self._session.finished  # it has more to do than to send what is queued
        close_remote(self._socket, self._remote, self._scope, linger, rest=rest)
        if self._port is not None and not (linger and (rest or len(self._remote.outbox))):
            self._hang_up(self._port)  # the address is free at once

    def part(self) -> None:
        """The context has ended: what is queued still goes out."""

    def _hang_up(self, port: DatagramPort) -> None:
        self._hung_up = True
        now = trio.current_time()
        self._session.close(now, discard=True)
        for data, to in self._session.poll(now):
            with suppress(OSError):
                port.send_now(data, to)
        port.close()

    def _end(self) -> None:
        if self._port is not None:
            self._hang_up(self._port)
        report_unsent(self._socket, self._remote)
        self._socket._detach(self._remote)
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.discard(self._endpoint)
        self._socket._carriers -= 1
        self._socket._gone()


def _nothing() -> None:
    """Wakes nobody."""
