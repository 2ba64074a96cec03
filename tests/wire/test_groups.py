"""ZMTP of Radio and Dish without I/O: wire.md 5.3, 9 (59, 60)."""

from __future__ import annotations

import pytest

from trimq import ProtocolError
from trimq._message import Membership
from trimq._wire._groups import GroupConnection
from trimq.wire import Null


def made(*, publishes: bool) -> GroupConnection:
    return GroupConnection(
        socket_type="RADIO" if publishes else "DISH",
        accepts=frozenset({"DISH" if publishes else "RADIO"}),
        mechanism=Null(),
        identity=None,
        publishes=publishes,
    )


def connected(*, publishes: bool) -> GroupConnection:
    """One whose handshake is complete."""
    one, other = made(publishes=publishes), made(publishes=not publishes)
    to_one, to_other = other.begin(), one.begin()
    while to_one or to_other:
        to_one, to_other = (
            other.handshake_untrusted(to_other) if to_other else b"",
            one.handshake_untrusted(to_one) if to_one else b"",
        )
    assert one.peer is not None
    return one


def test_memberships_travel() -> None:
    """JOIN and LEAVE in wire.md's bytes, and back to what they were."""
    dish, radio = connected(publishes=False), connected(publishes=True)
    items = [Membership(b"grp", True), Membership(b"grp", False), Membership(b"", True)]
    [data] = dish.encode(items)
    assert data == bytes.fromhex("04 08 04 4A 4F 49 4E 67 72 70 04 09 05 4C 45 41 56 45 67 72 70 04 05 04 4A 4F 49 4E")
    radio.feed(data)
    assert radio.decode_untrusted(10) == items


def test_what_was_good_is_given_first() -> None:
    """`Wire.decode_untrusted`: what was complete before is given, and then it raises, again and again."""
    dish = connected(publishes=False)
    dish.feed(b"\1\1g\0\1b" + b"\0\1x" + b"\1\1g\0\1b")
    assert dish.decode_untrusted(10) == [[b"g", b"b"]]
    assert not dish.exhausted
    for _ in range(2):
        with pytest.raises(ProtocolError, match="a message of one frame, and not a group's name and a body"):
            dish.decode_untrusted(10)


def test_a_dish_is_not_told_of_memberships() -> None:
    """They are for Radios; other commands mean what they always do."""
    dish = connected(publishes=False)
    dish.feed(b"\4\6\4JOINg" + b"\4\7\4PING\0\0")
    assert dish.decode_untrusted(10) == []
    assert dish.take_reply() == b"\4\5\4PONG"


@pytest.mark.parametrize("greeting", [b"\x01\x00", b"\xff" + bytes(8) + b"\x7f\x01\x00\x00\x00"], ids=["1.0", "2.0"])
def test_older_peers_have_no_groups(greeting: bytes) -> None:
    """ZMTP 1.0 and 2.0 know no such types; libzmq sends them commands all the same, which they take for messages."""
    dish = made(publishes=False)
    dish.begin()
    with pytest.raises(ProtocolError, match="which has no DISH"):
        dish.handshake_untrusted(greeting)
