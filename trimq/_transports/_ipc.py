"""ipc: connections within a machine over Unix sockets, by path or (Linux) by abstract name.

A path is bound carefully: what somebody listens on, and what is no socket, is left alone; a socket file that
nobody answers for is taken over.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import tempfile
from contextlib import suppress

import trio

from .._abc import Listener, StreamTransport
from .._errors import AddressInUse, InvalidEndpoint, ProtocolNotSupported, ZMQError
from .._options import Settings
from ._filters import Filter, by_credentials, credentials
from ._listener import SocketListener, adopting, bind_error, listen
from ._system import SystemStream, connect_once, reason
from ._tuning import Tuning, buffer_tunings, tune

__all__ = ["IpcTransport"]

# sizeof(sun_path), of which one byte is for the closing zero; libzmq counts an abstract name the same way.
_LONGEST = 107 if sys.platform == "linux" else 103


class IpcTransport(StreamTransport):
    """Unix sockets: ``ipc:///path``, ``ipc://relative/path``, ``ipc://@abstract`` on Linux, ``ipc://*`` to bind.

    Of the options for sockets of the system, ``send_buffer`` and ``receive_buffer`` matter here, the ``ipc_`` ones, and
    ``backlog``; the others are about TCP, IP and network devices.
    """

    connects_slowly = False

    @property
    def scheme(self) -> str:
        """``ipc``."""
        return "ipc"

    def check(self, address: str, *, bind: bool) -> None:
        """Checks the form and the length of a path, a name or ``*``.

        Raises:
          InvalidEndpoint: says what was wrong; ENAMETOOLONG is the number if that was it.
          ProtocolNotSupported: the system has no Unix sockets.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise ProtocolNotSupported("this system's Python has no Unix sockets, which ipc needs; use tcp")
        if address.startswith("*"):
            if address != "*":
                raise _invalid(address, f"'*' stands alone; for a file of that name write ipc://./{address}")
            if not bind:
                raise _invalid(address, "'*' is for bind, and connect needs the path that was bound: ipc:///tmp/name")
            return
        if not address:
            raise _invalid(address, "there is no path; write ipc:///tmp/name")
        if address == "@":
            raise _invalid(address, "there is no name after '@'; write ipc://@name")
        if address.startswith("@") and sys.platform != "linux":
            raise _invalid(address, "abstract names ('@') are for Linux only; write a path, as ipc:///tmp/name")
        name = _name(address)
        if 0 in name[1:]:
            raise _invalid(address, "a path holds no zero byte")
        if len(name) > _LONGEST:
            raise _too_long(address, name)

    def bind(self, address: str, settings: Settings) -> Listener:
        """Binds to a path, an abstract name, or with ``*`` to a path in a fresh directory of the user's own.

        What stands at the path already: a socket that somebody listens on, or anything that is no socket (a link
        included), stays untouched and is an AddressInUse; a socket file that refuses connections was left
        behind, and is replaced. (Of two that find the same one in the same instant, the later may win.)

        With ``settings.ipc_mode`` the file has these permissions before anybody can connect, whatever the umask.

        When the listener is closed, the file is removed if it is still the one made here, and the directory
        with it if that was made here. The directory for ``*`` is made where `tempfile` makes them (TMPDIR), and
        nobody else gets into it, whatever the file's permissions.

        Raises:
          AddressInUse: see above; or the abstract name is taken.
          InvalidEndpoint: see `check`; also if the directory for ``*`` has too long a path, or ``ipc_mode`` has no meaning.
          FileNotFoundError: the directory does not exist.
          PermissionError: the directory may not be written to.
          OSError: anything else that the system reports; it names the option that the system lacks or refuses.
        """
        self.check(address, bind=True)
        mode = settings.ipc_mode
        if mode is not None and mode > 0o777:
            raise _no_mode(address, mode, "permissions are three octal digits, as 0o660")
        if mode is not None and address.startswith("@"):
            raise _no_mode(address, mode, "a name has no permissions; bind a path, or use ipc_filter_uid")
        if address != "*":
            return _listen(address, settings)
        try:
            directory = tempfile.mkdtemp(prefix="trimq-")  # 0700
        except OSError as exc:
            raise bind_error(exc, "ipc://*") from exc
        try:
            path = os.path.join(directory, "socket")
            if len(_name(path)) > _LONGEST:
                raise _too_long(path, _name(path))
            return _listen(path, settings, directory)
        except BaseException:
            os.rmdir(directory)
            raise

    def adopt(self, address: str, settings: Settings, fd: int | socket.socket) -> Listener:
        """Listens on a socket that somebody else has bound (ZMQ_USE_FD), and who goes on to own its path.

        Args:
          address: what the socket has to be bound to; ``*`` stands for any path or name.
          settings: options, which the socket is given as `bind` gives them; a backlog stays if it listens already.
          fd: the number of a descriptor, or a socket, which loses its descriptor. If this raises, it stays the caller's.

        Raises:
          InvalidEndpoint: it is bound elsewhere; or see `check`; or there is an ``ipc_mode``.
          OSError: it is no bound stream socket of Unix's, or the system lacks or refuses an option.
        """
        self.check(address, bind=True)
        endpoint = f"ipc://{address}"
        if settings.ipc_mode is not None:
            raise _no_mode(address, settings.ipc_mode, "with use_fd, permissions are up to whoever has made the path")
        admit = _admission(address, settings)
        with adopting(fd, (socket.AF_UNIX,), endpoint) as sock:
            name: str | bytes = sock.getsockname()  # bytes if it is abstract
            bound = name if isinstance(name, str) else "@" + os.fsdecode(name[1:])
            if address not in ("*", bound) and ("@" in (address[0], bound[0]) or not _same_path(address, bound)):
                raise InvalidEndpoint(
                    f"cannot bind {endpoint} with use_fd={sock.fileno()}: it is bound to ipc://{bound}; "
                    f"write that, or ipc://* for whatever it is"
                )
            tunings = buffer_tunings(settings)
            listen(sock, tunings, settings.backlog, endpoint)
            return SocketListener(sock, f"ipc://{bound}", tunings=tunings, admit=admit)

    async def connect(self, address: str, settings: Settings, resolved: None = None) -> SystemStream:
        """Connects to a path or an abstract name. One attempt. A cancellation or a failure leaves no socket open.

        Raises:
          FileNotFoundError: there is no such file.
          ConnectionRefusedError: nobody listens there any more.
          BlockingIOError: the listener's backlog is full.
          OSError: anything else that the system reports, or an option that it refuses; every message names the endpoint.
          InvalidEndpoint: see `check`.
        """
        self.check(address, bind=False)
        return SystemStream(
            await connect_once(
                socket.AF_UNIX,
                _name(address),
                f"ipc://{address}",
                prepare=lambda sock: tune(sock, buffer_tunings(settings)),
                check=_check_connected,
            )
        )

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """``:uid:gid:pid`` of the peer on Linux, as they were when it connected; empty elsewhere."""
        assert isinstance(stream, SystemStream)
        known = credentials(stream.socket)
        if known is None:
            return ""
        pid, uid, gid = known
        return f":{uid}:{gid}:{pid}"


