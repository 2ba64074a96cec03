"""Peering: what a socket is to its connectors. Its options, its remotes, and the hooks a pattern fills in.

Connectors (dialers, acceptors, joins) call `_open`, `_attach`, `_link`, `_unlink` and `_detach`, in this order; patterns
override what comes after them. No task waits here, and nothing here is public but the options.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

import attrs

from .._abc import PeerInfo, Wire
from .._abc_datagrams import DatagramCodec
from .._limits import Latest, make_pipe
from .._mechanisms._null import Null
from .._monitor import Dropped, Lost, Monitor
from .._options import (
    AnyOptions,
    Option,
    Settings,
    boolean,
    count,
    device,
    flags,
    high_water_mark,
    interval,
    networks,
    numbers,
    optional,
    properties,
    seconds,
    size,
    timeout,
    ttl,
    whole,
)
from .._remote import Intake, Remote
from .._statistics import Tally
from .._util import Bell
from .._wire._connection import Connection
from .._zmq_options import NO_SOCKET, OLD_NAMES, SOCKET, advice

__all__ = ["Peering"]

logger = logging.getLogger("trimq")


class Peering:
    """A socket as its connectors see it."""

    socket_type: ClassVar[str]
    """The type's name on the wire, as ``"DEALER"``."""

    _monitor: Monitor

    _accepts: ClassVar[frozenset[str]] = frozenset()  # which types may be peers (RFC 37)
    _publishes: ClassVar[bool] = False  # peers may subscribe
    _announces_identity: ClassVar[bool] = False
    _connects_once: ClassVar[bool] = False  # a second connect to the same endpoint is ignored
    _speaks: ClassVar[type[Connection]] = Connection  # on streams
    _datagram_verbs: ClassVar[frozenset[str]] = frozenset()  # "bind", "connect": what it can do over datagrams
    _multicasts: ClassVar[bool] = False  # it speaks over a `MulticastTransport`
    _one_peer: ClassVar[bool] = False  # exclusive, and not reconnected after a loss (PAIR)
    _default_linger: ClassVar[float] = math.inf
    _libzmq: bool  # the context's profile

    linger: Option[float] = Option(
        math.inf, seconds, "Seconds that unsent messages may take after a close (ZMQ_LINGER)."
    )
    send_hwm: Option[float] = Option(1000, high_water_mark, "Messages that may wait for each peer (ZMQ_SNDHWM).")
    receive_hwm: Option[float] = Option(1000, high_water_mark, "Messages that may wait from each peer (ZMQ_RCVHWM).")
    send_hwm_bytes: Option[float] = Option(
        math.inf, size, "Bytes that may wait for each peer: while there are so many, there is no room for a message."
    )
    receive_hwm_bytes: Option[float] = Option(
        math.inf, size, "Bytes that may wait from each peer: while there are so many, nothing more is taken from it."
    )
    max_message_size: Option[float] = Option(
        math.inf, size, "Bytes; a peer's larger frame ends its connection (ZMQ_MAXMSGSIZE)."
    )
    metadata: Option[Mapping[str, bytes]] = Option(
        MappingProxyType({}), properties, "Properties to announce to peers, named ``X-...`` (ZMQ_METADATA)."
    )
    immediate: Option[bool] = Option(
        False, boolean, "Queue only for peers that are there, not for endpoints (ZMQ_IMMEDIATE)."
    )
    ipv6: Option[bool] = Option(True, boolean, "Whether IPv6 is used beside IPv4 (ZMQ_IPV6; off in libzmq).")
    backlog: Option[int] = Option(100, count, "Connections that may wait to be accepted (ZMQ_BACKLOG).")
    max_connections: Option[float] = Option(
        math.inf, size, "Connections that each bound endpoint holds; those beyond it are closed at once."
    )
    max_handshakes: Option[float] = Option(
        math.inf, size, "Connections of each bound endpoint whose handshake is unfinished; others wait in the backlog."
    )
    connect_timeout: Option[float] = Option(
        math.inf, timeout, "Seconds for one attempt to connect (ZMQ_CONNECT_TIMEOUT)."
    )
    handshake_timeout: Option[float] = Option(
        30.0, timeout, "Seconds from connection to handshake (ZMQ_HANDSHAKE_IVL)."
    )
    reconnect_interval: Option[float] = Option(
        0.1, interval, "Seconds before the first new attempt, math.inf for none (ZMQ_RECONNECT_IVL)."
    )
    reconnect_interval_max: Option[float] = Option(
        5.0, interval, "Seconds up to which the back-off grows (ZMQ_RECONNECT_IVL_MAX)."
    )
    reconnect_stop: Option[Collection[str]] = Option(
        frozenset(),
        flags("refused", "handshake"),
        "After what the endpoint gives up: a connection that is refused, a handshake that fails (ZMQ_RECONNECT_STOP).",
    )
    give_up_after: Option[float] = Option(
        math.inf, interval, "Seconds without a peer, from connect or the loss on, after which the endpoint gives up."
    )
    heartbeat_interval: Option[float] = Option(
        15.0, interval, "Seconds without traffic after which a PING goes out, math.inf for none (ZMQ_HEARTBEAT_IVL)."
    )
    heartbeat_timeout: Option[float | None] = Option(
        None,
        optional(interval),
        "Seconds from a PING to any answer, or the connection ends; math.inf for ever. None: as many as the interval, and "
        "only for peers that send PINGs, too (ZMQ_HEARTBEAT_TIMEOUT).",
    )
    heartbeat_ttl: Option[float] = Option(
        0.0,
        ttl,
        "Seconds, announced in a PING, after which a peer that hears nothing ends the connection; up to 65.5, 0 for none "
        "(ZMQ_HEARTBEAT_TTL).",
    )
    send_buffer: Option[int | None] = Option(
        None, optional(count), "Bytes of the system's buffer for sending; None leaves it to the system (ZMQ_SNDBUF)."
    )
    receive_buffer: Option[int | None] = Option(
        None, optional(count), "Bytes of the system's buffer for receiving; None leaves it to the system (ZMQ_RCVBUF)."
    )
    tcp_keepalive: Option[bool] = Option(
        True, boolean, "Whether TCP looks after idle connections (ZMQ_TCP_KEEPALIVE; the system's default in libzmq)."
    )
    tcp_keepalive_idle: Option[float | None] = Option(
        None, optional(interval), "Seconds of silence before TCP's first probe (ZMQ_TCP_KEEPALIVE_IDLE)."
    )
    tcp_keepalive_interval: Option[float | None] = Option(
        None, optional(interval), "Seconds between TCP's probes (ZMQ_TCP_KEEPALIVE_INTVL)."
    )
    tcp_keepalive_count: Option[int | None] = Option(
        None, optional(count), "Unanswered probes after which TCP gives the connection up (ZMQ_TCP_KEEPALIVE_CNT)."
    )
    tcp_user_timeout: Option[float | None] = Option(
        None, optional(interval), "Seconds that TCP tries to get sent bytes acknowledged, on Linux (ZMQ_TCP_MAXRT)."
    )
    tcp_accept_filter: Option[Collection[str]] = Option(
        (), networks, "Networks from which tcp connections are accepted; empty for all (ZMQ_TCP_ACCEPT_FILTER)."
    )
    ipc_filter_pid: Option[Collection[int]] = Option(
        frozenset(), numbers, "Processes whose ipc connections are accepted, on Linux (ZMQ_IPC_FILTER_PID)."
    )
    ipc_filter_uid: Option[Collection[int]] = Option(
        frozenset(), numbers, "Users whose ipc connections are accepted, on Linux (ZMQ_IPC_FILTER_UID)."
    )
    ipc_filter_gid: Option[Collection[int]] = Option(
        frozenset(), numbers, "Groups whose members' ipc connections are accepted, on Linux (ZMQ_IPC_FILTER_GID)."
    )
    ipc_mode: Option[int | None] = Option(
        None, optional(whole), "Permissions of a bound ipc path, as 0o660; None leaves it to the umask."
    )
    tos: Option[int | None] = Option(None, optional(whole), "IP's type of service, or traffic class (ZMQ_TOS).")
    priority: Option[int | None] = Option(None, optional(whole), "SO_PRIORITY, on Linux (ZMQ_PRIORITY).")
    busy_poll: Option[float | None] = Option(
        None, optional(seconds), "Seconds that a read may poll the device, SO_BUSY_POLL on Linux (ZMQ_BUSY_POLL)."
    )
    bind_to_device: Option[str | None] = Option(
        None, optional(device), "The network interface to use, SO_BINDTODEVICE on Linux (ZMQ_BINDTODEVICE)."
    )
    vmci_buffer_size: Option[int | None] = Option(
        None,
        optional(count),
        "Bytes that a vmci peer may send ahead; None leaves it to the system (ZMQ_VMCI_BUFFER_SIZE).",
    )
    vmci_buffer_min_size: Option[int | None] = Option(
        None, optional(count), "The least that may become of vmci_buffer_size (ZMQ_VMCI_BUFFER_MIN_SIZE)."
    )
    vmci_buffer_max_size: Option[int | None] = Option(
        None, optional(count), "The most that may become of vmci_buffer_size (ZMQ_VMCI_BUFFER_MAX_SIZE)."
    )
    vmci_connect_timeout: Option[float | None] = Option(
        None,
        optional(interval),
        "Seconds that one vmci connect may take; None: 2, in Linux (ZMQ_VMCI_CONNECT_TIMEOUT).",
    )

    def __init__(self) -> None:
        self._options: dict[str, Any] = {"linger": self._default_linger}
        self._remotes: dict[Remote, None] = {}
        self._closed = False
        self._tally = Tally()
        self._peer_bell = Bell()
        self._write_bell = Bell()
        self._read_bell = Bell()

    # Options

    def _set_option(self, name: str, value: Any) -> None:
        if not isinstance(getattr(type(self), name, None), Option):
            raise TypeError(f"{type(self).__name__} has no option {name}: {advice(name, self._option_names())}")
        setattr(self, name, value)

    @classmethod
    def _option_names(cls) -> list[str]:
        return sorted(name for name in dir(cls) if isinstance(getattr(cls, name, None), Option))

    def _may_set(self, name: str) -> None:
        """An option is about to be set; refuses that by raising."""

    def _option_set(self, name: str) -> None:
        """An option was set: high-water marks change on all that is there, and drop nothing."""
        if name in ("send_hwm", "receive_hwm"):
            for remote in self._remotes:
                self._set_marks(remote)

    def _set_marks(self, remote: Remote) -> None:
        remote.marks = out, back = (self.send_hwm, self.receive_hwm)
        if remote.partner is not None:  # inproc: one pipe stands for both sides' queues (libzmq.md 5.2)
            out += remote.partner.marks[1]
            back += remote.partner.marks[0]
            remote.partner.on_marks()
        for pipe, hwm in ((remote.outbox, out), (remote.inbox, back)):
            pipe.lent_puts()
            pipe.lent_takes()
            if not isinstance(pipe.queue, Latest) and (not isinstance(pipe, Intake) or pipe.keeps):
                pipe.hwm = hwm
            if pipe.writer_waits:
                pipe.opened()

    def _settings(self) -> Settings:
        names = [field.name for field in attrs.fields(Settings) if hasattr(type(self), field.name)]
        return Settings(libzmq=self._libzmq, identity=self._identity, **{name: getattr(self, name) for name in names})

    def _datagrams(self) -> DatagramCodec:
        """What the type says in datagrams; asked of those that `_datagram_verbs` lets do it."""
        raise NotImplementedError

    @property
    def _identity(self) -> bytes | None:
        """What is announced as Identity; None for types that announce none."""
        return self._options.get("routing_id", b"") if self._announces_identity else None

    # What connectors call, in this order: _open, _attach, _link, _unlink, _detach

    def _wire(self, settings: Settings) -> Wire:
        """A new conversation with a peer on a stream."""
        return self._speaks(
            socket_type=self.socket_type,
            accepts=self._accepts,
            mechanism=Null(),
            identity=settings.identity,
            metadata=settings.metadata,
            max_message_size=settings.max_message_size,
            publishes=self._publishes,
        )

    def _open(self, *, dialled: bool, routing_id: bytes = b"") -> Remote:
        """A peer's queues."""
        inbox = make_pipe(self.receive_hwm, self.receive_hwm_bytes)
        outbox = make_pipe(self.send_hwm, self.send_hwm_bytes)
        remote = Remote(inbox, outbox, dialled=dialled, routing_id=routing_id)
        remote.on_drop = self._dropped
        self._opened(remote)
        self._hook(remote)
        return remote

    def _hook(self, remote: Remote) -> None:
        """Listens to the remote's pipes. Joining replaces pipes, and hooks again."""
        remote.inbox.on_readable = partial(self._arrived, remote)
        remote.inbox.ask()
        remote.outbox.on_writable = partial(self._roomy, remote)
        remote.outbox.on_passed = self._write_bell.ring

    def _attach(self, remote: Remote) -> None:
        """The remote takes part in routing: a dialled one from `connect` on, an accepted one once it is linked."""
        if remote.partner is None:  # the marks may have changed since; a join sets them itself
            self._set_marks(remote)
        remote.attached = True
        self._remotes[remote] = None
        if not self._closed and not remote.retired:
            self._joined(remote)

    def _link(self, remote: Remote, info: PeerInfo) -> None:
        """The handshake with the remote's peer is complete.

        Raises:
          ProtocolError: the peer is refused.
        """
        self._admit(remote, info)
        remote.info = remote.last_info = info
        self._tally.connections += 1
        if not remote.attached:
            self._attach(remote)
        if not self._closed and not remote.retired:
            self._linked(remote)
        self._peer_bell.ring()

    def _unlink(self, remote: Remote) -> None:
        """The connection is lost, or over."""
        if remote.info is not None:
            remote.info = None
            self._unlinked(remote)
            if not remote.dialled or self.immediate or self._one_peer:
                self._retire(remote)  # it does not wait for another connection
            self._peer_bell.ring()

    def _retire(self, remote: Remote) -> None:
        """Nothing more goes to the remote; what is queued for it may still be written. Idempotent."""
        if not remote.retired:
            remote.retired = True
            if remote.attached:
                self._left(remote)
                self._peer_bell.ring()

    def _detach(self, remote: Remote) -> None:
        """The remote is gone for good; what came from it can still be received."""
        if remote.attached:
            self._retire(remote)
            remote.attached = False
            del self._remotes[remote]
            self._tally.retire(remote)
            self._write_bell.ring()
            self._peer_bell.ring()

    def _dropped(self, remote: Remote, count: int) -> None:
        """Messages for this remote, or from it, were dropped, and are counted there."""
        if not remote.attached:
            self._tally.late(count)
        if remote.dropped == count and not getattr(self, "conflate", False):
            logger.warning(
                "%s: messages are being dropped, for %s; statistics() counts them", type(self).__name__, remote.where
            )
        if self._monitor.listeners:
            self._monitor.tell(Dropped(remote.where, remote.info or remote.last_info, count))

    def _packets_lost(self, remote: Remote, sender: str, count: int) -> None:
        """So many datagrams of a sender are lost for good."""
        remote.lost += count
        if remote.lost == count:
            logger.warning("%s: packets are lost, of %s; statistics() counts them", type(self).__name__, remote.where)
        if self._monitor.listeners:
            self._monitor.tell(Lost(remote.where, sender, count))

    def _unroutable(self) -> None:
        """A message was dropped that nobody could have."""
        self._tally.unroutable += 1
        if self._monitor.listeners:
            self._monitor.tell(Dropped("", None, 1))

    # What a pattern fills in

    def _joins_at_connect(self, remote: Remote) -> bool:
        """Whether a dialled remote takes part in routing before its peer is there."""
        return not self.immediate

    def _opened(self, remote: Remote) -> None:
        """The remote is new; a pattern may give it an inbox of another kind."""

    def _arrived(self, remote: Remote) -> None:
        """The remote's inbox was empty and is not."""

    def _roomy(self, remote: Remote) -> None:
        """The remote's outbox was full and has room."""

    def _admit(self, remote: Remote, info: PeerInfo) -> None:
        """Refuses a peer by raising ProtocolError."""

    def _joined(self, remote: Remote) -> None:
        """The remote takes part in routing."""

    def _linked(self, remote: Remote) -> None:
        """The remote's peer is there."""

    def _unlinked(self, remote: Remote) -> None:
        """The remote's peer is not there any more."""

    def _left(self, remote: Remote) -> None:
        """The remote no longer takes part in routing."""


class _NoOption:
    # Stands for a name that somebody may take for an attribute: one of libzmq's, or an option of other types. To set it
    # must not pass in silence; and there is none to get.

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, socket: Peering | None, owner: type[Peering]) -> NoReturn:
        hint = "" if socket is None else f": {advice(self._name, owner._option_names())}"
        raise AttributeError(f"{owner.__name__} has no option {self._name}{hint}")

    def __set__(self, socket: Peering, value: object) -> NoReturn:
        self.__get__(socket, type(socket))


_theirs = (*SOCKET, *NO_SOCKET, *OLD_NAMES)
for _name in {*_theirs, *map(str.lower, _theirs), *AnyOptions.__annotations__}:
    if not hasattr(Peering, _name):
        setattr(Peering, _name, _NoOption(_name))
