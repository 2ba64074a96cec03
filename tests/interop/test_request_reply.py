"""REQ's correlation and its relaxed order, with libzmq's ROUTER, REP and REQ (ZMQ_REQ_CORRELATE, ZMQ_REQ_RELAXED)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from interop.harness import Peer, running

import trimq

pytestmark = pytest.mark.pyzmq


async def a_req(side: str, ctx: trimq.Context, peer: Peer, **options: bool) -> Any:
    """A REQ of trimq or of libzmq, which is held to the same, as the oracle."""
    if side == "trimq":
        return ctx.socket(trimq.Req, routing_id=b"asker", **options)
    return await peer.socket("REQ", ROUTING_ID=b"asker", **{"REQ_" + name.upper(): 1 for name in options})


async def connect(socket: Any, address: object) -> None:
    connecting = socket.connect(str(address))
    if not isinstance(socket, trimq.Socket):
        await connecting


SIDES = pytest.mark.parametrize("side", ["trimq", "libzmq"])


@SIDES
async def test_correlate_with_a_router(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """Requests carry four bytes that count up; a reply without them, or with others, is dropped."""
    async with running(10) as ctx:
        req = await a_req(side, ctx, peer, correlate=True)
        router = await peer.socket("ROUTER")
        await connect(req, await router.bind(fresh("tcp")))
        numbers = []
        for text in (b"one", b"two"):
            await req.send([text, b"frame"])
            [asker, number, empty, *body] = await router.receive()
            assert (asker, empty, body) == (b"asker", b"", [text, b"frame"])
            assert len(number) == 4
            numbers.append(int.from_bytes(number, "little"))
            for wrong in (bytes(4), number[:3] + bytes([number[3] ^ 1])):
                await router.send([b"asker", wrong, b"", b"another's reply"])
            await router.send([b"asker", number, b"", b"reply to " + text])
            assert await req.receive() == [b"reply to " + text]
        assert (numbers[0] + 1) % 2**32 == numbers[1]


@SIDES
async def test_correlate_with_a_rep(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A REP passes the number back without a word of it; trimq's Rep answers libzmq's REQ so, and the other way round."""
    async with running(10) as ctx:
        req = await a_req(side, ctx, peer, correlate=True)
        rep: Any
        if side == "trimq":
            rep = await peer.socket("REP")
            address: object = await rep.bind(fresh("tcp"))
        else:
            rep = ctx.socket(trimq.Rep)
            address = rep.bind(fresh("tcp"))
        await connect(req, address)
        for number in range(20):
            await req.send([b"%d" % number, b""])
            assert await rep.receive() == [b"%d" % number, b""]
            await rep.send([b"", b"%d" % number])
            assert await req.receive() == [b"", b"%d" % number]


@SIDES
async def test_relaxed_with_a_router(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """A second request gives up the first: the late reply to that one is dropped."""
    async with running(10) as ctx:
        req = await a_req(side, ctx, peer, correlate=True, relaxed=True)
        router = await peer.socket("ROUTER")
        await connect(req, await router.bind(fresh("tcp")))
        await req.send(b"given up")
        await req.send(b"in force")
        old, new = await router.receive(), await router.receive()
        assert (old[-1], new[-1]) == (b"given up", b"in force")
        await router.send([*old[:-1], b"too late"])
        await router.send([*new[:-1], b"in time"])
        assert await req.receive() == [b"in time"]


@SIDES
async def test_relaxed_with_a_rep(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """The REP answers both requests in turn, and only the second answer is received."""
    async with running(10) as ctx:
        req = await a_req(side, ctx, peer, correlate=True, relaxed=True)
        rep: Any
        if side == "trimq":
            rep = await peer.socket("REP")
            address: object = await rep.bind(fresh("tcp"))
        else:
            rep = ctx.socket(trimq.Rep)
            address = rep.bind(fresh("tcp"))
        await connect(req, address)
        await req.send(b"given up")
        await req.send(b"in force")
        for text in (b"given up", b"in force"):
            assert await rep.receive() == [text]
            await rep.send(b"reply to " + text)
        assert await req.receive() == [b"reply to in force"]


async def test_strict_order_holds_with_a_real_peer(peer: Peer, fresh: Callable[[str], str]) -> None:
    """Out of turn, Req and Rep raise StateError, and the conversation goes on (RFC 28)."""
    async with running(10) as ctx:
        req = ctx.socket(trimq.Req)
        rep = await peer.socket("REP")
        req.connect(await rep.bind(fresh("tcp")))
        with pytest.raises(trimq.StateError):
            await req.receive()
        await req.send(b"question")
        with pytest.raises(trimq.StateError):
            await req.send(b"another")
        assert await rep.receive() == [b"question"]
        await rep.send(b"answer")
        assert await req.receive() == [b"answer"]


async def test_a_reply_without_its_empty_frame_ends_the_connection_or_is_dropped(
    peer: Peer, fresh: Callable[[str], str]
) -> None:
    """What a libzmq ROUTER sends that is no reply is never received as one; the next request is answered (RFC 28)."""
    async with running(10) as ctx:
        req = ctx.socket(trimq.Req, routing_id=b"asker", relaxed=True, reconnect_interval=0.01)
        router = await peer.socket("ROUTER", ROUTER_HANDOVER=1)
        req.connect(await router.bind(fresh("tcp")))
        await req.send(b"one")
        assert await router.receive() == [b"asker", b"", b"one"]
        await router.send([b"asker", b"no empty frame"])
        await router.send([b"asker", b"no", b"empty", b"frame"])
        await req.send(b"two")
        assert await router.receive() == [b"asker", b"", b"two"]
        await router.send([b"asker", b"", b"reply"])
        assert await req.receive() == [b"reply"]


async def test_requests_go_round(peer: Peer, fresh: Callable[[str], str]) -> None:
    """A Req with several libzmq REPs asks each in turn, and takes the reply of the one asked (RFC 28)."""
    async with running(10) as ctx:
        req = ctx.socket(trimq.Req)
        reps = [await peer.socket("REP") for _ in range(3)]
        for rep in reps:
            await req.connect(await rep.bind(fresh("tcp"))).ready()
        for turn in range(2):
            for number, rep in enumerate(reps):
                await req.send(b"%d %d" % (turn, number))
                assert await rep.receive() == [b"%d %d" % (turn, number)]
                await rep.send(b"from %d" % number)
                assert await req.receive() == [b"from %d" % number]
