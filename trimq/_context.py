"""Context: a nursery that owns every connection, and the end that reaches every call.

The block's body never runs inside the nursery of the services: they live in a child task behind a shield and
end last, so that a body that is cancelled can still send, flush and say goodbye from a shielded clean-up.
Which scheme means which transport is known here and nowhere else.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Unpack, cast

import trio
from trio.lowlevel import RunVar, enable_ki_protection

from ._abc import JoinTransport, StreamTransport, Transport
from ._abc_datagrams import DatagramPort, DatagramTransport, MulticastTransport
from ._acceptor import Acceptor
from ._address import check_scheme, split
from ._datagrams import DatagramConnector, check_verb, open_multicast
from ._dialer import Dialer
from ._endpoint import Endpoint
from ._errors import ProtocolNotSupported, StateError, alone, end_of, is_end_of, without
from ._flusher import Flusher
from ._heart import Heart
from ._join import JoinBinder, JoinConnector
from ._monitor import BindFailed, Listening
from ._options import AnyOptions, Option
from ._pace import Pace
from ._sockets import ALL_TYPES
from ._sockets._socket import Socket
from ._statistics import ContextStatistics, ContextTally
from ._transports._inproc import InprocTransport
from ._transports._ipc import IpcTransport
from ._transports._pgm import PgmTransport
from ._transports._tcp import TcpTransport
from ._transports._tipc import TipcTransport
from ._transports._udp import UdpTransport
from ._transports._vmci import VmciTransport
from ._util import Bell, until
from ._zmq_options import advice

if TYPE_CHECKING:
    import socket as system
    from contextlib import AbstractAsyncContextManager


__all__ = ["Context", "has", "open_context"]

P = ParamSpec("P")
S = TypeVar("S", bound=Socket)

logger = logging.getLogger("trimq")

# The options among the differences; the others ask for `Settings.libzmq`.
_LIBZMQ: dict[str, Any] = {
    "ipv6": False,
    "reconnect_interval_max": 0.001,  # libzmq's least: no interval grows
    "heartbeat_interval": math.inf,
    "tcp_keepalive": False,
}

_PATIENCE = 1.0  # seconds that a context waits for its sockets without a word

_run_pace: RunVar[Pace] = RunVar("trimq pace")


def _pace_of_this_run() -> Pace:
    try:
        return _run_pace.get()
    except LookupError:
        pace = Pace()
        _run_pace.set(pace)
        return pace


def _own_transports() -> list[Transport]:
    return [
        *(TcpTransport(), IpcTransport(), InprocTransport(), UdpTransport()),
        *(VmciTransport(), VmciTransport("vsock"), TipcTransport()),
        *(PgmTransport(udp=False), PgmTransport(udp=True)),
    ]


def has(capability: str) -> bool:
    """Whether this trimq has a transport, a security mechanism, or the draft sockets (zmq_has), as installed.

    Args:
      capability: its name in lower case, as ``"ipc"``, ``"curve"`` or ``"draft"``. What is unknown it does not have.
    """
    return capability in ("null", "draft") or any(capability == transport.scheme for transport in _own_transports())


def open_context(
    *,
    transports: Iterable[Transport] = (),
    profile: Literal["trimq", "libzmq"] = "trimq",
    checkpoints: Literal["amortised", "every"] = "amortised",
    **defaults: Unpack[AnyOptions],
) -> AbstractAsyncContextManager[Context]:
    """Opens a context: ``async with trimq.open_context() as context: ...``.

    Leaving the block is zmq_ctx_term: from its first moment every pending and later call on the context's sockets, in
    whichever task, raises ContextTerminated. A normal exit then waits until what is queued is written, each socket up
    to its ``linger``; after a second it logs what it waits for, and any cancel scope ends it. An exit by an exception or
    a cancellation drops what is unsent at once, and logs how much. A ContextTerminated of this very context
    ends here, alone or among others in a group, and counts as a normal exit.

    Args:
      transports: transports to use beside, or instead of, tcp, ipc, inproc and udp (see ``trimq.abc.Transport``).
      profile: ``"libzmq"``: the defaults that trimq has otherwise than libzmq, since users were hurt, are libzmq's (the
        docs have the table).
      checkpoints: ``"amortised"``: a call that need not wait yields to other tasks only when it is time (every half
        millisecond or so); ``"every"``: each call is a full checkpoint, as trio's own are.
      defaults: options for the context's sockets; one that a type lacks is skipped for that type.

    Raises:
      TypeError, ValueError: an option that no type has, or a value that it cannot have.
    """
    if profile not in ("trimq", "libzmq"):
        raise ValueError(f'profile is "trimq" or "libzmq", not {profile!r}')
    if checkpoints not in ("amortised", "every"):
        raise ValueError(f'checkpoints is "amortised" or "every", not {checkpoints!r}')
    options = dict(defaults)
    for name, value in options.items():
        known: list[Option[Any]] = [
            option for kind in ALL_TYPES if isinstance(option := getattr(kind, name, None), Option)
        ]
        if not known:
            names = sorted({known for kind in ALL_TYPES for known in kind._option_names()})
            raise TypeError(f"no socket type has an option {name}: {advice(name, names)}")
        options[name] = known[0].check(name, value)
    if profile == "libzmq":
        options = {**_LIBZMQ, **options}
    return _Block(options, list(transports), strict=checkpoints == "every", libzmq=profile == "libzmq")


class Context:
    """Owns sockets and their connections; made by `open_context`."""

    def __init__(self, defaults: dict[str, Any], transports: list[Transport], pace: Pace, *, libzmq: bool) -> None:
        self._pace = pace
        self._libzmq = libzmq
        self._flusher = Flusher(pace)
        self._heart = Heart(self._spawn)
        self._defaults = defaults
        self._transports: dict[str, Transport] = {
            transport.scheme: transport for transport in [*_own_transports(), *transports]
        }
        self._sockets: dict[Socket, None] = {}
        self._tally = ContextTally()
        self._bell = Bell()
        self._contextvars = copy_context()
        self._services: trio.Nursery | None = None
        self._terminated = False

    def __repr__(self) -> str:
        return f"<trimq.Context {'ended' if self._terminated else 'open'}, {len(self._sockets)} sockets>"

    @enable_ki_protection
    def socket(self, kind: Callable[P, S], /, *args: P.args, **options: P.kwargs) -> S:
        """Makes a socket of this type.

        Args:
          kind: a socket class, as ``trimq.Push``.
          options: the type's options; they come before the context's defaults.

        Raises:
          TypeError, ValueError: an option that the type lacks, or a value that it cannot have.
          ContextTerminated, NoIOThread: the context has ended, or cannot be used from here.
        """
        self._check()
        # A class without a name on the wire is a part of types (trimq.Socket, and those of _flow and _patterns).
        if not (isinstance(kind, type) and issubclass(kind, Socket) and hasattr(kind, "socket_type")):
            raise TypeError(f"context.socket takes a socket type, as trimq.Push, not {kind!r}")
        cls = cast("type[S]", kind)
        for name, value in self._defaults.items():
            if isinstance(option := getattr(cls, name, None), Option) and options.keys().isdisjoint(option.names):
                options[name] = value
        socket = cls.__new__(cls)
        socket._context = self  # before its __init__, which a socket without a context refuses
        cls.__init__(socket, *args, **options)
        self._sockets[socket] = None
        return socket

    @enable_ki_protection
    def shutdown(self) -> None:
        """Ends the context (zmq_ctx_shutdown): every pending and later call on its sockets raises ContextTerminated.

        Idempotent, never blocks. Sockets may still be closed; what is queued lingers until the block is left.

        Raises:
          NoIOThread: called from another thread; use ``trio.from_thread.run_sync(context.shutdown)``.
        """
        self._pace.check_thread()
        if not self._terminated:
            self._terminated = True
            for socket in list(self._sockets):
                socket._terminate()

    def statistics(self) -> ContextStatistics:
        """What went through all sockets so far, in messages and bytes. A snapshot; also after the end.

        Raises:
          NoIOThread: called from another thread.
        """
        self._pace.check_thread()
        return self._tally.of_context(socket._statistics() for socket in self._sockets)

    # What sockets call

    def _check(self) -> None:
        self._pace.check_thread()
        if self._terminated:
            raise end_of(self)

    def _spawn(self, service: Callable[[], Awaitable[None]]) -> None:
        # With the contextvars of whoever opened the context, not of whoever called connect.
        assert self._services is not None
        self._contextvars.run(self._services.start_soon, self._guard, service)

    @enable_ki_protection
    async def _guard(self, service: Callable[[], Awaitable[None]]) -> None:
        """Runs a service; its crash is the end of the context before other services end, and drop, in consequence."""
        try:
            await service()
        except BaseException as error:
            if without(error, lambda leaf: isinstance(leaf, trio.Cancelled)) is not None:
                self.shutdown()
            raise

    def _transport(self, socket: Socket, endpoint: str, *, bind: bool) -> tuple[Transport, str]:
        scheme, address = split(endpoint)
        check_scheme(scheme, socket.socket_type, self._transports)
        transport = self._transports[scheme]
        if isinstance(transport, (DatagramTransport, MulticastTransport)):
            check_verb(socket, transport, "bind" if bind else "connect")
        transport.check(address, bind=bind)
        transport.check_system()
        return transport, address

    @enable_ki_protection
    def _bind(self, socket: Socket, endpoint: str, use_fd: int | system.socket | None) -> Endpoint:
        """`Socket.bind`."""
        self._check()
        transport, address = self._transport(socket, endpoint, bind=True)
        connector: JoinBinder | Acceptor | DatagramConnector
        if isinstance(transport, JoinTransport):
            if use_fd is not None:
                raise ProtocolNotSupported(f"{transport.scheme} has no descriptors: use_fd is for tcp and ipc")
            bound = Endpoint(endpoint, bound=True, pace=self._pace)
            connector = JoinBinder(socket, transport, address, bound)
            transport.bind(address, connector)
        elif isinstance(transport, MulticastTransport):
            if use_fd is not None:
                raise _no_descriptor(transport)
            return open_multicast(socket, transport, endpoint, address, self._spawn, bound=True)
        else:
            assert isinstance(transport, (StreamTransport, DatagramTransport))
            settings = socket._settings()
            try:
                if use_fd is None:
                    place = transport.bind(address, settings)
                elif isinstance(transport, StreamTransport):
                    place = transport.adopt(address, settings, use_fd)
                else:
                    raise _no_descriptor(transport)
            except OSError as error:
                socket._monitor.tell(BindFailed(endpoint, error))
                raise
            dial = transport.dial_address(split(place.address)[1])
            bound = Endpoint(place.address, bound=True, pace=self._pace, dial_address=f"{transport.scheme}://{dial}")
            if isinstance(place, DatagramPort):
                connector = DatagramConnector(socket, bound, settings, place)
            else:
                assert isinstance(transport, StreamTransport)
                connector = Acceptor(socket, transport, place, bound, settings, self._spawn)
            socket._carriers += 1
            self._spawn(connector.run)
            socket._monitor.tell(Listening(str(bound)))
        bound._close = lambda: connector.close(socket.linger)
        socket._endpoints.add(bound)
        return bound

    @enable_ki_protection
    def _connect(self, socket: Socket, endpoint: str | Endpoint, routing_id: bytes | None) -> Endpoint:
        """`Socket.connect`."""
        self._check()
        text = endpoint._dial_address if isinstance(endpoint, Endpoint) else endpoint
        transport, address = self._transport(socket, text, bind=False)
        known = socket._endpoints.at(text, bound=False)
        if known and socket._connects_once and not isinstance(transport, JoinTransport):
            return known[0]
        if socket._one_peer and (
            any(not remote.retired for remote in socket._remotes) or any(not known.bound for known in socket._endpoints)
        ):
            name = type(socket).__name__
            raise StateError(f"a {name} has one peer: it is connected already; close that endpoint first")
        if isinstance(transport, MulticastTransport):
            return open_multicast(socket, transport, text, address, self._spawn, bound=False)
        connected = Endpoint(text, bound=False, pace=self._pace)
        connector: JoinConnector | Dialer | DatagramConnector
        socket._endpoints.add(connected)
        if isinstance(transport, JoinTransport):
            connector = JoinConnector(socket, transport, address, connected, routing_id, self._spawn)
            connected._close = lambda: connector.close(socket.linger)
            transport.connect(address, connector)
        else:
            settings = socket._settings()
            if isinstance(transport, DatagramTransport):
                connector = DatagramConnector(
                    socket, connected, settings, partial(transport.connect, address, settings)
                )
            else:
                assert isinstance(transport, StreamTransport)
                connector = Dialer(socket, transport, address, connected, settings, routing_id)
            connected._close = lambda: connector.close(socket.linger)
            socket._carriers += 1
            self._spawn(connector.run)
        return connected

    def _forget(self, socket: Socket) -> None:
        """A closed socket has nothing left to do."""
        if socket in self._sockets:
            del self._sockets[socket]
            self._tally.retire(socket._statistics())
        self._bell.ring()

    # The end

    def _close_all(self) -> None:
        for socket in list(self._sockets):
            socket._close(socket.linger)

    async def _linger(self) -> None:
        """Waits until nothing is left to be written."""
        with trio.move_on_after(_PATIENCE):
            await until(lambda: not self._sockets, self._bell, pace=self._pace)
            return
        if left := self._left():
            logger.warning("the context waits for unsent messages: %s", left)
        elif connections := sum(len(socket._remotes) for socket in self._sockets):
            logger.warning("the context waits for %d connections to close", connections)
        await until(lambda: not self._sockets, self._bell, pace=self._pace)

    def _left(self) -> str:
        return ", ".join(
            f"{len(remote.outbox)} of a {type(socket).__name__} for {remote.where}"
            for socket in self._sockets
            for remote in socket._remotes
            if remote.partner is None and len(remote.outbox)
        )

    def _drop_all(self) -> None:
        for socket in list(self._sockets):
            socket._close(0)


def _no_descriptor(transport: Transport) -> ProtocolNotSupported:
    return ProtocolNotSupported(f"{transport.scheme} cannot take over a descriptor; leave out use_fd")


class _Block:
    """The ``async with`` block of a context."""

    def __init__(self, defaults: dict[str, Any], transports: list[Transport], *, strict: bool, libzmq: bool) -> None:
        self._defaults = defaults
        self._transports = transports
        self._strict = strict
        self._libzmq = libzmq

    @enable_ki_protection
    async def __aenter__(self) -> Context:
        pace = Pace(strict=True) if self._strict else _pace_of_this_run()
        self._context = Context(self._defaults, self._transports, pace, libzmq=self._libzmq)
        self._scope = trio.CancelScope(shield=True)
        self._manager = trio.open_nursery()
        await trio.lowlevel.checkpoint_if_cancelled()
        host = await self._manager.__aenter__()
        started = trio.Event()
        host.start_soon(self._serve, started)
        # From here on the block is entered: a cancellation finds the body, and the body's end ends the services.
        try:
            with trio.CancelScope(shield=True):
                await started.wait()
        except KeyboardInterrupt as error:  # it gets through a shield
            if not await self.__aexit__(type(error), error, error.__traceback__):
                raise
        return self._context

    @enable_ki_protection
    async def _serve(self, started: trio.Event) -> None:
        """The child task in which the services live, behind a shield."""
        try:
            with self._scope:
                async with trio.open_nursery() as services:
                    self._context._services = services
                    started.set()
                    try:
                        await self._context._flusher.run()
                    finally:
                        self._context.shutdown()
        finally:
            self._context.shutdown()

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        context = self._context
        context.shutdown()
        ours = exc_value
        rest = without(exc_value, lambda error: is_end_of(error, context))
        if rest is None:
            try:
                context._close_all()
                await context._linger()
            except BaseException as error:  # noqa: BLE001 - kept until the services have ended, then raised
                rest = error
        try:
            context._drop_all()
        except Exception as error:  # noqa: BLE001 - a bug, perhaps of a user's own transport: the services must end all the same
            rest = error if rest is None else BaseExceptionGroup("leaving a context failed", [rest, error])
        self._scope.cancel()
        crash: BaseException | None = None
        try:
            await self._manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            crash = alone(without(group, lambda error: isinstance(error, trio.Cancelled)))
        if crash is not None:
            rest = without(rest, lambda error: isinstance(error, trio.Cancelled))
            if rest is None:
                raise crash
            if isinstance(rest, (KeyboardInterrupt, SystemExit)):
                logger.error("a service task of the context crashed", exc_info=crash)
            else:
                raise BaseExceptionGroup("the body and the services of a context failed", [rest, crash])
        if rest is None:
            return True
        if rest is ours:
            return False
        raise rest
