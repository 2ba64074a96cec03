"""Messages that look alike, many at one go: without a branch, or a call, for each of them.

Short cuts beside the plain path in `_frames`, with which they agree byte for byte. They speculate: that all that is to
be encoded is of one kind, and that what comes next has the layout of the first. Where it is not so, they say so, and have
done nothing. Headers are here too, since both paths look them up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import Any

from .._message import Item

__all__ = ["FOLLOWED", "LAST", "LONG", "MORE", "RUN", "encode_run", "header", "take_run"]

MORE = 1
LONG = 2


def header(flags: int, size: int) -> bytes:
    """A frame's header, of the short form where the size allows it (RFC 23, 37)."""
    if size < 256:
        return bytes((flags, size))
    return bytes((flags | LONG,)) + size.to_bytes(8, "big")


_PREBUILT = 2048
LAST = tuple(header(0, size) for size in range(_PREBUILT))
"""Headers of a message's last frame, by its size; a size beyond is an IndexError."""
FOLLOWED = tuple(header(MORE, size) for size in range(_PREBUILT))
"""Headers of a frame that others follow."""


def encode_run(items: Sequence[Item]) -> bytes | None:
    """Small messages as one buffer, or shared ones that have been encoded before; None if that is not what they are."""
    first = items[0]
    # Headers and bodies take turns in one list. A frame too long for the table is an IndexError; what is no frame is a
    # TypeError, from len or at the latest from join, which looks at all types before it copies anything.
    try:
        if type(first) is bytes:
            with suppress(TypeError):
                parts: list[Any] = [b""] * (2 * len(items))
                parts[0::2] = [LAST[len(item)] for item in items]  # type: ignore[arg-type]
                parts[1::2] = items
                return b"".join(parts)
        elif type(first) is not list:
            return b"".join([item.joined for item in items])  # type: ignore[union-attr,misc]
        return _join_messages([item if type(item) is list else [item] for item in items])  # type: ignore[list-item]
    except (IndexError, TypeError, AttributeError):
        return None


def _join_messages(messages: list[list[bytes]]) -> bytes:
    bodies = list(chain.from_iterable(messages))
    headers = [FOLLOWED[len(body)] for body in bodies]
    last = -1
    for frames in map(len, messages):
        last += frames
        headers[last] = LAST[len(bodies[last])]
    parts = [b""] * (2 * len(bodies))
    parts[0::2] = headers
    parts[1::2] = bodies
    return b"".join(parts)


RUN = 32
"""Messages that are decoded at one go."""

_MOST_FRAMES = 8
_LONGEST = 4096  # bytes of such a message: what a larger one costs is its copy


@lru_cache(maxsize=256)
def _layout(sizes: tuple[int, ...]) -> tuple[int, list[tuple[int, bytes]], Callable[[bytes, int], tuple[bytes, ...]]]:
    """A message's length, what its headers' bytes look like one run through, and what takes a run apart."""
    checks: list[tuple[int, bytes]] = []
    form = ""
    at = 0
    for number, size in enumerate(sizes):
        head = header(MORE if number < len(sizes) - 1 else 0, size)
        checks += [(at + offset, bytes([byte]) * RUN) for offset, byte in enumerate(head)]
        form += f"{len(head)}x{size}s"
        at += len(head) + size
    return at, checks, Struct(form * RUN).unpack_from


def _sizes(data: bytes, pos: int, limit: int) -> tuple[int, ...] | None:
    """The sizes of the frames of the message that begins here; None if it is not one for a run."""
    sizes: list[int] = []
    start = pos
    while len(sizes) < _MOST_FRAMES and pos + 9 <= len(data):
        flags = data[pos]
        if flags > MORE | LONG:
            return None
        if flags & LONG:
            size, pos = int.from_bytes(data[pos + 1 : pos + 9], "big"), pos + 9
            if size < 256:
                return None  # never sent, and not what `header` gives
        else:
            size, pos = data[pos + 1], pos + 2
        pos += size
        if size > limit or pos - start > _LONGEST:
            return None
        sizes.append(size)
        if not flags & MORE:
            return tuple(sizes)
    return None


def take_run(data: bytes, pos: int, room: int, limit: int, out: list[Any]) -> tuple[int, bool]:
    """Decodes messages as long as the next `RUN` look like the first: their headers are then equally far apart.

    Args:
      data: what was received; a message begins at ``pos``.
      room: how many messages are wanted.
      limit: bytes that a frame may have.
      out: gets the messages.

    Returns:
      the position behind them, and whether the run was broken (not only at an end).
    """
    sizes = _sizes(data, pos, limit)
    if sizes is None:
        return pos, True
    stride, checks, unpack = _layout(sizes)
    length = RUN * stride
    frames = len(sizes)
    end = len(data)
    while end - pos >= length and room >= RUN:
        stop = pos + length
        for offset, expected in checks:
            if data[pos + offset : stop : stride] != expected:
                return pos, True
        if frames == 1:
            out += unpack(data, pos)
        else:
            out += map(list, zip(*[iter(unpack(data, pos))] * frames, strict=True))
        pos = stop
        room -= RUN
    return pos, False
