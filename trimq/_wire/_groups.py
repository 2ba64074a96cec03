"""ZMTP as Radio and Dish speak it: JOIN and LEAVE one way, a group's name and a body the other (libzmq's drafts)."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import ProtocolError
from .._message import MAX_GROUP, Item, Membership, Subscription
from ._commands import JOIN, LEAVE, membership, split_untrusted
from ._connection import Connection
from ._frames import command_frame, encode
from ._greeting import Version

__all__ = ["GroupConnection"]


def _membership_as_command(item: Subscription) -> bytes:
    """As every version of ZMTP 3 has it: libzmq does not ask for the peer's."""
    return command_frame(membership(item.topic, item.subscribe))


class GroupConnection(Connection):
    """A `Connection` whose messages are ``[group, body]``, and whose subscriptions are `Membership`.

    Who ``publishes`` (Radio) takes the peer's memberships; who does not (Dish) takes its messages, each of which has
    to be a group's name and one frame.
    """

    _refusal: ProtocolError | None = None

    def _meet_untrusted(self, version: Version) -> None:
        raise ProtocolError(f"the peer speaks ZMTP {version.value}, which has no {self._socket_type}")

    def encode(self, items: Sequence[Item]) -> list[bytes]:
        """These items as buffers to write one after the other."""
        return encode(items, _membership_as_command)

    def decode_untrusted(self, limit: int) -> list[Item]:
        """Up to ``limit`` messages or memberships; fewer: it needs more bytes, or the next call raises.

        Raises:
          ProtocolError: the peer broke the protocol: also a message that is not a group's name and a body. (libzmq's
            DISH closes on it, too; its RADIO takes no messages, and lets them pass.)
        """
        if self._refusal is not None:
            raise self._refusal
        items = super().decode_untrusted(limit)
        if self._publishes:
            return items
        for number, item in enumerate(items):
            if type(item) is not list or len(item) != 2 or len(item[0]) > MAX_GROUP:
                self._refusal = ProtocolError(f"the peer sent {_described(item)}, and not a group's name and a body")
                if not number:
                    raise self._refusal
                return items[:number]
        return items

    @property
    def exhausted(self) -> bool:
        """Whether `decode_untrusted` has taken all that there was."""
        return self._refusal is None and super().exhausted

    def _command_untrusted(self, body: bytes) -> Item | None:
        name, group = split_untrusted(body)
        if name not in (JOIN, LEAVE):
            super()._command_untrusted(body)
            return None  # a subscription means nothing here
        if len(group) > MAX_GROUP or b"\0" in group:  # libzmq's RADIO aborts on the one, and cuts the other
            raise ProtocolError(f"the peer sent {name.decode()} with what is no group's name: {group[:20]!r}")
        return Membership(group, subscribe=name == JOIN) if self._publishes else None


def _described(item: Item) -> str:
    if not isinstance(item, list):
        return "a message of one frame"
    if len(item) == 2:
        return f"a group's name of {len(item[0])} bytes, where {MAX_GROUP} is the most"
    return f"a message of {len(item)} frames"
