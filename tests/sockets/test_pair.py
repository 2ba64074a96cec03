"""Pair: RFC 31, and what trimq promises for it (design 2: one peer, told; no reconnect after a loss)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from sockets.helpers import (
    RawPeer,
    all_of,
    both,
    drain,
    fill,
    joined,
    joins,
    jumping,
    level,
    nothing,
    opened,
    raw_connect,
    reaches,
    settle,
    zmtp_message,
)

import trimq
from trimq import EndpointState, Pair, ProtocolError, StateError
from trimq.testing import MemoryTransport


@jumping
@both
async def test_both_ways(place: str) -> None:
    """test_pair_inproc, test_pair_tcp: bounce, two frames each way; either side first, many in a row."""
    async with opened() as ctx:
        one, other = ctx.socket(Pair), ctx.socket(Pair)
        await joined(ctx, one, other, place=place)
        for here, there in ((one, other), (other, one)):
            await here.send([b"A" * 32, b"B" * 32])
            assert await there.receive() == [b"A" * 32, b"B" * 32]
        await one.send_many(b"%d" % n for n in range(500))
        await other.send_many(b"%d" % n for n in range(500))
        assert await all_of(one) == await all_of(other) == [[b"%d" % n] for n in range(500)]


@jumping
@both
async def test_alone(place: str) -> None:
    """No peer: send and receive block (libzmq.md 1.4); connected, messages queue for the endpoint."""
    async with opened(send_hwm=3, receive_hwm=3) as ctx:
        one, other = ctx.socket(Pair), ctx.socket(Pair)
        assert fill(one) == 0
        assert not await level(one.wait_sendable)
        assert not await level(one.wait_receivable)
        other.connect(place)
        assert fill(other, b"early") == 3
        one.bind(place)
        assert await all_of(one) == [[b"early"]] * 3


@jumping
@both
async def test_a_second_peer_is_refused(place: str) -> None:
    """Exclusive (RFC 31); libzmq leaves the second connected and unheard, trimq refuses it and says why (design 2)."""
    async with opened() as ctx:
        one, first, second = (ctx.socket(Pair) for _ in range(3))
        await joined(ctx, one, first, place=place)
        endpoint = second.connect(place)
        # Over a network the refusal comes after the handshake, which was its first: so this is a loss (design 2).
        await reaches(endpoint, EndpointState.LOST)
        with pytest.raises(ProtocolError, match="one peer at a time"):
            await endpoint.ready()
        assert second.endpoints == ()
        assert len(one.peers) == 1
        await one.send(b"to the first")
        await nothing(second)
        assert await first.receive() == [b"to the first"]
        await first.send(b"from the first")
        assert await one.receive() == [b"from the first"]


@jumping
@both
async def test_the_next_peer_comes_when_the_first_is_gone(place: str) -> None:
    """A peer that attaches after the first is gone is accepted; what the first sent can still be received."""
    async with opened() as ctx:
        one, first = ctx.socket(Pair), ctx.socket(Pair, linger=1)
        await joined(ctx, one, first, place=place)
        await first.send(b"last words")
        await first.aclose()
        await settle()
        assert one.peers == ()
        assert fill(one) == 0
        second = ctx.socket(Pair)
        await joins(second, place)
        await one.wait_for_peers()
        await one.send(b"to the second")
        assert await second.receive() == [b"to the second"]
        await second.send(b"hello")
        assert await all_of(one) == [[b"last words"], [b"hello"]]


@jumping
@both
async def test_a_refused_pair_may_try_again(place: str) -> None:
    """Refused is not for good: a new connect gets through once there is room."""
    async with opened() as ctx:
        one, first, second = (ctx.socket(Pair) for _ in range(3))
        await joined(ctx, one, first, place=place)
        await reaches(second.connect(place), EndpointState.LOST)
        first.close()
        await settle()
        await joins(second, place)
        await second.send(b"through")
        assert await one.receive() == [b"through"]


@jumping
@both
async def test_connects_once(place: str) -> None:
    """A second connect while there is one is refused at once, and changes nothing."""
    async with opened() as ctx:
        one, other = ctx.socket(Pair), ctx.socket(Pair)
        endpoint = other.connect(place)
        with pytest.raises(StateError, match="one peer"):
            other.connect(place)
        with pytest.raises(StateError, match="one peer"):
            other.connect("inproc://elsewhere")
        assert other.endpoints == (endpoint,)
        one.bind(place)
        await endpoint.ready()
        await one.wait_for_peers()
        with pytest.raises(StateError, match="one peer"):
            one.connect("inproc://elsewhere")
        endpoint.close()
        await settle()
        await joins(other, place)


@jumping
@both
async def test_after_a_loss(place: str) -> None:
    """The endpoint ends (lost, with its cause); receive goes on waiting; a new connect dials afresh (design 2)."""
    async with opened() as ctx:
        one, other = ctx.socket(Pair), ctx.socket(Pair)
        await joined(ctx, one, other, place=place)
        [endpoint] = other.endpoints
        async with trio.open_nursery() as nursery:
            received: list[Any] = []

            async def receive() -> None:
                received.append(await other.receive())

            nursery.start_soon(receive)
            await settle()
            one.close()
            await reaches(endpoint, EndpointState.LOST)
            assert isinstance(endpoint.cause, OSError)
            assert other.endpoints == ()
            assert other.peers == ()
            assert fill(other) == 0
            again = ctx.socket(Pair)
            again.bind(place)
            assert not received
            new = await joins(other, place)
            assert new is not endpoint
            await again.send(b"hello again")
        assert received == [[b"hello again"]]


@jumping
async def test_before_its_first_handshake_it_keeps_trying() -> None:
    """Nobody is there, then somebody: no loss, so it dials on (design 2)."""
    async with opened() as ctx:
        one, other = ctx.socket(Pair), ctx.socket(Pair)
        endpoint = one.connect("tcp://place:1")
        await reaches(endpoint, EndpointState.WAITING)
        await trio.sleep(60)  # of the clock that jumps: many attempts
        assert endpoint.state in (EndpointState.WAITING, EndpointState.CONNECTING)
        other.bind("tcp://place:1")
        await one.send(b"at last")
        assert await other.receive() == [b"at last"]


@jumping
async def test_with_itself() -> None:
    """A Pair that connects to where it is bound would have two peers: refused."""
    async with opened() as ctx:
        one = ctx.socket(Pair)
        one.bind("inproc://place")
        endpoint = one.connect("inproc://place")
        with pytest.raises(ProtocolError, match="one peer"):
            await endpoint.ready()


@jumping
async def test_marks_in_both_directions() -> None:
    """inproc: each direction has its writer's SNDHWM and its reader's RCVHWM (libzmq.md 5.2)."""
    async with opened() as ctx:
        one, other = ctx.socket(Pair, send_hwm=1, receive_hwm=2), ctx.socket(Pair, send_hwm=10, receive_hwm=20)
        await joined(ctx, one, other, place="inproc://place")
        assert (fill(one), fill(other)) == (21, 12)
        one.send_hwm, other.receive_hwm = 2, 5
        drain(other)
        assert fill(one) == 7


@jumping
async def test_a_peer_that_went_takes_no_room() -> None:
    """What was queued for a peer that is gone is dropped, and not in the next one's way (libzmq.md 1.6)."""
    network = MemoryTransport(buffer=200)
    async with opened(network, send_hwm=2) as ctx:
        one = ctx.socket(Pair)
        one.bind("tcp://place:1")
        deaf = RawPeer(await raw_connect(network))
        await deaf.handshake(b"PAIR")
        await one.wait_for_peers()
        while await level(lambda: one.send(b"x" * 150)):
            pass
        await deaf.stream.aclose()
        await settle()
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"PAIR")
        await one.wait_for_peers()
        await one.send(b"fresh")
        assert await peer.exactly(7) == zmtp_message(b"fresh")


