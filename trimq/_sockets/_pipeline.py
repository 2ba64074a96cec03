"""Push and Pull: the pipeline pattern (RFC 30)."""

from __future__ import annotations

from typing import Unpack

import trio

from .._message import Message, MessageLike
from .._options import SocketOptions
from .._remote import Intake, Remote, discard
from ._patterns import Balanced, Conflating, FairQueued

__all__ = ["Pull", "PullOptions", "Push", "PushOptions"]


class PushOptions(SocketOptions, total=False):
    """The options of a Push."""

    mute: str
    conflate: bool


class PullOptions(SocketOptions, total=False):
    """The options of a Pull."""

    conflate: bool


class Push(Conflating, Balanced[MessageLike], trio.abc.SendChannel[MessageLike]):
    """Distributes messages among Pull peers, round-robin (RFC 30, ZMQ_PUSH).

    ``send`` waits while no peer has room (or drops, see ``mute``): while there is none at all, after ``bind`` alone.
    After ``connect`` messages queue for the endpoint even before anybody is there.
    """

    socket_type = "PUSH"
    _accepts = frozenset({"PULL"})

    def __init__(self, **options: Unpack[PushOptions]) -> None:
        super().__init__(**options)

    def _opened(self, remote: Remote) -> None:
        remote.inbox = Intake(discard)  # RFC 30: a PUSH discards what it receives
        super()._opened(remote)


class Pull(Conflating, FairQueued[Message], trio.abc.ReceiveChannel[Message]):
    """Collects messages from Push peers, from each in turn (RFC 30, ZMQ_PULL).

    What a peer sent before it went away can still be received.
    """

    socket_type = "PULL"
    _accepts = frozenset({"PUSH"})

    def __init__(self, **options: Unpack[PullOptions]) -> None:
        super().__init__(**options)
