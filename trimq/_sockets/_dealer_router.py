"""Dealer and Router: the asynchronous halves of request-reply (RFC 28)."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Unpack

from .._abc import PeerInfo
from .._endpoint import Endpoint
from .._errors import HostUnreachable, ProtocolError
from .._message import MAX_SENT, Body, Message, MessageLike, pack
from .._monitor import HandedOver
from .._options import Option, SocketOptions, boolean, flags, frame
from .._remote import Remote
from .._routing import UNLIMITED, ByIdentity
from ._notices import Greeting, HiccupTold, LossTold
from ._patterns import Addressing, Balanced, Conflating, FairQueued, Identified

__all__ = ["Dealer", "DealerOptions", "Router", "RouterOptions"]


class DealerOptions(SocketOptions, total=False):
    """The options of a Dealer."""

    routing_id: bytes
    probe_router: bool
    mute: str
    conflate: bool
    hello_message: bytes
    hiccup_message: bytes


class RouterOptions(SocketOptions, total=False):
    """The options of a Router."""

    routing_id: bytes
    probe_router: bool
    mandatory: bool
    handover: bool
    notify_peers: Collection[str]
    hello_message: bytes
    disconnect_message: bytes


class Dealer(Greeting, HiccupTold, Conflating, Identified, Balanced[MessageLike], FairQueued[Message]):
    """Sends round-robin and receives from each peer in turn; peers are Rep, Dealer and Router (RFC 28, ZMQ_DEALER).

    Messages pass as they are: to talk with a Rep, send an empty frame first. ``send`` waits while no peer has room.
    """

    socket_type = "DEALER"
    _accepts = frozenset({"REP", "DEALER", "ROUTER"})
    _connects_once = True

    def __init__(self, **options: Unpack[DealerOptions]) -> None:
        super().__init__(**options)


class Addressed(Addressing[Message, MessageLike]):
    """Sends to the peer that a message's first frame names, and puts the sender's id first when receiving."""

    def _prepare(self) -> None:
        super()._prepare()
        self._by_id = ByIdentity(random.getrandbits(32))
        self._take = self._take_addressed
        self._take_many = self._take_one_by_one  # each with its own id

    def connect(self, endpoint: str | Endpoint, *, routing_id: bytes | None = None) -> Endpoint:
        """Connects to an endpoint; see `Socket.connect`.

        Args:
          endpoint: ``transport://address``, or what ``bind`` returned.
          routing_id: the id by which this socket will address the peer there, whatever the peer says
            (ZMQ_CONNECT_ROUTING_ID): messages to it queue at once, even before the peer is there.

        Raises:
          ValueError: a peer has this routing id already.
        """
        self._check_open()
        if routing_id is not None:
            routing_id = frame("routing_id", routing_id)
            if not 1 <= len(routing_id) <= 255:
                raise ValueError(f"a routing id is 1 to 255 bytes, not {len(routing_id)}")
            if routing_id in self._by_id.remotes:
                raise ValueError(f"a peer with the routing id {routing_id!r} is there already")
        return self._context._connect(self, endpoint, routing_id)

    def _pack(self, value: MessageLike) -> Body:
        item = pack(value, MAX_SENT + 1)  # the id stays here
        return item if type(item) is list else self._addressed(item)

    def _put_all(self, bodies: list[Body]) -> None:
        for body in bodies:
            if isinstance(body, bytes):
                self._unroutable()  # a peer's, by way of a proxy: an id alone, which libzmq swallows
            else:
                super()._put_all([body])

    def _addressed(self, item: Body) -> list[bytes]:
        """The message, if it has a routing id and something more."""
        if isinstance(item, bytes):
            name = type(self).__name__
            raise ValueError(f"a {name}'s message is the peer's routing id and then a frame or more, not one frame")
        return item

    def _whom(self, item: Body) -> bytes | None:
        return None if isinstance(item, bytes) else item[0]

    def _take_addressed(self) -> Body | None:
        body = self._fair.take()
        if body is None:
            return None
        assert self._fair.source is not None
        routing_id: bytes = self._fair.source.routing_id
        return [routing_id, body] if isinstance(body, bytes) else [routing_id, *body]


class Router(Greeting, LossTold, Identified, Addressed):
    """Sends to the peer that the first frame names; received messages begin with their sender's id (RFC 28, ZMQ_ROUTER).

    Peers are Req, Dealer and Router. A peer's id is what it announces (its ``routing_id``), or five bytes made up
    here, of which the first is zero. A message for an unknown peer, or one whose queue is full, is dropped and counted,
    unless ``mandatory``: then ``send`` raises HostUnreachable, or waits for room. A peer that announces an id which is in
    use is refused, unless ``handover``.
    """

    socket_type = "ROUTER"
    _accepts = frozenset({"REQ", "DEALER", "ROUTER"})

    mandatory: Option[bool] = Option(
        False, boolean, "Whether to raise or wait where a message would be dropped (ZMQ_ROUTER_MANDATORY)."
    )
    handover: Option[bool] = Option(
        False, boolean, "Whether a new peer takes over an id that is in use (ZMQ_ROUTER_HANDOVER)."
    )
    notify_peers: Option[Collection[str]] = Option(
        frozenset(),
        flags("connect", "disconnect"),
        "What is told by a message of the peer's id and an empty frame: that it is there, that its connection is lost "
        "(ZMQ_ROUTER_NOTIFY).",
    )

    def __init__(self, **options: Unpack[RouterOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._offer = self._route

    def _route(self, item: Body) -> bool:
        if type(item) is bytes:
            self._addressed(item)
        remote = self._by_id.remotes.get(item[0])
        if remote is None:
            if self.mandatory:
                raise HostUnreachable(f"no peer has the routing id {item[0]!r}")
            self._unroutable()
        elif not self._put(remote, item[1] if len(item) == 2 else item[1:]):  # type: ignore[arg-type]
            if self.mandatory:
                return False
            remote.outbox.writer_waits = False
            remote.drop()
        return True

    def _sendable(self) -> bool:
        return not self.mandatory or self._some_room()

    def _proxy_room(self) -> int:
        # One at a time, for if it cannot be sent, no other may be lost with it.
        return min(1, self._room_of_all()) if self.mandatory else UNLIMITED

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        if "connect" in self.notify_peers:
            remote.inbox.put(b"")

    def _unlinked(self, remote: Remote) -> None:
        super()._unlinked(remote)
        if "disconnect" in self.notify_peers and not remote.outbox.ended:  # who closed it need not be told
            remote.inbox.put(b"")

    def _joins_at_connect(self, remote: Remote) -> bool:
        # zmq_connect(3): ready for a peer only once its handshake is complete, unless we named it ourselves
        return bool(remote.routing_id) and super()._joins_at_connect(remote)

    def _admit(self, remote: Remote, info: PeerInfo) -> None:
        super()._admit(remote, info)
        if remote.attached:
            return  # connected again: it keeps its id
        routing_id = remote.routing_id or info.identity
        if not routing_id:
            return
        holder = self._by_id.remotes.get(routing_id)
        if holder is not None:
            if not self.handover:
                raise ProtocolError(f"the routing id {routing_id!r} is in use by another peer (handover is off)")
            if self._monitor.listeners:
                self._monitor.tell(HandedOver(holder.where, info))
            self._by_id.remove(holder)
            self._parted.changed[routing_id] = None  # who waits for the holder waits for nobody
            holder.routing_id = self._by_id.make_id()
            self._by_id.add(holder)
            self._dismiss(holder, 0)
        remote.routing_id = routing_id
