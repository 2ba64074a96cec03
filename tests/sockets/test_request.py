"""Req.request: correlated, repeated if wanted, under the caller's cancel scope; it cannot lock up (demand 11)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from sockets.helpers import both, drain, joined, jumping, opened, reaches, remote, settle

import trimq
from trimq.testing import MemoryTransport


async def answer(rep: Any) -> None:
    async for question in rep:
        await rep.send([b"re", *question])


@jumping
@both
async def test_a_reply(place: str) -> None:
    """Question and answer, any number of times; plain send and receive go on as before."""
    async with opened() as ctx, trio.open_nursery() as nursery:
        req, rep = ctx.socket(trimq.Req), ctx.socket(trimq.Rep)
        await joined(ctx, rep, req, place=place)
        nursery.start_soon(answer, rep)
        for number in range(3):
            assert await req.request(b"%d" % number) == [b"re", b"%d" % number]
        await req.send([b"a", b"b"])
        assert await req.receive() == [b"re", b"a", b"b"]
        nursery.cancel_scope.cancel()


@jumping
@both
async def test_cancelled(place: str) -> None:
    """The next request can be sent at once, and the reply to the cancelled one is not taken for its own."""
    async with opened() as ctx:
        req, rep = ctx.socket(trimq.Req), ctx.socket(trimq.Rep)
        await joined(ctx, rep, req, place=place)
        with trio.move_on_after(1) as scope:
            await req.request(b"slow")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, rep)
            assert await req.request(b"quick") == [b"re", b"quick"]
            with trio.move_on_after(0):
                await req.request(b"not even sent")
            await req.send(b"plain")
            assert await req.receive() == [b"re", b"plain"]
            nursery.cancel_scope.cancel()


@jumping
async def test_a_request_that_nobody_has_got_is_taken_back() -> None:
    """It does not pile up for an endpoint that is not there."""
    async with opened() as ctx:
        req = ctx.socket(trimq.Req)
        req.connect("tcp://place:1")
        for _ in range(10):
            with trio.move_on_after(0.1):
                await req.request(b"x", retries=3, retry_after=0.01)
        assert len(remote(req).outbox) == 0
        rep = ctx.socket(trimq.Rep)
        rep.bind("tcp://place:1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, rep)
            assert await req.request(b"y") == [b"re", b"y"]
            await req.flush()
            nursery.cancel_scope.cancel()
        assert drain_rep(rep) == []


def drain_rep(rep: Any) -> list[Any]:
    try:
        return drain(rep)
    except trimq.StateError:
        return []


@jumping
@both
async def test_retries_go_to_the_next_peer(place: str) -> None:
    """A server that says nothing costs retry_after; a reply of its own that comes late is dropped."""
    async with opened() as ctx:
        req, mute, good = ctx.socket(trimq.Req), ctx.socket(trimq.Rep), ctx.socket(trimq.Rep)
        mute.bind(place)
        good.bind(place + "2")
        req.connect(place)
        await req.wait_for_peers(1)
        req.connect(place + "2")
        await req.wait_for_peers(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, good)
            start = trio.current_time()
            assert await req.request(b"1", retries=1, retry_after=5.0) == [b"re", b"1"]
            assert trio.current_time() - start == pytest.approx(5.0)
            assert await mute.receive() == [b"1"]
            await mute.send(b"late")
            assert await req.request(b"2", retries=1, retry_after=5.0) == [b"re", b"2"]
            nursery.cancel_scope.cancel()


@jumping
async def test_the_last_attempt_waits() -> None:
    """For how long is the caller's to say."""
    async with opened() as ctx:
        req, rep = ctx.socket(trimq.Req), ctx.socket(trimq.Rep)
        await joined(ctx, rep, req, place="tcp://place:1")
        with trio.move_on_after(100) as scope:
            await req.request(b"x", retries=2, retry_after=1.0)
        assert scope.cancelled_caught
        assert rep.statistics().received == 3


@jumping
async def test_a_lost_peer_is_not_waited_for() -> None:
    """What was asked of it is asked again at once, when retries are wanted."""
    network = MemoryTransport()
    async with opened(network, reconnect_interval=0.01) as ctx:
        req, rep = ctx.socket(trimq.Req), ctx.socket(trimq.Rep)
        await joined(ctx, rep, req, place="tcp://place:1")
        replies: list[Any] = []

        async def ask() -> None:
            replies.append(await req.request(b"x", retries=1, retry_after=1000.0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            assert await rep.receive() == [b"x"]
            network.drop_all()
            await reaches(req.endpoints[0], trimq.EndpointState.READY)
            await rep.send(b"for nobody")
            assert await rep.receive() == [b"x"]
            await rep.send(b"here")
        assert replies == [[b"here"]]
        assert trio.current_time() < 100


@jumping
async def test_out_of_turn() -> None:
    """One at a time; a plain request that is due comes first, unless relaxed; arguments are checked."""
    async with opened() as ctx:
        req, rep = ctx.socket(trimq.Req), ctx.socket(trimq.Rep)
        await joined(ctx, rep, req, place="tcp://place:1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(req.request, b"x")
            await settle()
            with pytest.raises(trio.BusyResourceError):
                await req.request(b"y")
            with pytest.raises(trimq.StateError):
                await req.send(b"y")
            nursery.cancel_scope.cancel()
        await req.send(b"plain")
        with pytest.raises(trimq.StateError, match="relaxed"):
            await req.request(b"y")
        req.relaxed = True
        with trio.move_on_after(1):
            await req.request(b"y")
        for wrong in ({"retries": 1}, {"retries": -1}, {"retries": 1, "retry_after": 0}):
            with pytest.raises(ValueError):
                await req.request(b"y", **wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await req.request("text")  # type: ignore[arg-type]
        assert await requests(req) is False


async def requests(req: Any) -> bool:
    with trio.move_on_after(1):
        await req.request(b"", retries=0, retry_after=math.inf)
        return True
    return False


@jumping
@pytest.mark.parametrize("end", ["shutdown", "close"])
async def test_the_end(end: str) -> None:
    """ETERM or SocketClosed, as every pending call."""
    async with opened() as ctx:
        req = ctx.socket(trimq.Req)
        req.connect("tcp://place:1")
        outcome: list[type[BaseException]] = []

        async def ask() -> None:
            try:
                await req.request(b"x", retries=5, retry_after=50.0)
            except trimq.ZMQError as error:
                outcome.append(type(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(70)
            (ctx.shutdown if end == "shutdown" else req.close)()
        assert outcome == [trimq.ContextTerminated if end == "shutdown" else trimq.SocketClosed]


@jumping
async def test_another_tasks_request_is_left_alone() -> None:
    """A request that is refused since another one is due takes nothing back."""
    async with opened() as ctx:
        req, rep = ctx.socket(trimq.Req), ctx.socket(trimq.Rep)
        req.connect("tcp://place:1")
        await req.send(b"mine")
        with pytest.raises(trimq.StateError):
            await req.request(b"another's")
        rep.bind("tcp://place:1")
        await rep.send(await rep.receive())
        assert await req.receive() == [b"mine"]
