"""Frames and messages of ZMTP 1.0: ``length flags body``, where the length counts the flags (RFC 13; libzmq 2.x).

For peers that are old, and for PGM. What is decoded and encoded is the same as elsewhere; there are no commands, so that
a subscription is a message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from struct import Struct

from .._errors import ProtocolError
from .._message import MAX_FRAMES, Item, Shared, Subscription

__all__ = ["Decoder1", "encode", "frame", "frame_header", "take_frame_untrusted"]

_LONG = 0xFF
_MAX_SIZE = 2**63 - 1
_HEADER, _LONG_HEADER = Struct(">BB"), Struct(">BQB")
_LENGTH = Struct(">Q").unpack_from
_FRAME_COST = 64  # bytes that a frame of an unfinished message takes beside its own


def frame_header(size: int, more: bool) -> bytes:
    """What comes before a body of so many bytes."""
    if size < _LONG - 1:
        return _HEADER.pack(size + 1, more)
    return _LONG_HEADER.pack(_LONG, size + 1, more)


def frame(body: bytes, *, more: bool = False) -> bytes:
    """A frame."""
    return frame_header(len(body), more) + body


def encode(items: Sequence[Item]) -> list[bytes]:
    """Items as buffers to write one after the other."""
    parts: list[bytes] = []
    for item in items:
        body = item.item if isinstance(item, Shared) else item
        if isinstance(body, Subscription):
            body = (b"\1" if body.subscribe else b"\0") + body.topic
        frames = [body] if isinstance(body, bytes) else body
        for number, one in enumerate(frames, 1):
            parts += (frame_header(len(one), number < len(frames)), one)
    return [b"".join(parts)] if parts else []


def _bounds_untrusted(buffer: bytes | bytearray, start: int, limit: float) -> tuple[int, int]:
    """Where the flags of the frame that begins there are, and where it ends; where its length is cut, where that ends.

    Raises:
      ProtocolError: it has no length, or its body is longer than the limit.
    """
    if len(buffer) == start:
        return start, start + 1
    size, begin = buffer[start], start + 1
    if size == _LONG:
        if len(buffer) - start < 10:
            return start, start + 10
        size, begin = int.from_bytes(buffer[start + 1 : start + 9], "big"), start + 9
    if not size:
        raise ProtocolError("the peer sent a frame of ZMTP 1.0 without flags: its length is 0")
    if size - 1 > limit:
        raise ProtocolError(f"the peer sent a frame of {size - 1} bytes; at most {limit} are accepted")
    return begin, begin + size


def take_frame_untrusted(buffer: bytes | bytearray, start: int, limit: float) -> tuple[int, bytes, int] | None:
    """The frame that begins there: its flags, its body, and where it ends. None while it is incomplete.

    Raises:
      ProtocolError: it has no length, or its body is longer than the limit.
    """
    begin, stop = _bounds_untrusted(buffer, start, limit)
    if len(buffer) < stop:
        return None
    return buffer[begin], bytes(buffer[begin + 1 : stop]), stop


class Decoder1:
    """One connection's frames in, items out; as `Decoder` is for later versions.

    Args:
      max_message_size: the most bytes in one frame.
      first: what is given before all that the peer sends.
    """

    exhausted = False
    unfinished = False
    missing = 0

    def __init__(self, max_message_size: float, first: Sequence[Item] = ()) -> None:
        self._limit = _MAX_SIZE if max_message_size >= _MAX_SIZE else math.floor(max_message_size)
        self._first = list(first)
        self._data = bytearray()
        self._frames: list[bytes] = []
        self._frames_cost = 0
        self._needed = 1
        self._error: ProtocolError | None = None

    @property
    def failed(self) -> bool:
        """Whether what comes next is no frame."""
        return self._error is not None

    @property
    def left(self) -> int:
        """Bytes that were fed and are not decoded: after an error, from the frame on that is none."""
        return len(self._data)

    @property
    def kept(self) -> int:
        """Some bytes that it holds: what is not decoded, and the frames of a message that is not whole."""
        return len(self._data) + self._frames_cost

    def feed(self, data: bytes | memoryview[int]) -> None:
        """Takes bytes of the peer; only stores them."""
        self._data += data

    def decode(self, limit: int) -> list[Item]:
        """Up to ``limit`` items; fewer means that it needs more bytes, or that the next call raises.

        Raises:
          ProtocolError: what comes next is no frame. Again on each call.
        """
        if self._error is not None:
            raise self._error
        out, self._first = self._first, []
        data, place, size = self._data, 0, len(self._data)
        if size < self._needed:
            return out
        most = self._limit + 1
        try:
            with memoryview(data) as view:  # so that a body is copied once
                while len(out) < limit:
                    # Those that are whole and single are by far the most common: without a call.
                    length, begin = data[place] if place < size else 0, place + 1
                    if length == _LONG and size - place > 9:
                        length, begin = _LENGTH(data, begin)[0], place + 9
                    stop = begin + length
                    if 0 < length <= most and stop <= size and not self._frames and not data[begin] & 1:
                        out.append(bytes(view[begin + 1 : stop]))
                        place = stop
                        continue
                    begin, stop = _bounds_untrusted(data, place, self._limit)
                    if stop > size:
                        self._needed = stop - place
                        break
                    flags = data[begin]
                    if len(self._frames) >= MAX_FRAMES - (flags & 1):
                        raise ProtocolError(f"the peer sent a message of more than {MAX_FRAMES} frames")
                    body = bytes(view[begin + 1 : stop])
                    place = stop
                    if flags & 1:  # the other bits mean nothing
                        self._frames.append(body)
                        self._frames_cost += len(body) + _FRAME_COST
                    elif self._frames:
                        self._frames.append(body)
                        out.append(self._frames)
                        self._frames, self._frames_cost = [], 0
                    else:
                        out.append(body)
                else:
                    self._needed = 1
        except ProtocolError as error:
            self._error = error
        del data[:place]
        if self._error is not None and not out:
            raise self._error
        return out
