"""Dgram: plain datagrams to and from whoever has an address (ZMQ_DGRAM, a draft of libzmq's)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from .._abc_datagrams import DatagramCodec
from .._address import parse_datagram_peer
from .._endpoint import Endpoint
from .._errors import MessageTooLarge, StateError
from .._message import Body, Message, MessageLike
from .._options import SocketOptions
from .._wire._datagrams import MAX_PLAIN, PlainDatagrams
from ._flow import SendingMany
from ._multicasting import Multicasting
from ._patterns import Balancing, FairQueued

if TYPE_CHECKING:
    import socket as system

__all__ = ["Dgram", "DgramOptions"]


class DgramOptions(SocketOptions, total=False):
    """The options of a Dgram."""

    multicast_hops: int
    multicast_loop: bool


class Dgram(Multicasting, Balancing[MessageLike], SendingMany[MessageLike], FairQueued[Message]):
    """Exchanges datagrams over udp; messages are the other's address and the datagram (ZMQ_DGRAM).

    It can only ``bind``, and once. Received messages are ``[b"127.0.0.1:5555", payload]``, and so are those to send; the
    address is numeric, with brackets around IPv6. What does not fit into a datagram raises MessageTooLarge. ``send`` waits
    while its queue is full, or nothing is bound; what comes while the other queue is full is dropped, and counted.
    """

    socket_type = "DGRAM"
    _datagram_verbs = frozenset({"bind"})

    def __init__(self, **options: Unpack[DgramOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._offer = self._offer_checked
        self._room = self._balancer.room

    def bind(self, endpoint: str, *, use_fd: int | system.socket | None = None) -> Endpoint:
        """Binds at an address of udp, as `Socket.bind` does, with what that raises; and once, as in libzmq.

        Raises:
          StateError: it is bound already: what it sends could go out by either.
        """
        self._check_open()
        if any(not remote.retired for remote in self._remotes):
            raise StateError("a Dgram is bound at one address at a time; unbind first, or make another Dgram")
        return super().bind(endpoint, use_fd=use_fd)

    def _offer_checked(self, item: Body) -> bool:
        if type(item) is not list:
            raise _not_two(1)
        return self._balancer.offer(item)

    def _pack(self, value: Any) -> Body:
        body = super()._pack(value)
        if isinstance(body, bytes) or len(body) != 2:
            raise _not_two(1 if isinstance(body, bytes) else len(body))
        address = parse_datagram_peer(body[0])
        if len(body[1]) > MAX_PLAIN:
            raise MessageTooLarge(f"a datagram has at most {MAX_PLAIN} bytes, not {len(body[1])}")
        return [address.encode("ascii"), body[1]]

    def _behind(self, item: Body) -> bool:
        if type(item) is not list:
            raise _not_two(1)
        return super()._behind(item)

    def _put_all(self, bodies: list[Any]) -> None:
        super()._put_all([self._pack(body) for body in bodies])

    def _datagrams(self) -> DatagramCodec:
        return PlainDatagrams()


def _not_two(count: int) -> ValueError:
    return ValueError(
        f"a Dgram's message is the other's address and one frame of bytes, as [b'127.0.0.1:5555', b'hello'], "
        f"not {count} {'frame' if count == 1 else 'frames'}"
    )
