"""Options: what they are called, what they may be, and what a connection takes along of them.

A socket's class declares its options as `Option` descriptors and names the same in a TypedDict, so that
``ctx.socket(Dealer, routing_id=b"x")`` is checked by type checkers and at run time. Values are checked
here; what an option does is the business of the room that reads it.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypedDict, TypeVar, cast, overload

import attrs
from trio.lowlevel import enable_ki_protection

__all__ = [
    "AnyOptions",
    "Option",
    "Settings",
    "SocketOptions",
    "boolean",
    "choice",
    "count",
    "device",
    "finite",
    "flags",
    "frame",
    "high_water_mark",
    "hops",
    "identity",
    "interval",
    "networks",
    "numbers",
    "optional",
    "properties",
    "seconds",
    "size",
    "timeout",
    "tpdu",
    "ttl",
    "whole",
]

T = TypeVar("T")


class Option(Generic[T]):
    """An option of a socket: read and set as an attribute, given to ``ctx.socket`` as a keyword.

    Args:
      default: its value unless given.
      check: takes what the user gave and returns the value; raises TypeError or ValueError.
      doc: what it does, its unit, and libzmq's name for it.
      also: options that are other words for the same.
    """

    def __init__(self, default: T, check: Callable[[str, object], T], doc: str, *, also: Collection[str] = ()) -> None:
        self.default = default
        self.check = check
        self.__doc__ = doc
        self.name: str = ""
        self.names: frozenset[str] = frozenset(also)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.names |= {name}

    @overload
    def __get__(self, socket: None, owner: type) -> Option[T]: ...

    @overload
    def __get__(self, socket: object, owner: type) -> T: ...

    def __get__(self, socket: Any, owner: type) -> T | Option[T]:
        if socket is None:
            return self
        value: T = socket._options.get(self.name, self.default)
        return value

    @enable_ki_protection
    def __set__(self, socket: Any, value: T) -> None:
        checked = self.check(self.name, value)
        socket._may_set(self.name)
        socket._options[self.name] = checked
        socket._option_set(self.name)


# Checks: (name, what the user gave) -> the value


def boolean(name: str, value: object) -> bool:
    """True or False, nothing else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return value


def count(name: str, value: object) -> int:
    """A whole number, 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} is at least 1, not {value}")
    return value


def hops(name: str, value: object) -> int:
    """How many networks a datagram may cross: 1 to 255."""
    checked = count(name, value)
    if checked > 255:
        raise ValueError(f"{name} is at most 255, not {checked}")
    return checked


def high_water_mark(name: str, value: object) -> float:
    """A number of messages, 1 or more, or math.inf."""
    if value == math.inf:
        return math.inf
    if value == 0 and not isinstance(value, bool):
        raise ValueError(f"{name}=0 means no limit in libzmq; say {name}=math.inf for that")
    return count(name, value)


def size(name: str, value: object) -> float:
    """A number of bytes, or of other things, 1 or more, or math.inf for no limit."""
    return math.inf if value == math.inf else count(name, value)


def seconds(name: str, value: object) -> float:
    """A time in seconds, 0 or more, or math.inf."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not value >= 0:
        raise ValueError(f"{name} is 0 or more seconds, or math.inf for no limit, not {value}")
    return float(value)


def timeout(name: str, value: object) -> float:
    """A time in seconds, more than 0, or math.inf."""
    if value == 0 and not isinstance(value, bool):
        raise ValueError(f"{name}=0 means no limit in libzmq; say {name}=math.inf for that")
    return interval(name, value)


def interval(name: str, value: object) -> float:
    """A time in seconds, more than 0, or math.inf."""
    checked = seconds(name, value)
    if not checked:
        raise ValueError(f"{name} is more than 0 seconds, or math.inf for never")
    return checked


def finite(name: str, value: object) -> float:
    """A time in seconds, more than 0; not math.inf."""
    checked = seconds(name, value)
    if not 0 < checked < math.inf:
        raise ValueError(f"{name} is more than 0 seconds, and no more than memory has room for, not {value}")
    return checked


def tpdu(name: str, value: object) -> int:
    """Bytes in a datagram, headers included: 128 to 65535."""
    checked = count(name, value)
    if not 128 <= checked <= 65535:
        raise ValueError(f"{name} is from 128 to 65535 bytes, headers included, not {checked}")
    return checked


