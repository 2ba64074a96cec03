"""Scatter and Gather: the pipeline of messages of one frame (RFC 49; libzmq.md 1.4: PUSH and PULL without multipart)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from sockets.helpers import (
    RawPeer,
    all_of,
    both,
    fill,
    joined,
    jumping,
    level,
    nothing,
    opened,
    raw_connect,
    settle,
    zmtp_message as message,
)

import trimq
from trimq import Gather, Scatter
from trimq.testing import MemoryTransport


@jumping
@both
async def test_in_turn(place: str) -> None:
    """test_scatter_gather: round-robin out, fair in, one frame each; what is received is a list, as everywhere."""
    async with opened() as ctx:
        scatter, one, other = ctx.socket(Scatter), ctx.socket(Gather), ctx.socket(Gather)
        await joined(ctx, scatter, one, other, place=place)
        for body in (b"0", bytearray(b"1"), memoryview(b"2")):
            await scatter.send(body)
        scatter.send_nowait(b"3")
        assert await all_of(one) == [[b"0"], [b"2"]]
        assert await all_of(other) == [[b"1"], [b"3"]]


@jumping
@both
async def test_from_each_in_turn(place: str) -> None:
    """A Gather takes one message from each peer in turn."""
    async with opened() as ctx:
        gather, one, other = ctx.socket(Gather), ctx.socket(Scatter), ctx.socket(Scatter)
        await joined(ctx, gather, one, other, place=place)
        await one.send_many(b"a%d" % n for n in range(3))
        await other.send_many(b"b%d" % n for n in range(3))
        await settle()
        got = [body for [body] in await gather.receive_many()]
        assert {tuple(sorted(body[:1] for body in got[n : n + 2])) for n in (0, 2, 4)} == {(b"a", b"b")}


@jumping
@both
async def test_without_room(place: str) -> None:
    """Mute: send waits (1.2); connected, messages queue for the endpoint; a Gather gets them when it is there."""
    async with opened(send_hwm=3, receive_hwm=3) as ctx:
        scatter, gather = ctx.socket(Scatter), ctx.socket(Gather)
        assert fill(scatter) == 0
        assert not await level(scatter.wait_sendable)
        scatter.connect(place)
        assert fill(scatter, b"early") == 3
        gather.bind(place)
        assert await all_of(gather) == [[b"early"]] * 3


@jumping
@both
@pytest.mark.parametrize("wrong", [[b"a", b"b"], [b"a"], (b"a",), [], "text", 7, None], ids=repr)
async def test_what_is_no_frame(wrong: Any, place: str) -> None:
    """SNDMORE is EINVAL: a sequence of frames is refused, whatever the call, with what was expected; nothing is sent."""
    async with opened() as ctx:
        scatter, gather = ctx.socket(Scatter), ctx.socket(Gather)
        await joined(ctx, scatter, gather, place=place)
        expected = "one frame, not a sequence" if isinstance(wrong, (list, tuple)) else "a frame is bytes"
        with pytest.raises(TypeError, match=expected):
            await scatter.send(wrong)
        with pytest.raises(TypeError, match=expected):
            scatter.send_nowait(wrong)
        for values in ([b"good", wrong], iter([b"good", wrong])):
            with pytest.raises(TypeError, match=expected):
                await scatter.send_many(values)
        assert await all_of(gather) == [[b"good"], [b"good"]]


@jumping
async def test_a_scatter_discards_what_comes() -> None:
    """As PUSH: it cannot receive; its peer's messages go nowhere, and the connection is kept."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        scatter = ctx.socket(Scatter)
        scatter.bind("tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"GATHER")
        await peer.stream.send_all(message(b"what") + message(b"no", b"one"))
        await settle()
        await scatter.send(b"hello")
        assert await peer.exactly(7) == message(b"hello")
        assert not hasattr(scatter, "receive")
        assert not hasattr(trimq.Gather, "send")


@jumping
@both
async def test_what_was_sent_before_the_end(place: str) -> None:
    """A peer's messages can be received after it is gone (1.6)."""
    async with opened(linger=1) as ctx:
        scatter, gather = ctx.socket(Scatter), ctx.socket(Gather)
        await joined(ctx, gather, scatter, place=place)
        await scatter.send_many([b"1", b"2"])
        scatter.close()
        await settle()
        assert gather.peers == ()
        assert await all_of(gather) == [[b"1"], [b"2"]]
        await nothing(gather)


@jumping
@both
async def test_a_proxy_passes_single_frames(place: str) -> None:
    """What is one frame passes to any type; what may be several is refused, before anything is lost."""
    async with opened() as ctx:
        for front, back in [
            (trimq.Pull, Scatter),
            (trimq.Server, trimq.Client),
            (trimq.Peer, trimq.Peer),
            (trimq.Pull, trimq.Channel),
        ]:
            with pytest.raises(TypeError, match="nothing can pass|one has to receive"):
                await trimq.proxy(ctx.socket(front), ctx.socket(back))
        with pytest.raises(TypeError, match="capture|cannot send"):
            await trimq.proxy(ctx.socket(trimq.Pull), ctx.socket(trimq.Push), capture=ctx.socket(Scatter))
        with pytest.raises(TypeError, match="several frames"):
            await trimq.proxy(ctx.socket(trimq.Pull), ctx.socket(trimq.Push), control=ctx.socket(trimq.Client))
        scatter, gather, push, pull = (ctx.socket(kind) for kind in (Scatter, Gather, trimq.Push, trimq.Pull))
        await joined(ctx, gather, scatter, place=place)
        await joined(ctx, push, pull, place=place.replace("place", "other"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trimq.proxy, gather, push)
            await scatter.send(b"through")
            assert await pull.receive() == [b"through"]
            nursery.cancel_scope.cancel()
