"""tipc: connections within a cluster over Linux's AF_TIPC, by services' addresses or by sockets' own."""

from __future__ import annotations

import errno
import math
import re
import select
import socket
import threading
from collections import deque
from contextlib import suppress

import attrs
import trio

from .._abc import Listener, StreamTransport
from .._errors import InvalidEndpoint
from .._options import Settings
from ._listener import SocketListener, adopting, listen, open_listening
from ._system import WholeStream, connect_once, require_family
from ._tuning import buffer_tunings, tune

__all__ = ["TipcTransport"]

_RANGE, _NAME, _ID, _SCOPE = 1, 2, 3, 1  # linux/tipc.h: TIPC_ADDR_NAMESEQ, _NAME, _ID; TIPC_ZONE_SCOPE
_LEVEL, _NODELAY = 271, 138  # SOL_TIPC, TIPC_NODELAY
_PATIENCE = 8.0  # seconds: TIPC_CONN_TIMEOUT, which the kernel keeps for sockets that block, and for no others
_MOST = 16  # threads that close

_SERVICE = re.compile(r"\{(\d{1,10}), ?(\d{1,10})(?:, ?(\d{1,10}))?\}(?:@(\d{1,3})\.(\d{1,4})\.(\d{1,4}))?", re.ASCII)
_IDENTITY = re.compile(r"<(\d{1,3})\.(\d{1,4})\.(\d{1,4}):(\d{1,10})>", re.ASCII)


@attrs.frozen
class _Address:
    """An address, taken apart."""

    name: tuple[int, ...] | None  # as the system's calls take it; None for '<*>'
    text: str  # without spaces


class TipcTransport(StreamTransport):
    """``tipc://{type,instance}``; to bind also ``{type,lower,upper}`` and ``<*>``, to connect ``{type,instance}@z.c.n``
    and ``<z.c.n:ref>``.

    Of the options for sockets of the system, ``send_buffer``, ``receive_buffer`` and ``backlog`` matter here.
    """

    def __init__(self) -> None:
        self._closer = _Closer()

    @property
    def scheme(self) -> str:
        """``tipc``."""
        return "tipc"

    def check(self, address: str, *, bind: bool) -> None:
        """Checks the address's form.

        Raises:
          InvalidEndpoint: says what was wrong and what would be right.
        """
        _parse(address, bind=bind)

    def check_system(self) -> None:
        """Checks that Python and the kernel have AF_TIPC.

        Raises:
          ProtocolNotSupported: says which of them lacks it.
        """
        require_family("tipc", "AF_TIPC", "load its module (modprobe tipc)")

    def dial_address(self, bound: str) -> str:
        """``bound``; of a range, its first instance."""
        kind, *instances = bound.strip("{}").split(",")
        return f"{{{kind},{instances[0]}}}" if instances else bound

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """The peer's own address, ``<z.c.n:ref>``; empty if the connection is gone."""
        assert isinstance(stream, _TipcStream)
        try:
            return _identity(stream.socket.getpeername())
        except OSError:
            return ""

    def bind(self, address: str, settings: Settings) -> Listener:
        """Binds to a service's address or range, or with ``<*>`` to none, so that only the socket's own is there.

        The system lets several sockets bind one service address, and takes turns among them: there is no AddressInUse.

        Raises:
          InvalidEndpoint: see `check`.
          OSError: anything that the system reports, or an option that it refuses.
        """
        parsed = _parse(address, bind=True)
        sock = open_listening(
            *(socket.AF_TIPC, parsed.name, f"tipc://{address}", settings.backlog),
            prepare=lambda sock: tune(sock, buffer_tunings(settings)),
        )
        return self._listener(sock, parsed, settings)

    def adopt(self, address: str, settings: Settings, fd: int | socket.socket) -> Listener:
        """Listens on a socket that somebody else has bound (ZMQ_USE_FD). The system does not tell where, so it is believed.

        Args:
          address: what the socket is bound to; ``<*>`` stands for its own address.
          settings: options, which the socket is given as `bind` gives them; a backlog stays if it listens already.
          fd: the number of a descriptor, or a socket, which loses its descriptor. If this raises, it stays the caller's.

        Raises:
          InvalidEndpoint: see `check`.
          OSError: it is no stream socket of AF_TIPC, or the system refuses an option.
        """
        parsed, endpoint = _parse(address, bind=True), f"tipc://{address}"
        with adopting(fd, (socket.AF_TIPC,), endpoint) as sock:
            listen(sock, buffer_tunings(settings), settings.backlog, endpoint)
            return self._listener(sock, parsed, settings)

    def _listener(self, sock: socket.socket, parsed: _Address, settings: Settings) -> Listener:
        text = _identity(sock.getsockname()) if parsed.name is None else parsed.text
        return SocketListener(sock, f"tipc://{text}", tunings=buffer_tunings(settings), make=self._stream)

    def _stream(self, sock: socket.socket) -> _TipcStream:
        return _TipcStream(sock, self._closer)

    async def connect(self, address: str, settings: Settings, resolved: None = None) -> WholeStream:
        """Connects, which is over when the peer accepts. One attempt, of 8 seconds if ``connect_timeout`` has no limit.

        A cancellation or a failure leaves no socket open.

        Raises:
          TimeoutError: the peer did not accept.
          OSError: anything else that the system reports, or an option that it refuses; it names the endpoint.
          InvalidEndpoint: see `check`.
        """
        name = _parse(address, bind=False).name
        with trio.move_on_after(_PATIENCE if settings.connect_timeout == math.inf else math.inf):
            return self._stream(
                await connect_once(
                    *(socket.AF_TIPC, name, f"tipc://{address}"),
                    prepare=lambda sock: tune(sock, buffer_tunings(settings)),
                )
            )
        raise TimeoutError(errno.ETIMEDOUT, f"cannot connect to tipc://{address}: nobody accepted within {_PATIENCE} s")


