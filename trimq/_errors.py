"""Every exception trimq raises, and libzmq's error numbers.

    OSError
      ZMQError                    what ZeroMQ itself reports; ``errno`` is libzmq's number
        InvalidEndpoint           EINVAL, also a ValueError
        ProtocolNotSupported      EPROTONOSUPPORT
        IncompatibleProtocol      ENOCOMPATPROTO
        ContextTerminated         ETERM, also a trio.ClosedResourceError
        SocketClosed              ENOTSOCK, also a trio.ClosedResourceError
        NoIOThread                EMTHREAD, also a RuntimeError
        StateError                EFSM
        HostUnreachable           EHOSTUNREACH
        MessageTooLarge           EMSGSIZE
        AddressInUse              EADDRINUSE
        AddressNotAvailable       EADDRNOTAVAIL
        NoSuchDevice              ENODEV
        ProtocolError             EPROTO: what a peer sent breaks the protocol

Nothing here raises; the rooms above do. Two small tools look into groups of them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, ClassVar, cast

import trio

__all__ = [
    "EFSM",
    "EMTHREAD",
    "ENOCOMPATPROTO",
    "ETERM",
    "AddressInUse",
    "AddressNotAvailable",
    "ContextTerminated",
    "HostUnreachable",
    "IncompatibleProtocol",
    "InvalidEndpoint",
    "MessageTooLarge",
    "NoIOThread",
    "NoSuchDevice",
    "ProtocolError",
    "ProtocolNotSupported",
    "SocketClosed",
    "StateError",
    "ZMQError",
    "alone",
    "end_of",
    "is_end_of",
    "is_own",
    "without",
]

# libzmq's own numbers start where no operating system's do (ZMQ_HAUSNUMERO).
_HAUSNUMERO = 156384712
EFSM = _HAUSNUMERO + 51
ENOCOMPATPROTO = _HAUSNUMERO + 52
ETERM = _HAUSNUMERO + 53
EMTHREAD = _HAUSNUMERO + 54


class ZMQError(OSError):
    """An error of ZeroMQ; ``errno`` is the number that libzmq gives it.

    Args:
      message: what was expected, and what to do.
      number: an error number, where the class's own is too coarse.
    """

    _number: ClassVar[int] = errno.EINVAL

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(self._number if number is None else number, message)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.strerror, self.errno)


class InvalidEndpoint(ZMQError, ValueError):
    """The endpoint's text does not say where to bind or connect (EINVAL)."""


class ProtocolNotSupported(ZMQError):
    """The transport is unknown, not built yet, or its extra is not installed (EPROTONOSUPPORT)."""

    _number = errno.EPROTONOSUPPORT


class IncompatibleProtocol(ZMQError):
    """The transport cannot carry this socket type (ENOCOMPATPROTO)."""

    _number = ENOCOMPATPROTO


class ContextTerminated(ZMQError, trio.ClosedResourceError):
    """The socket's context has ended (ETERM).

    One that reaches the end of its own context's block ends there.
    """

    _number = ETERM

    def __init__(self, message: str = "the context has ended", number: int | None = None) -> None:
        super().__init__(message, number)
        self._context: object = None  # by identity: whose block may end it


def end_of(context: object) -> ContextTerminated:
    """The error for a call on a context that has ended."""
    error = ContextTerminated()
    error._context = context
    return error


def is_end_of(error: BaseException, context: object) -> bool:
    """Whether the error is the end of this very context."""
    return isinstance(error, ContextTerminated) and error._context is context


def without(error: BaseException | None, unwanted: Callable[[BaseException], bool]) -> BaseException | None:
    """The error, the same object if it has nothing unwanted in it; None if it has nothing else."""
    if error is None or unwanted(error):
        return None
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    removed, rest = group.split(unwanted)
    return group if removed is None else rest


def alone(error: BaseException | None) -> BaseException | None:
    """What a group holds, if that is a single thing."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    first, *others = group.exceptions
    return group if others else alone(first)


def is_own(error: BaseException) -> bool:
    """Whether an OSError is trimq's own word to its user, and so no peer's fault."""
    return isinstance(error, ZMQError) and not isinstance(error, ProtocolError)


class SocketClosed(ZMQError, trio.ClosedResourceError):
    """The socket, or the endpoint waited for, was closed (ENOTSOCK)."""

    _number = errno.ENOTSOCK


class NoIOThread(ZMQError, RuntimeError):
    """The context's nursery cannot take the task (EMTHREAD).

    Raised for use from another thread, another run, or a forked child.
    """

    _number = EMTHREAD


class StateError(ZMQError):
    """The socket is not in a state that allows this, as a second request before a reply (EFSM)."""

    _number = EFSM


class HostUnreachable(ZMQError):
    """No peer has this routing id (EHOSTUNREACH)."""

    _number = errno.EHOSTUNREACH


class MessageTooLarge(ZMQError):
    """The message does not fit (EMSGSIZE)."""

    _number = errno.EMSGSIZE


class AddressInUse(ZMQError):
    """Something is bound there already (EADDRINUSE)."""

    _number = errno.EADDRINUSE


class AddressNotAvailable(ZMQError):
    """The address does not belong to this machine (EADDRNOTAVAIL)."""

    _number = errno.EADDRNOTAVAIL


class NoSuchDevice(ZMQError):
    """No network interface has this name or address (ENODEV)."""

    _number = errno.ENODEV


class ProtocolError(ZMQError):
    """What the peer sent breaks the protocol, or it refused us (EPROTO).

    It ends that peer's connection and nothing else; ``Endpoint.ready()`` raises it.

    Args:
      message: what was expected and what came.
      reply: bytes the peer should still get before the connection closes (an ERROR command).
      hung_up: the peer closed the connection during the handshake, and said nothing.
    """

    _number = errno.EPROTO

    def __init__(self, message: str, number: int | None = None, *, reply: bytes = b"", hung_up: bool = False) -> None:
        super().__init__(message, number)
        self.reply: bytes = reply
        self.hung_up: bool = hung_up
