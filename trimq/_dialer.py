"""Dialer: the connector task behind `connect`. It connects, holds the connection, and connects again after a loss."""

from __future__ import annotations

import logging
import math
import random

import trio
from trio.lowlevel import enable_ki_protection

from ._abc import StreamTransport
from ._endpoint import Endpoint, EndpointState
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
        interval = self._settings.reconnect_interval
        while True:
            self._linked = False
            cause = await self._attempt()
            if self._remote.outbox.ended and (not len(self._remote.outbox) or self._settings.immediate):
                return
            assert cause is not None
            if (self._socket._one_peer and self._linked) or self._settings.reconnect_interval == math.inf:
                # RFC 31: a PAIR does not reconnect. (reconnect_interval=inf: nobody does.)
                self._endpoint._enter(EndpointState.LOST, cause, fault=is_fault(cause))
                return
            logger.debug("%s: %s", self._endpoint, describe(cause))
            self._endpoint._enter(EndpointState.WAITING, cause, fault=is_fault(cause))
            if self._settings.immediate and self._remote.attached:
                self._drop_remote()
                self._remote = self._new_remote()
            if self._linked and not is_fault(cause):
                interval = self._settings.reconnect_interval
            # Jitter, so that a thousand clients do not come back in one instant.
            await trio.sleep(interval * (0.5 + random.random() / 2))  # noqa: S311
            interval = min(2 * interval, max(self._settings.reconnect_interval_max, self._settings.reconnect_interval))

    async def _attempt(self) -> Exception | None:
        """One attempt, and the connection it may give; returns why that is over, None if it was ended from here."""
        stream = None
        try:
            with trio.move_on_after(self._settings.connect_timeout):
                self._endpoint._enter(EndpointState.RESOLVING)
                resolved = await self._transport.resolve(self._address, self._settings)
                self._endpoint._enter(EndpointState.CONNECTING)
                stream = await self._transport.connect(self._address, self._settings, resolved)
        except OSError as error:
            return error
        if stream is None:
            return TimeoutError(f"no connection to {self._endpoint} within {self._settings.connect_timeout} s")
        return await hold(self._socket, stream, self._transport, self._settings, lambda: self._remote, self._tell)

    def _tell(self, state: EndpointState, cause: Exception | None) -> None:
        if state is EndpointState.READY:
            self._linked = True
            self._endpoint._routing_id = self._remote.routing_id or None
        self._endpoint._enter(state, cause, fault=is_fault(cause))

    def _drop_remote(self) -> None:
        report_unsent(self._socket, self._remote)
        self._socket._detach(self._remote)

    def close(self, linger: float) -> None:
        """Disconnects: what is queued may take ``linger`` seconds more, even to connect."""
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.pop(self._endpoint, None)
        close_remote(self._socket, self._remote, self._scope, linger)

    def part(self) -> None:
        """The context has ended: somebody may still come and take what is queued."""

    def _end(self) -> None:
        self._drop_remote()
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.pop(self._endpoint, None)
        self._socket._carriers -= 1
        self._socket._gone()
