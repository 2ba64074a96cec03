"""Client and Server: asynchronous request-reply in single-part messages (RFC 41)."""

from __future__ import annotations

import random
from typing import Any, Unpack

from trio.lowlevel import enable_ki_protection

from .._abc import PeerInfo
from .._errors import HostUnreachable
from .._message import Message, RoutedMessage
from .._options import SocketOptions
from .._routing import ByNumber
from ._notices import Greeting, HiccupTold, LossTold
from ._patterns import Addressing, FairQueued
from ._single_part import SinglesBalanced, SinglesOnly

__all__ = ["Client", "ClientOptions", "Routed", "Server", "ServerOptions"]


class ClientOptions(SocketOptions, total=False):
    """The options of a Client."""

    mute: str
    hello_message: bytes
    hiccup_message: bytes


class ServerOptions(SocketOptions, total=False):
    """The options of a Server."""

    hello_message: bytes
    disconnect_message: bytes


class Client(Greeting, HiccupTold, SinglesOnly, SinglesBalanced, FairQueued[Message]):
    """Sends round-robin and receives from each Server peer in turn, messages of one frame (RFC 41, ZMQ_CLIENT).

    As `Dealer`, but a message is one frame: a sequence of frames is a TypeError when it is sent, and dropped and counted
    when it is received. ``send`` waits while no peer has room.
    """

    socket_type = "CLIENT"
    _accepts = frozenset({"SERVER"})
    _form = "frame"

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        super().__init__(**options)


class Routed(SinglesOnly, Addressing[RoutedMessage, RoutedMessage]):
    """Its messages say by number which peer they come from, or go to."""

    _form = "routed"

    def _prepare(self) -> None:
        super()._prepare()
        self._by_id = ByNumber(random.getrandbits(32))
        self._take = self._take_routed
        self._take_many = self._take_one_by_one  # each with its own id
        self._offer = self._route

    def _pack(self, value: Any) -> RoutedMessage:
        if not isinstance(value, RoutedMessage):
            raise TypeError(
                f"a {type(self).__name__} sends trimq.RoutedMessage(routing_id, body), which says to whom, "
                f"not {type(value).__name__}"
            )
        return value

    def _whom(self, item: Any) -> int | None:
        return item.routing_id if isinstance(item, RoutedMessage) else None

    def _route(self, item: Any) -> bool:
        message = self._pack(item)  # bare bytes come here unseen
        remote = self._by_id.remotes.get(message.routing_id)
        if remote is None:
            raise HostUnreachable(f"no peer has the routing id {message.routing_id}")
        return self._put(remote, message.body)

    def _take_routed(self) -> RoutedMessage | None:
        body = self._fair.take()
        if body is None:
            return None
        assert self._fair.source is not None
        return RoutedMessage(self._fair.source.routing_id, body)  # type: ignore[arg-type]

    def _sendable(self) -> bool:
        return self._some_room()

    def _proxy_room(self) -> int:
        return self._room_of_all()

    @enable_ki_protection
    def disconnect_peer(self, peer: PeerInfo | int) -> None:
        """Ends the connection with a peer, and for good: what is queued for it may take ``linger`` seconds more.

        Args:
          peer: its routing id (zmq_disconnect_peer), or one of ``peers``; see `Socket.disconnect_peer`.

        Raises:
          HostUnreachable: it is not connected any more.
          ContextTerminated, SocketClosed, NoIOThread: the socket cannot be used any more, or not from here.
        """
        if not isinstance(peer, int):
            super().disconnect_peer(peer)
            return
        self._check_open()
        remote = self._by_id.remotes.get(peer)
        if remote is None:
            raise HostUnreachable(f"no peer has the routing id {peer}")
        self._dismiss(remote, self.linger)


class Server(Greeting, LossTold, Routed):
    """Answers many Client peers, in messages of one frame that say by number whose they are (RFC 41, ZMQ_SERVER).

    Messages are `RoutedMessage`, both ways. A peer's number is made up when it comes, and is another one when it comes
    again. ``send`` waits while the peer's queue is full, and raises HostUnreachable for an unknown peer. A message of
    several frames is dropped and counted.
    """

    socket_type = "SERVER"
    _accepts = frozenset({"CLIENT"})

    def __init__(self, **options: Unpack[ServerOptions]) -> None:
        super().__init__(**options)
