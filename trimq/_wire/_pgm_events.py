"""What a PGM receiver tells: messages, and what became of their senders. Values only."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from .._message import Item

__all__ = ["Delivered", "Event", "Joined", "Left", "Lost", "Outgoing", "ReceiverStatistics", "Stream"]


@attrs.frozen
class Stream:
    """One sender's session: who is meant wherever a receiver tells something."""

    tsi: bytes
    """Its GSI and its source port, 8 bytes."""
    host: str
    """Where its packets come from."""


@attrs.frozen
class Delivered:
    """Whole messages of a sender, in its order."""

    stream: Stream
    items: list[Item]


@attrs.frozen
class Joined:
    """A sender was heard for the first time."""

    stream: Stream


@attrs.frozen
class Left:
    """A sender is gone, and forgotten."""

    stream: Stream
    why: str
    """It has closed (``"fin"``), given up (``"reset"``), begun again (``"restarted"``), was silent (``"expired"``), or gave
    way to a new one (``"replaced"``)."""


@attrs.frozen
class Lost:
    """Packets of a sender are lost for good; messages that had a part in one are missing. The next ones follow."""

    stream: Stream
    count: int


Event: TypeAlias = Delivered | Joined | Left | Lost


@attrs.frozen
class Outgoing:
    """A packet to send."""

    packet: bytes
    to: str | None
    """The host to send it to, at the settings' port; None: the group, with a TTL of 1."""


@attrs.define
class ReceiverStatistics:
    """What a receiver has counted since it began. Read it whenever you like."""

    data: int = 0
    """Packets with data, the first of each."""
    repairs: int = 0
    """Those of them that were repairs (RDATA)."""
    duplicates: int = 0
    """Packets that were there already, or had been given up."""
    naks: int = 0
    """NAKs sent."""
    asked: int = 0
    """Packets asked for in them."""
    lost: int = 0
    """Packets that were never had."""
    malformed: int = 0
    """Packets that made no sense, and messages that did not (ZMTP 1.0 framing broken, or too large)."""
    skipped: int = 0
    """Parity, polls, and what else is right and not for us."""
    refused: int = 0
    """Packets for which there was no place: of a sender too many, or beyond the bytes that are kept."""
