"""tcp: connections to addresses and names, listeners on addresses and interfaces.

What an address means is `parse_tcp`'s business; here it meets the system.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import sys
from contextlib import suppress
from typing import Any, TypeAlias

import trio

from .._abc import Listener, StreamTransport
from .._address import TcpAddress, parse_tcp
from .._errors import AddressNotAvailable, InvalidEndpoint, NoSuchDevice, ZMQError
from .._options import Settings
from ._filters import by_network
from ._listener import SocketListener, adopting, bind_error, listen
from ._system import SystemStream, reason
from ._tuning import Tuning, ip_tunings, tune

if sys.platform == "linux":
    import fcntl

__all__ = ["TcpTransport"]

_Place: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]
"""A family, and an address as the system's calls take it."""

_ALL_IPV4 = "0.0.0.0"  # noqa: S104 - only where the user said '*'
_STAGGER = 0.25  # seconds before the next address is tried beside one that does not answer (RFC 8305, 5)
# What the system says where it has no IPv6: none built in, or switched off.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL, errno.ENOPROTOOPT)


class TcpTransport(StreamTransport):
    """TCP over IPv4 and IPv6."""

    @property
    def scheme(self) -> str:
        """``tcp``."""
        return "tcp"

    def check(self, address: str, *, bind: bool) -> None:
        """Checks the address's form; see `parse_tcp`.

        Raises:
          InvalidEndpoint: says what was wrong and what would be right.
        """
        parse_tcp(address, bind=bind)

    def dial_address(self, bound: str) -> str:
        """``bound``, with loopback in place of an address that stands for all."""
        host, _, port = bound.rpartition(":")
        return f"{ {_ALL_IPV4: '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """The peer's numeric host, IPv4 as IPv4 even on a dual-stack socket; empty if the connection is gone."""
        assert isinstance(stream, SystemStream)
        try:
            host = _host(stream.socket.getpeername())
        except OSError:
            return ""
        mapped = host.removeprefix("::ffff:")
        return host if ":" in mapped else mapped

    def bind(self, address: str, settings: Settings) -> Listener:
        """Binds to an address of this machine, to an interface's first address, or with ``*`` to all addresses.

        No name is looked up. With ``settings.ipv6``, ``*`` is one socket for IPv6 and IPv4, and reads
        ``0.0.0.0`` in the listener's address, since every peer can use that.

        Raises:
          AddressInUse: something listens there.
          AddressNotAvailable: the address is not one of this machine's.
          NoSuchDevice: no interface has this name, or none with an address that may be used here.
          PermissionError: the port is reserved to the administrator, or an option needs a right that the program lacks.
          InvalidEndpoint: see `parse_tcp`.
          OSError: anything else that the system reports; it names the option that the system lacks or refuses.
        """
        endpoint = f"tcp://{address}"
        where = parse_tcp(address, bind=True)
        place, *others = _places(where, settings.ipv6, endpoint)
        try:
            try:
                sock, tunings = _listen(place, settings)
            except OSError as exc:
                if not (where.wildcard and others and exc.errno in _NO_IPV6) or isinstance(exc, ZMQError):
                    raise
                sock, tunings = _listen(others[0], settings)
            host, port = _host(sock.getsockname()), sock.getsockname()[1]
        except OSError as exc:
            raise bind_error(exc, endpoint) from exc
        resolved = _text(_ALL_IPV4 if where.wildcard else host, port)
        return SocketListener(sock, resolved, tunings=tunings, admit=by_network(settings.tcp_accept_filter))

    def adopt(self, address: str, settings: Settings, fd: int | socket.socket) -> Listener:
        """Listens on a socket that somebody else has bound (ZMQ_USE_FD).

        Args:
          address: what the socket has to be bound to; ``*`` stands for any host, and for any port.
          settings: options, which the socket is given as `bind` gives them; a backlog stays if it listens already.
          fd: the number of a descriptor, or a socket, which loses its descriptor. If this raises, it stays the caller's.

        Raises:
          InvalidEndpoint: it is bound elsewhere; or see `parse_tcp`.
          NoSuchDevice: as for `bind`; also a socket of IPv6 where ``settings.ipv6`` is off.
          PermissionError: an option needs a right that the program lacks.
          OSError: it is no bound stream socket of TCP's, or the system lacks or refuses an option.
        """
        endpoint = f"tcp://{address}"
        where = parse_tcp(address, bind=True)
        with adopting(fd, (socket.AF_INET, socket.AF_INET6), endpoint) as sock:
            if sock.family == socket.AF_INET6 and not settings.ipv6:
                raise NoSuchDevice(f"cannot use {endpoint} with use_fd={sock.fileno()}: {_IPV6_IS_OFF}")
            host, port = _host(sock.getsockname()), sock.getsockname()[1]
            both = host == "::" and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            hosts = {host, _ALL_IPV4} if both else {host}
            resolved = _text(min(hosts), port)
            if where.port not in (0, port) or not (
                where.wildcard or hosts.intersection(map(_canonical, _places(where, True, endpoint)))
            ):
                raise InvalidEndpoint(
                    f"cannot bind {endpoint} with use_fd={sock.fileno()}: it is bound to {resolved}; "
                    f"write that, or tcp://*:* for whatever it is"
                )
            tunings = ip_tunings(settings, sock.family, host)
            listen(sock, tunings, settings.backlog, endpoint)
            return SocketListener(sock, resolved, tunings=tunings, admit=by_network(settings.tcp_accept_filter))

    async def resolve(self, address: str, settings: Settings) -> list[_Place]:
        """Looks up the host's addresses, in the order to try them.

        Raises:
          socket.gaierror: the name has no address.
          NoSuchDevice: no interface has the name of the zone.
          InvalidEndpoint: see `parse_tcp`; also IPv6 where ``settings.ipv6`` is off.
        """
        return await _look_up(parse_tcp(address, bind=False), settings.ipv6, f"tcp://{address}")

    async def connect(self, address: str, settings: Settings, resolved: list[_Place] | None = None) -> SystemStream:
        """Connects to the first address of the host that answers, as RFC 8305 has it. One attempt.

        A cancellation or a failure leaves no socket open.

        Raises:
          socket.gaierror: the name has no address.
          OSError: no address could be connected to; names the endpoint, and the cause for each address, which may be
            an option that the system lacks or refuses.
          NoSuchDevice: no interface has the name of the source or the zone.
          InvalidEndpoint: see `parse_tcp`; also IPv6 where ``settings.ipv6`` is off.
        """
        endpoint = f"tcp://{address}"
        to = parse_tcp(address, bind=False)
        targets = resolved or await self.resolve(address, settings)
        sources = None if to.source is None else _places(to.source, settings.ipv6, endpoint)
        failures: list[tuple[_Place, OSError]] = []
        sock = await _race(targets, sources, settings, failures)
        if sock is None:
            raise _connect_error(endpoint, failures)
        # trio's sockets do not show what they wrap; but they can be made to let go of it.
        return SystemStream(socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach()))


