"""Dialer: the connector task behind `connect`. It connects, holds the connection, and connects again after a loss."""

from __future__ import annotations

import logging

import trio
from trio.lowlevel import enable_ki_protection

from ._abc import StreamTransport
from ._back_off import BackOff
from ._endpoint import Endpoint, EndpointState
from ._errors import ProtocolError
from ._monitor import ConnectDelayed, Connected, ConnectFailed, ConnectRetried, Event, GaveUp
from ._options import Settings
from ._remote import Remote
from ._session import close_remote, describe, hold, is_fault, report_unsent
from ._sockets._socket import Socket

__all__ = ["Dialer"]

logger = logging.getLogger("trimq")


class Dialer:
    """Runs links to one endpoint on one remote (or on a new one each time, if the option ``immediate`` is set)."""

    def __init__(
        self,
        socket: Socket,
        transport: StreamTransport,
        address: str,
        endpoint: Endpoint,
        settings: Settings,
        routing_id: bytes | None,
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._address = address
        self._endpoint = endpoint
        self._settings = settings
        self._routing_id = routing_id or b""
        self._scope = trio.CancelScope()
        self._linked = False  # in this attempt
        self._failed_in_handshake = False
        self._remote = self._new_remote()

    def _new_remote(self) -> Remote:
        socket = self._socket
        remote = socket._open(dialled=True, routing_id=self._routing_id)
        remote.carrier = self
        remote.where = str(self._endpoint)
        if socket._joins_at_connect(remote):
            socket._attach(remote)
            self._endpoint._routing_id = remote.routing_id or None
        return remote

    @enable_ki_protection
    async def run(self) -> None:
        """Dials until the endpoint is closed, or given up."""
        try:
            with self._scope:
                await self._dial()
        finally:
            self._end()

    async def _dial(self) -> None:
        settings = self._settings
        back_off = BackOff(settings)
        cause: Exception | None = None
        while True:
            self._linked = False
            cause = await self._attempt(back_off.limit, cause)
            if self._remote.outbox.ended and (not len(self._remote.outbox) or settings.immediate):
                return
            assert cause is not None
            if self._linked:
                back_off.connected(quick=not is_fault(cause))
            if self._gives_up(cause, back_off):
                self._give_up(cause)
                return
            if settings.immediate and self._remote.attached:
                self._drop_remote()
                self._remote = self._new_remote()
            delay = back_off.pause()
            logger.debug("%s: next attempt in %.3g s: %s", self._endpoint, delay, describe(cause))
            self._endpoint._enter(
                EndpointState.WAITING, cause, fault=is_fault(cause), next_attempt=trio.current_time() + delay
            )
            self._tell_listeners(ConnectRetried(str(self._endpoint), cause, delay))
            await trio.sleep(delay)
            if back_off.late:
                self._give_up(cause)
                return

    def _give_up(self, cause: Exception) -> None:
        expected = self._socket._one_peer and self._linked
        logger.log(logging.INFO if expected else logging.WARNING, "%s: given up: %s", self._endpoint, describe(cause))
        self._endpoint._enter(EndpointState.LOST, cause, fault=is_fault(cause))
        self._tell_listeners(GaveUp(str(self._endpoint), cause))

    def _gives_up(self, cause: Exception, back_off: BackOff) -> bool:
        settings = self._settings
        if self._socket._one_peer and self._linked:
            return True  # RFC 31: a PAIR does not reconnect
        if self._failed_in_handshake and "handshake" in settings.reconnect_stop:
            return True
        if settings.libzmq and isinstance(cause, ProtocolError) and not cause.hung_up:
            return True
        return back_off.over(cause)

    async def _attempt(self, limit: float, before: Exception | None) -> Exception | None:
        """One attempt, and the connection it may give; returns why that is over, None if it was ended from here.

        Args:
          limit: how many seconds it may take to connect.
          before: why the attempt before failed.
        """
        endpoint, transport = self._endpoint, self._transport
        self._failed_in_handshake = False
        stream = None
        try:
            with trio.move_on_after(limit):
                endpoint._enter(EndpointState.RESOLVING)
                resolved = await transport.resolve(self._address, self._settings)
                endpoint._enter(EndpointState.CONNECTING)
                if transport.connects_slowly:
                    self._tell_listeners(ConnectDelayed(str(endpoint)))
                stream = await transport.connect(self._address, self._settings, resolved)
        except OSError as error:
            if endpoint.state is EndpointState.CONNECTING:  # else there was nothing to connect to
                self._tell_listeners(ConnectFailed(str(endpoint), error))
            return error
        if stream is None:
            late = TimeoutError(f"no connection to {endpoint} within {round(limit, 3):g} s")
            late.__cause__ = before
            self._tell_listeners(ConnectFailed(str(endpoint), late))
            return late
        self._tell_listeners(Connected(str(endpoint)))
        cause = await hold(self._socket, stream, transport, self._settings, endpoint, lambda: self._remote, self._tell)
        self._failed_in_handshake = not self._linked
        return cause

    def _tell(self, state: EndpointState, cause: Exception | None) -> None:
        if state is EndpointState.READY:
            self._linked = True
            self._endpoint._routing_id = self._remote.routing_id or None
        self._endpoint._enter(state, cause, fault=is_fault(cause))

    def _tell_listeners(self, event: Event) -> None:
        self._socket._monitor.tell(event)

    def _drop_remote(self) -> None:
        report_unsent(self._socket, self._remote)
        self._socket._detach(self._remote)

    def close(self, linger: float) -> None:
        """Disconnects: what is queued may take ``linger`` seconds more, even to connect."""
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.discard(self._endpoint)
        close_remote(self._socket, self._remote, self._scope, linger)

    def part(self) -> None:
        """The context has ended: somebody may still come and take what is queued."""

    def _end(self) -> None:
        self._drop_remote()
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.discard(self._endpoint)
        self._socket._carriers -= 1
        self._socket._gone()
