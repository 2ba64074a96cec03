"""Req and Rep: RFC 28; libzmq's test_spec_req, test_spec_rep, test_req_relaxed, test_req_correlate, test_invalid_rep."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from sockets.helpers import (
    RawPeer,
    all_of,
    both,
    drain,
    dropped,
    fill,
    joined,
    joins,
    jumping,
    level,
    nothing,
    opened,
    raw_connect,
    remote,
    settle,
    zmtp_message,
)

import trimq
from trimq import Dealer, Rep, Req, Router, StateError
from trimq.testing import MemoryTransport

# Req: in turn


@jumping
@both
async def test_in_turn(place: str) -> None:
    """test_reqrep_*: a question, its answer, and again; several frames each way."""
    async with opened() as ctx:
        rep, req = ctx.socket(Rep), ctx.socket(Req)
        await joined(ctx, rep, req, place=place)
        for n in range(3):
            await req.send([b"q%d" % n, b"Q"])
            assert await rep.receive() == [b"q%d" % n, b"Q"]
            await rep.send([b"a%d" % n, b"", b"A"])
            assert await req.receive() == [b"a%d" % n, b"", b"A"]


@jumping
@both
async def test_req_out_of_turn(place: str) -> None:
    """EFSM: twice send, receive first or twice; the state is as it was, and nothing was sent (libzmq.md 1.4, REQ)."""
    async with opened() as ctx:
        rep, req = ctx.socket(Rep), ctx.socket(Req)
        await joined(ctx, rep, req, place=place)
        for receive in (req.receive, req.receive_many):
            with pytest.raises(StateError, match="asked nothing"):
                await receive()
        with pytest.raises(StateError, match="asked nothing"):
            req.receive_nowait()
        await req.send(b"1")
        with pytest.raises(StateError, match="awaits a reply"):
            await req.send(b"2")
        with pytest.raises(StateError, match="awaits a reply"):
            req.send_nowait(b"2")
        assert await rep.receive() == [b"1"]
        await nothing_to_take(rep)
        await rep.send(b"a1")
        assert await req.receive() == [b"a1"]
        with pytest.raises(StateError):
            await req.receive()
        await req.send(b"3")
        assert await rep.receive() == [b"3"]


async def nothing_to_take(rep: Rep) -> None:
    """A Rep that owes a reply has no request to take, and says so."""
    await settle()
    with pytest.raises(StateError, match="owes a reply"):
        rep.receive_nowait()


@jumping
@both
async def test_req_levels(place: str) -> None:
    """Writable when it may ask, readable when the reply is there: nothing else that came counts (8.3 pitfall 1)."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        router, req = ctx.socket(Router), ctx.socket(Req)
        req.connect(place)
        router.bind(place)
        assert await level(req.wait_sendable)
        assert not await level(req.wait_receivable)
        await req.send(b"q")
        assert not await level(req.wait_sendable)
        peer, _, _ = await router.receive()
        await router.send([peer, b"no delimiter"])
        await router.send([peer, b""])
        assert not await level(req.wait_receivable)
        assert not await level(lambda: trimq.wait_any(req))
        await router.send([peer, b"", b"a"])
        assert await level(req.wait_receivable)
        assert not await level(req.wait_sendable)
        await router.send([peer, b"", b"a second, too many"])
        await settle()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(req.wait_sendable)
            await settle()
            assert req.receive_nowait() == [b"a"]
        assert await level(req.wait_sendable)
        assert not await level(req.wait_receivable)


@jumping
async def test_one_receive_at_a_time() -> None:
    """Req and Rep: a second concurrent receive raises trio.BusyResourceError (promise 1); the first is untouched."""
    async with opened() as ctx:
        rep, req = ctx.socket(Rep), ctx.socket(Req)
        await joined(ctx, rep, req, place="inproc://place")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rep.receive)
            await settle()
            for receive in (rep.receive, rep.receive_many):
                with pytest.raises(trio.BusyResourceError):
                    await receive()
            await req.send(b"q")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(req.receive)
            await settle()
            for receive in (req.receive, req.receive_many):
                with pytest.raises(trio.BusyResourceError):
                    await receive()
            await rep.send(b"a")


@jumping
@both
async def test_a_cancelled_receive_still_awaits(place: str) -> None:
    """Cancelled means nothing happened: the reply is still awaited, and is there for the next receive (promise 1)."""
    async with opened() as ctx:
        rep, req = ctx.socket(Rep), ctx.socket(Req)
        await joined(ctx, rep, req, place=place)
        await req.send(b"q")
        assert not await level(lambda: forget(req.receive))
        with pytest.raises(StateError):
            await req.send(b"again")
        assert await rep.receive() == [b"q"]
        await rep.send(b"a")
        assert await req.receive() == [b"a"]


