"""Join: two sockets of one context, each the other's peer (inproc). Their remotes share their pipes crosswise.

No bytes, no tasks: what one puts is in the other's queue at once. There is no reconnecting either: when one side
goes away, the other's endpoint is lost; what it was sent before can still be received.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.lowlevel import enable_ki_protection

from ._abc import JoinTransport, PeerInfo, Site
from ._endpoint import Endpoint, EndpointState
from ._errors import ProtocolError
from ._limits import Latest, keep_latest, set_byte_limit
from ._message import Shared
from ._remote import Intake, Remote
from ._session import report_unsent
from ._sockets._socket import Socket

__all__ = ["JoinBinder", "JoinConnector"]


class JoinBinder(Site):
    """The binding side of an inproc name."""

    def __init__(self, socket: Socket, transport: JoinTransport, name: str, endpoint: Endpoint) -> None:
        self._socket = socket
        self._transport = transport
        self._name = name
        self._endpoint = endpoint

    def meet(self, connector: Site) -> None:
        """Joins the socket with a connecting one."""
        assert isinstance(connector, JoinConnector)
        connector._join(self._socket, f"a peer of {self._endpoint}")

    def close(self, linger: float) -> None:
        """Frees the name. Who is joined stays so (as in libzmq)."""
        self._transport.release(self._name, self)
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.discard(self._endpoint)


class JoinConnector(Site):
    """The connecting side: waits for the binder, and carries both remotes once they are joined."""

    def __init__(
        self,
        socket: Socket,
        transport: JoinTransport,
        name: str,
        endpoint: Endpoint,
        routing_id: bytes | None,
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._name = name
        self._endpoint = endpoint
        self._spawn = spawn
        self._scope = trio.CancelScope()
        self._lingers = False
        self._binder: Socket | None = None
        self._remote = socket._open(dialled=True, routing_id=routing_id or b"")
        self._remote.carrier = self
        self._remote.where = str(endpoint)
        if socket._joins_at_connect(self._remote):
            socket._attach(self._remote)
            endpoint._routing_id = self._remote.routing_id or None

    def meet(self, connector: Site) -> None:
        """A connector meets nobody by itself: two of them wait for a binder."""
        raise AssertionError("a connector does not bind")

    def _join(self, binder: Socket, where: str) -> None:
        connector, theirs = self._socket, self._remote
        mine = binder._open(dialled=False)
        mine.where = where
        mine.carrier = _BinderSide(self, mine)
        waiting = theirs.outbox
        waiting.lent_puts()
        theirs.outbox, mine.outbox = mine.inbox, theirs.inbox
        mine.partner, theirs.partner = theirs, mine
        _limit(connector, theirs, binder, mine)
        _limit(binder, mine, connector, theirs)
        binder._hook(mine)
        connector._hook(theirs)
        binder._set_marks(mine)
        self._binder = binder
        try:
            _check_types(connector, binder)
            binder._link(mine, _info(connector))
            connector._link(theirs, _info(binder))
        except ProtocolError as error:
            theirs.outbox = waiting
            self._part(EndpointState.LOST, error)
            return
        self._endpoint._routing_id = theirs.routing_id or None
        self._endpoint._enter(EndpointState.READY)
        for item in waiting.queue:
            body = item.item if isinstance(item, Shared) else item
            theirs.outbox.put(body if isinstance(body, bytes) else list(body))
        if waiting.writer_waits:
            theirs.outbox.writer_waits = True
            theirs.outbox.opened()
        connector._write_bell.ring()
        if waiting.ended:  # closed before there was a binder: that was all
            self._part(EndpointState.CLOSED, None)

    def close(self, linger: float) -> None:
        """The connecting socket, or its endpoint, is closed."""
        self._endpoint._enter(EndpointState.CLOSED)
        self._socket._endpoints.discard(self._endpoint)
        self._socket._retire(self._remote)
        waits = self._binder is None and len(self._remote.outbox) > 0
        if waits and linger > 0 and not self._socket._terminated:
            # Somebody may still bind the name and take what is queued.
            self._remote.outbox.end()
            if not self._lingers:
                self._lingers = True
                self._scope.deadline = trio.current_time() + linger
                self._socket._carriers += 1
                self._spawn(self._linger)
        else:
            self._remote.outbox.ended = True
            self._part(EndpointState.CLOSED, None)

    def part(self) -> None:
        """The context has ended: nobody will bind the name any more."""
        if self._binder is None:
            self._part(EndpointState.CLOSED, None)

    @enable_ki_protection
    async def _linger(self) -> None:
        try:
            with self._scope:
                await trio.sleep_forever()
        finally:
            self._part(EndpointState.CLOSED, None)
            self._socket._carriers -= 1
            self._socket._gone()

    def _part(self, state: EndpointState, cause: Exception | None) -> None:
        """Ends it for both; what either was sent can still be received. Idempotent."""
        self._scope.cancel()
        self._transport.release(self._name, self)
        self._endpoint._enter(state, cause, fault=isinstance(cause, ProtocolError))
        self._socket._endpoints.discard(self._endpoint)
        theirs, mine = self._remote, self._remote.partner
        if mine is None or theirs.outbox is not mine.inbox:
            report_unsent(self._socket, theirs)
        self._socket._unlink(theirs)
        self._socket._detach(theirs)
        if self._binder is not None and mine is not None:
            self._binder._unlink(mine)
            self._binder._detach(mine)


class _BinderSide:
    """The carrier of the binder's remote."""

    def __init__(self, connector: JoinConnector, remote: Remote) -> None:
        self._connector = connector
        self._remote = remote

    def close(self, linger: float) -> None:
        """The binding socket is closed: the connector has lost its peer, for good."""
        self._remote.outbox.ended = True
        self._connector._part(EndpointState.LOST, ConnectionResetError("the peer has closed its socket"))

    def part(self) -> None:
        """The context has ended: what is joined needs nothing more."""


def _limit(writer: Socket, writing: Remote, reader: Socket, reading: Remote) -> None:
    """Sets up the pipe of one direction as both sockets have it: it was made by the reader."""
    pipe = writing.outbox
    if getattr(writer, "conflate", False) and not isinstance(pipe, Intake) and not isinstance(pipe.queue, Latest):
        keep_latest(pipe, reading.drop)
    set_byte_limit(pipe, writer.send_hwm_bytes + reader.receive_hwm_bytes)


def _info(socket: Socket) -> PeerInfo:
    return PeerInfo(socket_type=socket.socket_type, identity=socket._identity or b"")


def _check_types(connector: Socket, binder: Socket) -> None:
    # libzmq does not check inproc; a mismatch could only fail later, and in silence.
    if connector.socket_type not in binder._accepts:
        raise ProtocolError(
            f"socket types do not match: a {connector.socket_type} connected to a {binder.socket_type}, "
            f"which talks to {' or '.join(sorted(binder._accepts))}"
        )
