"""Peering: what a socket is to its connectors. Its options, its remotes, and the hooks a pattern fills in.

Connectors (dialers, acceptors, joins) call `_open`, `_attach`, `_link`, `_unlink` and `_detach`, in this order; patterns
override what comes after them. No task waits here, and nothing here is public but the options.
"""

from __future__ import annotations

import difflib
import math
from functools import partial
from typing import Any, ClassVar

import attrs

from .._abc import PeerInfo, Wire
from .._mechanisms._null import Null
from .._options import Option, Settings, boolean, count, high_water_mark, interval, seconds, size
from .._pipe import Pipe
from .._remote import Intake, Remote
from .._util import Bell
from .._wire._connection import Connection

__all__ = ["Peering"]


class Peering:
    """A socket as its connectors see it."""

    socket_type: ClassVar[str]
    """The type's name on the wire, as ``"DEALER"``."""

    _accepts: ClassVar[frozenset[str]] = frozenset()  # which types may be peers (RFC 37)
    _publishes: ClassVar[bool] = False  # peers may subscribe
    _announces_identity: ClassVar[bool] = False
    _connects_once: ClassVar[bool] = False  # a second connect to the same endpoint is ignored
    _one_peer: ClassVar[bool] = False  # exclusive, and not reconnected after a loss (PAIR)
    _default_linger: ClassVar[float] = math.inf

    linger: Option[float] = Option(
        math.inf, seconds, "Seconds that unsent messages may take after a close (ZMQ_LINGER)."
    )
    send_hwm: Option[float] = Option(1000, high_water_mark, "Messages that may wait for each peer (ZMQ_SNDHWM).")
    receive_hwm: Option[float] = Option(1000, high_water_mark, "Messages that may wait from each peer (ZMQ_RCVHWM).")
    max_message_size: Option[float] = Option(
        math.inf, size, "Bytes; a peer's larger frame ends its connection (ZMQ_MAXMSGSIZE)."
    )
    ipv6: Option[bool] = Option(True, boolean, "Whether IPv6 is used beside IPv4 (ZMQ_IPV6; off in libzmq).")
    backlog: Option[int] = Option(100, count, "Connections that may wait to be accepted (ZMQ_BACKLOG).")
    tcp_keepalive: Option[bool] = Option(True, boolean, "Whether TCP looks after idle connections (ZMQ_TCP_KEEPALIVE).")
    immediate: Option[bool] = Option(
        False, boolean, "Queue only for peers that are there, not for endpoints (ZMQ_IMMEDIATE)."
    )
    connect_timeout: Option[float] = Option(
        math.inf, seconds, "Seconds for one attempt to connect (ZMQ_CONNECT_TIMEOUT)."
    )
    handshake_timeout: Option[float] = Option(
        30.0, seconds, "Seconds from connection to handshake (ZMQ_HANDSHAKE_IVL)."
    )
    reconnect_interval: Option[float] = Option(
        0.1, interval, "Seconds before the first new attempt, math.inf for none (ZMQ_RECONNECT_IVL)."
    )
    reconnect_interval_max: Option[float] = Option(
        5.0, interval, "Seconds up to which the back-off grows (ZMQ_RECONNECT_IVL_MAX)."
    )

    def __init__(self) -> None:
        self._options: dict[str, Any] = {"linger": self._default_linger}
        self._remotes: dict[Remote, None] = {}
        self._closed = False
        self._peer_bell = Bell()
        self._write_bell = Bell()
        self._read_bell = Bell()

    # Options

    def _set_option(self, name: str, value: Any) -> None:
        if not isinstance(getattr(type(self), name, None), Option):
            known = self._option_names()
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
            raise TypeError(f"{type(self).__name__} has no option {name}: {hint}")
        setattr(self, name, value)

    @classmethod
    def _option_names(cls) -> list[str]:
        return sorted(name for name in dir(cls) if isinstance(getattr(cls, name, None), Option))

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
            if not isinstance(pipe, Intake):
                pipe.hwm = hwm
            if pipe.writer_waits:
                pipe.opened()

    def _settings(self) -> Settings:
        return Settings(**{field.name: getattr(self, field.name) for field in attrs.fields(Settings)})

    @property
    def _identity(self) -> bytes | None:
        """What is announced as Identity; None for types that announce none."""
        return self._options.get("routing_id", b"") if self._announces_identity else None

    # What connectors call, in this order: _open, _attach, _link, _unlink, _detach

    def _wire(self, settings: Settings) -> Wire:
        """A new conversation with a peer on a stream."""
        return Connection(
            socket_type=self.socket_type,
            accepts=self._accepts,
            mechanism=Null(),
            identity=self._identity,
            max_message_size=settings.max_message_size,
            publishes=self._publishes,
        )

    def _open(self, *, dialled: bool, routing_id: bytes = b"") -> Remote:
        """A peer's queues."""
        remote = Remote(Pipe(self.receive_hwm), Pipe(self.send_hwm), dialled=dialled, routing_id=routing_id)
        self._opened(remote)
        self._hook(remote)
        return remote

    def _hook(self, remote: Remote) -> None:
        """Listens to the remote's pipes. Joining replaces pipes, and hooks again."""
        remote.inbox.on_readable = partial(self._arrived, remote)
        remote.inbox.reader_waits = True
        remote.outbox.on_writable = partial(self._roomy, remote)
        remote.outbox.on_passed = self._write_bell.ring

    def _attach(self, remote: Remote) -> None:
        """The remote takes part in routing: a dialled one from `connect` on, an accepted one once it is linked."""
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
        remote.info = info
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
            self._write_bell.ring()
            self._peer_bell.ring()

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
