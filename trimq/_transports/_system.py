"""A connected stream socket of the system, as a trio stream and with what a link may do beyond that."""

from __future__ import annotations

import operator
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, notify_closing, wait_readable, wait_writable

from .._abc import Direct

__all__ = ["SystemStream"]

_Buffers: TypeAlias = "Sequence[bytes | memoryview[int]]"

_HAS_SENDMSG = sys.platform != "win32"
_MOST = min(os.sysconf("SC_IOV_MAX"), 1024) if _HAS_SENDMSG else 1  # buffers in one call


class SystemStream(trio.abc.HalfCloseableStream, Direct):
    """A stream over a socket, without what `trio.SocketStream` pays on each call to yield though it need not wait.

    Its calls are cancel points, and schedule points where they have to wait.

    Args:
      sock: connected; belongs to the stream from now on, and is made non-blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.setblocking(False)
        self._ended = False
        self.hangs_up = sock.family == getattr(socket, "AF_UNIX", None)
        if not self.hangs_up:
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

    async def send_eof(self) -> None:
        """As trio's streams have it."""
        await checkpoint()
        if not self._ended:
            self._ended = True
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError as error:
                raise self._translate(error) from error

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
            self.socket.close()
        await checkpoint()