class _PathListener(SocketListener):
    """A listener with a file, and perhaps a directory, to remove."""

    def __init__(
        self,
        sock: socket.socket,
        path: str,
        directory: str | None,
        *,
        tunings: tuple[Tuning, ...],
        admit: Filter | None,
    ) -> None:
        super().__init__(sock, f"ipc://{path}", tunings=tunings, admit=admit)
        self._path = os.path.abspath(path)  # the current directory may be another one by then
        self._directory = directory
        self._file: tuple[int, int] | None = _identity(path)

    def close(self) -> None:
        """Stops listening, and removes the file if it is still ours. Idempotent."""
        file, self._file = self._file, None
        # Before the socket is closed: until then, no other file can get our file's number.
        if file is not None and _identity(self._path) == file:
            try:
                os.unlink(self._path)
            except OSError as exc:
                self.left = OSError(exc.errno, f"ipc://{self._path} was not removed: {reason(exc)}")
        super().close()
        if self._directory is not None:
            with suppress(OSError):
                os.rmdir(self._directory)
            self._directory = None


def _invalid(address: str, fault: str) -> InvalidEndpoint:
    return InvalidEndpoint(f"{f'ipc://{address}'!r} is no ipc endpoint: {fault}")


def _too_long(address: str, name: bytes) -> InvalidEndpoint:
    return InvalidEndpoint(
        f"{f'ipc://{address}'!r} is too long: the system takes {_LONGEST} bytes, and this has {len(name)}; "
        f"use a shorter path, or one that is relative to the current directory",
        errno.ENAMETOOLONG,
    )