@jumping
async def test_a_cancelled_send_asked_nothing() -> None:
    """A send that waited for a peer and was cancelled leaves Req where it was."""
    async with opened() as ctx:
        req, rep = ctx.socket(Req), ctx.socket(Rep)
        req.bind("inproc://place")
        assert not await level(lambda: req.send(b"cancelled"))
        with pytest.raises(StateError, match="asked nothing"):
            req.receive_nowait()
        await joins(rep, "inproc://place")
        await req.send(b"q")
        assert await rep.receive() == [b"q"]


async def forget(receive: Callable[[], Awaitable[Any]]) -> None:
    await receive()


# Req: whom it asks, what it takes


@jumping
@both
async def test_req_round_robin(place: str) -> None:
    """test_spec_req: bound to five Reps, requests go round in the order they came."""
    async with opened() as ctx:
        req, reps = ctx.socket(Req), [ctx.socket(Rep) for _ in range(5)]
        await joined(ctx, req, *reps, place=place)
        for n in range(10):
            await req.send(b"%d" % n)
            assert await reps[n % 5].receive() == [b"%d" % n]
            await reps[n % 5].send(b"a")
            assert await req.receive() == [b"a"]


@jumping
@both
async def test_req_without_peers(place: str) -> None:
    """test_spec_req: no peers: neither goes; send waits for the first."""
    async with opened() as ctx:
        req, rep = ctx.socket(Req), ctx.socket(Rep)
        req.bind(place)
        assert fill(req) == 0
        assert not await level(req.wait_sendable)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(req.send, b"q")
            await settle()
            await joins(rep, place)
        assert await rep.receive() == [b"q"]


@jumping
@both
async def test_req_on_the_wire(place: str) -> None:
    """test_spec_req: [id][empty][ABC][DEF]; the reply [id][empty][GHI] is taken without its envelope."""
    async with opened() as ctx:
        router, req = ctx.socket(Router), ctx.socket(Req)
        await joined(ctx, router, req, place=place)
        await req.send([b"ABC", b"DEF"])
        peer, *rest = await router.receive()
        assert rest == [b"", b"ABC", b"DEF"]
        await router.send([peer, b"", b"GHI"])
        assert await req.receive() == [b"GHI"]


@jumping
@both
async def test_only_who_was_asked_answers(place: str) -> None:
    """RFC 28: Req "SHALL accept an incoming message only from the last peer that it sent a request to"."""
    async with opened() as ctx:
        req, asked, other = ctx.socket(Req), ctx.socket(Router), ctx.socket(Router, mandatory=True)
        await joined(ctx, req, asked, other, place=place)
        await other.wait_for_peers()
        await req.send(b"q")
        peer, *_ = await asked.receive()
        await req.wait_for_peers(2)
        [wrong] = other._by_id.remotes
        await other.send([wrong, b"", b"unasked"])
        assert not await level(req.wait_receivable)
        await asked.send([peer, b"", b"a"])
        assert await req.receive() == [b"a"]
        await asked.send([peer, b"", b"a second"])
        await settle()
        await req.send(b"q2")
        peer, *_ = await other.receive()
        await other.send([peer, b"", b"a2"])
        assert await req.receive() == [b"a2"]


@jumping
@both
async def test_what_is_no_reply_is_skipped(place: str) -> None:
    """test_invalid_rep: without delimiter or body it is skipped in silence; the connection and the request live on.

    (libzmq's network session closes the connection on it, and never connects again; trimq is kinder on purpose.)
    """
    async with opened() as ctx:
        router, req = ctx.socket(Router), ctx.socket(Req)
        await joined(ctx, router, req, place=place)
        await req.send(b"q")
        peer, *_ = await router.receive()
        with pytest.raises(ValueError, match="routing id and then a frame"):  # libzmq swallows it
            await router.send([peer])
        for wrong in ([b""], [b"b"], [b"x", b"", b"b"], [b"", b""][:1], [b"x", b"b"]):
            await router.send([peer, *wrong])
        assert not await level(req.wait_receivable)
        await router.send([peer, b"", b"b"])
        assert await req.receive() == [b"b"]


