"""The contracts of datagrams: a transport without connections, and what socket types say in one (sans-I/O).

Beside `_abc`, and of the same kind: contracts only, no behaviour.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ._abc import Transport
from ._message import Item
from ._options import Settings

__all__ = ["DatagramCodec", "DatagramPort", "DatagramTransport"]


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

    @abstractmethod
    def receive_now(self, max_size: int) -> tuple[bytes, str] | None:
        """The next datagram and who sent it, as ``host:port``, numeric; None if there is none now.

        Args:
          max_size: larger ones are not wanted; one is given with more bytes than that, or whole.

        Raises:
          OSError: the system reports something; the next datagram may come.
        """

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
