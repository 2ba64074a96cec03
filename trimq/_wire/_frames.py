"""Frames and messages of ZMTP 2.0 to 3.1: ``flags size body`` (RFC 23, 37). The hot path.

Encoding takes the items of a batch and gives as few buffers as it can without copying a large frame;
decoding takes reads as they come and gives items. What a command means is asked of whoever owns the decoder.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from struct import Struct

from .._errors import ProtocolError
from .._message import MAX_FRAMES, Item, Shared, Subscription
from ._commands import subscription
from ._runs import FOLLOWED, LAST, LONG, MORE, RUN, encode_run, header, take_run

__all__ = [
    "COMMAND",
    "LARGE",
    "LONG",
    "MAX_COMMAND",
    "MAX_FRAMES",
    "Decoder",
    "check_header",
    "command_frame",
    "encode",
    "subscription_as_command",
    "subscription_as_message",
]

COMMAND = 4

LARGE = 65536
"""A frame of this many bytes is written from where it is; smaller ones are copied into one buffer."""


MAX_COMMAND = 65536 + 1024
"""Bytes of a command that are accepted whatever the limit for messages is: a READY with all its metadata."""

_MAX_SIZE = 2**63 - 1  # RFC 23, 37


# encoding


def command_frame(body: bytes) -> bytes:
    """A command with its frame."""
    return header(COMMAND, len(body)) + body


def subscription_as_command(item: Subscription) -> bytes:
    """A subscription as ZMTP 3.1 has it (RFC 37)."""
    return command_frame(subscription(item.topic, item.subscribe))


def subscription_as_message(item: Subscription) -> bytes:
    """A subscription as ZMTP 2.0 and 3.0 have it: the message ``01 topic`` or ``00 topic``.

    The size is that of the body, topic and one byte. (libzmq takes the topic's, and with 255 bytes of
    topic sends a long size without saying so.)
    """
    return header(0, len(item.topic) + 1) + (b"\1" if item.subscribe else b"\0") + item.topic


def encode(items: Sequence[Item], form: Callable[[Subscription], bytes] = subscription_as_command) -> list[bytes]:
    """Items as buffers to write one after the other.

    Args:
      items: messages, subscriptions, shared messages.
      form: how this peer takes subscriptions, frame included.

    Returns:
      Small frames joined, frames from `LARGE` on as they are.
    """
    if len(items) > 7 and (run := encode_run(items)) is not None:
        return [run]
    return _encode_any(items, form)


def _encode_any(items: Sequence[Item], form: Callable[[Subscription], bytes]) -> list[bytes]:
    buffers: list[bytes] = []
    parts: list[bytes] = []
    append = parts.append
    for item in items:
        if type(item) is bytes:
            size = len(item)
            if size < len(LAST):
                append(LAST[size])
                append(item)
            elif size < LARGE:
                append(header(0, size))
                append(item)
            else:
                _large(0, item, parts, buffers)
        elif type(item) is list:
            left = len(item)
            for frame in item:
                left -= 1
                size = len(frame)
                if size < len(LAST):
                    append(FOLLOWED[size] if left else LAST[size])
                    append(frame)
                elif size < LARGE:
                    append(header(MORE if left else 0, size))
                    append(frame)
                else:
                    _large(MORE if left else 0, frame, parts, buffers)
        elif isinstance(item, Shared):
            for buffer in _encoded(item, form):
                if len(buffer) < LARGE:
                    append(buffer)
                else:
                    _flush(parts, buffers)
                    buffers.append(buffer)
        elif isinstance(item, Subscription):
            append(form(item))
        else:
            raise TypeError(f"not an item: {item!r}")
    _flush(parts, buffers)
    return buffers


def _encoded(item: Shared, form: Callable[[Subscription], bytes]) -> list[bytes]:
    # Its bytes are those of a clear ZMTP 2.0 to 3.1 peer; other framings and ciphers encode `item.item`.
    if item.encoded is None:
        item.encoded = _encode_any([item.item], form)
        if len(item.encoded) == 1 and len(item.encoded[0]) < LARGE:
            item.joined = item.encoded[0]
    return item.encoded


def _large(flags: int, frame: bytes, parts: list[bytes], buffers: list[bytes]) -> None:
    parts.append(header(flags, len(frame)))
    _flush(parts, buffers)
    buffers.append(frame)


def _flush(parts: list[bytes], buffers: list[bytes]) -> None:
    if parts:
        buffers.append(b"".join(parts))
        parts.clear()


# decoding


def check_header(flags: int, size: int, max_message_size: int) -> None:
    """Refuses a frame by its header, before anything of its body is kept."""
    # libzmq ignores the reserved bits and MORE on a command, and sends neither. Who sends them is out of
    # step, and its next header would be whatever comes along.
    if flags > 7:
        raise ProtocolError(f"the peer sent a frame with reserved flags: 0x{flags:02x}")
    if flags & COMMAND:
        if flags & MORE:
            raise ProtocolError("the peer sent a command frame with the MORE flag")
        # A limit for messages must not stop READY, SUBSCRIBE or PING (in libzmq it does).
        max_message_size = max(max_message_size, MAX_COMMAND)
    if size > max_message_size:
        raise ProtocolError(
            f"the peer sent a frame of {size} bytes; "
            + ("RFC 37 allows 2^63-1" if size > _MAX_SIZE else f"at most {max_message_size} are accepted")
        )


_MOST_COMMANDS = 64  # that are no items, until others may run: a read holds tens of thousands of them
_RUN_FROM = 1024  # bytes that must be there before a run is looked for
_PATIENCE = 4096  # messages, at most, until it is looked for again after a failure
_long_size: Callable[[bytes, int], tuple[int]] = Struct(">Q").unpack_from


class Decoder:
    """One connection's frames in, items out.

    What was fed is never joined, but for the pieces of one frame, once it is complete. Nothing is
    allocated because a header announces it.

    Args:
      max_message_size: the most bytes in one frame of a message (libzmq too counts by the frame).
      command: takes a command's body; returns the item that it is, or None. May raise ProtocolError.
    """

    def __init__(self, max_message_size: float, command: Callable[[bytes], Item | None]) -> None:
        self._limit = _MAX_SIZE if max_message_size >= _MAX_SIZE else math.floor(max_message_size)
        # The flags of the common case, a message of one short frame: it needs no other check if no limit is shorter.
        self._plain = 0 if self._limit >= 255 else -1
        self._command = command
        self._fed: deque[bytes] = deque()
        self._data = b""  # what is being decoded,
        self._pos: int = 0  # from here on
        self._rest = b""  # the beginning of a header, 8 bytes at most
        self._frames: list[bytes] | None = None  # of a message that has not ended
        self._pieces: list[bytes | bytearray] = []  # of a frame that is not complete,
        self._missing = 0  # how many bytes it needs,
        self._flags = 0  # and its flags
        self._wait = 0  # messages until a run is looked for again
        self._next_wait = RUN
        self._error: ProtocolError | None = None
        self._skipped = 0  # commands that were no items, in this call
        self.unfinished = False  # the last call has stopped at so many of them
        self.exhausted = True  # the last call has decoded all that there was

    def feed(self, data: bytes) -> None:
        """Takes bytes of the peer; only stores them."""
        self.exhausted = False
        if data:
            # Some streams give a bytearray; frames cut out of it would be bytearrays too. Bytes are not copied.
            self._fed.append(bytes(data))

    def decode(self, limit: int) -> list[Item]:
        """Up to ``limit`` items; fewer means that it needs more bytes, or that the next call raises.

        Commands that are no items do not count; there are no more of them than the bytes that were fed hold.

        Raises:
          ProtocolError: what comes next is no frame, or a command that breaks the protocol. Again on each call.
        """
        if self._error is not None:
            raise self._error
        out: list[Item] = []
        self._skipped = 0
        try:
            while (
                len(out) < limit and self._skipped < _MOST_COMMANDS and (self._pos < len(self._data) or self._load(out))
            ):
                done = len(out)
                if self._wait > 0:
                    self._decode_frames(out, min(limit - done, self._wait))
                    self._wait -= len(out) - done
                else:
                    self._decode_run(out, limit)
                    self._decode_frames(out, limit - len(out))
        except ProtocolError as error:
            self._error = error
            self._fed.clear()
            self._data, self._frames, self._pieces, self._missing = b"", None, [], 0
            if not out:
                raise
        else:
            self.unfinished = self._skipped >= _MOST_COMMANDS
            self.exhausted = len(out) < limit and not self.unfinished
        return out

    def _decode_frames(self, out: list[Item], room: int) -> None:
        """Decodes the data frame by frame, ``room`` of them or up to a command or the end; sets what is left aside."""
        data, pos, limit, frames, append = self._data, self._pos, self._limit, self._frames, out.append
        end = len(data)
        plain = self._plain if frames is None else -1
        try:
            for _ in repeat(None, room):
                size = data[pos + 1]
                flags = data[pos]
                start = pos + 2
                if flags == plain:
                    stop = start + size
                    if stop > end:
                        break
                    append(data[start:stop])
                    pos = stop
                    continue
                if flags & LONG:
                    start = pos + 9
                    if start > end:
                        raise IndexError
                    (size,) = _long_size(data, pos + 1)
                if flags >= COMMAND or size > limit:
                    check_header(flags, size, limit)
                stop = start + size
                if stop > end or flags >= COMMAND:
                    break
                if flags & MORE:
                    if frames is None:
                        frames, plain = [], -1
                    elif len(frames) >= MAX_FRAMES - 1:
                        raise _too_many_frames()
                    frames.append(data[start:stop])
                elif frames is None:
                    append(data[start:stop])
                else:
                    frames.append(data[start:stop])
                    append(frames)
                    frames, plain = None, self._plain
                pos = stop
            else:
                self._pos, self._frames = pos, frames
                return
        except IndexError:  # the header is not complete
            self._data, self._pos, self._rest, self._frames = b"", 0, data[pos:], frames
            return
        self._frames = frames
        if stop > end:
            self._pieces = [data[start:]] if start < end else []
            self._missing, self._flags = stop - end, flags
            self._data, self._pos = b"", 0
        else:
            self._pos = stop
            self._complete(flags, data[start:stop], out)

    def _complete(self, flags: int, body: bytes, out: list[Item]) -> None:
        """A frame that did not come in one piece, or a command."""
        if flags & COMMAND:
            # Between the frames of a message it is odd, but libzmq takes it, and so does this.
            item = self._command(body)
            if item is None:
                self._skipped += 1
            else:
                out.append(item)
            return
        frames = self._frames or []
        if len(frames) >= MAX_FRAMES - (flags & MORE):
            raise _too_many_frames()
        frames.append(body)
        if flags & MORE:
            self._frames = frames
        else:
            self._frames = None
            out.append(frames if len(frames) > 1 else body)

    def _decode_run(self, out: list[Item], limit: int) -> None:
        """Decodes messages at a third of the price, as long as the next ones look like the first.

        Where they do not, it is not tried again for a while, and for twice as long the next time.
        """
        if self._frames is not None or len(self._data) - self._pos < _RUN_FROM:
            return
        done = len(out)
        self._pos, broken = take_run(self._data, self._pos, limit - done, self._limit, out)
        if len(out) > done:
            self._next_wait = RUN
        if broken:
            self._wait = self._next_wait
            self._next_wait = min(2 * self._next_wait, _PATIENCE)

    def _load(self, out: list[Item]) -> bool:
        """Goes on to what was fed next, and completes the frame that waits for it; False: needs more bytes."""
        pieces = self._pieces
        while self._fed:
            data = self._fed.popleft()
            if not self._missing:
                self._data, self._pos, self._rest = self._rest + data, 0, b""
                return True
            piece = data[: self._missing]
            self._missing -= len(piece)
            # Small pieces share a buffer: a frame that trickles in takes little more memory than its bytes.
            if len(piece) >= LARGE:
                pieces.append(piece)
            elif pieces and isinstance(pieces[-1], bytearray):
                pieces[-1] += piece
            else:
                pieces.append(bytearray(piece))
            if not self._missing:
                # One that came in one piece is not copied.
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                self._pieces = []
                self._data, self._pos = data, len(piece)
                self._complete(self._flags, bytes(body), out)
                return True
        return False

    @property
    def missing(self) -> int:
        """How many bytes the frame lacks that is not complete; 0 if there is none."""
        return 0 if self._fed else self._missing


def _too_many_frames() -> ProtocolError:
    return ProtocolError(f"the peer sent a message of more than {MAX_FRAMES} frames")
