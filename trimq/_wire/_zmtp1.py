"""Frames and messages of ZMTP 1.0: ``length flags body``, where the length counts the flags (RFC 13; libzmq 2.x).

For peers that are old, and therefore few: plain, not fast. What is decoded and encoded is the same as elsewhere; there
are no commands, so that a subscription is a message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._errors import ProtocolError
from .._message import MAX_FRAMES, Item, Shared, Subscription

__all__ = ["Decoder1", "encode", "frame", "take_frame_untrusted"]

_LONG = 0xFF
_MAX_SIZE = 2**63 - 1


def frame(body: bytes, *, more: bool = False) -> bytes:
    """A frame."""
    size = len(body) + 1
    length = bytes([size]) if size < _LONG else b"\xff" + size.to_bytes(8, "big")
    return length + (b"\1" if more else b"\0") + body


def encode(items: Sequence[Item]) -> list[bytes]:
    """Items as buffers to write one after the other."""
    parts: list[bytes] = []
    for item in items:
        body = item.item if isinstance(item, Shared) else item
        if isinstance(body, Subscription):
            body = (b"\1" if body.subscribe else b"\0") + body.topic
        frames = [body] if isinstance(body, bytes) else body
        parts += [frame(one, more=number < len(frames)) for number, one in enumerate(frames, 1)]
    return [b"".join(parts)] if parts else []


def take_frame_untrusted(buffer: bytes | bytearray, start: int, limit: float) -> tuple[int, bytes, int] | None:
    """The frame that begins there: its flags, its body, and where it ends. None while it is incomplete.

    Raises:
      ProtocolError: it has no length, or its body is longer than the limit.
    """
    if len(buffer) == start:
        return None
    size, begin = buffer[start], start + 1
    if size == _LONG:
        if len(buffer) - start < 10:
            return None
        size, begin = int.from_bytes(buffer[start + 1 : start + 9], "big"), start + 9
    if not size:
        raise ProtocolError("the peer sent a frame of ZMTP 1.0 without flags: its length is 0")
    if size - 1 > limit:
        raise ProtocolError(f"the peer sent a frame of {size - 1} bytes; at most {limit} are accepted")
    stop = begin + size
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
        self._error: ProtocolError | None = None

    def feed(self, data: bytes) -> None:
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
        place = 0
        try:
            while len(out) < limit and (found := take_frame_untrusted(self._data, place, self._limit)) is not None:
                flags, body, place = found
                if len(self._frames) >= MAX_FRAMES - (flags & 1):
                    raise ProtocolError(f"the peer sent a message of more than {MAX_FRAMES} frames")
                self._frames.append(body)
                if not flags & 1:  # the other bits mean nothing
                    out.append(self._frames if len(self._frames) > 1 else body)
                    self._frames = []
        except ProtocolError as error:
            self._error = error
            if not out:
                raise
        del self._data[:place]
        return out