def _host(name: tuple[Any, ...]) -> str:
    """The numeric host of a socket's name, with its zone."""
    host: str = name[0]
    if len(name) == 4 and name[3] and "%" not in host:
        with suppress(OSError):
            return f"{host}%{socket.if_indextoname(name[3])}"
    return host


def _text(host: str, port: int) -> str:
    """The endpoint's text."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _canonical(place: _Place) -> str:
    """A place's host, spelled as the system would."""
    return _host((str(ipaddress.ip_address(place[1][0])), *place[1][1:]))


def _listen(place: _Place, settings: Settings) -> tuple[socket.socket, tuple[Tuning, ...]]:
    family, name = place
    tunings = ip_tunings(settings, family, name[0])
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if sys.platform == "win32":  # there, SO_REUSEADDR would share the port with whoever has it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tune(sock, tunings)
        sock.bind(name)
        sock.listen(settings.backlog)
    except BaseException:
        sock.close()
        raise
    return sock, tunings


# Addresses of this machine


def _places(where: TcpAddress, ipv6: bool, endpoint: str) -> list[_Place]:
    """Where to bind, best first; without looking up any name."""
    if where.wildcard:
        both: list[_Place] = [(socket.AF_INET6, ("::", where.port, 0, 0)), (socket.AF_INET, (_ALL_IPV4, where.port))]
        return both if ipv6 else both[1:]
    if where.version == 4:
        return [(socket.AF_INET, (where.host, where.port))]
    if where.version == 6:
        if not ipv6:
            raise NoSuchDevice(f"cannot use {endpoint}: {_IPV6_IS_OFF}")
        return [(socket.AF_INET6, (where.host, where.port, 0, _scope(where.zone, endpoint)))]
    found = _interface(where.host)
    places: list[_Place] = [
        (family, (host, where.port) if family == socket.AF_INET else (host, where.port, 0, scope))
        for family, host, scope in found
        if ipv6 or family == socket.AF_INET
    ]
    if not places:
        if found:
            what = f"interface {where.host!r} has only IPv6 addresses, and {_IPV6_IS_OFF}"
        elif sys.platform != "linux":
            what = f"{where.host!r} is no address, and interfaces are looked up on Linux only; write the address"
        else:
            what = (
                f"no interface with an address is called {where.host!r}, and names of hosts are not looked up here; "
                f"write an address (127.0.0.1 for this machine alone), an interface, or '*' for all addresses"
            )
        raise NoSuchDevice(f"cannot use {endpoint}: {what}")
    return places


_IPV6_IS_OFF = "IPv6 is off for this socket; set ipv6=True, or use an IPv4 address"


def _scope(zone: str, endpoint: str) -> int:
    """The number of a zone; 0 if there is none."""
    if not zone:
        return 0
    if zone.isdecimal() and int(zone) < 2**32:
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        raise NoSuchDevice(f"cannot use {endpoint}: no interface is called {zone!r}") from None


