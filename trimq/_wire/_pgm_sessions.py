"""A PGM sender and a PGM receiver, each as a session over a port of datagrams (`DatagramSession`). Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._abc_datagrams import DatagramSession
from .._errors import ProtocolError
from .._message import Item
from ._pgm_events import Delivered, Lost
from ._pgm_receiver import PgmReceiver
from ._pgm_settings import PgmSettings
from ._pgm_source import PgmSource

__all__ = ["PgmReceiving", "PgmSending"]


class _PgmSession(DatagramSession):
    max_size = 65535
    reliable = True


class PgmSending(_PgmSession):
    """Sends; what comes are requests for repairs.

    Args:
      settings: group, port, rate, window.
      tsi: the session's identity, 8 bytes by chance.
      now: the time.
      address: the own address, its 4 or 16 bytes.
    """

    def __init__(self, settings: PgmSettings, tsi: bytes, now: float, address: bytes) -> None:
        self._source = PgmSource(settings, tsi, now, address=address)

    @property
    def pending(self) -> bool:
        """Whether messages wait for the rate to let them go."""
        return self._source.pending > 0

    def send(self, items: Sequence[Item], now: float) -> None:
        """Takes messages."""
        self._source.send(items, now)

    def receive_untrusted(self, data: bytes, sender: str, now: float) -> None:
        """Takes a receiver's packet.

        Raises:
          ProtocolError: it is malformed.
        """
        self._source.receive_untrusted(data, sender, now)

    def poll(self, now: float) -> Sequence[tuple[bytes, str]]:
        """The packets to multicast now."""
        return [(packet, "") for packet in self._source.poll(now)]

    @property
    def deadline(self) -> float:
        """When the rate lets more go, or a heartbeat is due."""
        return self._source.deadline

    def take(self) -> Sequence[Item]:
        """Nothing: receivers have no messages."""
        return ()

    def close(self, now: float, *, discard: bool = False) -> None:
        """Ends the session: what waits leaves, then FIN; repairs go on until nobody has asked for one for a while."""
        self._source.close(now, discard=discard)

    @property
    def finished(self) -> bool:
        """Whether that is done."""
        return self._source.finished


class PgmReceiving(_PgmSession):
    """Receives from any number of senders; what goes out are requests for repairs.

    Args:
      settings: group, port, rate, window.
      now: the time.
      chance: a number from 0 up to 1 on each call.
      max_message_size: the most bytes in a frame; a larger message is left out.
    """

    def __init__(self, settings: PgmSettings, now: float, chance: Callable[[], float], max_message_size: float) -> None:
        self._receiver = PgmReceiver(settings, now, chance=chance, max_message_size=max_message_size)
        self._lost: list[tuple[str, int]] = []

    @property
    def pending(self) -> bool:
        """Never."""
        return False

    def send(self, items: Sequence[Item], now: float) -> None:
        """Nothing is sent from here: a receiver's messages would have nowhere to go."""
        raise AssertionError("a receiver of PGM was given messages to send")

    def receive_untrusted(self, data: bytes, sender: str, now: float) -> None:
        """Takes a packet.

        Raises:
          ProtocolError: it is malformed.
        """
        self._receiver.receive_untrusted(data, sender, now)

    def receive_run_untrusted(self, run: Sequence[bytes], sender: str, now: float) -> Sequence[ProtocolError]:
        """Takes packets that came together; returns what was malformed."""
        return self._receiver.receive_run_untrusted(run, sender, now)

    def poll(self, now: float) -> Sequence[tuple[bytes, str]]:
        """The packets to send now, to a sender or to the group."""
        return [(outgoing.packet, outgoing.to or "") for outgoing in self._receiver.poll(now)]

    @property
    def deadline(self) -> float:
        """When something is asked for again, or given up."""
        return self._receiver.deadline

    def take(self) -> Sequence[Item]:
        """The messages that have come, whole, each sender's in its order."""
        items: list[Item] = []
        for event in self._receiver.take():
            if type(event) is Delivered:
                items = items + event.items if items else event.items
            elif type(event) is Lost:
                self._lost.append((event.stream.host, event.count))
        return items

    def lost(self) -> Sequence[tuple[str, int]]:
        """Senders' hosts, and how many of their packets are lost for good, as of the last `take`."""
        lost, self._lost = self._lost, []
        return lost

    def close(self, now: float, *, discard: bool = False) -> None:
        """Forgets all senders."""
        self._receiver.close()
