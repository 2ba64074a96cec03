"""One PGM sender: messages in, packets out, repairs for whoever missed one (RFC 3208, 5). Sans-I/O, `now` is an argument."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .._message import Item
from ._pgm_settings import Settings

__all__ = ["Source", "SourceStatistics"]


@attrs.define
class SourceStatistics:
    """What a `Source` has counted since it began. Read it whenever you like."""

    data: int = 0
    """Packets with data (ODATA)."""
    repairs: int = 0
    """Packets sent again (RDATA)."""
    naks: int = 0
    """NAKs for this source that were right."""
    too_late: int = 0
    """Packets asked for that had left the window, or had never been sent."""
    spms: int = 0
    """SPMs, those at the beginning and at the end included."""


class Source:
    """A sender of one session. All of its packets go to the group.

    Use: ``send`` messages while ``room`` is positive; give ``receive_untrusted`` each datagram that came; after each of
    these, and at ``deadline``, send what ``poll`` returns, until it returns nothing.

    Args:
      settings: group, port, rate, window.
      address: the own unicast address, its 4 or 16 bytes; receivers send their NAKs there.
      gsi: 6 bytes by chance: the session's identity, with ``source_port``.
      source_port: 1 to 65535 by chance, and not the settings' port.
      now: seconds of any clock that only goes forward; the same for all calls.
    """

    def __init__(self, settings: Settings, address: bytes, gsi: bytes, source_port: int, now: float) -> None:
        self.statistics = SourceStatistics()
        raise NotImplementedError

    @property
    def room(self) -> int:
        """Bytes of messages that it would take now. Zero or less: wait until `poll` has made room.

        Some 1 ms at the rate, 64 KiB at least; what waits here can still be packed tighter.
        """
        raise NotImplementedError

    @property
    def pending(self) -> int:
        """Bytes of messages that have not left yet: what a linger would wait for."""
        raise NotImplementedError

    def send(self, items: Sequence[Item], now: float) -> None:
        """Takes messages, whatever ``room`` says; they leave at the rate, in order, as `poll` is called."""
        raise NotImplementedError

    def receive_untrusted(self, packet: bytes, now: float) -> None:
        """Takes a packet of a receiver: a NAK, an SPMR. Those for other sessions, and those of senders, mean nothing here.

        Args:
          packet: from PGM's header on (what UDP carried; or what IP carried, without the header of IP).

        Raises:
          ProtocolError: it is malformed. Drop it, count it, go on.
        """
        raise NotImplementedError

    def poll(self, now: float, most: int = 64) -> list[bytes]:
        """The packets to multicast to the group now, in this order; at most so many. Call it again if there were as many.

        They count as sent: one that the system does not take is lost like any other, and repaired like any other.
        All but the last of the data packets in a row are of the same size while more is waiting.
        """
        raise NotImplementedError

    @property
    def deadline(self) -> float:
        """When `poll` has something next; ``math.inf`` once all is closed. At most 30 s ahead before that."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the session: what was not sent is dropped, and `poll` gives three SPMs with FIN and then nothing."""
        raise NotImplementedError
