"""Messages to the contents of PGM's data packets (TSDUs), and back: ZeroMQ's own layer over PGM (wire.md 7.6).

A TSDU is ``offset(2) octets``. The octets of all of them are one stream of ZMTP 1.0's frames; the offset says where in this
packet the first message begins, or ends, so that who comes late or has lost something finds its way in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from .._errors import ProtocolError
from .._message import Item, Shared
from ._zmtp1 import Decoder1, frame_header

__all__ = ["Packer", "Unpacker"]

_NONE = 0xFFFF
"""The offset where no message begins."""
_OFFSETS = 2
_ALL = 2**63


class Packer:
    """Messages in, TSDUs out, as late as possible: what has gathered until then shares them.

    Args:
      max_tsdu: the most bytes in one.
    """

    def __init__(self, max_tsdu: int) -> None:
        self._space = max_tsdu - _OFFSETS
        self._parts: list[bytes] = []  # what was added and is not in the stream yet
        self._stream = b""
        self._at = 0  # in the stream: what is before has left
        self._sent = 0  # since the session began
        self._end = 0  # the same, with what waits
        self._bounds: deque[int] = deque((0,))  # where messages begin and end, from the next packet on

    @property
    def waiting(self) -> int:
        """Bytes that have not left."""
        return self._end - self._sent

    def add(self, items: Sequence[Item]) -> None:
        """Takes messages."""
        end, parts, bounds = self._end, self._parts, self._bounds
        for item in items:
            message = item.item if isinstance(item, Shared) else item
            if isinstance(message, bytes):
                header = frame_header(len(message), False)
                parts += (header, message)
                end += len(header) + len(message)
            else:
                assert isinstance(message, list), "over PGM, a publisher sends messages and nothing else"
                for number, body in enumerate(message, 1):
                    header = frame_header(len(body), number < len(message))
                    parts += (header, body)
                    end += len(header) + len(body)
            bounds.append(end)
        self._end = end

    def take(self, most: int) -> list[bytes]:
        """The next TSDUs, at most so many; all but the last of those that wait are full."""
        space, stream, at = self._space, self._stream, self._at
        if self._parts and len(stream) - at < most * space:
            stream = b"".join((stream[at:], *self._parts))
            self._parts.clear()
            at = 0
        out: list[bytes] = []
        sent, bounds = self._sent, self._bounds
        for start in range(at, min(len(stream), at + most * space), space):
            octets = stream[start : start + space]
            while bounds[0] < sent:
                bounds.popleft()
            offset = bounds[0] - sent
            size = len(octets)
            out.append((offset if offset <= size else _NONE).to_bytes(2, "big") + octets)
            sent += size
        at += sent - self._sent
        self._stream, self._at = (stream, at) if at < len(stream) else (b"", 0)
        self._sent = sent
        return out

    def clear(self) -> None:
        """Drops what waits. A message may have left in part: nothing may follow."""
        self._parts.clear()
        self._stream, self._at, self._end = b"", 0, self._sent


class Unpacker:
    """One sender's TSDUs in, messages out, from the first message that begins in one.

    Args:
      max_message_size: the most bytes in a frame; a message with a larger one is broken.
    """

    def __init__(self, max_message_size: float) -> None:
        self._limit = max_message_size
        self._decoder: Decoder1 | None = None  # None: until a message begins
        self.broken = 0
        """How often the stream was no stream of messages, and what followed was skipped up to a message's beginning."""

    @property
    def kept(self) -> int:
        """Some bytes that it holds for a message that is not whole."""
        return 0 if self._decoder is None else self._decoder.kept

    def reset(self) -> None:
        """Forgets the message that is not whole, and waits for one that begins."""
        self._decoder = None

    def unpack_untrusted(self, tsdus: Sequence[bytes | None]) -> list[Item]:
        """What becomes whole with these; None among them stands for any number that are lost."""
        out: list[Item] = []
        done = 0
        if self._decoder is not None and len(tsdus) > 1 and None not in tsdus:
            done = self._unpack_at_once(self._decoder, tsdus, out)
        for tsdu in islice(tsdus, done, None):
            if tsdu is None:
                self._decoder = None
                continue
            start = _OFFSETS
            if self._decoder is None:
                offset = int.from_bytes(tsdu[:_OFFSETS], "big")
                if offset == _NONE:
                    continue
                start += offset
            if start > len(tsdu):
                self._break()
                continue
            if self._decoder is None:
                self._decoder = Decoder1(self._limit)
            self._decoder.feed(tsdu[start:])
            self._decode(self._decoder, out)
        return out

    def _unpack_at_once(self, decoder: Decoder1, tsdus: Sequence[bytes | None], out: list[Item]) -> int:
        """The same, for many of a whole stream; and how many of them it has dealt with."""
        octets = [tsdu[_OFFSETS:] for tsdu in tsdus if tsdu is not None]
        decoder.feed(b"".join(octets))
        if self._decode(decoder, out):
            return len(octets)
        # Those that come after the one in which it breaks are still good.
        left, done = decoder.left, len(octets)
        while left > 0 and done:
            done -= 1
            left -= len(octets[done])
        return done + 1

    def _decode(self, decoder: Decoder1, out: list[Item]) -> bool:
        try:
            out += decoder.decode(_ALL)
        except ProtocolError:
            pass
        if decoder.failed:
            self._break()
        return not decoder.failed

    def _break(self) -> None:
        self._decoder = None
        self.broken += 1
