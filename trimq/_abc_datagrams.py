"""The contracts of datagrams: transports without connections, and what is said in datagrams, and when (sans-I/O).

Beside `_abc`, and of the same kind: contracts only, no behaviour.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from ._abc import Transport
from ._errors import ProtocolError
from ._message import Item
from ._options import Settings

__all__ = ["DatagramCodec", "DatagramPort", "DatagramSession", "DatagramTransport", "MulticastTransport"]


class DatagramCodec(ABC):
    """What a socket type says in datagrams, sans-I/O: an item to one datagram and back. It never waits."""

    max_size: int
    """The most bytes in a datagram, sent or received."""

    @abstractmethod
    def encode(self, item: Item) -> tuple[bytes, str]:
        """An item that fits, as the datagram and the peer's ``host:port``; empty where the endpoint has it."""

    @abstractmethod
    def decode_untrusted(self, data: bytes, sender: str) -> Item:
        """What a peer's datagram says.

        Raises:
          ProtocolError: it is malformed. Nothing else.
        """


class DatagramSession(ABC):
    """What is said over one port, and when, sans-I/O: messages to datagrams and back. It never waits; now is an argument.

    Use: give `send` messages while nothing is `pending`, and `receive_untrusted` each datagram that came. After either, and
    at `deadline`, send what `poll` returns, until it returns nothing; then see what `take` and `lost` have. At the end
    `close`, and go on until it is `finished`, or for as long as one likes to wait.

    All times are seconds of one clock that only goes forward.
    """

    max_size: int
    """The most bytes in a datagram that is received."""

    reliable: bool = False
    """Whether what is lost on the way is repaired: a datagram that cannot be sent is then no message lost, and while there
    is no room for messages none are dropped, for datagrams wait in the system, and what does not fit there is repaired."""

    @property
    @abstractmethod
    def pending(self) -> bool:
        """Whether messages wait in it, of those that `send` took."""

    @abstractmethod
    def send(self, items: Sequence[Item], now: float) -> None:
        """Takes messages; `poll` has their datagrams."""

    @abstractmethod
    def receive_untrusted(self, data: bytes, sender: str, now: float) -> None:
        """Takes a datagram.

        Args:
          data: what is in it.
          sender: who sent it, as `DatagramPort.receive_now` has it.
          now: the time.

        Raises:
          ProtocolError: it is malformed. Nothing else.
        """

    def receive_run_untrusted(self, run: Sequence[bytes], sender: str, now: float) -> Sequence[ProtocolError]:
        """Takes datagrams that came together from one sender, as `receive_untrusted` does; returns what was malformed."""
        errors: list[ProtocolError] = []
        for data in run:
            try:
                self.receive_untrusted(data, sender, now)
            except ProtocolError as error:
                errors.append(error)
        return errors

    @abstractmethod
    def poll(self, now: float) -> Sequence[tuple[bytes, str]]:
        """Datagrams to send now, and where to, as `DatagramPort.send_now` has it. They count as sent."""

    @property
    def deadline(self) -> float:
        """When `poll` has something to do next; ``math.inf`` for never."""
        return math.inf

    @abstractmethod
    def take(self) -> Sequence[Item]:
        """The messages that have come, each sender's in its order."""

    def lost(self) -> Sequence[tuple[str, int]]:
        """What is lost for good, since the last call: of which sender, and how many datagrams."""
        return ()

    def close(self, now: float, *, discard: bool = False) -> None:
        """Ends it: what is pending still goes out, then what the protocol says at the end.

        Args:
          now: the time.
          discard: drop what is pending; the next `poll` has the protocol's last words. It may follow a call without.
        """
        return

    @property
    def finished(self) -> bool:
        """After `close`, whether there is nothing left to do."""
        return not self.pending


class DatagramPort(ABC):
    """A bound or connected place that sends and receives datagrams."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The resolved endpoint with its scheme, wildcards filled in."""

    @abstractmethod
    def send_now(self, data: bytes, to: str) -> bool:
        """Sends a datagram to ``host:port``, numeric, or to the endpoint's address if ``to`` is empty; False: not now.

        Raises:
          OSError: this datagram cannot be sent; the next may.
        """

    def send_some_now(self, datagrams: Sequence[tuple[bytes, str]], start: int) -> int:
        """Sends datagrams from that one on, as many as one call of the system takes; returns how many, 0: not now.

        Raises:
          OSError: the first of them cannot be sent; the next may.
        """
        return int(self.send_now(*datagrams[start]))

    @abstractmethod
    def receive_now(self, max_size: int) -> tuple[bytes, str] | None:
        """The next datagram and who sent it, as ``host:port``, numeric; None if there is none now.

        Args:
          max_size: larger ones are not wanted; one is given with more bytes than that, or whole.

        Raises:
          OSError: the system reports something; the next datagram may come.
        """

    def receive_some_now(self, max_size: int) -> tuple[Sequence[bytes], str] | None:
        """Datagrams that one call of the system gives, and the one who sent them all; None if there are none now.

        Args:
          max_size: as of `receive_now`.

        Raises:
          OSError: the system reports something; the next datagram may come.
        """
        received = self.receive_now(max_size)
        return None if received is None else ((received[0],), received[1])

    @abstractmethod
    async def wait_sendable(self) -> None:
        """Waits until `send_now` is worth a try. Yields in any case.

        Raises:
          trio.ClosedResourceError: the port was closed.
        """

    @abstractmethod
    async def wait_receivable(self) -> None:
        """Waits until `receive_now` is worth a try. Yields in any case.

        Raises:
          trio.ClosedResourceError: the port was closed.
        """

    @abstractmethod
    def close(self) -> None:
        """The address is free at once. Idempotent, never blocks, wakes who waits."""


class DatagramTransport(Transport):
    """A transport without connections: a message is a datagram, and who is there is not known."""

    @abstractmethod
    def bind(self, address: str, settings: Settings) -> DatagramPort:
        """Binds at once, as `StreamTransport.bind` does, with what that raises."""

    @abstractmethod
    async def connect(self, address: str, settings: Settings) -> DatagramPort:
        """Looks up the address, and opens a port that sends there. One attempt; a cancel point in any case.

        Raises:
          OSError: it could not. The caller tries again later.
        """


class MulticastTransport(Transport):
    """A transport without connections that publishers and subscribers speak over: one sends, whoever listens hears.

    It holds sessions of its own, so that messages may have any size, and be repaired. ``bind`` and ``connect`` are the same.
    """

    @abstractmethod
    def open(
        self, address: str, settings: Settings, now: float, *, publishes: bool
    ) -> tuple[DatagramPort, DatagramSession]:
        """Opens a port, at once, and a session over it.

        Args:
          address: what `Transport.check` let pass.
          settings: the socket's options.
          now: the time.
          publishes: whether it is to send messages, or to receive them.

        Raises:
          ZMQError, OSError: as `StreamTransport.bind` does.
        """
