"""What a message is: outside, inside, and how one becomes the other.

Outside a message is always ``list[bytes]``. Inside, where it passes through queues by the million, a
message of one frame is the bare ``bytes`` (rules of speed: nothing is allocated per message that need
not be) and one of several frames is a list of its own. `pack` and `unpack` are the only doors.

Nothing here knows of sockets, peers or bytes on a wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

from ._errors import MessageTooLarge

__all__ = [
    "MAX_FRAMES",
    "MAX_SENT",
    "Body",
    "Frame",
    "Item",
    "Message",
    "MessageLike",
    "Shared",
    "Subscription",
    "pack",
    "unpack",
]

MAX_FRAMES = 131072
"""The most frames in a message that a peer may send: without a limit, it could send parts of one for ever."""

MAX_SENT = 100_000
"""The most frames in a message that is sent: envelopes may come to it on its way."""

Frame: TypeAlias = "bytes | bytearray | memoryview[int]"
"""One frame as the user may give it."""

Message: TypeAlias = list[bytes]
"""A message as it is received: its frames."""

MessageLike: TypeAlias = "Frame | Sequence[Frame]"
"""A message as the user may give it: one frame, or a sequence of frames."""


Body: TypeAlias = "bytes | list[bytes]"
"""A message inside: one frame bare, several as a list that is nobody else's."""


class Subscription:
    """A subscription (or its cancellation) on its way to a publisher, among the messages.

    It is no message: it is queued whatever the high-water mark, and the wire chooses its form
    (a command for ZMTP 3.1, ``01 topic`` or ``00 topic`` before).
    """

    __slots__ = ("subscribe", "topic")

    def __init__(self, topic: bytes, subscribe: bool) -> None:
        self.topic: bytes = topic
        self.subscribe: bool = subscribe

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Subscription):
            return NotImplemented
        return self.topic == other.topic and self.subscribe == other.subscribe

    def __hash__(self) -> int:
        return hash((self.topic, self.subscribe))

    def __repr__(self) -> str:
        return f"Subscription({self.topic!r}, {self.subscribe})"


class Shared:
    """One message on its way to many peers: whoever encodes it first keeps the bytes for the rest.

    Attributes:
      encoded: the buffers to write, once somebody has encoded it.
      joined: the same where it is a single small one; something else until then, and otherwise.
    """

    __slots__ = ("encoded", "item", "joined")

    def __init__(self, item: Body) -> None:
        self.item: Body = item
        self.encoded: list[bytes] | None = None
        self.joined: bytes | None = None


Item: TypeAlias = "bytes | list[bytes] | Subscription | Shared"
"""What travels through a pipe."""


def _frame(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(cast("Frame", value))
    if isinstance(value, str):
        raise TypeError(f"a frame is bytes, not str: send {value[:20]!r}.encode() instead")
    raise TypeError(f"a frame is bytes, bytearray or memoryview, not {type(value).__name__}")


def pack(value: MessageLike, most: int = MAX_SENT) -> Body:
    """Takes a snapshot of what the user gave: bytes are shared, anything mutable is copied once.

    Raises:
      TypeError: not a frame nor a sequence of frames (``str`` and iterators included).
      ValueError: a sequence without frames.
      MessageTooLarge: more than ``most`` frames.
    """
    kind: object = type(value)
    if kind is not list and kind is not tuple:  # by far the most common
        if isinstance(value, (bytes, bytearray, memoryview, str)):
            return _frame(value)
        if not isinstance(value, Sequence):
            raise TypeError(
                "a message is bytes, bytearray, memoryview or a sequence of them (a list, a tuple), "
                f"not {type(value).__name__}"
            )
    size = len(value)
    if size == 1:
        frame = value[0]
        return frame if type(frame) is bytes else _frame(frame)
    if size > most:
        raise MessageTooLarge(f"a message has at most {most} frames, not {size}; receivers close on more")
    if not size:
        raise ValueError("a message has at least one frame: send b'' or [b''] for an empty one")
    body: list[Any] = list(value)
    for frame in body:
        if type(frame) is not bytes:
            return [_frame(frame) for frame in body]
    return body


def unpack(bodies: Iterable[Body]) -> list[Message]:
    """These messages as their receiver may have them."""
    return [[body] if type(body) is bytes else body for body in bodies]  # type: ignore[misc]
