"""vmci: connections between a virtual machine and its host, or within a machine, over Linux's AF_VSOCK.

``vsock://`` is another spelling of the same; an endpoint keeps the one that it was written with.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import Literal

import trio

from .._abc import Listener, StreamTransport
from .._errors import InvalidEndpoint, NoSuchDevice, ZMQError
from .._options import Settings
from ._listener import SocketListener, adopting, listen, open_listening
from ._system import SystemStream, connect_once, require_family
from ._tuning import tune, vmci_tunings

if sys.platform == "linux":
    import fcntl

__all__ = ["VmciTransport"]

_ANY = 2**32 - 1  # VMADDR_CID_ANY, and VMADDR_PORT_ANY
_LOCAL, _HOST = 1, 2  # VMADDR_CID_LOCAL, which not every Python has, and VMADDR_CID_HOST
_NAMES = {"local": _LOCAL, "host": _HOST, "any": _ANY, "*": _ANY, "-1": _ANY}
_OWN = "@"


class VmciTransport(StreamTransport):
    """``vmci://CID:PORT``. The CID, which says which machine, is a number, ``local`` (1), ``host`` (2), or ``@`` for this
    machine's own; to bind also ``*``, ``-1`` or ``any``. To bind, the port may be ``*`` or ``-1``.

    Of the options for sockets of the system only ``backlog`` and the ``vmci_`` ones matter here.

    Args:
      scheme: which spelling this is.
    """

    def __init__(self, scheme: Literal["vmci", "vsock"] = "vmci") -> None:
        self._scheme = scheme

    @property
    def scheme(self) -> str:
        """``vmci``, or ``vsock``."""
        return self._scheme

    def check(self, address: str, *, bind: bool) -> None:
        """Checks the address's form.

        Raises:
          InvalidEndpoint: says what was wrong and what would be right.
        """
        self._parse(address, bind=bind)

    def check_system(self) -> None:
        """Checks that Python and the kernel have AF_VSOCK.

        Raises:
          ProtocolNotSupported: says which of them lacks it.
        """
        require_family(
            self._scheme, "AF_VSOCK", "load its modules (modprobe vsock; vsock_loopback too for connections within it)"
        )

    def dial_address(self, bound: str) -> str:
        """``bound``, with loopback in place of all CIDs."""
        cid, _, port = bound.rpartition(":")
        return f"{_LOCAL if cid == '*' else cid}:{port}"

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """The peer's CID; empty if the connection is gone."""
        assert isinstance(stream, SystemStream)
        try:
            return str(stream.socket.getpeername()[0])
        except OSError:
            return ""

    def bind(self, address: str, settings: Settings) -> Listener:
        """Binds to a CID of this machine, or to all of them; the listener's address has numbers, or ``*`` for all CIDs.

        Raises:
          AddressInUse: something listens at this port.
          AddressNotAvailable: the CID is not one of this machine's.
          NoSuchDevice: ``@``, and this machine has no CID of its own.
          PermissionError: the port is less than 1024.
          InvalidEndpoint: see `check`.
          OSError: anything else that the system reports, or an option that it refuses.
        """
        name, endpoint = self._name(address, bind=True), f"{self._scheme}://{address}"
        sock = open_listening(
            *(socket.AF_VSOCK, name, endpoint, settings.backlog), prepare=lambda sock: _tune(sock, settings)
        )
        return SocketListener(sock, self._text(sock.getsockname()))  # what it accepts has its buffers (vsock(7))

    def adopt(self, address: str, settings: Settings, fd: int | socket.socket) -> Listener:
        """Listens on a socket that somebody else has bound (ZMQ_USE_FD).

        Args:
          address: what the socket has to be bound to; ``*`` stands for any CID, and for any port.
          settings: options, which the socket is given as `bind` gives them; a backlog stays if it listens already.
          fd: the number of a descriptor, or a socket, which loses its descriptor. If this raises, it stays the caller's.

        Raises:
          InvalidEndpoint: it is bound elsewhere; or see `check`.
          OSError: it is no bound stream socket of AF_VSOCK, or the system refuses an option.
        """
        cid, port = self._name(address, bind=True)
        endpoint = f"{self._scheme}://{address}"
        with adopting(fd, (socket.AF_VSOCK,), endpoint) as sock:
            bound = sock.getsockname()
            if cid not in (_ANY, bound[0]) or port not in (_ANY, bound[1]):
                raise InvalidEndpoint(
                    f"cannot bind {endpoint} with use_fd={sock.fileno()}: it is bound to {self._text(bound)}; "
                    f"write that, or {self._scheme}://*:* for whatever it is"
                )
            _tune(sock, settings)
            listen(sock, (), settings.backlog, endpoint)
            return SocketListener(sock, self._text(bound))

    async def connect(self, address: str, settings: Settings, resolved: None = None) -> SystemStream:
        """Connects. One attempt, of ``vmci_connect_timeout``. A cancellation or a failure leaves no socket open.

        Raises:
          ConnectionRefusedError: nobody listens there, or the backlog is full.
          NoSuchDevice: ``@``, and this machine has no CID of its own.
          OSError: anything else that the system reports, or an option that it refuses; it names the endpoint.
          InvalidEndpoint: see `check`.
        """
        endpoint = f"{self._scheme}://{address}"
        try:
            return SystemStream(
                await connect_once(
                    *(socket.AF_VSOCK, self._name(address, bind=False), endpoint),
                    prepare=lambda sock: _tune(sock, settings),
                )
            )
        except ConnectionResetError as exc:  # which is how AF_VSOCK says it
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"cannot connect to {endpoint}: nobody listens there, or its backlog is full"
            ) from exc
        except OSError as exc:
            if exc.errno != errno.ENODEV or isinstance(exc, ZMQError):
                raise
            raise OSError(exc.errno, f"{exc.strerror}: nothing here reaches that CID (1 needs vsock_loopback)") from exc

    def _text(self, name: tuple[int, int]) -> str:
        return f"{self._scheme}://{'*' if name[0] == _ANY else name[0]}:{name[1]}"

    def _name(self, address: str, *, bind: bool) -> tuple[int, int]:
        """The address as the system's calls take it."""
        cid, port = self._parse(address, bind=bind)
        return _own_cid(f"{self._scheme}://{address}") if cid is None else cid, port

    def _parse(self, address: str, *, bind: bool) -> tuple[int | None, int]:
        """CID, None for this machine's own, and port."""
        cid, colon, port = address.rpartition(":")
        if not colon:
            raise self._invalid(address, "there is no port", bind=bind)
        number = _ANY if bind and port in ("*", "-1") else _number(port)
        if number is None or (not bind and number == _ANY):
            may_be = "a decimal number from 0 to 4294967294" + (", or '*'" if bind else " that was bound")
            raise self._invalid(address, f"a port is {may_be}, and {port!r} is not", bind=bind)
        if cid == _OWN:
            return None, number
        machine = _NAMES[cid] if cid in _NAMES else _number(cid)
        if machine is None:
            may_be = "a decimal number, local, host or @" + (", or '*' for all" if bind else "")
            raise self._invalid(address, f"a CID is {may_be}, and {cid!r} is not", bind=bind)
        if machine == _ANY and not bind:
            raise self._invalid(address, f"{cid!r} stands for all CIDs and is for bind", bind=bind)
        return machine, number

    def _invalid(self, address: str, fault: str, *, bind: bool) -> InvalidEndpoint:
        scheme = self._scheme
        right = f"{scheme}://*:5555 or {scheme}://local:*" if bind else f"{scheme}://local:5555 or {scheme}://3:5555"
        return InvalidEndpoint(f"{f'{scheme}://{address}'!r} is no {scheme} endpoint: {fault}; write {right}")


