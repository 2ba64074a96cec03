"""Datagrams: the connector of endpoints without connections. It moves messages between a remote and a port.

Here the towers meet, as in `_dialer` and `_acceptor`. There is no handshake and no peer: the remote has no `info`, and
takes part in routing from the beginning on.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from trio.lowlevel import enable_ki_protection

from ._abc import PeerInfo
from ._abc_datagrams import DatagramCodec, DatagramPort
from ._back_off import BackOff
from ._endpoint import Endpoint, EndpointState
from ._errors import IncompatibleProtocol, ProtocolError
from ._monitor import ConnectFailed, ConnectRetried, GaveUp
from ._options import Settings
from ._remote import FilteredPipe
from ._session import close_remote, describe, is_fault, report_unsent
from ._sockets._socket import Socket

__all__ = ["DatagramConnector", "check_verb"]

logger = logging.getLogger("trimq")

_BATCH = 64  # datagrams that are moved before others may run

# What the system says of datagrams before, to hosts that do not listen (ICMP): no reason not to go on.
_HEARSAY = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNRESET)


def check_verb(socket: Socket, scheme: str, verb: str) -> None:
    """Over datagrams a type cannot do everything, and most types nothing.

    Raises:
      IncompatibleProtocol: it cannot do this.
    """
    can = socket._datagram_verbs
    if verb not in can:
        name = type(socket).__name__
        raise IncompatibleProtocol(
            f"a {name} cannot {verb} over {scheme}"
            + (f"; it can {' and '.join(sorted(can))} there" if can else ": it has no way to speak in datagrams")
        )


class DatagramConnector:
    """Runs one endpoint: bound, with a port that is open; or connected, with one that is to be opened."""

    def __init__(
        self,
        socket: Socket,
        endpoint: Endpoint,
        settings: Settings,
        port: DatagramPort | Callable[[], Awaitable[DatagramPort]],
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
        self._codec: DatagramCodec = socket._datagrams()
        self._scope = trio.CancelScope()
        remote = self._remote = socket._open(dialled=True)
        remote.carrier = self
        remote.where = str(endpoint)
        remote.datagram_size = self._codec.max_size
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

    async def _write(self, port: DatagramPort) -> None:
        outbox = self._remote.outbox
        while True:
            if outbox.queue:
                for item in outbox.hold(_BATCH):
                    data, to = self._codec.encode(item)
                    try:
                        while not port.send_now(data, to):
                            await port.wait_sendable()
                    except OSError as error:
                        self._not_sent(error)
                    else:
                        outbox.bytes += len(data)
                outbox.taken()
                await trio.lowlevel.checkpoint()
            elif outbox.ended:
                return
            else:
                await outbox.wait_readable()

    def _not_sent(self, error: OSError) -> None:
        """The system does not take this datagram: to somewhere that it cannot reach, too large for it, forbidden."""
        logger.debug("%s: a datagram was not sent: %s", self._endpoint, describe(error))
        self._remote.drop()

    async def _read(self, port: DatagramPort) -> None:
        while True:
            try:
                await port.wait_receivable()
            except trio.ClosedResourceError:
                return
            for _ in range(_BATCH):
                try:
                    received = port.receive_now(self._codec.max_size)
                except OSError as error:
                    if error.errno not in _HEARSAY:
                        logger.debug("%s: the system reports: %s", self._endpoint, describe(error))
                    break
                if received is None:
                    break
                self._arrived(*received)

    def _arrived(self, data: bytes, sender: str) -> None:
        remote, inbox = self._remote, self._remote.inbox
        try:
            item = self._codec.decode_untrusted(data, sender)
        except ProtocolError as error:
            logger.debug("%s: dropped: %s", self._endpoint, error)
            remote.drop()
            return
        if remote.outbox.ended:
            return  # it is closed; what is queued still goes out
        if inbox.room > 0:
            inbox.bytes += len(data)
            inbox.put(item)
        elif not isinstance(inbox, FilteredPipe) or inbox.wants(item):
            remote.drop()

    def close(self, linger: float) -> None:
        """Unbinds or disconnects: what is queued may take ``linger`` seconds more."""
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.discard(self._endpoint)
        close_remote(self._socket, self._remote, self._scope, linger)
        if self._port is not None and self._endpoint.bound and not len(self._remote.outbox):
            self._port.close()  # the address is free at once

    def part(self) -> None:
        """The context has ended: what is queued still goes out."""

    def _end(self) -> None:
        if self._port is not None:
            self._port.close()
        report_unsent(self._socket, self._remote)
        self._socket._detach(self._remote)
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.discard(self._endpoint)
        self._socket._carriers -= 1
        self._socket._gone()
