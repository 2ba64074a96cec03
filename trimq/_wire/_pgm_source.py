"""One PGM sender: messages in, packets out, repairs for whoever missed one (RFC 3208, 5). Sans-I/O, `now` is an argument."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .._message import Item
from ._pgm_settings import PgmSettings

__all__ = ["PgmSource", "SourceStatistics"]


@attrs.define
class SourceStatistics:
    """What a `PgmSource` has counted since it began. Read it whenever you like."""

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


class PgmSource:
    """A sender of one session. All of its packets go to the group.

    Use: ``send`` messages while ``room`` is positive; give ``receive_untrusted`` each datagram that came; after each of
    these, and at ``deadline``, send what ``poll`` returns, until it returns less than ``most``. At the end: ``close``, and
    go on until ``finished`` or for as long as one likes to wait.

    Args:
      settings: group, port, rate, window.
      tsi: the session's identity, 8 bytes by chance: GSI and source port; the port is neither 0 nor the settings' port.
      now: seconds of any clock that only goes forward; the same for all calls.
      address: the own unicast address, its 4 or 16 bytes; receivers send their NAKs there.
      first: the first packet's sequence number.
    """

    def __init__(self, settings: PgmSettings, tsi: bytes, now: float, *, address: bytes, first: int = 0) -> None:
        self.statistics = SourceStatistics()
        raise NotImplementedError

    @property
    def room(self) -> int:
        """Bytes of messages that it would take now. Zero or less: wait until `poll` has made room.

        Some 2 ms at the rate, 64 KiB at least; what waits here can still be packed tighter.
        """
        raise NotImplementedError

    @property
    def pending(self) -> int:
        """Bytes of messages that have not left yet."""
        raise NotImplementedError

    def send(self, items: Sequence[Item], now: float) -> None:
        """Takes messages, whatever ``room`` says; they leave at the rate, in order, as `poll` is called."""
        raise NotImplementedError

    def receive_untrusted(self, packet: bytes, host: str, now: float) -> None:
        """Takes a packet of a receiver: a NAK, an SPMR. Those for other sessions, and those of senders, mean nothing here.

        Args:
          packet: from PGM's header on (what UDP carried; or what IP carried, without the header of IP).
          host: where it came from; it makes no difference.
          now: the time.

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
        """When `poll` has something next; ``math.inf`` once it is ``finished``. At most 30 s ahead before that."""
        raise NotImplementedError

    def close(self, now: float, *, discard: bool = False) -> None:
        """Ends the session: what waits still leaves at the rate, then three SPMs with FIN; repairs are sent all the while.

        Args:
          now: the time.
          discard: drop what waits, so that the next `poll` has the FINs (linger ran out). It may follow a call without.
        """
        raise NotImplementedError

    @property
    def finished(self) -> bool:
        """After ``close``: all has left, and nobody has asked for a repair for 0.3 s, as of the last `poll`.

        A session that never sent data is finished with its FINs.
        """
        raise NotImplementedError
