"""One PGM receiver: packets of any number of senders in, messages and NAKs out (RFC 3208, 6). Sans-I/O.

`now` and chance are arguments.
"""

from __future__ import annotations

from collections.abc import Callable

from ._pgm_events import Event, Outgoing, ReceiverStatistics
from ._pgm_settings import PgmSettings

__all__ = ["PgmReceiver"]


class PgmReceiver:
    """A receiver of one group and port: any number of senders, up to a bound.

    Use: give ``receive_untrusted`` each datagram; then ``take`` what came of them; then, and at ``deadline``, send what
    ``poll`` returns, and ``take`` again.

    Args:
      settings: group, port; the rate and recovery_interval say how large a gap is waited for.
      now: seconds of any clock that only goes forward; the same for all calls.
      chance: a number from 0 up to 1 on each call (``random.random``): the back-off.
      max_message_size: the most bytes in a message's frame; a larger message is skipped, and its sender heard further.
      max_kept: the most bytes that all senders' packets out of order and unfinished messages may take; where it is more, the
        sender with the most of it loses them.
    """

    def __init__(
        self,
        settings: PgmSettings,
        now: float,
        *,
        chance: Callable[[], float],
        max_message_size: float,
        max_kept: int = 256 * 1024 * 1024,
    ) -> None:
        self.statistics = ReceiverStatistics()
        raise NotImplementedError

    def receive_untrusted(self, packet: bytes, host: str, now: float) -> None:
        """Takes a packet.

        Args:
          packet: from PGM's header on (what UDP carried; or what IP carried, without the header of IP).
          host: the address it came from, without port, in one spelling; a sender is known by it and its session.
          now: the time.

        Raises:
          ProtocolError: it is malformed. Drop it and go on; it is counted.
        """
        raise NotImplementedError

    def poll(self, now: float) -> list[Outgoing]:
        """The packets to send now: NAKs and SPMRs. It also gives up what was waited for too long: `take` tells."""
        raise NotImplementedError

    @property
    def deadline(self) -> float:
        """When `poll` has something to do next; ``math.inf`` while there is nobody to wait for."""
        raise NotImplementedError

    def take(self) -> list[Event]:
        """What has happened since the last call: whole messages, each sender's in its order, and what became of senders."""
        raise NotImplementedError

    def close(self) -> None:
        """Forgets all senders; what comes later is skipped, `poll` has nothing and `take` what was whole. Idempotent."""
        raise NotImplementedError
