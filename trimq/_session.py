"""Session: one connection of one socket, from an open stream to its loss. Dialers and acceptors hold one each time.

It joins the two towers: a link on the one side, a remote of the socket on the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import trio

from ._abc import StreamTransport
from ._endpoint import EndpointState
from ._errors import ProtocolError, is_own
from ._link import Link
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
    get_remote: Callable[[], Remote],
    tell: Callable[[EndpointState, Exception | None], None],
) -> Exception | None:
    """Holds one connection: handshake, admission, traffic; then closes the stream.

    Args:
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
        link = Link(stream, socket._wire(settings), socket._context._flusher)
        info = None
        with trio.move_on_after(settings.handshake_timeout):
            info = await link.handshake()
        if info is None:
            return TimeoutError(f"the handshake took longer than {settings.handshake_timeout} s")
        remote = get_remote()
        try:
            socket._link(remote, attrs.evolve(info, address=transport.peer_address(stream)))
        except ProtocolError as error:
            with trio.move_on_after(settings.handshake_timeout):
                await link.refuse(str(error))
            raise
        tell(EndpointState.READY, None)
        cause = await link.run(remote.inbox, remote.outbox)
    except (OSError, trio.BrokenResourceError) as error:
        if is_own(error):
            raise
        cause = error
    finally:
        if remote is not None:
            if remote.outbox.held:
                # What was in the one write that failed may have arrived or not: it is not sent twice.
                logger.warning(
                    "%s: %d messages are in doubt, for %s: their connection ended while they were written",
                    type(socket).__name__,
                    remote.outbox.held,
                    remote.where,
                )
            socket._unlink(remote)  # before there is room in its outbox again: nobody should be given that
            if remote.outbox.held:
                remote.outbox.taken()
            tell(EndpointState.WAITING, cause)  # in the same tick: where there is no peer, nothing is ready
        await trio.aclose_forcefully(stream)
    return cause


def close_remote(socket: Socket, remote: Remote, scope: trio.CancelScope, linger: float) -> None:
    """Lets the remote's carrier, which runs in this scope, end once all is written, or after ``linger`` seconds."""
    remote.outbox.end()
    socket._retire(remote)
    if linger > 0 and (len(remote.outbox) or remote.info is not None):
        scope.deadline = min(scope.deadline, trio.current_time() + linger)
        remote.inbox.release()
    else:
        scope.cancel()


def report_unsent(socket: Socket, remote: Remote) -> None:
    """Drops what a remote still has to send; nothing is dropped silently (promise 6)."""
    unsent = remote.outbox.clear()
    if unsent:
        remote.dropped += unsent
        logger.warning("%s: %d unsent messages for %s were dropped", type(socket).__name__, unsent, remote.where)


def describe(error: Exception) -> str:
    """One line for the log."""
    return str(error) or type(error).__name__


def is_fault(error: Exception | None) -> bool:
    """Whether a failure is one that does not pass by itself: the peer does not understand us, or refuses us."""
    return isinstance(error, ProtocolError)
