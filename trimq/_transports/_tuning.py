"""Options of the system's sockets: buffers, keep-alive, type of service and more, said to the system as libzmq says them.

Here is what a socket is told, and what is said to the user if it cannot be. When, is each transport's business: before
listen or connect, since TCP settles its window with the first packets, and again on what was accepted, since no two
systems agree on what that inherits.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import struct
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from .._errors import ZMQError
from .._options import Settings

if TYPE_CHECKING:
    import trio

__all__ = ["Tuning", "buffer_tunings", "ip_tunings", "tune", "tune_accepted", "udp_tunings", "vmci_tunings"]

logger = logging.getLogger("trimq")

_IPV6 = getattr(socket, "IPPROTO_IPV6", 41)
_BUSY_POLL = 46 if sys.platform == "linux" else None  # asm-generic/socket.h; Python's socket has no name for it

_VSOCK = getattr(socket, "AF_VSOCK", 40)  # vm_sockets.h: the level of its options, too
_FOREVER = 2**31 - 1  # seconds

# What some systems say once the peer has closed; reading will tell.
_CLOSED = (errno.EINVAL, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNABORTED)

_ADVICE = {
    "send_buffer": "give fewer bytes",
    "receive_buffer": "give fewer bytes",
    "tcp_keepalive_idle": "Linux takes up to 32767 seconds; set tcp_keepalive=False for no probes",
    "tcp_keepalive_interval": "Linux takes up to 32767 seconds; set tcp_keepalive=False for no probes",
    "tcp_keepalive_count": "Linux takes up to 127; set tcp_keepalive=False for no probes",
    "tcp_user_timeout": "Linux takes up to 2147483 seconds",
    "tos": "it is a number of 8 bits, 0 to 255",
    "priority": "0 to 6 are for everybody, others need the right CAP_NET_ADMIN",
    "busy_poll": "more than the system's net.core.busy_read may need the right CAP_NET_ADMIN",
    "bind_to_device": "name an interface of this machine's; an older Linux also wants the right CAP_NET_RAW",
}


class Tuning(NamedTuple):
    """One option of one socket, as the system's call takes it."""

    option: str  # trimq's name
    value: object  # as the user gave it
    level: int
    number: int | None  # None: this system has no such option
    raw: int | bytes | None  # None: the system has no way to say this value


def buffer_tunings(settings: Settings) -> tuple[Tuning, ...]:
    """What an ipc or a tipc socket is told. The other options are about TCP, IP and devices: they have no meaning there."""
    return tuple(_given(settings, "send_buffer", "receive_buffer"))


def vmci_tunings(settings: Settings) -> tuple[Tuning, ...]:
    """What a vmci socket is told; as bytes, since Python's setsockopt takes numbers in a width of its own there.

    The connect timeout matters only to a socket that connects.
    """
    found: list[Tuning] = []
    # The limits first: the system moves a size that is set into those that it has then.
    for name, number in (("vmci_buffer_max_size", 2), ("vmci_buffer_min_size", 1), ("vmci_buffer_size", 0)):
        value = getattr(settings, name)
        if value is not None:
            found.append(Tuning(name, value, _VSOCK, number, struct.pack("Q", value) if value < 2**64 else None))
    if (limit := settings.vmci_connect_timeout) is not None:
        # A long each, as SO_VM_SOCKETS_CONNECT_TIMEOUT has had them since the first; 0 would mean the system's default.
        raw = struct.pack("ll", *divmod(math.ceil(min(limit, _FOREVER) * 1e6), 1_000_000))
        found.append(Tuning("vmci_connect_timeout", limit, _VSOCK, 6, raw))
    return tuple(found)


def ip_tunings(settings: Settings, family: int, host: str) -> tuple[Tuning, ...]:
    """What a tcp socket is told.

    Args:
      family: the socket's.
      host: the numeric address that it binds or connects to.
    """
    found = [
        Tuning("tcp_keepalive", settings.tcp_keepalive, socket.SOL_SOCKET, socket.SO_KEEPALIVE, settings.tcp_keepalive),
        *_given(
            settings,
            *("bind_to_device", "send_buffer", "receive_buffer", "tcp_keepalive_idle", "tcp_keepalive_interval"),
            *("tcp_keepalive_count", "tcp_user_timeout"),
        ),
        *_service(settings, family, host),
    ]
    # The priority after the type of service, which sets one, too (socket(7)).
    return *found, *_given(settings, "priority", "busy_poll")


def udp_tunings(settings: Settings, family: int, host: str) -> tuple[Tuning, ...]:
    """What a udp socket is told; as `ip_tunings`, without what is TCP's, and with what is for multicast."""
    hops, loop = settings.multicast_hops, settings.multicast_loop
    found = list(_given(settings, "bind_to_device", "send_buffer", "receive_buffer"))
    if family == socket.AF_INET6:
        found.append(Tuning("multicast_hops", hops, _IPV6, _number("IPV6_MULTICAST_HOPS"), hops))
        found.append(Tuning("multicast_loop", loop, _IPV6, _number("IPV6_MULTICAST_LOOP"), int(loop)))
    if family == socket.AF_INET or host == "::":
        found.append(Tuning("multicast_hops", hops, socket.IPPROTO_IP, _number("IP_MULTICAST_TTL"), hops))
        found.append(Tuning("multicast_loop", loop, socket.IPPROTO_IP, _number("IP_MULTICAST_LOOP"), int(loop)))
    return *found, *_service(settings, family, host), *_given(settings, "priority", "busy_poll")