@jumping
async def test_a_disconnected_peer_is_not_in_the_way() -> None:
    """After a disconnect whose queue still lingers the Pair has no peer, and takes another; the queue is not its."""
    network = MemoryTransport(buffer=200)
    async with opened(network, linger=1000) as ctx:
        listener = network.bind("deaf:1", trimq._options.Settings())
        one, other = ctx.socket(Pair), ctx.socket(Pair)
        endpoint = one.connect("tcp://deaf:1")
        deaf = RawPeer(await listener.accept())
        await deaf.handshake(b"PAIR")
        await endpoint.ready()
        while await level(lambda: one.send(b"x" * 150)):
            pass
        endpoint.close()
        assert one.peers == ()
        assert fill(one) == 0
        one.bind("tcp://place:1")
        await joins(other, "tcp://place:1")
        await one.wait_for_peers()
        await one.send(b"fresh")
        assert await other.receive() == [b"fresh"]
        assert len(await deaf.rest()) > 1000  # what lingered


@jumping
async def test_is_a_channel() -> None:
    """A trio.abc.Channel, for what takes one; closing is aclose (design 1)."""
    async with opened() as ctx:
        one, other = ctx.socket(Pair), ctx.socket(Pair)
        assert isinstance(one, trio.abc.Channel)
        await joined(ctx, one, other, place="inproc://place")

        async def echo(channel: trio.abc.Channel[Any]) -> None:
            async with channel:
                async for message in channel:
                    await channel.send(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, one)
            await other.send(b"hello")
            assert await other.receive() == [b"hello"]
            nursery.cancel_scope.cancel()
        with pytest.raises(trimq.SocketClosed):
            await one.send(b"closed by its block")