def _no_mode(address: str, mode: int, fault: str) -> InvalidEndpoint:
    return InvalidEndpoint(f"cannot bind ipc://{address} with ipc_mode={mode:#o}: {fault}")


def _name(address: str) -> bytes:
    """The address as the system's calls take it: an abstract name begins with a zero byte."""
    try:
        name = os.fsencode(address)
    except UnicodeEncodeError:
        raise _invalid(address, "it cannot be encoded as a file's name") from None
    return b"\0" + name[1:] if name.startswith(b"@") else name


def _identity(path: str) -> tuple[int, int] | None:
    """What tells a file from all others while it exists; None if there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _same_path(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _admission(address: str, settings: Settings) -> Filter | None:
    try:
        return by_credentials(settings)
    except OSError as exc:
        raise bind_error(exc, f"ipc://{address}") from exc


def _listen(address: str, settings: Settings, directory: str | None = None) -> SocketListener:
    """Listens there; what was left behind at a path is removed first. If that fails, nothing is left."""
    admit, tunings = _admission(address, settings), buffer_tunings(settings)
    file: tuple[int, int] | None = None
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as exc:
        raise bind_error(exc, f"ipc://{address}") from exc
    try:
        tune(sock, tunings)
        try:
            sock.bind(_name(address))
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or address.startswith("@"):
                raise
            _remove_stale(address)
            sock.bind(_name(address))
        if address.startswith("@"):
            sock.listen(settings.backlog)
            return SocketListener(sock, f"ipc://{address}", tunings=tunings, admit=admit)
        file = _identity(address)
        if settings.ipc_mode is not None:
            _set_mode(address, settings.ipc_mode)  # until it listens, everybody is refused
        sock.listen(settings.backlog)
        return _PathListener(sock, address, directory, tunings=tunings, admit=admit)
    except BaseException as exc:
        if file is not None and _identity(address) == file:
            os.unlink(address)
        sock.close()
        if not isinstance(exc, OSError) or isinstance(exc, AddressInUse):
            raise
        parent = os.path.dirname(address)
        if exc.errno == errno.ENOENT and parent and not os.path.exists(parent):
            raise FileNotFoundError(
                errno.ENOENT, f"cannot bind ipc://{address}: there is no directory {parent!r}; make it first"
            ) from exc
        raise bind_error(exc, f"ipc://{address}") from exc


def _set_mode(path: str, mode: int) -> None:
    """Sets the permissions of a socket's file, and of no other: never through a link that has taken its place."""
    try:
        if sys.platform != "linux":
            os.chmod(path, mode, follow_symlinks=False)
            return
        number = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
            os.chmod(f"/proc/self/fd/{number}", mode)
        finally:
            os.close(number)
    except OSError as exc:
        raise ZMQError(f"the system refuses ipc_mode={mode:#o}: {os.strerror(exc.errno or 0)}", exc.errno) from exc


def _remove_stale(path: str) -> None:
    """Removes a socket file that nobody answers for.

    Raises:
      AddressInUse: it is something else.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return  # gone in between
    if not stat.S_ISSOCK(status.st_mode):
        raise AddressInUse(
            f"cannot bind ipc://{path}: a file that is no socket is there; remove it, or use another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(_name(path))
        except ConnectionRefusedError:
            if _identity(path) == (status.st_dev, status.st_ino):
                os.unlink(path)
            return
        except FileNotFoundError:
            return
        except OSError as exc:  # its backlog is full, it is of another kind, we may not connect: somebody's
            raise AddressInUse(f"cannot bind ipc://{path}: a socket is there, and answers {exc.strerror!r}") from exc
    raise AddressInUse(f"cannot bind ipc://{path}: somebody listens there; use another path, or end that program")


def _check_connected(sock: trio.socket.SocketType) -> None:
    """A Unix socket that found a full backlog is not connected, and trio does not tell."""
    try:
        sock.getpeername()
    except OSError as exc:
        if exc.errno == errno.ENOTCONN:
            raise BlockingIOError(errno.EAGAIN, "the listener's backlog is full") from exc
        raise
