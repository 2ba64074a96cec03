"""What a message is: outside, inside, and how one becomes the other.

Outside a message is always ``list[bytes]``. Inside, where it passes through queues by the million, a
message of one frame is the bare ``bytes`` (rules of speed: nothing is allocated per message that need
not be) and one of several frames is a list of its own. `pack` and `unpack` are the only doors.

Nothing here knows of sockets, peers or bytes on a wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

import attrs

from ._errors import MessageTooLarge

__all__ = [
    "MAX_FRAMES",
    "MAX_GROUP",
    "MAX_SENT",
    "Body",
    "Frame",
    "GroupMessage",
    "Item",
    "Membership",
    "Message",
    "MessageLike",
    "RoutedMessage",
    "Shared",
    "Subscription",
    "group_name",
    "pack",
    "pack_frame",
    "unpack",
]

MAX_FRAMES = 131072
"""The most frames in a message that a peer may send: without a limit, it could send parts of one for ever."""

MAX_SENT = 100_000
"""The most frames in a message that is sent: envelopes may come to it on its way."""

MAX_GROUP = 255
"""The most bytes in a group's name (ZMQ_GROUP_MAX_LENGTH)."""

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


class Membership(Subscription):
    """A Dish's joining of a group, or its leaving, on its way to a Radio: a subscription to exactly this name."""

    __slots__ = ()


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


def pack_frame(value: Frame) -> bytes:
    """The same for types whose messages are one frame.

    Raises:
      TypeError: it is no frame; a sequence of frames is none, however many.
    """
    if type(value) is bytes:
        return value
    given: object = value
    if isinstance(given, (list, tuple)):
        raise TypeError(
            "a message of this type is one frame, not a sequence of them: send each by itself, or join them"
        )
    return _frame(value)


def _routing_number(value: int) -> int:
    number: object = value
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"a routing id is a number, as a RoutedMessage that was received has it, not {number!r}")
    if not 0 < number < 1 << 32:
        raise ValueError(f"a routing id is a number from 1 to {(1 << 32) - 1}, not {number}")
    return number


@attrs.frozen
class RoutedMessage:
    """A message of a Server or Peer, as they send and receive it: one frame, and which peer it goes to or came from.

    Args:
      routing_id: the peer's number, never 0, as messages from it have it.
      body: what is said; what is mutable is copied.

    Raises:
      TypeError, ValueError: it is no such number; the body is not bytes, bytearray or memoryview: a sequence of frames is no
        body.
    """

    routing_id: int = attrs.field(converter=_routing_number)
    """The peer's number."""
    body: bytes = attrs.field(converter=pack_frame)
    """What is said."""


def unpack(bodies: Iterable[Body]) -> list[Message]:
    """These messages as their receiver may have them."""
    return [[body] if type(body) is bytes else body for body in bodies]  # type: ignore[misc]


def group_name(value: bytes | bytearray | memoryview[int] | str) -> bytes:
    """A group's name as the wire has it; a str in UTF-8. How long it may be is for whoever uses it to say.

    Raises:
      TypeError: it is no name.
    """
    if type(value) is bytes:
        return value
    given: object = value
    if isinstance(given, str):
        return given.encode()
    if not isinstance(given, (bytes, bytearray, memoryview)):
        raise TypeError(f"a group's name is text or bytes, not {type(given).__name__}")
    return _frame(value)


@attrs.frozen
class GroupMessage:
    """A message of a Radio to those who joined its group: what Radio sends and Dish receives. One frame, and no more.

    Args:
      group: the group's name, up to 255 bytes and none of them zero; a str is encoded in UTF-8.
      body: what is said.

    Raises:
      TypeError: the body is not bytes, bytearray or memoryview: a sequence of frames is no body.
    """

    group: bytes = attrs.field(converter=group_name)
    """The group's name."""
    body: bytes = attrs.field(converter=pack_frame)
    """What is said."""