def _number(text: str) -> int | None:
    """A number of 32 bits; None if it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _ANY):
        return None
    return int(text)


def _own_cid(endpoint: str) -> int:
    try:
        with open("/dev/vsock", "rb") as device:
            answer = fcntl.ioctl(device, socket.IOCTL_VM_SOCKETS_GET_LOCAL_CID, bytes(4))
        cid: int = struct.unpack("I", answer)[0]
    except OSError:
        cid = _ANY
    if cid == _ANY:
        raise NoSuchDevice(f"cannot use {endpoint}: this machine has no CID of its own ('@'); write local, or a number")
    return cid


def _tune(sock: socket.socket | trio.socket.SocketType, settings: Settings) -> None:
    """Tells a socket its options.

    Raises:
      ZMQError: the system refuses one, or has made something else of it.
    """
    wanted = vmci_tunings(settings)
    if not wanted:
        return
    # Python lets nobody give bytes to options of an AF_VSOCK socket; so it is told through a copy of its descriptor.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, os.dup(sock.fileno())) as same:
        tune(same, wanted)
    size = settings.vmci_buffer_size
    if size is not None and (got := sock.getsockopt(socket.AF_VSOCK, socket.SO_VM_SOCKETS_BUFFER_SIZE)) != size:
        raise ZMQError(
            f"the system makes {got} of vmci_buffer_size={size}: it is held within vmci_buffer_min_size and "
            f"vmci_buffer_max_size, in Linux 128 and 262144; set these, too",
            errno.EINVAL,
        )
