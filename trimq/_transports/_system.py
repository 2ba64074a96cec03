"""A connected stream socket of the system, as a trio stream and with what a link may do beyond that; how one is made."""

from __future__ import annotations

import errno
import operator
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, notify_closing, wait_readable, wait_writable

from .._abc import Direct
from .._errors import ProtocolNotSupported, ZMQError

__all__ = ["SystemStream", "WholeStream", "connect_once", "reason", "require_family"]

_Buffers: TypeAlias = "Sequence[bytes | memoryview[int]]"

_HAS_SENDMSG = sys.platform != "win32"
_MOST = min(os.sysconf("SC_IOV_MAX"), 1024) if _HAS_SENDMSG else 1  # buffers in one call


class WholeStream(trio.abc.Stream, Direct):
    """A stream over a socket, without what `trio.SocketStream` pays on each call to yield though it need not wait; of
    the kind whose two directions end together.

    Its calls are cancel points, and schedule points where they have to wait.

    Args:
      sock: connected; belongs to the stream from now on, and is made non-blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.setblocking(False)
        self._ended = False
        self.hangs_up = sock.family == getattr(socket, "AF_UNIX", None)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):  # some systems refuse once the peer has closed; reading will tell
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send_now(self, buffers: _Buffers) -> _Buffers:
        """Writes what the system takes at once; returns what is left of the buffers.

        Raises:
          OSError: the connection is lost.
        """
        while buffers:
            try:
                if len(buffers) == 1 or not _HAS_SENDMSG:
                    sent = self.socket.send(buffers[0])
                else:
                    sent = self.socket.sendmsg(buffers[:_MOST])
            except BlockingIOError:
                return buffers
            if sent == len(buffers[0]) and len(buffers) == 1:
                return ()
            done = 0
            while done < len(buffers) and sent >= len(buffers[done]):
                sent -= len(buffers[done])
                done += 1
            if done < len(buffers) and sent:
                return [memoryview(buffers[done])[sent:], *buffers[done + 1 :]]
            buffers = buffers[done:]
        return buffers

    async def send_buffers(self, buffers: _Buffers) -> None:
        """Writes buffers one after the other. Cancelled, it may have written a part of them.

        Raises:
          OSError: the connection is lost.
        """
        await checkpoint_if_cancelled()
        while buffers := self.send_now(buffers):
            await wait_writable(self.socket)

    async def send_all(self, data: bytes | bytearray | memoryview[int]) -> None:
        """As trio's streams have it; it does not yield unless it waits."""
        if self._ended:
            raise trio.ClosedResourceError("nothing can be sent after send_eof")
        try:
            await self.send_buffers([memoryview(data)])
        except OSError as error:
            raise self._translate(error) from error

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's streams have it."""
        self._check_open()
        await wait_writable(self.socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio's streams have it."""
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError(f"max_bytes is at least 1, not {max_bytes}")
        self._check_open()
        while True:
            try:
                await wait_readable(self.socket)
                return self.socket.recv(max_bytes or 65536)
            except BlockingIOError:
                pass  # woken for nothing
            except OSError as error:
                raise self._translate(error) from error

    async def receive_now(self, max_bytes: int) -> bytes:
        """Reads without waiting if there is something; ``b""`` is the end.

        Raises:
          OSError: the connection is lost.
        """
        await checkpoint_if_cancelled()
        while True:
            with suppress(BlockingIOError):
                return self.socket.recv(max_bytes)
            self._check_open()
            await wait_readable(self.socket)

    def _check_open(self) -> None:
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError("this stream was closed")

    def _translate(self, error: OSError) -> Exception:
        if self.socket.fileno() < 0:
            return trio.ClosedResourceError("this stream was closed")
        return trio.BrokenResourceError(str(error))

    async def aclose(self) -> None:
        """As trio's streams have it; wakes who waits on the stream."""
        if self.socket.fileno() >= 0:
            notify_closing(self.socket)
            self._close()
        await checkpoint()

    def _close(self) -> None:
        self.socket.close()


class SystemStream(WholeStream, trio.abc.HalfCloseableStream):
    """The same, of the kind that can be ended in one direction."""

    async def send_eof(self) -> None:
        """As trio's streams have it."""
        await checkpoint()
        if not self._ended:
            self._ended = True
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError as error:
                raise self._translate(error) from error


# Making one


def require_family(scheme: str, name: str, remedy: str) -> None:
    """Checks that this Python and this kernel have a family of sockets.

    Args:
      scheme: who needs it.
      name: the family's, as ``"AF_TIPC"``.
      remedy: what the user of a Linux without it can do.

    Raises:
      ProtocolNotSupported: they lack it.
    """
    if not hasattr(socket, name):
        raise ProtocolNotSupported(f"this Python has no {name} sockets, which {scheme} needs: it is for Linux; use tcp")
    try:
        socket.socket(getattr(socket, name), socket.SOCK_STREAM).close()
    except OSError as exc:
        if exc.errno not in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return  # it is there; what is wrong is said where a socket is to be had
        raise ProtocolNotSupported(
            f"this machine's kernel has no {name} sockets, which {scheme} needs: {remedy}; or use tcp or ipc"
        ) from exc


async def connect_once(
    family: int,
    name: object,
    endpoint: str,
    *,
    prepare: Callable[[trio.socket.SocketType], object],
    check: Callable[[trio.socket.SocketType], object] = lambda _: None,
) -> socket.socket:
    """Connects a socket of some family to one address. A cancellation or a failure leaves no socket open.

    Args:
      name: the address, as the system's calls take it.
      endpoint: the same for users, to be named in errors.
      prepare: is given the socket before it connects, to tell it options.
      check: is given the socket once it is connected.

    Raises:
      OSError: what the system, or the two callbacks, report; it names the endpoint.
    """
    try:
        sock = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            prepare(sock)
            await sock.connect(name)
            check(sock)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise OSError(exc.errno or errno.EIO, f"cannot connect to {endpoint}: {reason(exc)}") from exc
    # trio's sockets do not show what they wrap; but they can be made to let go of it.
    return socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())


def reason(exc: OSError) -> str:
    """The system's words for an error."""
    # Not the text of the exception, unless it is ours: trio's repeats the address.
    return str(exc) if exc.errno is None or isinstance(exc, ZMQError) else os.strerror(exc.errno)
