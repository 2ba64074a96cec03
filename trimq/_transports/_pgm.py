"""pgm and epgm: reliable multicast (RFC 3208), in IP itself or in UDP. What is said, and when, is `_wire`'s business.

Each endpoint has one socket. A sender's is bound to its interface's own address, where receivers send their NAKs; a
receiver's is bound to the group, so that on one machine neither takes what is the other's.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import attrs
import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from .._abc_datagrams import DatagramPort, DatagramSession, MulticastTransport
from .._errors import NoSuchDevice
from .._options import Settings
from .._wire._pgm_sessions import PgmReceiving, PgmSending
from .._wire._pgm_settings import PgmSettings
from ._listener import bind_error
from ._pgm_address import PgmAddress, Place, parse_pgm
from ._tcp import _IPV6_IS_OFF as IPV6_IS_OFF
from ._tuning import tune, udp_tunings
from ._udp import _MULTICAST_ALL as MULTICAST_ALL, _MULTICAST_ALL_IPV6 as MULTICAST_ALL_IPV6

__all__ = ["PgmTransport"]

_PGM = 113  # IPPROTO_PGM
_EXPEDITED = 0xB8  # the type of service that libzmq sets: expedited forwarding (RFC 3246)
_MOST_BUFFER = 16 * 1024 * 1024
_SEGMENT, _GRO = 103, 104  # udp(7): UDP_SEGMENT, UDP_GRO: many datagrams of one size in one call
_MOST_SEGMENTS, _MOST_BYTES = 64, 65000
_RCVBUFFORCE = 33  # socket(7): SO_RCVBUF beyond the system's limit, with the right CAP_NET_ADMIN


class PgmTransport(MulticastTransport):
    """PGM over IPv4 and IPv6.

    Args:
      udp: whether it is carried in UDP (epgm), or in IP itself (pgm), for which the system wants the right to raw sockets.
    """

    def __init__(self, *, udp: bool) -> None:
        self._udp = udp

    @property
    def scheme(self) -> str:
        """``pgm`` or ``epgm``."""
        return "epgm" if self._udp else "pgm"

    def check(self, address: str, *, bind: bool) -> None:
        """Checks the address's form; see `parse_pgm`.

        Raises:
          InvalidEndpoint: says what was wrong and what would be right.
        """
        parse_pgm(self.scheme, address)

    def open(
        self, address: str, settings: Settings, now: float, *, publishes: bool
    ) -> tuple[DatagramPort, DatagramSession]:
        """Opens a socket that sends to the group, or listens to it.

        Raises:
          NoSuchDevice: no interface has this name or address, or it has none of the group's IP version.
          PermissionError: pgm needs the right to raw sockets.
          OSError: what the system reports; it names the option that the system lacks or refuses.
        """
        endpoint = f"{self.scheme}://{address}"
        where = parse_pgm(self.scheme, address)
        if where.family == socket.AF_INET6 and not settings.ipv6:
            raise NoSuchDevice(f"cannot use {endpoint}: {IPV6_IS_OFF}")
        place = where.find(endpoint)
        pgm = PgmSettings(
            where.group.packed,
            where.port,
            udp=self._udp,
            rate=settings.rate,
            recovery_interval=settings.recovery_interval,
            max_tpdu=settings.multicast_maxtpdu,
        )
        if settings.tos is None:
            settings = attrs.evolve(settings, tos=_EXPEDITED)
        sock = self._socket(where.family, endpoint)
        try:
            if publishes:
                _prepare_to_send(sock, where, place, settings)
            else:
                _prepare_to_receive(sock, where, place, settings, pgm.window * pgm.max_tpdu)
        except OSError as exc:
            sock.close()
            if exc.errno == errno.EADDRNOTAVAIL:
                raise NoSuchDevice(f"cannot use {endpoint}: no interface has the address {place.host}") from exc
            raise bind_error(exc, endpoint) from exc
        except BaseException:
            sock.close()
            raise
        session: DatagramSession
        if publishes:
            session = PgmSending(pgm, _make_tsi(where.port), now, socket.inet_pton(where.family, place.host))
        else:
            session = PgmReceiving(pgm, now, random.random, settings.max_message_size)
        return PgmPort(sock, endpoint, where, place), session

    def _socket(self, family: int, endpoint: str) -> socket.socket:
        if self._udp:
            sock = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:  # a raw socket is of IPv6 only, and refuses the option
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            return sock
        try:
            return socket.socket(family, socket.SOCK_RAW, _PGM)
        except PermissionError as exc:
            raise PermissionError(
                exc.errno,
                f"cannot use {endpoint}: pgm needs raw sockets, and so the right CAP_NET_RAW, which this process lacks; "
                f"epgm does without: e{endpoint}",
            ) from exc


class PgmPort(DatagramPort):
    """A socket that carries PGM, with one group and one interface.

    Args:
      sock: belongs to the port from now on.
      address: the endpoint.
    """

    def __init__(self, sock: socket.socket, address: str, where: PgmAddress, place: Place) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self._address = address
        self._raw = sock.type == socket.SOCK_RAW
        self._headed = self._raw and sock.family == socket.AF_INET  # what comes begins with IP's header (raw(7))
        self._port = 0 if self._raw else where.port
        self._index = place.index
        self._group = self._target(str(where.group))
        self._segments = not self._raw and sys.platform == "linux"
        self._room = socket.CMSG_SPACE(4) if self._segments else 0
        self._left: list[bytes] = []  # what has come with the last datagram, the next one last
        self._host = ""

    def _target(self, host: str) -> tuple[Any, ...]:
        return (host, self._port, 0, self._index) if self._socket.family == socket.AF_INET6 else (host, self._port)

    @property
    def address(self) -> str:
        """The endpoint."""
        return self._address

    def send_now(self, data: bytes, to: str) -> bool:
        """Sends a datagram to a host, or to the group; False: the system has no room for it now."""
        try:
            self._socket.sendto(data, self._target(to.partition("%")[0]) if to else self._group)
        except BlockingIOError:
            return False
        return True

    def send_some_now(self, datagrams: Sequence[tuple[bytes, str]], start: int) -> int:
        """Sends those to the group that are of one size, and a last shorter one, in one call where the system can."""
        data, to = datagrams[start]
        size = len(data)
        parts = [data]
        if self._segments and not to:
            most = min(_MOST_SEGMENTS, _MOST_BYTES // size)
            for part, elsewhere in islice(datagrams, start + 1, start + most):
                if elsewhere or len(part) > size:
                    break
                parts.append(part)
                if len(part) < size:
                    break
        if len(parts) == 1:
            return int(self.send_now(data, to))
        try:
            self._socket.sendmsg(parts, [(socket.IPPROTO_UDP, _SEGMENT, struct.pack("=H", size))], 0, self._group)
        except BlockingIOError:
            return 0
        except OSError as exc:
            # An old system, an interface that cannot (EIO), or datagrams that it would have to take apart (EINVAL).
            if exc.errno not in (errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE):
                raise
            self._segments = False
            return int(self.send_now(data, to))
        return len(parts)

    def receive_now(self, max_size: int) -> tuple[bytes, str] | None:
        """The next datagram, from PGM's header on, and the host it came from; None if there is none now."""
        if not self._left:
            received = self.receive_some_now(max_size)
            if received is None:
                return None
            self._left = received[0][::-1]
            self._host = received[1]
        return self._left.pop(), self._host

    def receive_some_now(self, max_size: int) -> tuple[list[bytes], str] | None:
        """Datagrams that came as one, from PGM's header on, and the host they came from; None if there are none now."""
        try:
            if not self._room:
                data, name = self._socket.recvfrom(max_size)
                return [data[4 * (data[0] & 15) :] if self._headed else data], name[0]
            data, ancillary, _, name = self._socket.recvmsg(max_size, self._room)
        except BlockingIOError:
            return None
        if not ancillary:
            return [data], name[0]
        size = int.from_bytes(ancillary[0][2], sys.byteorder)
        return [data[at : at + size] for at in range(0, len(data), size)], name[0]

    async def wait_sendable(self) -> None:
        """Waits until the system has room for a datagram."""
        await self._wait(wait_writable)

    async def wait_receivable(self) -> None:
        """Waits until there is a datagram."""
        if self._left:
            await checkpoint()
        else:
            await self._wait(wait_readable)

    async def _wait(self, wait: Any) -> None:
        if self._socket.fileno() < 0:
            await checkpoint()
            raise trio.ClosedResourceError("this port was closed")
        await wait(self._socket)

    def close(self) -> None:
        """Idempotent, never blocks, wakes who waits."""
        if self._socket.fileno() >= 0:
            notify_closing(self._socket)
            self._socket.close()


