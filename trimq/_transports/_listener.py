"""A listening socket of the system, and what the system says when there can be none: for all who bind one."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager
from typing import Any

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, notify_closing, wait_readable

from .._abc import AcceptRefused, Listener
from .._errors import AddressInUse, AddressNotAvailable, NoSuchDevice, ZMQError
from ._system import SystemStream, WholeStream, reason
from ._tuning import Tuning, tune, tune_accepted

__all__ = ["SocketListener", "adopting", "bind_error", "listen", "open_listening"]

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
      tunings: what the listening socket was told, for the accepted ones.
      admit: says why a connection is refused, and nothing if it is welcome; None for all.
      make: makes the stream of an accepted socket.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: str,
        *,
        tunings: Collection[Tuning] = (),
        admit: Callable[[socket.socket, Any], str] | None = None,
        make: Callable[[socket.socket], WholeStream] = SystemStream,
    ) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self._address = address
        self._tunings = tunings
        self._admit = admit
        self._make = make

    @property
    def address(self) -> str:
        """The resolved endpoint."""
        return self._address

    async def accept(self) -> WholeStream:
        """Waits for the next connection. A peer that is gone before it was accepted is passed over.

        It does not yield while there are connections in line: who takes many has to. A cancelled call took none.

        Raises:
          AcceptRefused: a connection came, and was closed: it is not let in.
          OSError: the system is out of descriptors or memory; later it may succeed.
          trio.ClosedResourceError: the listener was closed.
        """
        await checkpoint_if_cancelled()
        while self._socket.fileno() >= 0:
            try:
                sock, peer = self._socket.accept()
            except BlockingIOError:
                await wait_readable(self._socket)
            except OSError as exc:
                if exc.errno not in _GONE:
                    raise
                await checkpoint()  # where a firewall forbids all of them, this is all that yields
            else:
                return self._take(sock, peer)
        raise trio.ClosedResourceError("this listener was closed")

    def _take(self, sock: socket.socket, peer: Any) -> WholeStream:
        try:
            if self._admit is not None and (fault := self._admit(sock, peer)):
                raise AcceptRefused(errno.EACCES, f"a connection was refused: {fault}")
            tune_accepted(sock, self._tunings)
            return self._make(sock)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Stops listening, and wakes `accept`. Idempotent."""
        if self._socket.fileno() >= 0:
            notify_closing(self._socket)
            self._socket.close()


def open_listening(
    family: int,
    name: Any,
    endpoint: str,
    backlog: int,
    *,
    prepare: Callable[[socket.socket], object],
) -> socket.socket:
    """Binds a new socket of some family, and lets it listen. If that fails, none is left open.

    Args:
      name: where, as the system's calls take it; None for what the system gives.
      endpoint: the same for users, to be named in errors.
      prepare: is given the socket before that, to tell it options.

    Raises:
      AddressInUse, AddressNotAvailable, NoSuchDevice, PermissionError, OSError: as the system has it.
    """
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            prepare(sock)
            if name is not None:
                sock.bind(name)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise bind_error(exc, endpoint) from exc
    return sock


@contextmanager
def adopting(fd: int | socket.socket, families: Collection[int], endpoint: str) -> Generator[socket.socket, None, None]:
    """A bound stream socket that comes from somebody else (ZMQ_USE_FD), which is ours once the block has ended.

    If anything fails, in the block or here, the descriptor is the caller's as before, and open.

    Args:
      fd: its number; or its object, which then loses it.
      families: those it may have.
      endpoint: where it was to be bound, for the words of errors.

    Raises:
      TypeError: it is neither.
      OSError: it is no stream socket of such a family, or not bound, or connected.
    """
    if isinstance(fd, bool) or not isinstance(fd, (int, socket.socket)):
        raise TypeError(f"use_fd is the number of a descriptor, or a socket, not {fd!r}")
    number = fd if isinstance(fd, int) else fd.fileno()
    what = f"{endpoint} with use_fd={number}"
    try:
        if number < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sock = socket.socket(fileno=number)
    except OSError as exc:
        raise OSError(exc.errno, f"cannot bind {what}: {reason(exc)}; give a stream socket that is bound") from exc
    try:
        _check_adopted(sock, families, what)
        yield sock
        sock.set_inheritable(False)  # who gave it to us had to make it so; nobody gets it from us
    except BaseException:
        sock.detach()
        raise
    if isinstance(fd, socket.socket):
        fd.detach()


def listen(sock: socket.socket, tunings: Iterable[Tuning], backlog: int, endpoint: str) -> None:
    """Lets an adopted socket listen, if it does not yet.

    Raises:
      OSError: the system refuses an option, or to listen.
    """
    try:
        tune(sock, tunings)
        if not _listens(sock):
            sock.listen(backlog)
    except OSError as exc:
        raise bind_error(exc, f"{endpoint} with use_fd={sock.fileno()}") from exc


def _check_adopted(sock: socket.socket, families: Collection[int], what: str) -> None:
    number, fault = errno.EINVAL, ""
    if sock.family not in families:
        fault = f"its family is {_name_of(sock.family)}, and not {' or '.join(map(_name_of, families))}"
    elif sock.type != socket.SOCK_STREAM:
        fault = f"its type is {_name_of(sock.type)}, and not SOCK_STREAM"
    elif not _bound(sock):
        fault = "it is not bound yet; bind it first, or leave out use_fd"
    elif _connected(sock):
        number, fault = errno.EISCONN, "it is a connection; give the socket that listens (systemd: Accept=no)"
    if fault:
        raise OSError(number, f"cannot bind {what}: {fault}")


def _name_of(constant: int) -> str:
    return getattr(constant, "name", str(constant))


def _bound(sock: socket.socket) -> bool:
    name: Any = sock.getsockname()
    if sock.family == getattr(socket, "AF_VSOCK", None):
        return bool(name[1] != socket.VMADDR_PORT_ANY)
    if sock.family == getattr(socket, "AF_TIPC", None):
        return True  # each has an address of its own; names are not told
    return bool(name if isinstance(name, (str, bytes)) else name[1])  # a path, or a port


def _connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _listens(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except (OSError, AttributeError):  # a system that does not tell
        return False


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
            said = reason(exc) if isinstance(exc, ZMQError) else "there is no such interface"
            return NoSuchDevice(f"cannot bind {endpoint}: {said}")
        case _:  # makes a PermissionError of EACCES, and so on
            return OSError(exc.errno, f"cannot bind {endpoint}: {reason(exc)}")
