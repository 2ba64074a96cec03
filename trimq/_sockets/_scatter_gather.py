"""Scatter and Gather: the pipeline of single-part messages (RFC 49)."""

from __future__ import annotations

from typing import Unpack

import trio

from .._message import Frame, Message
from .._options import SocketOptions
from .._remote import Intake, Remote, discard
from ._patterns import FairQueued
from ._single_part import SinglesBalanced, SinglesOnly

__all__ = ["Gather", "Scatter", "ScatterOptions"]


class ScatterOptions(SocketOptions, total=False):
    """The options of a Scatter."""

    mute: str


class Scatter(SinglesBalanced, trio.abc.SendChannel[Frame]):
    """Distributes messages of one frame among Gather peers, round-robin (RFC 49, ZMQ_SCATTER).

    As `Push`, but a message is one frame: a sequence of frames is a TypeError.
    """

    socket_type = "SCATTER"
    _accepts = frozenset({"GATHER"})

    def __init__(self, **options: Unpack[ScatterOptions]) -> None:
        super().__init__(**options)

    def _opened(self, remote: Remote) -> None:
        remote.inbox = Intake(discard)  # as a PUSH
        super()._opened(remote)


class Gather(SinglesOnly, FairQueued[Message], trio.abc.ReceiveChannel[Message]):
    """Collects messages of one frame from Scatter peers, from each in turn (RFC 49, ZMQ_GATHER).

    What a peer sent before it went away can still be received. A message of several frames is dropped and counted.
    """

    socket_type = "GATHER"
    _accepts = frozenset({"SCATTER"})
    _form = "frame"

    def __init__(self, **options: Unpack[SocketOptions]) -> None:
        super().__init__(**options)