def _make_tsi(port: int) -> bytes:
    """An identity by chance, whose port is neither 0 nor the destination's."""
    while True:
        made = os.urandom(8)
        if int.from_bytes(made[6:], "big") not in (0, port):
            return made


def _prepare_to_send(sock: socket.socket, where: PgmAddress, place: Place, settings: Settings) -> None:
    _share(sock)
    tune(sock, udp_tunings(settings, where.family, ""))
    if where.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, place.index)
        sock.bind((place.host, where.port, 0, place.index))
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(place.host))
        sock.bind((place.host, where.port))


def _prepare_to_receive(sock: socket.socket, where: PgmAddress, place: Place, settings: Settings, window: int) -> None:
    _share(sock)
    # All that a receiver sends to the group is for the next hop.
    tune(sock, udp_tunings(attrs.evolve(settings, multicast_hops=1), where.family, ""))
    if settings.receive_buffer is None:
        _enlarge(sock, min(window, _MOST_BUFFER))
    group = where.group.packed
    if where.family == socket.AF_INET6:
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_IPV6, MULTICAST_ALL_IPV6, 0)
            _gather(sock)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, place.index)
        sock.bind((str(where.group), where.port, 0, place.index))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", place.index))
        return
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, MULTICAST_ALL, 0)
        _gather(sock)
    own = socket.inet_aton(place.host)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
    sock.bind((str(where.group), where.port))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + own)


def _share(sock: socket.socket) -> None:
    """Any number may be there, others than trimq's too: OpenPGM asks for both, and shares with none that does not."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_REUSEPORT") and sock.type == socket.SOCK_DGRAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _gather(sock: socket.socket) -> None:
    """Datagrams of one size that come together are read together, where the system can: it saves most of what they cost."""
    if sock.type == socket.SOCK_DGRAM:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_UDP, _GRO, 1)


def _enlarge(sock: socket.socket, size: int) -> None:
    """Room for as much as may be on its way within the recovery interval, as far as the system lets it have that."""
    if size <= sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF):
        return
    if sys.platform == "linux":
        try:
            sock.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, size)
        except PermissionError:
            pass
        else:
            return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
