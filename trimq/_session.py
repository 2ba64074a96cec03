"""Session: one connection of one socket, from an open stream to its loss. Dialers and acceptors hold one each time.

It joins the two towers: a link on the one side, a remote of the socket on the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import attrs
import trio

from ._abc import PeerInfo, StreamTransport
from ._endpoint import Endpoint, EndpointState
from ._errors import InvalidEndpoint, ProtocolError, ZMQError, is_own
from ._link import Link
from ._monitor import Disconnected, HandshakeFailed, HandshakeSucceeded, InDoubt
from ._options import Settings
from ._remote import Remote
from ._sockets._socket import Socket

__all__ = ["close_remote", "describe", "hold", "is_fault", "report_unsent"]

logger = logging.getLogger("trimq")


async def hold(
    socket: Socket,
    stream: trio.abc.Stream,
    transport: StreamTransport,
    settings: Settings,
    endpoint: Endpoint,
    get_remote: Callable[[], Remote],
    tell: Callable[[EndpointState, Exception | None], None],
) -> Exception | None:
    """Holds one connection: handshake, admission, traffic; then closes the stream.

    Args:
      endpoint: the one that the connection belongs to.
      get_remote: gives the remote that the connection is for, once its handshake is complete.
      tell: is told how far it has come, and why it is over.

    Returns:
      why it was lost; None if it was ended from here, its messages written.

    Cancelled, it closes at once.
    """
    remote: Remote | None = None
    cause: Exception | None = None
    try:
        tell(EndpointState.HANDSHAKING, None)
        context = socket._context
        link = Link(stream, socket._wire(settings), context._flusher, context._heart, settings)
        info = None
        with trio.move_on_after(settings.handshake_timeout):
            info = await link.handshake()
        if info is None:
            raise TimeoutError(f"the handshake took longer than {settings.handshake_timeout} s")
        remote = get_remote()
        try:
            socket._link(remote, attrs.evolve(info, address=transport.peer_address(stream)))
        except ProtocolError as error:
            with suppress(OSError, trio.BrokenResourceError), trio.move_on_after(settings.handshake_timeout):
                await link.refuse(str(error))
            raise
        tell(EndpointState.READY, None)
        if socket._monitor.listeners and info.mechanism:
            assert remote.info is not None
            socket._monitor.tell(HandshakeSucceeded(str(endpoint), remote.info))
        remote.confirm = link.confirm
        cause = await link.run(remote.inbox, remote.outbox)
        if cause is not None:
            cause = cause.with_traceback(None)
    except (OSError, trio.BrokenResourceError) as error:
        if is_own(error):
            raise
        cause = error.with_traceback(None)  # whoever keeps it, in an event or an endpoint, must not keep all this
    finally:
        peer = None if remote is None else remote.info
        if remote is not None:
            remote.confirm = None
            if remote.outbox.held:
                _report_doubt(socket, remote)
            socket._unlink(remote)  # before there is room in its outbox again: nobody should be given that
            if remote.outbox.held:
                remote.outbox.taken()
            tell(EndpointState.WAITING, cause)  # in the same tick: where there is no peer, nothing is ready
        if cause is not None:
            _report_loss(socket, str(endpoint), peer, cause)
        await trio.aclose_forcefully(stream)
    return cause


def _report_doubt(socket: Socket, remote: Remote) -> None:
    """What was in the one write that failed may have arrived or not: it is not sent twice."""
    count = remote.outbox.held
    remote.in_doubt += count
    logger.warning(
        "%s: %d messages are in doubt, for %s: their connection ended while they were written",
        type(socket).__name__,
        count,
        remote.where,
    )
    if socket._monitor.listeners:
        socket._monitor.tell(InDoubt(remote.where, remote.info, count))


def _report_loss(socket: Socket, endpoint: str, peer: PeerInfo | None, cause: Exception) -> None:
    """A connection, or its handshake, has failed."""
    if peer is None:
        socket._tally.handshake_failures += 1
    else:
        socket._tally.losses += 1
    if socket._monitor.listeners:
        if peer is None:
            socket._monitor.tell(HandshakeFailed(endpoint, cause))
        socket._monitor.tell(Disconnected(endpoint, cause, peer))


def close_remote(socket: Socket, remote: Remote, scope: trio.CancelScope, linger: float, *, rest: bool = False) -> None:
    """Lets the remote's carrier, which runs in this scope, end once all is written, or after ``linger`` seconds.

    Args:
      rest: whether the carrier has more to do than to write what is queued.
    """
    remote.outbox.end()
    socket._retire(remote)
    if linger > 0 and (len(remote.outbox) or remote.info is not None or rest):
        scope.deadline = min(scope.deadline, trio.current_time() + linger)
        remote.inbox.release()
    else:
        scope.cancel()


def report_unsent(socket: Socket, remote: Remote) -> None:
    """Drops what a remote still has to send; nothing is dropped silently (promise 6)."""
    unsent = remote.outbox.clear()
    if unsent:
        remote.unsent += unsent
        logger.warning("%s: %d unsent messages for %s were dropped", type(socket).__name__, unsent, remote.where)


def describe(error: Exception) -> str:
    """One line for the log."""
    return str(error) or type(error).__name__


def is_fault(error: Exception | None) -> bool:
    """Whether a failure is one that does not pass by itself: the peer does not understand us, or refuses us, or the
    system refuses what an option asks for.
    """
    causes = () if error is None else (error, error.__cause__)
    return any(isinstance(cause, (ProtocolError, InvalidEndpoint)) or type(cause) is ZMQError for cause in causes)
