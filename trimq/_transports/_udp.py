"""udp: datagrams to an address, to all of a network (broadcast), or to a multicast group, over IPv4 and IPv6.

What an address means is `parse_udp`'s business; here it meets the system. One socket per endpoint, not connected: what
the system hears of a peer that is not there (ICMP) is no reason to stop sending.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Any

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from .._abc_datagrams import DatagramPort, DatagramTransport
from .._address import TcpAddress, UdpAddress, parse_udp
from .._errors import InvalidEndpoint, NoSuchDevice, ZMQError
from .._options import Settings
from ._listener import bind_error
from ._tcp import (
    _ALL_IPV4 as ALL_IPV4,
    _IPV6_IS_OFF as IPV6_IS_OFF,
    _NO_IPV6 as NO_IPV6,
    _host as host_of,
    _interface as interface_addresses,
    _Place as Place,
    _places as places,
    _scope as scope_of,
)
from ._tuning import tune, udp_tunings

__all__ = ["UdpTransport"]

# Linux gives each socket what others on this machine have joined, unless told not to (ip(7), ipv6(7)).
_MULTICAST_ALL, _MULTICAST_ALL_IPV6 = 49, 29


class UdpTransport(DatagramTransport):
    """UDP over IPv4 and IPv6."""

    @property
    def scheme(self) -> str:
        """``udp``."""
        return "udp"

    def check(self, address: str, *, bind: bool) -> None:
        """Checks the address's form; see `parse_udp`.

        Raises:
          InvalidEndpoint: says what was wrong and what would be right.
        """
        parse_udp(address, bind=bind)

    def dial_address(self, bound: str) -> str:
        """``bound``, with loopback in place of an address that stands for all."""
        host, _, port = bound.rpartition(":")
        return f"{ {ALL_IPV4: '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"

    def bind(self, address: str, settings: Settings) -> UdpPort:
        """Binds to an address of this machine, to an interface's first one, with ``*`` to all, or joins a multicast group.

        A group's port may be bound as often as anybody likes, others not.

        Raises:
          AddressInUse: something is bound there.
          AddressNotAvailable: the address is not one of this machine's.
          NoSuchDevice: no interface has this name or address, or none that may be used here.
          PermissionError, OSError: what the system reports; it names the option that the system lacks or refuses.
        """
        endpoint = f"udp://{address}"
        where = parse_udp(address, bind=True)
        if where.multicast:
            return _bind_to_group(where, settings, endpoint)
        place, *others = places(TcpAddress(where.host, where.port, where.zone), settings.ipv6, endpoint)
        try:
            try:
                sock = _bind(place, settings)
            except OSError as exc:
                if not (where.host == "*" and others and exc.errno in NO_IPV6) or isinstance(exc, ZMQError):
                    raise
                sock = _bind(others[0], settings)
        except OSError as exc:
            raise bind_error(exc, endpoint) from exc
        name = sock.getsockname()
        return UdpPort(sock, _text("", ALL_IPV4 if where.host == "*" else host_of(name), name[1]), None)

    async def connect(self, address: str, settings: Settings) -> UdpPort:
        """Looks the host up, and opens a socket that sends there: to one, to all of a network, or to a group.

        Raises:
          socket.gaierror: the name has no address.
          NoSuchDevice: no interface has this name or address.
          InvalidEndpoint: IPv6 where ``settings.ipv6`` is off.
          OSError: what the system reports.
        """
        endpoint = f"udp://{address}"
        to = parse_udp(address, bind=False)
        await checkpoint()
        family, name = await _look_up(to, settings, endpoint)
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            tune(sock, udp_tunings(settings, family, name[0]))
            if to.multicast:
                name = _send_by(sock, to, name, endpoint)
            elif family == socket.AF_INET:  # it may be a broadcast address, and only the system knows whose are
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        except BaseException:
            sock.close()
            raise
        return UdpPort(sock, endpoint, name)


class UdpPort(DatagramPort):
    """A socket of UDP's.

    Args:
      sock: belongs to the port from now on.
      address: the resolved endpoint.
      target: where it sends if nothing else is said.
    """

    def __init__(self, sock: socket.socket, address: str, target: tuple[Any, ...] | None) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self._address = address
        self._target = target
        self._both = sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

    @property
    def address(self) -> str:
        """The resolved endpoint."""
        return self._address

    def send_now(self, data: bytes, to: str) -> bool:
        """Sends a datagram; False: the system has no room for it now."""
        target = self._numeric(to) if to else self._target
        assert target is not None
        try:
            self._socket.sendto(data, target)
        except BlockingIOError:
            return False
        return True

    def _numeric(self, to: str) -> tuple[Any, ...]:
        host, _, port = to.rpartition(":")
        if host.startswith("["):
            host = host[1:-1]
        host, _, zone = host.partition("%")
        if self._socket.family == socket.AF_INET6:
            if ":" not in host:
                if not self._both:
                    raise InvalidEndpoint(f"{to} is an address of IPv4, and {self._address} is bound for IPv6 alone")
                host = f"::ffff:{host}"
            return host, int(port), 0, scope_of(zone, to)
        if ":" in host:
            raise InvalidEndpoint(f"{to} is an address of IPv6, and {self._address} is bound for IPv4 alone")
        return host, int(port)

    def receive_now(self, max_size: int) -> tuple[bytes, str] | None:
        """The next datagram and who sent it; None if there is none now. One byte more is taken of larger ones."""
        try:
            data, name = self._socket.recvfrom(max_size + 1)
        except BlockingIOError:
            return None
        host = host_of(name)
        if host.startswith("::ffff:") and "." in host:
            host = host[7:]
        return data, f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"

    async def wait_sendable(self) -> None:
        """Waits until the system has room for a datagram."""
        await self._wait(wait_writable)

    async def wait_receivable(self) -> None:
        """Waits until there is a datagram."""
        await self._wait(wait_readable)

    async def _wait(self, wait: Any) -> None:
        if self._socket.fileno() < 0:
            await checkpoint()
            raise trio.ClosedResourceError("this port was closed")
        await wait(self._socket)

    def close(self) -> None:
        """The address is free at once. Idempotent, never blocks, wakes who waits."""
        if self._socket.fileno() >= 0:
            notify_closing(self._socket)
            self._socket.close()


def _text(zone: str, host: str, port: int, interface: str = "") -> str:
    host = f"{host}%{zone}" if zone else host
    host = f"[{host}]" if ":" in host else host
    return f"udp://{interface};{host}:{port}" if interface else f"udp://{host}:{port}"


def _bind(place: Place, settings: Settings) -> socket.socket:
    family, name = place
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(name[0] != "::"))
        if sys.platform == "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        tune(sock, udp_tunings(settings, family, name[0]))
        sock.bind(name)
    except BaseException:
        sock.close()
        raise
    return sock


# Multicast


def _interface_of(where: UdpAddress, endpoint: str) -> tuple[str, int]:
    """The interface as IPv4 wants it, by address, and as IPv6 does, by number; "" and 0 leave it to the system."""
    if where.version == 6:
        if not where.interface:
            return "", scope_of(where.zone, endpoint)
        if ":" not in where.interface:
            return "", scope_of(where.interface, endpoint)
        for index, name in socket.if_nameindex():
            if any(where.interface == host for _, host, _ in interface_addresses(name)):
                return "", index
        raise NoSuchDevice(f"cannot use {endpoint}: no interface has the address {where.interface}")
    if not where.interface or where.interface.replace(".", "").isdecimal():
        return where.interface, 0
    for family, host, _ in interface_addresses(where.interface):
        if family == socket.AF_INET:
            return host, 0
    raise NoSuchDevice(f"cannot use {endpoint}: no interface with an IPv4 address is called {where.interface!r}")


def _bind_to_group(where: UdpAddress, settings: Settings, endpoint: str) -> UdpPort:
    if where.version == 6 and not settings.ipv6:
        raise NoSuchDevice(f"cannot use {endpoint}: {IPV6_IS_OFF}")
    address, index = _interface_of(where, endpoint)
    try:
        sock, group = _join_group(where, address, index, settings)
    except OSError as exc:
        if exc.errno == errno.ENODEV and not where.interface and not where.zone:
            raise NoSuchDevice(
                f"cannot bind {endpoint}: the system has no route that says by which interface; name one, as in "
                f"udp://eth0;{endpoint.rpartition('//')[2].rpartition(';')[2]}"
            ) from exc
        raise bind_error(exc, endpoint) from exc
    interface = f"[{where.interface}]" if ":" in where.interface else where.interface
    return UdpPort(sock, _text("" if interface else where.zone, where.host, group[1], interface), group)


def _join_group(
    where: UdpAddress, address: str, index: int, settings: Settings
) -> tuple[socket.socket, tuple[Any, ...]]:
    """A socket that has joined the group, and the group as the system's calls take it."""
    family = socket.AF_INET6 if where.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):  # libzmq's sockets ask for both, and share with none that does not
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        tune(sock, udp_tunings(settings, family, ""))
        group = socket.inet_pton(family, where.host)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if sys.platform == "linux":
                sock.setsockopt(socket.IPPROTO_IPV6, _MULTICAST_ALL_IPV6, 0)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.bind(("::", where.port))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", index))
            return sock, (where.host, sock.getsockname()[1], 0, index)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_IP, _MULTICAST_ALL, 0)
        own = socket.inet_aton(address or ALL_IPV4)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        sock.bind((ALL_IPV4, where.port))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + own)
        return sock, (where.host, sock.getsockname()[1])
    except BaseException:
        sock.close()
        raise


