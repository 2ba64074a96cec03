"""What an endpoint's text means: scheme and address, which schemes carry which types, and the grammars of tcp and udp.

Only text lives here: nothing is looked up, nothing opened. Each transport checks its own addresses; that
of tcp stands here because others speak it as well.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import attrs

from ._errors import IncompatibleProtocol, InvalidEndpoint, ProtocolNotSupported

__all__ = ["TcpAddress", "UdpAddress", "check_scheme", "parse_datagram_peer", "parse_tcp", "parse_udp", "split"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def split(endpoint: str) -> tuple[str, str]:
    """Splits an endpoint at the first ``://`` into its scheme and its address.

    Raises:
      InvalidEndpoint: there is no ``://``, one of the two is empty, or the scheme is not one lower-case word.
      TypeError: it is not a str.
    """
    if not isinstance(endpoint, str):
        raise TypeError(f"an endpoint is a str such as 'tcp://127.0.0.1:5555', not {endpoint!r}")
    scheme, separator, address = endpoint.partition("://")
    if not separator:
        fault = "there is no '://'"
    elif not scheme:
        fault = "there is no scheme before '://'"
    elif not _SCHEME.fullmatch(scheme):
        fault = f"schemes are lower-case words, and {scheme!r} is not one"
    elif not address:
        fault = "there is no address after '://'"
    elif "\0" in address:
        fault = "an address holds no zero byte"
    else:
        return scheme, address
    raise InvalidEndpoint(
        f"{endpoint!r} is no endpoint: {fault}; write SCHEME://ADDRESS, as 'tcp://127.0.0.1:5555' or 'inproc://name'"
    )


# Which types a scheme carries: only these, or all but these (libzmq.md 3.0 and the heads of 3.1 to 3.7)

_ONLY: Mapping[str, frozenset[str]] = {
    "udp": frozenset({"RADIO", "DISH", "DGRAM"}),
    "pgm": frozenset({"PUB", "SUB", "XPUB", "XSUB"}),
    "epgm": frozenset({"PUB", "SUB", "XPUB", "XSUB"}),
    "norm": frozenset({"PUB", "SUB", "XPUB", "XSUB"}),
}
_NOT: Mapping[str, frozenset[str]] = {
    "tcp": frozenset({"DGRAM"}),
    "ipc": frozenset({"DGRAM"}),
    "tipc": frozenset({"DGRAM"}),
    "vmci": frozenset({"DGRAM"}),
    "vsock": frozenset({"DGRAM"}),
    "ws": frozenset({"DGRAM", "STREAM"}),
    "wss": frozenset({"DGRAM", "STREAM"}),
    "inproc": frozenset({"DGRAM", "STREAM"}),
}
_UNBUILT = ("ws", "wss", "norm")


def check_scheme(scheme: str, socket_type: str, available: Collection[str]) -> None:
    """Checks that a scheme carries a socket type, and then that there is a transport for it.

    Args:
      scheme: what stands before ``://``.
      socket_type: as ``"DEALER"``.
      available: the schemes of the context's transports. One that is not known here passes for every type.

    Raises:
      IncompatibleProtocol: the scheme does not carry this type, whether or not it is available.
      ProtocolNotSupported: there is no transport for it: unknown, not built yet, or not in this context.
    """
    if not _carries(scheme, socket_type):
        others = _some(
            sorted(s for s in available if _carries(s, socket_type))
            or sorted(s for s in (*_ONLY, *_NOT) if _carries(s, socket_type))
        )
        if scheme in _ONLY:
            carried = f"only {_words(sorted(_ONLY[scheme]), 'and')}"
        else:
            carried = f"every type but {_words(sorted(_NOT[scheme]), 'and')}"
        raise IncompatibleProtocol(
            f"{scheme} does not carry {socket_type}: it carries {carried}; for {socket_type} use {others}"
        )
    if scheme in available:
        return
    here = f"this context has {_words(sorted(available), 'and') or 'no transport'}"
    if scheme in _UNBUILT:
        raise ProtocolNotSupported(f"{scheme} is known but not built into this version of trimq yet; {here}")
    if scheme in _ONLY or scheme in _NOT:
        raise ProtocolNotSupported(f"this context has no transport for {scheme}; {here}")
    raise ProtocolNotSupported(
        f"{scheme} is not a transport that trimq knows; {here} "
        f"(a transport of your own is handed in as open_context(transports=[...]))"
    )


def _carries(scheme: str, socket_type: str) -> bool:
    if scheme in _ONLY:
        return socket_type in _ONLY[scheme]
    return socket_type not in _NOT.get(scheme, ())


def _words(words: Iterable[str], last: str) -> str:
    *most, end = list(words) or [""]
    return f"{', '.join(most)} {last} {end}" if most else end


def _some(words: list[str]) -> str:
    return _words(words, "or") or "another transport"


# tcp (libzmq.md 3.1)


@attrs.frozen
class TcpAddress:
    """A tcp address, taken apart."""

    host: str
    """A numeric address without brackets and zone, a name, an interface, or ``*``."""
    port: int
    """0 for ``*``: the system picks one."""
    zone: str = ""
    """The interface, by name or number, that a link-local IPv6 address belongs to; empty for none."""
    source: TcpAddress | None = None
    """Where a connection is to come from, if that was said."""

    @property
    def wildcard(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        return self.host == "*"

    @property
    def version(self) -> Literal[4, 6] | None:
        """Of IP, for a numeric address; None for a name, an interface or ``*``."""
        return _version(self.host)


def parse_tcp(address: str, *, bind: bool) -> TcpAddress:
    """Takes a tcp address (what stands after ``://``) apart.

    Args:
      address: for bind ``INTERFACE:PORT`` where the interface is ``*``, an IPv4 or IPv6 address or an interface's
        name, and the port 0 or ``*`` for one that the system picks. For connect ``HOST:PORT`` or
        ``SOURCE:PORT;HOST:PORT`` where the host is an address or a name, and the source as for bind.
        Brackets around IPv6 are optional: the last colon separates the port.
      bind: whether it is to bind or to connect to.

    Raises:
      InvalidEndpoint: says what was wrong and what would be right.
    """
    source, separator, target = address.rpartition(";")
    if not separator:
        return _host_port(address, address, "bind" if bind else "connect")
    if bind:
        raise _invalid(address, "a source address before ';' is for connect", "tcp://127.0.0.1:5555")
    if ";" in source:
        raise _invalid(address, "there is more than one ';'", _SOURCE_EXAMPLE)
    return attrs.evolve(_host_port(target, address, "connect"), source=_host_port(source, address, "source"))


_Role = Literal["bind", "connect", "source"]
_SOURCE_EXAMPLE = "tcp://192.0.2.1:*;server001:5555"
_EXAMPLES: Mapping[_Role, str] = {
    "bind": "tcp://127.0.0.1:5555 or tcp://*:*",
    "connect": "tcp://server001:5555 or tcp://[2001:db8::1]:5555",
    "source": _SOURCE_EXAMPLE,
}
# The first character and the rest as libzmq checks them; that a label has 1 to 63 of them is DNS's rule.
_NAME = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_INTERFACE = re.compile(r"(?=[!-~]+\Z)[^/:;%*\[\]]+(:[^/:;%*\[\]]+)?")  # eth0, br-1f, eth0:1
_ZONE = re.compile(r"(?=[!-~]+\Z)[^/:;%*\[\]]+")


def _invalid(address: str, fault: str, example: str) -> InvalidEndpoint:
    return InvalidEndpoint(f"{f'tcp://{address}'!r} is no tcp endpoint: {fault}; write {example}")


def _version(host: str) -> Literal[4, 6] | None:
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def _host_port(text: str, whole: str, role: _Role) -> TcpAddress:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        what = "the source address has no port ('*' for any)" if role == "source" else "there is no port"
        raise _invalid(whole, what, _EXAMPLES[role])
    number = _port(port, whole, role)
    host, zone = _host(host, whole, role)
    return TcpAddress(host, number, zone)


def _port(port: str, whole: str, role: _Role) -> int:
    if role == "connect":
        if port in ("*", "0"):
            raise _invalid(
                whole, f"port {port} is for bind, and connect needs the port that was bound", _EXAMPLES[role]
            )
        low, may_be = 1, "a decimal number from 1 to 65535"
    else:
        if port == "*":
            return 0
        low, may_be = 0, "a decimal number from 0 to 65535, or '*'"
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and low <= int(port) <= 65535):
        raise _invalid(whole, f"a port is {may_be}, and {port!r} is not", _EXAMPLES[role])
    return int(port)


def _host(host: str, whole: str, role: _Role) -> tuple[str, str]:
    """The host without brackets, and its zone."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if "[" in host or "]" in host:
        raise _invalid(whole, "the brackets do not match", "tcp://[::1]:5555")
    host, percent, zone = host.partition("%")
    version = _version(host)
    if percent:
        if version != 6:
            raise _invalid(
                whole,
                f"a zone (after '%') belongs to an IPv6 address, and {host!r} is none",
                "tcp://[fe80::1%eth0]:5555",
            )
        if not _ZONE.fullmatch(zone) or zone.strip("0") == "":
            raise _invalid(
                whole,
                f"a zone is an interface's name, or its number from 1 on, and not {zone!r}",
                "tcp://[fe80::1%eth0]:5555",
            )
    if version is not None:
        return host, zone
    if not host:
        what = "there is no host" if role == "connect" else "there is no interface ('*' for all)"
        raise _invalid(whole, what, _EXAMPLES[role])
    if role != "connect":
        if host != "*" and not _INTERFACE.fullmatch(host):
            raise _invalid(whole, f"{host!r} is no address, no interface's name and not '*'", _EXAMPLES[role])
    elif host == "*":
        raise _invalid(whole, "'*' is for bind, and connect needs a host", "tcp://127.0.0.1:5555 for this machine")
    elif not _NAME.fullmatch(host):
        raise _invalid(
            whole,
            f"{host!r} is neither an address nor a host's name in ASCII (an international one is written as xn--...)",
            _EXAMPLES[role],
        )
    return host, ""


# udp (libzmq.md 3.4)


@attrs.frozen
class UdpAddress:
    """A udp address, taken apart."""

    host: str
    """A numeric address without brackets and zone, a name, an interface, or ``*``."""
    port: int
    """0 for ``*``: the system picks one."""
    zone: str = ""
    """The interface that a link-local IPv6 address belongs to, by name or number; empty for none."""
    interface: str = ""
    """Where multicast goes out or comes in: an interface's name or address; empty for the system's choice."""

    @property
    def version(self) -> Literal[4, 6] | None:
        """Of IP, for a numeric address; None for a name or ``*``."""
        return _version(self.host)

    @property
    def multicast(self) -> bool:
        """Whether it is a multicast group."""
        return self.version is not None and ipaddress.ip_address(self.host).is_multicast


_UDP_BIND = "udp://*:5555, udp://127.0.0.1:5555, or udp://eth0;239.0.0.1:5555 for multicast"
_UDP_CONNECT = "udp://192.0.2.1:5555, or udp://eth0;239.0.0.1:5555 for multicast"


def parse_udp(address: str, *, bind: bool) -> UdpAddress:
    """Takes a udp address (what stands after ``://``) apart.

    Args:
      address: ``HOST:PORT`` or ``INTERFACE;GROUP:PORT``. The host is an IPv4 or IPv6 address, of which a multicast
        group is one; for bind also ``*`` or an interface's name, for connect also a host's. The interface before ``;``,
        only with a group, is a name, an address or ``*``. For bind, the port may be 0 or ``*``.
      bind: whether it is to bind or to connect to.

    Raises:
      InvalidEndpoint: says what was wrong and what would be right.
    """
    right = _UDP_BIND if bind else _UDP_CONNECT
    interface, separator, target = address.rpartition(";")
    try:
        parsed = _host_port(target, target, "bind" if bind else "connect")
    except InvalidEndpoint as error:
        raise _no_udp(address, _fault(error), right) from None
    found = UdpAddress(parsed.host, parsed.port, parsed.zone)
    if not separator:
        return found
    if not found.multicast:
        raise _no_udp(address, f"an interface before ';' is for a multicast group, and {found.host!r} is none", right)
    if interface.startswith("[") and interface.endswith("]"):
        interface = interface[1:-1]
    if interface != "*" and _version(interface) is None and not _INTERFACE.fullmatch(interface):
        raise _no_udp(address, f"{interface!r} is no interface's name, no address and not '*'", right)
    if _version(interface) is not None and ipaddress.ip_address(interface).is_multicast:
        raise _no_udp(address, f"{interface!r} is a multicast group, and no interface", right)
    if _version(interface) not in (None, found.version):
        raise _no_udp(address, f"interface {interface!r} and group {found.host!r} are not of one IP version", right)
    return attrs.evolve(found, interface="" if interface == "*" else interface)


def parse_datagram_peer(address: bytes) -> str:
    """The address of a Dgram's peer, ``ip:port``; a zero byte at its end, which libzmq's have, is taken off.

    Raises:
      InvalidEndpoint: it is no numeric address with a port.
    """
    text = address.removesuffix(b"\0").decode("ascii", "replace")
    try:
        parsed = _host_port(text, text, "connect")
    except InvalidEndpoint:
        parsed = None
    if parsed is None or parsed.version is None:
        raise InvalidEndpoint(
            f"{address!r} is no datagram's address; the first frame is the peer's numeric address and port, "
            f"as b'127.0.0.1:5555' or b'[::1]:5555'"
        )
    return text


def _no_udp(address: str, fault: str, right: str) -> InvalidEndpoint:
    return InvalidEndpoint(f"{f'udp://{address}'!r} is no udp endpoint: {fault}; write {right}")


def _fault(error: InvalidEndpoint) -> str:
    """What was wrong, out of what tcp's grammar says of the same form."""
    return str(error).partition(" is no tcp endpoint: ")[2].partition("; write ")[0] or str(error)
