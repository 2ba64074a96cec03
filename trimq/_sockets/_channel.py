"""Channel: the exclusive pair of single-part messages (RFC 51)."""

from __future__ import annotations

from typing import Any, Unpack

import trio

from .._message import Message
from .._options import SocketOptions
from ._pair import Exclusive
from ._patterns import FairQueued
from ._single_part import SinglesBalanced, SinglesOnly

__all__ = ["Channel", "ChannelOptions"]


class ChannelOptions(SocketOptions, total=False):
    """The options of a Channel."""

    mute: str


class Channel(Exclusive, SinglesOnly, SinglesBalanced, FairQueued[Message], trio.abc.Channel[Any]):
    """Talks to one peer, a Channel like itself, in messages of one frame (RFC 51, ZMQ_CHANNEL).

    As `Pair`: a second peer is refused while there is one, and after a loss the endpoint ends (state lost), and a new
    ``connect`` dials afresh. Sending a sequence of frames is a TypeError; one that is received is dropped and counted.
    """

    socket_type = "CHANNEL"
    _accepts = frozenset({"CHANNEL"})
    _form = "frame"

    def __init__(self, **options: Unpack[ChannelOptions]) -> None:
        super().__init__(**options)
