"""One PGM receiver: packets of any number of senders in, messages and NAKs out (RFC 3208, 6). Sans-I/O.

`now` and chance are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from .._message import Item
from ._pgm_settings import Settings

__all__ = ["Event", "Joined", "Left", "Lost", "Outgoing", "Receiver", "ReceiverStatistics"]


@attrs.frozen
class Outgoing:
    """A packet to send."""

    packet: bytes
    to: str | None
    """The host to send it to, at the settings' port; None: the group, with a TTL of 1."""


@attrs.frozen
class Joined:
    """A sender was heard for the first time."""

    tsi: bytes
    """Its session: GSI and source port, 8 bytes."""
    host: str
    """Where its packets come from."""


@attrs.frozen
class Left:
    """A sender is gone, and forgotten."""

    tsi: bytes
    host: str
    why: str
    """It has closed (``"fin"``), given up (``"reset"``), was silent (``"expired"``), or gave way (``"replaced"``)."""


@attrs.frozen
class Lost:
    """Packets of a sender are lost for good; messages that had a part in one are missing. The next ones follow."""

    tsi: bytes
    host: str
    count: int


Event: TypeAlias = Joined | Left | Lost


@attrs.define
class ReceiverStatistics:
    """What a `Receiver` has counted since it began. Read it whenever you like."""

    data: int = 0
    """Packets with data, the first of each."""
    repairs: int = 0
    """Those of them that were repairs (RDATA)."""
    duplicates: int = 0
    """Packets that were there already, or had been given up."""
    naks: int = 0
    """NAKs sent."""
    suppressed: int = 0
    """Gaps that others have asked for, and that needed no NAK of ours."""
    lost: int = 0
    """Packets that were never had."""
    malformed: int = 0
    """Packets that made no sense, and messages that did not (ZMTP 1.0 framing broken, or too large)."""
    skipped: int = 0
    """Parity, polls, and what else is right and not for us."""
    refused: int = 0
    """Packets of a sender for which there was no place."""


class Receiver:
    """A receiver of one group and port: any number of senders, up to a bound.

    Use: give ``receive_untrusted`` each datagram; ``take`` the messages, and ``take_events``; then, and at ``deadline``,
    send what ``poll`` returns.

    Args:
      settings: group, port; the rate and recovery_interval say how large a gap is waited for.
      chance: a number from 0 up to 1 on each call (``random.random``): the back-off.
      max_message_size: the most bytes in a message's frame; a larger message is skipped, and its sender heard further.
      max_sources: how many senders are followed at once.
    """

    def __init__(
        self,
        settings: Settings,
        chance: Callable[[], float],
        max_message_size: float,
        max_sources: int = 256,
    ) -> None:
        self.statistics = ReceiverStatistics()
        raise NotImplementedError

    def receive_untrusted(self, packet: bytes, host: str, now: float) -> None:
        """Takes a packet.

        Args:
          packet: from PGM's header on (what UDP carried; or what IP carried, without the header of IP).
          host: the address it came from, without port; a sender is known by this and its session.
          now: seconds of any clock that only goes forward.

        Raises:
          ProtocolError: it is malformed. Drop it and go on; it is counted.
        """
        raise NotImplementedError

    def poll(self, now: float) -> list[Outgoing]:
        """The packets to send now: NAKs and SPMRs. It also gives up what was waited for too long: see `take_events`."""
        raise NotImplementedError

    @property
    def deadline(self) -> float:
        """When `poll` has something to do next; ``math.inf`` while there is nobody to wait for."""
        raise NotImplementedError

    def take(self) -> list[Item]:
        """The messages that have become whole, each sender's in its order. Never part of one."""
        raise NotImplementedError

    def take_events(self) -> list[Event]:
        """What has happened since the last call."""
        raise NotImplementedError
