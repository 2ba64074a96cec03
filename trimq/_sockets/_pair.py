"""Pair: the exclusive pair pattern (RFC 31)."""

from __future__ import annotations

from typing import Any, Unpack

import trio

from .._abc import PeerInfo
from .._errors import ProtocolError
from .._message import Message, MessageLike
from .._options import SocketOptions
from .._remote import Remote
from ._patterns import Balanced, FairQueued
from ._socket import Socket

__all__ = ["Exclusive", "Pair", "PairOptions"]


class Exclusive(Socket):
    """Has one peer at a time, and does not reconnect after a loss."""

    _one_peer = True

    def _admit(self, remote: Remote, info: PeerInfo) -> None:
        if any(other is not remote and not other.retired for other in self._remotes):
            name = type(self).__name__
            raise ProtocolError(f"a {name} has one peer at a time, and this one has a peer (or is connecting to one)")


class PairOptions(SocketOptions, total=False):
    """The options of a Pair."""

    mute: str


class Pair(Exclusive, Balanced[MessageLike], FairQueued[Message], trio.abc.Channel[Any]):
    """Talks to one peer, a Pair like itself (RFC 31, ZMQ_PAIR).

    A second peer is refused while there is one. A connected Pair keeps trying until its first handshake; after a
    loss its endpoint ends (state lost), and a new ``connect`` dials afresh. ``receive`` goes on waiting then.
    """

    socket_type = "PAIR"
    _accepts = frozenset({"PAIR"})

    def __init__(self, **options: Unpack[PairOptions]) -> None:
        super().__init__(**options)
