"""Channel: RFC 51, a Pair of messages of one frame; what trimq promises for both (design 2)."""

from __future__ import annotations

from typing import Any

import pytest
from sockets.helpers import (
    all_of,
    both,
    fill,
    joined,
    jumping,
    level,
    nothing,
    opened,
    reaches,
    settle,
)

import trimq
from trimq import Channel, EndpointState, ProtocolError, StateError
from trimq.testing import MemoryTransport


@jumping
@both
async def test_both_ways(place: str) -> None:
    """test_channel: either side first, many in a row."""
    async with opened() as ctx:
        one, other = ctx.socket(Channel), ctx.socket(Channel)
        await joined(ctx, one, other, place=place)
        for here, there in ((one, other), (other, one)):
            await here.send(b"A" * 32)
            assert await there.receive() == [b"A" * 32]
        await one.send_many(b"%d" % n for n in range(500))
        await other.send_many([b"%d" % n for n in range(500)])
        assert await all_of(one) == await all_of(other) == [[b"%d" % n] for n in range(500)]


@jumping
@both
async def test_alone(place: str) -> None:
    """No peer: send and receive wait; connected, messages queue for the endpoint."""
    async with opened(send_hwm=3, receive_hwm=3) as ctx:
        one, other = ctx.socket(Channel), ctx.socket(Channel)
        assert fill(one) == 0
        assert not await level(one.wait_sendable)
        assert not await level(one.wait_receivable)
        other.connect(place)
        assert fill(other, b"early") == 3
        one.bind(place)
        assert await all_of(one) == [[b"early"]] * 3


@jumping
@both
@pytest.mark.parametrize("wrong", [[b"a", b"b"], [b"a"], (), "text", None], ids=repr)
async def test_what_is_no_frame(wrong: Any, place: str) -> None:
    """Sending multipart is refused (wire.md 6), and nothing is sent."""
    async with opened() as ctx:
        one, other = ctx.socket(Channel), ctx.socket(Channel)
        await joined(ctx, one, other, place=place)
        with pytest.raises(TypeError):
            await one.send(wrong)
        with pytest.raises(TypeError):
            await one.send_many([wrong])
        await nothing(other)


@jumping
@both
async def test_a_second_peer_is_refused(place: str) -> None:
    """Exclusive (RFC 51): the second is refused and told why, a second connect is a StateError; the first goes on."""
    async with opened() as ctx:
        one, first, second = (ctx.socket(Channel) for _ in range(3))
        await joined(ctx, one, first, place=place)
        endpoint = second.connect(place)
        await reaches(endpoint, EndpointState.LOST)
        with pytest.raises(ProtocolError, match="a Channel has one peer at a time"):
            await endpoint.ready()
        with pytest.raises(StateError, match="a Channel has one peer"):
            first.connect(place)
        await first.send(b"from the first")
        assert await one.receive() == [b"from the first"]
        await nothing(second)


@jumping
@both
async def test_no_reconnect_after_a_loss(place: str) -> None:
    """Design 2: after a loss the endpoint ends, lost; a new connect dials afresh, and the other side takes the newcomer."""
    async with opened(MemoryTransport()) as ctx:
        one, other = ctx.socket(Channel), ctx.socket(Channel)
        one.bind(place)
        endpoint = other.connect(place)
        await endpoint.ready()
        await one.wait_for_peers()
        one.disconnect_peer(one.peers[0])
        await reaches(endpoint, EndpointState.LOST)
        await settle()
        assert one.peers == other.peers == ()
        assert other.endpoints == ()
        await other.connect(place).ready()
        await other.send(b"afresh")
        assert await one.receive() == [b"afresh"]


@jumping
async def test_it_keeps_trying_until_the_first_handshake() -> None:
    """Design 2: nobody there yet is no loss."""
    async with opened(reconnect_interval=1.0) as ctx:
        other = ctx.socket(Channel)
        endpoint = other.connect("tcp://place:1")
        await reaches(endpoint, EndpointState.WAITING)
        one: Channel = ctx.socket(trimq.Channel)
        one.bind("tcp://place:1")
        await endpoint.ready()
