"""Who may come in: the filters of accepted connections (ZMQ_TCP_ACCEPT_FILTER, ZMQ_IPC_FILTER_PID, _UID and _GID).

A filter says why a connection is refused; the listener closes it, and tells.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeAlias

from .._errors import ZMQError
from .._options import Settings

if sys.platform != "win32":
    import grp
    import pwd

__all__ = ["Filter", "by_credentials", "by_network", "credentials"]

Filter: TypeAlias = Callable[[socket.socket, Any], str]
"""Takes an accepted socket and its peer's address; says why it is refused, and nothing if it is welcome."""

_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
_Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_PEERGROUPS = 59  # SO_PEERGROUPS, Linux 4.13; Python's socket has no name for it
_MOST_GROUPS = 256  # getsockopt gives Python 1,024 bytes


def by_network(texts: Iterable[str]) -> Filter | None:
    """Lets in who is in one of these networks; None if there is none, for all. On either side, IPv4 in IPv6 is IPv4."""
    networks = [_unmapped(ipaddress.ip_network(text)) for text in texts]
    if not networks:
        return None

    def admit(sock: socket.socket, peer: Any) -> str:
        address: _Address = ipaddress.ip_address(peer[0])
        address = (address.version == 6 and address.ipv4_mapped) or address
        return "" if any(address in network for network in networks) else f"{address} is not in the tcp_accept_filter"

    return admit


def _unmapped(network: _Network) -> _Network:
    if network.version == 6 and network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def by_credentials(settings: Settings) -> Filter | None:
    """Lets in whose process, user or group, supplementary ones included, is among those given; None for all.

    As in libzmq, one of the three will do.

    Raises:
      ZMQError: the system does not tell who a peer is.
    """
    pids, uids, gids = settings.ipc_filter_pid, settings.ipc_filter_uid, settings.ipc_filter_gid
    if not (pids or uids or gids):
        return None
    if sys.platform != "linux":
        name = "ipc_filter_pid" if pids else "ipc_filter_uid" if uids else "ipc_filter_gid"
        raise ZMQError(
            f"{name} is for Linux only: this system does not tell who a peer is; protect the path by ipc_mode instead",
            errno.ENOPROTOOPT,
        )

    def admit(sock: socket.socket, peer: Any) -> str:
        known = credentials(sock)
        if known is None:
            return "the system does not tell who it is"
        pid, uid, gid = known
        if pid in pids or uid in uids or gid in gids or (gids and _is_member(sock, uid, gids)):
            return ""
        return f"process {pid} of user {uid} and group {gid} is in no ipc_filter"

    return admit


def credentials(sock: socket.socket) -> tuple[int, int, int] | None:
    """The pid, uid and gid of a Unix socket's peer, as they were when it connected; None if the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        pid, uid, gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return None
    return pid, uid, gid  # unix(7): struct ucred


def _is_member(sock: socket.socket, uid: int, gids: frozenset[int]) -> bool:
    """Whether the peer has one of the groups, or the user database lists its user in one, as libzmq asks."""
    with suppress(OSError):
        groups = sock.getsockopt(socket.SOL_SOCKET, _PEERGROUPS, 4 * _MOST_GROUPS)
        if not gids.isdisjoint(struct.unpack(f"{len(groups) // 4}I", groups)):
            return True
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return False
    for gid in gids:
        with suppress(KeyError):
            if name in grp.getgrgid(gid).gr_mem:
                return True
    return False
