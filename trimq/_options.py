"""Options: what they are called, what they may be, and what a connection takes along of them.

A socket's class declares its options as `Option` descriptors and names the same in a TypedDict, so that
``ctx.socket(Dealer, routing_id=b"x")`` is checked by type checkers and at run time. Values are checked
here; what an option does is the business of the room that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, TypedDict, TypeVar, cast, overload

import attrs
from trio.lowlevel import enable_ki_protection

__all__ = [
    "AnyOptions",
    "Option",
    "Settings",
    "SocketOptions",
    "boolean",
    "count",
    "frame",
    "high_water_mark",
    "identity",
    "interval",
    "seconds",
    "size",
]

T = TypeVar("T")


class Option(Generic[T]):
    """An option of a socket: read and set as an attribute, given to ``ctx.socket`` as a keyword.

    Args:
      default: its value unless given.
      check: takes what the user gave and returns the value; raises TypeError or ValueError.
      doc: what it does, its unit, and libzmq's name for it.
    """

    def __init__(self, default: T, check: Callable[[str, object], T], doc: str) -> None:
        self.default = default
        self.check = check
        self.__doc__ = doc
        self.name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

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


def high_water_mark(name: str, value: object) -> float:
    """A number of messages, 1 or more, or math.inf."""
    if value == math.inf:
        return math.inf
    if value == 0 and not isinstance(value, bool):
        raise ValueError(f"{name}=0 means no limit in libzmq; say {name}=math.inf for that")
    return count(name, value)


def size(name: str, value: object) -> float:
    """A number of bytes, 1 or more, or math.inf."""
    return math.inf if value == math.inf else count(name, value)


def seconds(name: str, value: object) -> float:
    """A time in seconds, 0 or more, or math.inf."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not value >= 0:
        raise ValueError(f"{name} is 0 or more seconds, or math.inf for no limit, not {value}")
    return float(value)


def interval(name: str, value: object) -> float:
    """A time in seconds, more than 0, or math.inf."""
    checked = seconds(name, value)
    if not checked:
        raise ValueError(f"{name} is more than 0 seconds, or math.inf for never")
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
    max_message_size: float
    ipv6: bool
    backlog: int
    tcp_keepalive: bool
    immediate: bool
    connect_timeout: float
    handshake_timeout: float
    reconnect_interval: float
    reconnect_interval_max: float


class AnyOptions(SocketOptions, total=False):
    """The options that some socket has: what a context may give as defaults."""

    routing_id: bytes
    probe_router: bool
    correlate: bool
    relaxed: bool
    mandatory: bool
    handover: bool
    nodrop: bool
    verbose: bool
    verboser: bool
    manual: bool
    welcome_message: bytes
    notify: bool


@attrs.frozen
class Settings:
    """What a connection or a listener takes along of its socket's options, as they were at bind or connect."""

    max_message_size: float = math.inf
    ipv6: bool = True
    backlog: int = 100
    tcp_keepalive: bool = True
    immediate: bool = False
    connect_timeout: float = math.inf
    handshake_timeout: float = 30.0
    reconnect_interval: float = 0.1
    reconnect_interval_max: float = 5.0
