"""Peer: a Server on both sides (libzmq's draft; no RFC)."""

from __future__ import annotations

from typing import Unpack

from .._options import SocketOptions
from ._client_server import Routed
from ._notices import Greeting, HiccupTold, LossTold

__all__ = ["Peer", "PeerOptions"]


class PeerOptions(SocketOptions, total=False):
    """The options of a Peer."""

    hello_message: bytes
    disconnect_message: bytes
    hiccup_message: bytes


class Peer(Greeting, LossTold, HiccupTold, Routed):
    """Talks with many Peers like itself, in messages of one frame that say by number whose they are (ZMQ_PEER).

    Messages are `RoutedMessage`, both ways. The number of a peer that is connected to is known at once, as
    ``endpoint.routing_id`` (zmq_connect_peer), unless ``immediate``: messages to it queue before it is there, and it
    keeps its number when it is connected again. ``send`` waits while the peer's queue is full, and raises
    HostUnreachable for an unknown peer. A message of several frames is dropped and counted.
    """

    socket_type = "PEER"
    _accepts = frozenset({"PEER"})

    def __init__(self, **options: Unpack[PeerOptions]) -> None:
        super().__init__(**options)