def _interface(name: str) -> list[tuple[socket.AddressFamily, str, int]]:
    """The addresses of an interface with their scopes: IPv4 first, link-local last."""
    found: list[tuple[socket.AddressFamily, str, int]] = []
    if sys.platform != "linux" or len(name) > 15:  # IFNAMSIZ
        return found
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(OSError):
        # netdevice(7): struct ifreq is a name of 16 bytes and a struct sockaddr_in
        answer = fcntl.ioctl(sock, 0x8915, struct.pack("40s", name.encode()))  # SIOCGIFADDR
        found.append((socket.AF_INET, socket.inet_ntoa(answer[20:24]), 0))
    with suppress(OSError), open("/proc/net/if_inet6", encoding="ascii") as lines:
        rows = [row for row in map(str.split, lines) if row[5] == name]
        for address, index, _, scope, *_ in sorted(rows, key=lambda row: row[3] == "20"):  # link-local
            host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address))
            found.append((socket.AF_INET6, host, int(index, 16) if scope == "20" else 0))
    return found


# Connecting


async def _look_up(to: TcpAddress, ipv6: bool, endpoint: str) -> list[_Place]:
    """The addresses to connect to, in the order to try them."""
    if to.version == 6:
        if not ipv6:
            raise InvalidEndpoint(f"cannot connect to {endpoint}: {_IPV6_IS_OFF}")
        return [(socket.AF_INET6, (to.host, to.port, 0, _scope(to.zone, endpoint)))]
    if to.version == 4:
        return [(socket.AF_INET, (to.host, to.port))]
    family = socket.AF_UNSPEC if ipv6 else socket.AF_INET
    try:
        found = await trio.socket.getaddrinfo(to.host, to.port, family, socket.SOCK_STREAM)
        if not found:  # a resolver of the user's own
            raise socket.gaierror(socket.EAI_NONAME, "the resolver gave none")
    except socket.gaierror as exc:
        raise socket.gaierror(
            exc.errno, f"cannot connect to {endpoint}: no address was found for {to.host!r}: {exc.strerror}"
        ) from exc
    targets: list[_Place] = [(entry[0], entry[4]) for entry in found]
    for i, (family, _) in enumerate(targets):
        if family != targets[0][0]:  # RFC 8305, 4: the second attempt is of the other family
            targets.insert(1, targets.pop(i))
            break
    return targets


async def _race(
    targets: list[_Place],
    sources: list[_Place] | None,
    settings: Settings,
    failures: list[tuple[_Place, OSError]],
) -> trio.socket.SocketType | None:
    """The socket that connects first: the next address is tried when the one before fails or takes long."""
    won: list[trio.socket.SocketType] = []

    @trio.lowlevel.enable_ki_protection
    async def attempt(target: _Place, failed: trio.Event) -> None:
        try:
            sock = await _open(target, sources, settings)
        except OSError as exc:
            failures.append((target, exc))
            failed.set()
            return
        won.append(sock)
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for target in targets:
                failed = trio.Event()
                nursery.start_soon(attempt, target, failed)
                with trio.move_on_after(_STAGGER):
                    await failed.wait()
        return won.pop() if won else None
    finally:
        for sock in won:  # a second one in the same tick, or all of a race that was cancelled from outside
            sock.close()


async def _open(target: _Place, sources: list[_Place] | None, settings: Settings) -> trio.socket.SocketType:
    """Connects one socket to one address; leaves none open if that fails."""
    family, name = target
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        tune(sock, ip_tunings(settings, family, name[0]))
        if sources is not None:
            await _bind_source(sock, family, sources)
        await sock.connect(name)
        # On loopback the system may choose for our port the very one that we want to reach, and join us to ourselves.
        if sock.getsockname() == sock.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there")
    except BaseException:
        sock.close()
        raise
    return sock


async def _bind_source(sock: trio.socket.SocketType, family: int, sources: list[_Place]) -> None:
    for source_family, name in sources:
        if source_family == family:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                await sock.bind(name)
            except OSError as exc:
                raise ZMQError(f"the source, {name[0]} port {name[1]}: {reason(exc)}", exc.errno) from exc
            return
    version = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
    raise AddressNotAvailable(f"the source has no {version.get(socket.AddressFamily(family))} address")


def _connect_error(endpoint: str, failures: list[tuple[_Place, OSError]]) -> OSError:
    """One error for all attempts, with the number of the last."""
    _, last = failures[-1]
    if len(failures) == 1:
        error = OSError(last.errno, f"cannot connect to {endpoint}: {reason(last)}")
        error.__cause__ = last
    else:
        causes = "; ".join(f"{name[0]}: {reason(exc)}" for (_, name), exc in failures)
        error = OSError(last.errno, f"cannot connect to {endpoint}: {causes}")
        error.__cause__ = ExceptionGroup(f"attempts to connect to {endpoint}", [exc for _, exc in failures])
    failures.clear()  # their tracebacks refer to this list
    return error