@jumping
@both
async def test_an_empty_reply_is_a_reply(place: str) -> None:
    """An empty frame, and several, after the delimiter are the body."""
    async with opened() as ctx:
        router, req = ctx.socket(Router), ctx.socket(Req)
        await joined(ctx, router, req, place=place)
        for body in ([b""], [b"", b""], [b"", b"x"]):
            await req.send(b"q")
            peer, *_ = await router.receive()
            await router.send([peer, b"", *body])
            assert await req.receive() == body


# Req: correlate, relaxed


@jumping
@both
async def test_correlate(place: str) -> None:
    """test_req_correlate: [id][4 bytes][empty][ABC][DEF]; a reply with another number is discarded in silence."""
    async with opened() as ctx:
        router, req = ctx.socket(Router), ctx.socket(Req, correlate=True)
        await joined(ctx, router, req, place=place)
        numbers = []
        for _ in range(3):
            await req.send([b"ABC", b"DEF"])
            peer, number, *rest = await router.receive()
            assert len(number) == 4
            assert rest == [b"", b"ABC", b"DEF"]
            numbers.append(int.from_bytes(number, sys.byteorder))
            wrong = bytes([number[0] ^ 1]) + number[1:]
            await router.send([peer, wrong, b"", b"DEF"])
            await router.send([peer, b"", b"DEF"])
            await router.send([peer, number, b"DEF"])
            await router.send([peer, number, b""])  # no body
            assert not await level(req.wait_receivable)
            await router.send([peer, number, b"", b"GHI"])
            assert await req.receive() == [b"GHI"]
        # random start, one more for each request (libzmq.md 1.4)
        assert [(number - numbers[0]) % 2**32 for number in numbers] == [0, 1, 2]


@jumping
async def test_correlate_counts_round() -> None:
    """A 32-bit number."""
    async with opened() as ctx:
        router, req = ctx.socket(Router), ctx.socket(Req, correlate=True, relaxed=True)
        await joined(ctx, router, req, place="inproc://place")
        req._number = 0xFFFFFFFF
        await req.send(b"")
        await req.send(b"")
        assert [message[1] for message in drain(router)] == [b"\xff" * 4, bytes(4)]


@jumping
@both
async def test_relaxed(place: str) -> None:
    """test_req_relaxed, step by step: five Reps; late replies are discarded; the pipes are kept."""
    async with opened() as ctx:
        req, reps = ctx.socket(Req, relaxed=True, correlate=True), [ctx.socket(Rep) for _ in range(5)]
        await joined(ctx, req, *reps, place=place)
        assert await level(req.wait_sendable)
        # two requests without receiving
        await req.send([b"A", b"B"])
        assert await level(req.wait_sendable)
        assert not await level(req.wait_receivable)
        await req.send([b"C", b"D"])
        assert await reps[0].receive() == [b"A", b"B"]
        assert await reps[1].receive() == [b"C", b"D"]
        # a late reply to the first is discarded
        await reps[0].send([b"late", b"reply"])
        assert not await level(req.wait_receivable)
        await reps[1].send([b"DO", b"IT"])
        assert await req.receive() == [b"DO", b"IT"]
        # a reply that is there but unread is discarded by the next request
        await req.send(b"G")
        assert await reps[2].receive() == [b"G"]
        await reps[2].send(b"unread")
        await req.wait_receivable()
        await req.send(b"H")
        assert not await level(req.wait_receivable)
        assert await reps[3].receive() == [b"H"]
        await reps[3].send(b"read")
        assert await req.receive() == [b"read"]
        # the round goes on: nobody was cut off
        for n in (4, 0, 1, 2, 3):
            await req.send(b"%d" % n)
            assert await reps[n].receive() == [b"%d" % n]
            await reps[n].send(b"ok")
            assert await req.receive() == [b"ok"]


@jumping
@both
async def test_relaxed_before_there_is_a_peer(place: str) -> None:
    """test_req_relaxed: two requests before the Router binds; of its two answers only the second's is delivered."""
    async with opened() as ctx:
        req, router = ctx.socket(Req, relaxed=True, correlate=True), ctx.socket(Router)
        req.connect(place)
        await req.send(b"TO_BE_DISCARDED")
        await req.send(b"TO_BE_ANSWERED")
        router.bind(place)
        for message in (b"TO_BE_DISCARDED", b"TO_BE_ANSWERED"):
            peer, number, empty, body = await router.receive()
            assert body == message
            await router.send([peer, number, empty, body])
        assert await req.receive() == [b"TO_BE_ANSWERED"]
        await settle()
        with pytest.raises(StateError):
            req.receive_nowait()