def _send_by(sock: socket.socket, to: UdpAddress, name: tuple[Any, ...], endpoint: str) -> tuple[Any, ...]:
    """Has what goes to a group go out by its interface; returns where it goes."""
    address, index = _interface_of(to, endpoint)
    if to.version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        return (*name[:3], index)
    try:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address or ALL_IPV4))
    except OSError as exc:
        if exc.errno != errno.EADDRNOTAVAIL:
            raise
        raise NoSuchDevice(f"cannot use {endpoint}: no interface has the address {address}") from exc
    return name


async def _look_up(to: UdpAddress, settings: Settings, endpoint: str) -> Place:
    if to.version == 6:
        if not settings.ipv6:
            raise InvalidEndpoint(f"cannot connect to {endpoint}: {IPV6_IS_OFF}")
        return socket.AF_INET6, (to.host, to.port, 0, scope_of(to.zone, endpoint))
    if to.version == 4:
        return socket.AF_INET, (to.host, to.port)
    family = socket.AF_UNSPEC if settings.ipv6 else socket.AF_INET
    try:
        found = await trio.socket.getaddrinfo(to.host, to.port, family, socket.SOCK_DGRAM)
        if not found:  # a resolver of the user's own
            raise socket.gaierror(socket.EAI_NONAME, "the resolver gave none")
    except socket.gaierror as exc:
        raise socket.gaierror(
            exc.errno, f"cannot send to {endpoint}: no address was found for {to.host!r}: {exc.strerror}"
        ) from exc
    return found[0][0], found[0][4]
