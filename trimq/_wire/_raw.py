"""No protocol at all: what comes is given on in pieces, what goes is written as it is (STREAM)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .._abc import PeerInfo, Wire
from .._message import Item, Shared, Subscription
from ._frames import LARGE

__all__ = ["CHUNK", "Raw"]

CHUNK = 8192
"""The most bytes in one item; libzmq's size too, and where the boundaries fall means nothing."""


class Raw(Wire):
    """A stream without greeting or frames. Its peer is there from the start, and nothing is known of it."""

    def __init__(self) -> None:
        self.peer: PeerInfo | None = PeerInfo(socket_type="", mechanism="")
        self._fed: deque[bytes] = deque()
        self._pos = 0  # in the first of them

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def handshake_untrusted(self, data: bytes) -> bytes:
        """There is none: the bytes are kept for `decode_untrusted`."""
        self.feed(data)
        return b""

    def feed(self, data: bytes) -> None:
        """Takes bytes of the peer."""
        if data:
            self._fed.append(bytes(data))  # some streams give a bytearray

    def decode_untrusted(self, limit: int) -> list[Item]:
        """Up to ``limit`` pieces of what came, at most 8,192 bytes each."""
        out: list[Item] = []
        fed, pos = self._fed, self._pos
        while fed and len(out) < limit:
            data = fed[0]
            piece = data[pos : pos + CHUNK]
            pos += len(piece)
            if pos == len(data):
                fed.popleft()
                pos = 0
            out.append(piece)
        self._pos = pos
        return out

    def encode(self, items: Sequence[Item]) -> list[bytes]:
        """The bodies one after the other; an empty one leaves nothing to write."""
        buffers: list[bytes] = []
        small: list[bytes] = []
        for item in items:
            if isinstance(item, Subscription):
                raise TypeError("a raw stream carries no subscriptions")
            bodies = item.item if isinstance(item, Shared) else item
            for body in [bodies] if isinstance(bodies, bytes) else bodies:
                if len(body) < LARGE:
                    small.append(body)
                    continue
                if small:
                    buffers.append(b"".join(small))
                    small = []
                buffers.append(body)
        if small:
            buffers.append(b"".join(small))
        return [buffer for buffer in buffers if buffer]