@jumping
async def test_relaxed_serves_who_already_receives() -> None:
    """A receive that waits while the next request goes out gets that one's reply."""
    async with opened() as ctx:
        req, router = ctx.socket(Req, relaxed=True, correlate=True), ctx.socket(Router)
        await joined(ctx, router, req, place="inproc://place")
        await req.send(b"1")
        received = []
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                received.append(await req.receive())

            nursery.start_soon(receive)
            await settle()
            await req.send(b"2")
            for message in drain(router):
                await router.send(message)
        assert received == [[b"2"]]


@jumping
async def test_options_act_at_any_time() -> None:
    """REQ_RELAXED and REQ_CORRELATE hold from the next request on; a reply has the envelope of its own request (2.1)."""
    async with opened() as ctx:
        req, router = ctx.socket(Req), ctx.socket(Router)
        await joined(ctx, router, req, place="inproc://place")
        await req.send(b"plain")
        req.correlate = True
        message = await router.receive()
        assert len(message) == 3
        await router.send(message)
        assert await req.receive() == [b"plain"]
        await req.send(b"numbered")
        req.correlate = False
        message = await router.receive()
        assert len(message) == 4
        await router.send(message)
        assert await req.receive() == [b"numbered"]
        await req.send(b"1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(req.wait_sendable)
            await settle()
            req.relaxed = True
        await req.send(b"2")


# Peers that go


@jumping
@both
async def test_the_peer_that_was_asked_is_gone(place: str) -> None:
    """Nobody asks again (libzmq.md 1.4): a strict Req waits; the reply may come from any peer once that one is gone."""
    async with opened() as ctx:
        req, one, other = ctx.socket(Req), ctx.socket(Rep), ctx.socket(Router)
        await joined(ctx, req, one, other, place=place)
        await req.send(b"q")
        assert await one.receive() == [b"q"]
        one.close()
        await settle()
        assert not await level(req.wait_receivable)
        assert not await level(req.wait_sendable)
        with pytest.raises(StateError):
            await req.send(b"q2")
        [peer] = other._by_id.remotes
        await other.send([peer, b"", b"from another"])
        assert await req.receive() == [b"from another"]


@jumping
@both
async def test_relaxed_asks_another(place: str) -> None:
    """With RELAXED the next request gets through to who is there."""
    async with opened() as ctx:
        req, one, other = ctx.socket(Req, relaxed=True, correlate=True), ctx.socket(Rep), ctx.socket(Rep)
        await joined(ctx, req, one, other, place=place)
        await req.send(b"q")
        one.close()
        await settle()
        await req.send(b"q")
        assert await other.receive() == [b"q"]
        await other.send(b"a")
        assert await req.receive() == [b"a"]


@jumping
async def test_a_request_waits_for_the_endpoint() -> None:
    """What was not written is sent when there is a peer again; what was written is not sent twice (1.6)."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        req, rep = ctx.socket(Req), ctx.socket(Rep)
        req.connect("tcp://place:1")
        await req.send(b"early")
        rep.bind("tcp://place:1")
        assert await rep.receive() == [b"early"]
        network.drop_all()
        await settle()
        await rep.send(b"to nobody")  # the reply is dropped, and the send succeeds
        await req.wait_for_peers()
        await settle()
        assert not await level(req.wait_receivable)
        assert not await level(rep.wait_receivable)


# Rep


@jumping
@both
async def test_rep_out_of_turn(place: str) -> None:
    """EFSM: send first or twice, receive twice; the state is as it was."""
    async with opened() as ctx:
        rep, one, other = ctx.socket(Rep), ctx.socket(Req), ctx.socket(Req)
        await joined(ctx, rep, one, other, place=place)
        for verb in (rep.send_nowait, rep.send):
            with pytest.raises(StateError, match="owes nobody"):
                result = verb(b"a")
                if result is not None:
                    await result
        await one.send(b"1")
        await other.send(b"2")
        first = await rep.receive()
        for receive in (rep.receive, rep.receive_many):
            with pytest.raises(StateError, match="owes a reply"):
                await receive()
        await nothing_to_take(rep)
        await rep.send(first)
        with pytest.raises(StateError, match="owes nobody"):
            rep.send_nowait(b"again")
        second = await rep.receive()
        await rep.send(second)
        assert [await one.receive(), await other.receive()] == [[b"1"], [b"2"]]


@jumping
@both
async def test_rep_levels(place: str) -> None:
    """While replying no POLLIN, POLLOUT only then (libzmq.md 1.4, REP)."""
    async with opened() as ctx:
        rep, one, other = ctx.socket(Rep), ctx.socket(Req), ctx.socket(Req)
        await joined(ctx, rep, one, other, place=place)
        assert not await level(rep.wait_sendable)
        assert not await level(rep.wait_receivable)
        await one.send(b"1")
        await other.send(b"2")
        assert await level(rep.wait_receivable)
        assert await level(rep.wait_receivable)
        assert not await level(rep.wait_sendable)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rep.wait_sendable)
            await settle()
            rep.receive_nowait()
        assert not await level(rep.wait_receivable)
        assert await level(rep.wait_sendable)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rep.wait_receivable)
            await settle()
            rep.send_nowait(b"a")
        rep.receive_nowait()


@jumping
@both
async def test_receive_many_of_rep_and_req(place: str) -> None:
    """One at a time, since each needs its answer."""
    async with opened() as ctx:
        rep, one, other = ctx.socket(Rep), ctx.socket(Req), ctx.socket(Req)
        await joined(ctx, rep, one, other, place=place)
        await one.send(b"1")
        await other.send(b"2")
        await settle()
        for _ in range(2):
            [question] = await rep.receive_many()
            await rep.send(question)
        assert [await one.receive_many(), await other.receive_many()] == [[[b"1"]], [[b"2"]]]


@jumping
@both
async def test_rep_envelopes(place: str) -> None:
    """test_spec_rep: frames up to and with the first empty one are kept, and go before the reply."""
    async with opened() as ctx:
        rep, dealer = ctx.socket(Rep), ctx.socket(Dealer)
        await joined(ctx, rep, dealer, place=place)
        for envelope in ([b""], [b"X", b"Y", b""], [b"\0" * 5, b"number", b""]):
            for body in ([b"A"], [b"A", b"", b"B"], [b""]):
                await dealer.send([*envelope, *body])
                assert await rep.receive() == body
                await rep.send(body)
                assert await dealer.receive() == [*envelope, *body]


@jumping
@both
async def test_requests_without_a_delimiter(place: str) -> None:
    """Dropped, counted, and the next is tried (libzmq.md 1.4); readable means a request that can be taken."""
    async with opened() as ctx:
        rep, dealer = ctx.socket(Rep), ctx.socket(Dealer)
        await joined(ctx, rep, dealer, place=place)
        for wrong in ([b"A"], [b"A", b"B"], [b""], [b"A", b""]):
            await dealer.send(wrong)
        assert not await level(rep.wait_receivable)
        await dealer.send([b"", b"right"])
        assert await level(rep.wait_receivable)
        assert await rep.receive() == [b"right"]
        assert dropped(rep) == [4]


@jumping
@both
async def test_rep_fair_queues(place: str) -> None:
    """test_spec_rep: each of five is heard once before any is heard again."""
    async with opened() as ctx:
        rep, dealers = ctx.socket(Rep), [ctx.socket(Dealer) for _ in range(5)]
        await joined(ctx, rep, *dealers, place=place)
        for round_ in range(3):
            for n, dealer in enumerate(dealers):
                await dealer.send([b"", b"%d:%d" % (round_, n)])
        await settle()
        heard = []
        for _ in range(15):
            heard += await rep.receive()
            await rep.send(b"")
        assert [message[:1] for message in heard] == [b"0"] * 5 + [b"1"] * 5 + [b"2"] * 5


@jumping
@both
async def test_the_requester_is_gone(place: str) -> None:
    """test_reqrep_ipc: the reply's send succeeds, and Rep serves the next; a request outlives its peer."""
    async with opened(linger=1) as ctx:
        rep, one, other = ctx.socket(Rep), ctx.socket(Req), ctx.socket(Req)
        await joined(ctx, rep, one, other, place=place)
        await one.send(b"1")
        assert await rep.receive() == [b"1"]
        gone = remote(rep)
        await one.aclose()
        await settle()
        await rep.send(b"to nobody")
        assert gone.dropped == 1
        await other.send(b"2")
        await settle()
        await other.aclose()
        assert await rep.receive() == [b"2"]
        await rep.send(b"to nobody")
        assert fill(ctx.socket(Req)) == 0


@jumping
async def test_a_full_requester_misses_its_reply() -> None:
    """Mute action of REP: drop the reply (libzmq.md 1.2), counted; Rep never waits for one requester."""
    network = MemoryTransport(buffer=200)
    async with opened(network, send_hwm=1) as ctx:
        rep = ctx.socket(Rep)
        rep.bind("tcp://place:1")
        deaf = RawPeer(await raw_connect(network))
        await deaf.handshake(b"DEALER")
        for _ in range(6):
            await deaf.stream.send_all(zmtp_message(b"", b"q"))
            assert await rep.receive() == [b"q"]
            assert await level(lambda: rep.send(b"x" * 150))
            await settle()
        assert dropped(rep) != [0]


@jumping
@both
async def test_rep_that_connects(place: str) -> None:
    """Whoever binds: Rep may be the one that connects, to several."""
    async with opened() as ctx:
        rep, one, other = ctx.socket(Rep), ctx.socket(Req), ctx.socket(Req)
        for n, req in enumerate((one, other)):
            req.bind(f"{place}{n}")
            await joins(rep, f"{place}{n}")
            await req.send(b"%d" % n)
        heard = []
        for _ in range(2):
            heard.append(await rep.receive())
            await rep.send(heard[-1])
        assert sorted(heard) == [[b"0"], [b"1"]]
        assert [await one.receive(), await other.receive()] == [[b"0"], [b"1"]]


# What they announce


@jumping
@both
async def test_identity(place: str) -> None:
    """Req announces its routing id, Rep has none to announce (libzmq.md 1.4, 8.1)."""
    async with opened() as ctx:
        rep, req = ctx.socket(Rep), ctx.socket(Req, routing_id=b"me")
        await joined(ctx, rep, req, place=place)
        assert [peer.identity for peer in rep.peers] == [b"me"]
        assert [peer.identity for peer in req.peers] == [b""]
        assert not hasattr(Rep, "routing_id")


@jumping
@both
async def test_probe(place: str) -> None:
    """PROBE_ROUTER: Req sends an empty message on each new connection, before anything else; no answer disturbs it."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        router, req = ctx.socket(Router), ctx.socket(Req, probe_router=True, routing_id=b"X")
        req.connect(place)
        await req.send(b"q")
        router.bind(place)
        assert await router.receive() == [b"X", b""]
        assert await router.receive() == [b"X", b"", b"q"]
        await router.send([b"X", b"", b"a"])
        assert await req.receive() == [b"a"]
        if place.startswith("tcp"):
            network.drop_all()
            assert await router.receive() == [b"X", b""]


# By hand


@jumping
@both
async def test_a_device_by_hand(place: str) -> None:
    """test_reqrep_device: REQ -> ROUTER | DEALER -> REP: four frames each way, bodies and envelope intact."""
    async with opened() as ctx:
        front, back = ctx.socket(Router), ctx.socket(Dealer)
        req, rep = ctx.socket(Req), ctx.socket(Rep)
        await joined(ctx, front, req, place=place)
        await joined(ctx, back, rep, place=place + "1")
        await req.send([b"ABC", b"DEF"])
        message = await front.receive()
        assert message[1:] == [b"", b"ABC", b"DEF"]
        await back.send(message)
        assert await rep.receive() == [b"ABC", b"DEF"]
        await rep.send([b"GHI", b"JKL"])
        message = await back.receive()
        assert message[1:] == [b"", b"GHI", b"JKL"]
        await front.send(message)
        assert await req.receive() == [b"GHI", b"JKL"]


@jumping
@both
async def test_a_broker_by_hand(place: str) -> None:
    """The Guide's broker with wait_any: nine clients, three workers, every answer comes to who asked."""
    async with opened() as ctx:
        front, back = ctx.socket(Router), ctx.socket(Dealer)
        front.bind(place)
        back.bind(place + "1")

        async def broker() -> None:
            while True:
                for socket in await trimq.wait_any(front, back):
                    other = back if socket is front else front
                    for message in drain(socket):
                        await other.send(message)

        async def worker() -> None:
            rep = ctx.socket(Rep)
            rep.connect(place + "1")
            async for [question] in rep:
                await rep.send([question, b"answered"])

        async def client(n: int) -> None:
            req = ctx.socket(Req)
            req.connect(place)
            for k in range(20):
                await req.send(b"%d:%d" % (n, k))
                assert await req.receive() == [b"%d:%d" % (n, k), b"answered"]

        async with trio.open_nursery() as services:
            services.start_soon(broker)
            for _ in range(3):
                services.start_soon(worker)
            async with trio.open_nursery() as clients:
                for n in range(9):
                    clients.start_soon(client, n)
            services.cancel_scope.cancel()
        await nothing(front)
        assert await all_of(back) == []