class _TipcStream(WholeStream):
    """A stream that ends where others would be reset: whoever closes says no more than that, after all data."""

    def __init__(self, sock: socket.socket, closer: _Closer) -> None:
        super().__init__(sock)
        self._closer = closer
        with suppress(OSError):  # an older Linux never holds back what is small
            sock.setsockopt(_LEVEL, _NODELAY, 1)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio's streams have it."""
        try:
            return await super().receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ConnectionResetError):
                return b""
            raise

    async def receive_now(self, max_bytes: int) -> bytes:
        """Reads without waiting if there is something; ``b""`` is the end.

        Raises:
          OSError: the connection is lost.
        """
        try:
            return await super().receive_now(max_bytes)
        except ConnectionResetError:
            return b""

    def _close(self) -> None:
        look = select.poll()
        look.register(self.socket, select.POLLOUT)
        if look.poll(0):
            self.socket.close()
        else:  # the peer does not read: close(2) would wait for it, for 8 seconds
            self._closer.close(self.socket)


class _Closer:
    """Closes sockets in threads, a few at a time. Nothing waits for them, and a process that ends does not either."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[socket.socket] = deque()
        self._threads = 0

    def close(self, sock: socket.socket) -> None:
        """Takes the descriptor from the socket, which is closed at return; the system learns of it in a thread."""
        same = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        with self._lock:
            self._waiting.append(same)
            if self._threads >= _MOST:
                return
            self._threads += 1
        threading.Thread(target=self._run, name="trimq closes a tipc socket", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                sock = self._waiting.popleft()
            with suppress(OSError):
                sock.close()


# Addresses


def _identity(name: tuple[int, ...]) -> str:
    """A socket's own address, out of its name."""
    _, node, ref, *_ = name
    return f"<{node >> 24}.{node >> 12 & 0xFFF}.{node & 0xFFF}:{ref}>"


def _parse(address: str, *, bind: bool) -> _Address:
    if address == "<*>":
        if not bind:
            raise _invalid(address, "'<*>' is for bind, and connect needs what was bound", bind=bind)
        return _Address(None, address)
    if found := _IDENTITY.fullmatch(address):
        if bind:
            raise _invalid(address, "the system chooses a socket's own address: '<*>'", bind=bind)
        *node, ref = map(int, found.groups())
        return _Address((_ID, _node(address, node), _bits(address, ref), 0), address)
    found = _SERVICE.fullmatch(address)
    if found is None:
        raise _invalid(address, "this is neither a service's address nor a socket's own", bind=bind)
    kind, lower, upper = (_bits(address, int(text or 0), bind=bind) for text in found.groups()[:3])
    domain = [int(text) for text in found.groups()[3:] if text is not None]
    if kind < 64:
        raise _invalid(address, f"types below 64 are the system's own, and {kind} is one", bind=bind)
    if not bind:
        if found[3] is not None:
            raise _invalid(address, "a range is for bind, and connect takes one instance of it", bind=bind)
        return _Address((_NAME, kind, lower, _node(address, domain or [0, 0, 0])), address.replace(" ", ""))
    if domain:
        raise _invalid(address, "a domain after '@' is for connect", bind=bind)
    upper = lower if found[3] is None else upper
    if upper < lower:
        raise _invalid(address, f"the range ends, at {upper}, before it begins, at {lower}", bind=bind)
    text = f"{{{kind},{lower}}}" if upper == lower else f"{{{kind},{lower},{upper}}}"
    return _Address((_RANGE, kind, lower, upper, _SCOPE), text)


def _bits(address: str, number: int, *, bind: bool = False) -> int:
    if number >= 2**32:
        raise _invalid(address, f"numbers have 32 bits, and {number} has more", bind=bind)
    return number


def _node(address: str, parts: list[int]) -> int:
    zone, cluster, node = parts
    if zone > 255 or cluster > 4095 or node > 4095:
        raise _invalid(address, "z.c.n are at most 255, 4095 and 4095", bind=False)
    return zone << 24 | cluster << 12 | node


def _invalid(address: str, fault: str, *, bind: bool) -> InvalidEndpoint:
    right = (
        "tipc://{5560,0}, tipc://{5560,0,9} or tipc://<*>"
        if bind
        else "tipc://{5560,0}, tipc://{5560,0}@1.1.1 or tipc://<1.1.1:1033307721>"
    )
    return InvalidEndpoint(f"{f'tipc://{address}'!r} is no tipc endpoint: {fault}; write {right}")