def _service(settings: Settings, family: int, host: str) -> Iterable[Tuning]:
    if settings.tos is not None:
        raw = settings.tos if settings.tos <= 255 else None  # IP_TOS would take its last 8 bits without a word
        if family == socket.AF_INET6:
            yield Tuning("tos", settings.tos, _IPV6, _number("IPV6_TCLASS"), raw)
        if family == socket.AF_INET or host == "::" or host.startswith("::ffff:"):  # IPv4 peers, on dual stack too
            yield Tuning("tos", settings.tos, socket.IPPROTO_IP, _number("IP_TOS"), raw)


def _given(settings: Settings, *names: str) -> Iterable[Tuning]:
    """Those of these options that are set."""
    for name in names:
        value = getattr(settings, name)
        if value is not None:
            level, number, unit = _KNOWN[name]
            yield Tuning(name, value, level, number, _raw(value, unit))


def _raw(value: str | float, unit: float) -> int | bytes | None:
    if isinstance(value, str):
        return value.encode() + b"\0"
    units = value * unit
    if not units < 2**31:  # the system takes an int
        return None
    return max(math.ceil(round(units, 3)), 1) if units else 0  # 0 would mean the system's default, or none


def _number(*names: str) -> int | None:
    """The first of these that the system has."""
    return next((getattr(socket, name) for name in names if hasattr(socket, name)), None)


_KNOWN: dict[str, tuple[int, int | None, float]] = {  # level, number, the system's units in one of ours
    "send_buffer": (socket.SOL_SOCKET, socket.SO_SNDBUF, 1),
    "receive_buffer": (socket.SOL_SOCKET, socket.SO_RCVBUF, 1),
    "tcp_keepalive_idle": (socket.IPPROTO_TCP, _number("TCP_KEEPIDLE", "TCP_KEEPALIVE"), 1),
    "tcp_keepalive_interval": (socket.IPPROTO_TCP, _number("TCP_KEEPINTVL"), 1),
    "tcp_keepalive_count": (socket.IPPROTO_TCP, _number("TCP_KEEPCNT"), 1),
    "tcp_user_timeout": (socket.IPPROTO_TCP, _number("TCP_USER_TIMEOUT"), 1e3),  # tcp(7): ms
    "priority": (socket.SOL_SOCKET, _number("SO_PRIORITY"), 1),
    "busy_poll": (socket.SOL_SOCKET, _BUSY_POLL, 1e6),  # socket(7): us
    "bind_to_device": (socket.SOL_SOCKET, _number("SO_BINDTODEVICE"), 1),
}


def tune(sock: socket.socket | trio.socket.SocketType, wanted: Iterable[Tuning]) -> None:
    """Tells a socket all of it.

    Raises:
      ZMQError: names the option that the system lacks or refuses, with its error number, and says what to do. What was
        to become of the socket is for the caller to add.
    """
    for tuning in wanted:
        option, value, level, number, raw = tuning
        if number is None:
            raise ZMQError(f"{option}={value!r} is not for this system; leave it at None", errno.ENOPROTOOPT)
        try:
            if raw is None:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            sock.setsockopt(level, number, raw)
        except OSError as exc:
            raise _refused(tuning, exc) from exc
        if sys.platform == "linux" and number in (socket.SO_SNDBUF, socket.SO_RCVBUF) and level == socket.SOL_SOCKET:
            assert isinstance(raw, int)
            got = sock.getsockopt(level, number) // 2  # socket(7): the kernel doubles it, for its own needs
            if got < raw:
                _tell_shortfall(option, raw, got)


def tune_accepted(sock: socket.socket, wanted: Iterable[Tuning]) -> None:
    """Tells an accepted connection what its listener was told.

    Raises:
      ZMQError: the system refuses what it took from the listener.
    """
    for tuning in wanted:
        if tuning.option == "bind_to_device":
            continue  # it has the listener's, and to say it again takes the right CAP_NET_RAW
        assert tuning.number is not None
        assert tuning.raw is not None
        try:
            sock.setsockopt(tuning.level, tuning.number, tuning.raw)
        except OSError as exc:
            if exc.errno not in _CLOSED:
                raise _refused(tuning, exc) from exc


def _refused(tuning: Tuning, exc: OSError) -> ZMQError:
    return ZMQError(
        f"the system refuses {tuning.option}={tuning.value!r}: {os.strerror(exc.errno or errno.EINVAL)}; "
        f"{_ADVICE.get(tuning.option, 'leave it out')}",
        exc.errno,
    )


@cache
def _tell_shortfall(option: str, wanted: int, got: int) -> None:
    """Once for each figure: a dialer would say it at every attempt."""
    limit = "net.core.wmem_max" if option == "send_buffer" else "net.core.rmem_max"
    logger.warning("%s=%d: the system gives no more than %d bytes; raise its %s", option, wanted, got, limit)
