"""Datagrams: what Radio, Dish and Dgram say in one each (libzmq's drafts; no RFC has the layout). Sans-I/O."""

from __future__ import annotations

from collections.abc import Sequence

from .._abc_datagrams import DatagramCodec, DatagramSession
from .._errors import ProtocolError
from .._message import Item, Shared

__all__ = ["MAX_GROUPED", "MAX_PLAIN", "GroupDatagrams", "OneByOne", "PlainDatagrams"]

MAX_GROUPED = 8192
"""Bytes of a Radio's datagram, all in all: libzmq sends no larger ones, and cuts larger ones that it receives."""

MAX_PLAIN = 65507
"""Bytes of a datagram over IPv4: 65535 without the headers of IP and UDP."""


class GroupDatagrams(DatagramCodec):
    """A Radio's message: ``group-len(1) group body``."""

    max_size = MAX_GROUPED

    def encode(self, item: Item) -> tuple[bytes, str]:
        """A message that fits, as a datagram; it goes where the endpoint says."""
        if isinstance(item, Shared):
            item = item.item
        assert isinstance(item, list)
        group, body = item
        return b"%c%b%b" % (len(group), group, body), ""

    def decode_untrusted(self, data: bytes, sender: str) -> Item:
        """A message, as its group and body.

        Raises:
          ProtocolError: the datagram is empty, ends within the group's name, or is too large.
        """
        if len(data) > MAX_GROUPED:
            raise ProtocolError(f"a datagram of {len(data)} bytes, where {MAX_GROUPED} are the most, from {sender}")
        if not data:
            raise ProtocolError(f"an empty datagram from {sender}: there is no group in it")
        stop = 1 + data[0]
        if stop > len(data):
            raise ProtocolError(f"a datagram from {sender} that ends within its group's name")
        return [data[1:stop], data[stop:]]


class PlainDatagrams(DatagramCodec):
    """A Dgram's message, ``[b"host:port", payload]``: the payload is the datagram."""

    max_size = MAX_PLAIN

    def encode(self, item: Item) -> tuple[bytes, str]:
        """A message whose address was checked, as a datagram and where it goes."""
        assert isinstance(item, list)
        address, payload = item
        return payload, address.decode("ascii")

    def decode_untrusted(self, data: bytes, sender: str) -> Item:
        """The sender's address, and what it sent."""
        return [sender.encode("ascii"), data]


class OneByOne(DatagramSession):
    """The simplest session: a message is a datagram, and goes at once.

    Args:
      codec: how.
    """

    def __init__(self, codec: DatagramCodec) -> None:
        self._codec = codec
        self.max_size = codec.max_size
        self._outgoing: list[tuple[bytes, str]] = []
        self._incoming: list[Item] = []

    @property
    def pending(self) -> bool:
        """Whether messages wait for `poll`."""
        return bool(self._outgoing)

    def send(self, items: Sequence[Item], now: float) -> None:
        """Takes messages that fit, each into a datagram."""
        self._outgoing += map(self._codec.encode, items)

    def receive_untrusted(self, data: bytes, sender: str, now: float) -> None:
        """Takes a datagram.

        Raises:
          ProtocolError: it is malformed.
        """
        self._incoming.append(self._codec.decode_untrusted(data, sender))

    def poll(self, now: float) -> Sequence[tuple[bytes, str]]:
        """All that wait."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def take(self) -> Sequence[Item]:
        """The messages that have come."""
        incoming, self._incoming = self._incoming, []
        return incoming
