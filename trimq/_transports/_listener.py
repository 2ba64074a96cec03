"""A listening socket of the system, and what the system says when there can be none: for all who bind one."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, notify_closing, wait_readable

from .._abc import Listener
from .._errors import AddressInUse, AddressNotAvailable, NoSuchDevice, ZMQError
from ._system import SystemStream

__all__ = ["SocketListener", "bind_error", "keep_alive", "reason"]

# What accept(2) says of a connection that ended in line, or that a firewall forbade; not every system has all of them.
_GONE = frozenset(
    getattr(errno, name)
    for name in (
        *("EPERM", "ECONNABORTED", "ECONNRESET", "ETIMEDOUT", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH"),
        *("ENONET", "ENOSR", "EPROTO", "ENOPROTOOPT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EOPNOTSUPP"),
    )
    if hasattr(errno, name)
)


class SocketListener(Listener):
    """A listening socket of the system, without what `trio.SocketListener` pays on each call to yield though it need
    not wait: a storm of connects comes faster than one in a tick, and whom the full backlog turns away tries again
    only after seconds.

    `accept` is a cancel point, and a schedule point where it has to wait.

    Args:
      sock: bound and listening; belongs to the listener from now on.
      address: the resolved endpoint.
      keepalive: whether the accepted connections probe an idle peer.
    """

    def __init__(self, sock: socket.socket, address: str, *, keepalive: bool = False) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self._address = address
        self._keepalive = keepalive

    @property
    def address(self) -> str:
        """The resolved endpoint."""
        return self._address

    async def accept(self) -> SystemStream:
        """Waits for the next connection. A peer that is gone before it was accepted is passed over.

        It does not yield while there are connections in line: who takes many has to. A cancelled call took none.

        Raises:
          OSError: the system is out of descriptors or memory; later it may succeed.
          trio.ClosedResourceError: the listener was closed.
        """
        await checkpoint_if_cancelled()
        while self._socket.fileno() >= 0:
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                await wait_readable(self._socket)
            except OSError as exc:
                if exc.errno not in _GONE:
                    raise
                await checkpoint()  # where a firewall forbids all of them, this is all that yields
            else:
                if self._keepalive:
                    keep_alive(sock)
                return SystemStream(sock)
        raise trio.ClosedResourceError("this listener was closed")

    def close(self) -> None:
        """Stops listening, and wakes `accept`. Idempotent."""
        if self._socket.fileno() >= 0:
            notify_closing(self._socket)
            self._socket.close()


def bind_error(exc: OSError, endpoint: str) -> OSError:
    """What the system said about a bind, as the error that trimq raises for it."""
    match exc.errno:
        case errno.EADDRINUSE:
            return AddressInUse(f"cannot bind {endpoint}: something is bound there already")
        case errno.EADDRNOTAVAIL:
            return AddressNotAvailable(
                f"cannot bind {endpoint}: it is no address of this machine; bind one of its own, or '*' for all of them"
            )
        case errno.ENODEV:
            return NoSuchDevice(f"cannot bind {endpoint}: there is no such interface")
        case _:  # makes a PermissionError of EACCES, and so on
            return OSError(exc.errno, f"cannot bind {endpoint}: {reason(exc)}")


def reason(exc: OSError) -> str:
    """The system's words for an error."""
    # Not the text of the exception, unless it is ours: trio's repeats the address.
    return str(exc) if exc.errno is None or isinstance(exc, ZMQError) else os.strerror(exc.errno)


def keep_alive(sock: socket.socket) -> None:
    """Lets TCP probe the peer when the connection is idle (ZMQ_TCP_KEEPALIVE)."""
    with suppress(OSError):  # some systems refuse once the peer has closed; reading will tell
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
