"""Push and Pull: the pipeline pattern (RFC 30)."""

from __future__ import annotations

from typing import Unpack

import trio

from .._message import Message, MessageLike
from .._options import SocketOptions
from .._remote import Intake, Remote, discard
from ._patterns import Balanced, FairQueued

__all__ = ["Pull", "Push"]


class Push(Balanced, trio.abc.SendChannel[MessageLike]):
    """Distributes messages among Pull peers, round-robin (RFC 30, ZMQ_PUSH).

    ``send`` waits while no peer has room: while there is none at all, after ``bind`` alone. After ``connect``
    messages queue for the endpoint even before anybody is there.
    """

    socket_type = "PUSH"
    _accepts = frozenset({"PULL"})

    def __init__(self, **options: Unpack[SocketOptions]) -> None:
        super().__init__(**options)

    def _opened(self, remote: Remote) -> None:
        super()._opened(remote)
        remote.inbox = Intake(discard)  # RFC 30: a PUSH discards what it receives


class Pull(FairQueued, trio.abc.ReceiveChannel[Message]):
    """Collects messages from Push peers, from each in turn (RFC 30, ZMQ_PULL).

    What a peer sent before it went away can still be received.
    """

    socket_type = "PULL"
    _accepts = frozenset({"PUSH"})

    def __init__(self, **options: Unpack[SocketOptions]) -> None:
        super().__init__(**options)