def whole(name: str, value: object) -> int:
    """A whole number, 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    if value < 0:
        raise ValueError(f"{name} is 0 or more, not {value}")
    return value


def optional(check: Callable[[str, object], T]) -> Callable[[str, object], T | None]:
    """What another check lets pass, or None, which leaves it to the system (or as the option's text says)."""

    def checked(name: str, value: object) -> T | None:
        return None if value is None else check(name, value)

    return checked


def choice(*known: str) -> Callable[[str, object], str]:
    """One of these words."""

    def checked(name: str, value: object) -> str:
        if not isinstance(value, str):
            raise TypeError(f"{name} is one of {', '.join(map(repr, known))}, not {value!r}")
        if value not in known:
            raise ValueError(f"{name} is one of {', '.join(map(repr, known))}, not {value!r}")
        return value

    return checked


def flags(*known: str) -> Callable[[str, object], frozenset[str]]:
    """Any of these words, in any collection but a string."""

    def checked(name: str, value: object) -> frozenset[str]:
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise TypeError(f"{name} is a collection of words, as {{{known[0]!r}}}, not {value!r}")
        words = frozenset(cast("Iterable[str]", value))
        if unknown := words.difference(known):
            raise ValueError(f"{name} is made of {', '.join(map(repr, known))}, not {', '.join(map(repr, unknown))}")
        return words

    return checked


def numbers(name: str, value: object) -> frozenset[int]:
    """Any whole numbers, in any collection."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} is a collection of numbers, as {{0}}, not {value!r}")
    return frozenset(whole(name, number) for number in cast("Iterable[object]", value))


def networks(name: str, value: object) -> tuple[str, ...]:
    """Any addresses or networks (``"192.168.0.0/24"``, ``"::1"``), in any collection but a string."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f'{name} is a collection of networks, as ["192.168.0.0/24"], not {value!r}')
    found: list[str] = []
    for text in cast("Iterable[object]", value):
        try:
            if not isinstance(text, str):
                raise ValueError
            found.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            raise ValueError(
                f'{name}: {text!r} is no network; write "192.168.0.0/24", "10.1.2.3" or "fd00::/8"'
            ) from None
    return tuple(found)


def device(name: str, value: object) -> str:
    """The name of a network interface."""
    if not isinstance(value, str):
        raise TypeError(f'{name} is the name of a network interface, as "eth0", not {value!r}')
    if not 1 <= len(value.encode()) <= 15:  # IFNAMSIZ
        raise ValueError(f"{name} is the name of a network interface, 1 to 15 bytes, not {value!r}")
    return value


def properties(name: str, value: object) -> Mapping[str, bytes]:
    """Properties for a handshake: names that begin with X-, and bytes."""
    if not isinstance(value, Mapping):
        raise TypeError(f'{name} is a mapping, as {{"X-Application": b"demo"}}, not {value!r}')
    taken: dict[str, bytes] = {}
    for key, content in cast("Mapping[object, object]", value).items():
        if not isinstance(key, str):
            raise TypeError(f"{name}: a property's name is text, not {key!r}")
        if not key[:2].upper() == "X-" or not 3 <= len(key) <= 255 or not _PROPERTY.issuperset(key):
            raise ValueError(
                f"{name}: a property is called X- and more, letters, digits and -_.+, up to 255 of them, not {key!r}"
            )
        taken[key] = frame(f"{name}[{key!r}]", content)
    return MappingProxyType(taken)


_PROPERTY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+")


def ttl(name: str, value: object) -> float:
    """Seconds that a PING can announce. libzmq takes them times 1,000 in 16 bits: more would end connections early."""
    checked = seconds(name, value)
    if checked > 65.5:
        raise ValueError(f"{name} is up to 65.5 seconds, or 0 for none, not {value}")
    return checked


def frame(name: str, value: object) -> bytes:
    """Bytes, any number of them."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name} is bytes, not {value!r}")
    return bytes(cast("bytes | bytearray | memoryview[int]", value))


def identity(name: str, value: object) -> bytes:
    """A routing id: up to 255 bytes, of which the first is not zero; empty for none."""
    value = frame(name, value)
    if len(value) > 255:
        raise ValueError(f"{name} is at most 255 bytes, not {len(value)}")
    if value[:1] == b"\0":
        raise ValueError(f"{name} must not begin with a zero byte: those are the ids that a Router makes up")
    return value


class SocketOptions(TypedDict, total=False):
    """The options that every socket has."""

    linger: float
    send_hwm: float
    receive_hwm: float
    send_hwm_bytes: float
    receive_hwm_bytes: float
    max_message_size: float
    metadata: Mapping[str, bytes]
    immediate: bool
    ipv6: bool
    backlog: int
    max_connections: float
    max_handshakes: float
    connect_timeout: float
    handshake_timeout: float
    reconnect_interval: float
    reconnect_interval_max: float
    reconnect_stop: Collection[str]
    give_up_after: float
    heartbeat_interval: float
    heartbeat_timeout: float | None
    heartbeat_ttl: float
    send_buffer: int | None
    receive_buffer: int | None
    tcp_keepalive: bool
    tcp_keepalive_idle: float | None
    tcp_keepalive_interval: float | None
    tcp_keepalive_count: int | None
    tcp_user_timeout: float | None
    tcp_accept_filter: Collection[str]
    ipc_filter_pid: Collection[int]
    ipc_filter_uid: Collection[int]
    ipc_filter_gid: Collection[int]
    ipc_mode: int | None
    tos: int | None
    priority: int | None
    busy_poll: float | None
    bind_to_device: str | None
    vmci_buffer_size: int | None
    vmci_buffer_min_size: int | None
    vmci_buffer_max_size: int | None
    vmci_connect_timeout: float | None


class AnyOptions(SocketOptions, total=False):
    """The options that some socket has: what a context may give as defaults."""

    routing_id: bytes
    probe_router: bool
    correlate: bool
    relaxed: bool
    mandatory: bool
    handover: bool
    nodrop: bool
    mute: str
    conflate: bool
    invert_matching: bool
    only_first_subscribe: bool
    verbose: bool
    verboser: bool
    manual: bool
    manual_last_value: bool
    welcome_message: bytes
    verbose_unsubscribe: bool
    notify: bool
    notify_peers: Collection[str]
    hello_message: bytes
    disconnect_message: bytes
    hiccup_message: bytes
    multicast_hops: int
    multicast_loop: bool
    rate: int
    recovery_interval: float
    multicast_maxtpdu: int


@attrs.frozen
class Settings:
    """What a connection or a listener takes along of its socket's options, as they were at bind or connect."""

    max_message_size: float = math.inf
    metadata: Mapping[str, bytes] = MappingProxyType({})
    immediate: bool = False
    ipv6: bool = True
    backlog: int = 100
    max_connections: float = math.inf
    max_handshakes: float = math.inf
    connect_timeout: float = math.inf
    handshake_timeout: float = 30.0
    reconnect_interval: float = 0.1
    reconnect_interval_max: float = 5.0
    reconnect_stop: frozenset[str] = frozenset()
    give_up_after: float = math.inf
    heartbeat_interval: float = 15.0
    heartbeat_timeout: float | None = None
    heartbeat_ttl: float = 0.0
    send_buffer: int | None = None
    receive_buffer: int | None = None
    tcp_keepalive: bool = True
    tcp_keepalive_idle: float | None = None
    tcp_keepalive_interval: float | None = None
    tcp_keepalive_count: int | None = None
    tcp_user_timeout: float | None = None
    tcp_accept_filter: tuple[str, ...] = ()
    ipc_filter_pid: frozenset[int] = frozenset()
    ipc_filter_uid: frozenset[int] = frozenset()
    ipc_filter_gid: frozenset[int] = frozenset()
    ipc_mode: int | None = None
    tos: int | None = None
    priority: int | None = None
    busy_poll: float | None = None
    bind_to_device: str | None = None
    vmci_buffer_size: int | None = None
    vmci_buffer_min_size: int | None = None
    vmci_buffer_max_size: int | None = None
    vmci_connect_timeout: float | None = None
    multicast_hops: int = 1
    multicast_loop: bool = True
    rate: int = 100
    recovery_interval: float = 10.0
    multicast_maxtpdu: int = 1500
    identity: bytes | None = None
    """What is announced as Identity; None for types that announce none."""
    libzmq: bool = False
    """Whether the socket's context has ``profile="libzmq"``."""
