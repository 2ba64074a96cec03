"""RFC 28, REQ, REP, DEALER and ROUTER: each SHALL, by its section's name and its own words.

Which clause a test holds is in docs/reference/rfcs.rst, clause by clause. Where libzmq does otherwise, so does trimq: such a
test holds the deviation, and says so.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from conformance import scenarios
from conformance.scenarios import BODIES, PLACE, bound, opened, raw, say
from sockets.helpers import (
    all_of,
    dropped,
    joined,
    joins,
    jumping,
    level,
    settle,
    zmtp_message,
)

from trimq import Dealer, HostUnreachable, Rep, Req, Router, StateError
from trimq.testing import MemoryTransport

asynchronous = pytest.mark.parametrize("kind", [Dealer, Router])

# REQ


@jumping
async def test_28_req_shall_send_then_receive_one_at_a_time() -> None:
    """REQ, general: one request, then one reply, and nothing else in between."""
    async with bound(Req) as (req, network):
        peer = await raw(network, Req)
        with pytest.raises(StateError):
            req.receive_nowait()
        await req.send(b"q1")
        with pytest.raises(StateError):
            req.send_nowait(b"q2")
        await say(peer, b"", b"a1")
        await say(peer, b"", b"a second reply")
        assert await req.receive() == [b"a1"]
        with pytest.raises(StateError):
            req.receive_nowait()
        await req.send(b"q3")
        assert await peer.rest() == zmtp_message(b"", b"q1") + zmtp_message(b"", b"q3")


@jumping
async def test_28_req_shall_use_this_format() -> None:
    """REQ, format: an empty frame, then one frame or more; a reply in another format is no reply."""
    async with bound(Req) as (req, network):
        peer = await raw(network, Req)
        for body in BODIES:
            await req.send(body)
            assert await peer.exactly(len(zmtp_message(b"", *body))) == zmtp_message(b"", *body)
            await say(peer, b"not empty", *body)
            await say(peer, b"")
            assert not await level(req.wait_receivable, 1)
            await say(peer, b"", *body)
            assert await req.receive() == body


@jumping
async def test_28_req_shall_prefix_a_delimiter() -> None:
    """REQ, outgoing: the empty frame is added, also before a message that begins with one."""
    async with bound(Req) as (req, network):
        peer = await raw(network, Req)
        await req.send([b"", b"x"])
        assert await peer.rest() == b"\x01\x00\x01\x00\x00\x01x"


@jumping
async def test_28_req_shall_route_round_robin() -> None:
    """REQ, outgoing: each request goes to the next peer, in the order in which they came."""
    async with bound(Req) as (req, network):
        peers = [await raw(network, Req) for _ in range(3)]
        for n in range(7):
            await req.send(b"%d" % n)
            await settle()
            assert [await peer.rest() for peer in peers] == [
                zmtp_message(b"", b"%d" % n) if turn == n % 3 else b"" for turn in range(3)
            ]
            await say(peers[n % 3], b"", b"a")
            await req.receive()


@jumping
async def test_28_req_shall_block_without_peers() -> None:
    """REQ, outgoing: with nobody there a send waits, or raises WouldBlock.

    The deviation (libzmq's): an endpoint that was connected to takes requests before anybody is there, unless ``immediate``.
    """
    await scenarios.blocks_without_peers(Req)
    async with opened() as ctx:
        early, strict = ctx.socket(Req), ctx.socket(Req, immediate=True)
        early.connect(PLACE)
        strict.connect(PLACE)
        early.send_nowait(b"queued")
        with pytest.raises(trio.WouldBlock):
            strict.send_nowait(b"refused")


@jumping
async def test_28_req_shall_not_discard_what_it_cannot_send() -> None:
    """REQ, outgoing: what could not be written before its connection was lost is written to the next one."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        req, rep = ctx.socket(Req), ctx.socket(Rep)
        endpoint = rep.bind(PLACE)
        await joins(req, PLACE)
        rep.unbind(endpoint)
        await settle()
        await req.send(b"q")
        await settle()
        rep.bind(PLACE)
        assert await rep.receive() == [b"q"]
        assert dropped(req) == [0]


@jumping
async def test_28_req_shall_accept_only_from_the_last_peer() -> None:
    """REQ, incoming: a reply counts if it comes from the peer that was asked.

    The deviation (libzmq's): once that peer is gone, any peer's reply counts.
    """
    async with bound(Req) as (req, network):
        asked, other = [await raw(network, Req) for _ in range(2)]
        await req.send(b"q")
        await say(other, b"", b"from another")
        assert not await level(req.wait_receivable)
        await say(asked, b"", b"a")
        assert await req.receive() == [b"a"]
        await req.send(b"for the other, who goes")
        other.stream.cut()
        await settle()
        await say(asked, b"", b"deviation")
        assert await req.receive() == [b"deviation"]


@jumping
async def test_28_req_shall_discard_from_other_peers() -> None:
    """REQ, incoming: what others say is forgotten: not told, not kept for a later request, their connections go on."""
    async with bound(Req) as (req, network):
        asked, other = [await raw(network, Req) for _ in range(2)]
        await req.send(b"1")
        for _ in range(20):
            await say(other, b"", b"unasked" * 10)
        await say(asked, b"", b"a1")
        assert await req.receive() == [b"a1"]
        await req.send(b"2")
        assert not await level(req.wait_receivable)
        assert await other.rest() == zmtp_message(b"", b"2")
        await say(other, b"", b"a2")
        assert await req.receive() == [b"a2"]


# REP


@jumping
async def test_28_rep_shall_not_filter_or_modify() -> None:
    """REP, general: bodies come and go as they are."""
    async with bound(Rep) as (rep, network):
        peer = await raw(network, Rep)
        for body in BODIES:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.stream.send_all, zmtp_message(b"", *body))
                assert await rep.receive() == body
            await rep.send(body)
            assert await peer.exactly(len(zmtp_message(b"", *body))) == zmtp_message(b"", *body)


@jumping
async def test_28_rep_shall_receive_then_send_one_at_a_time() -> None:
    """REP, general: one request, then its one reply."""
    async with bound(Rep) as (rep, network):
        peer = await raw(network, Rep)
        with pytest.raises(StateError):
            rep.send_nowait(b"unasked")
        await say(peer, b"", b"q1")
        await say(peer, b"", b"q2")
        assert await rep.receive() == [b"q1"]
        with pytest.raises(StateError):
            rep.receive_nowait()
        await rep.send(b"a1")
        with pytest.raises(StateError):
            rep.send_nowait(b"a second reply")
        assert await rep.receive() == [b"q2"]
        await settle()
        assert await peer.rest() == zmtp_message(b"", b"a1")


@jumping
async def test_28_rep_shall_use_this_format() -> None:
    """REP, format: any number of addresses, an empty frame, a body; what is no such request is none."""
    async with bound(Rep) as (rep, network):
        peer = await raw(network, Rep)
        for wrong in ([b"no delimiter"], [b"x", b"y"], [b""], [b"no body", b""]):
            await say(peer, *wrong)
        assert not await level(rep.wait_receivable)
        for envelope in ([b""], [b"one", b""], [b"one", b"two", b"three", b""]):
            await say(peer, *envelope, b"q")
            assert await rep.receive() == [b"q"]
            await rep.send([b"a", b"A"])
            await settle()
            assert await peer.rest() == zmtp_message(*envelope, b"a", b"A")


@jumping
async def test_28_rep_shall_fair_queue() -> None:
    """REP, incoming: peers are heard in turn."""
    await scenarios.fair_queueing(Rep, (b"",))


@jumping
async def test_28_rep_shall_store_the_envelope() -> None:
    """REP, incoming: it is removed, delimiter and all, and kept until the reply, whoever sends meanwhile."""
    async with bound(Rep) as (rep, network):
        one, other = [await raw(network, Rep) for _ in range(2)]
        await say(one, b"1", b"", b"q1")
        assert await rep.receive() == [b"q1"]
        await say(other, b"2", b"2", b"", b"q2")
        await rep.send(b"a")
        await settle()
        assert [await one.rest(), await other.rest()] == [zmtp_message(b"1", b"", b"a"), b""]


@jumping
async def test_28_rep_shall_pass_the_body() -> None:
    """REP, incoming: all frames after the first empty one, empty ones included."""
    async with bound(Rep) as (rep, network):
        peer = await raw(network, Rep)
        await say(peer, b"address", b"", b"", b"x", b"", b"")
        assert await rep.receive() == [b"", b"x", b"", b""]


@jumping
async def test_28_rep_shall_wait_for_a_single_reply() -> None:
    """REP, outgoing: nothing is heard, and nothing said, until the program replies, however long that takes."""
    async with bound(Rep) as (rep, network):
        peer = await raw(network, Rep)
        await say(peer, b"", b"q1")
        await say(peer, b"", b"q2")
        await rep.receive()
        assert not await level(rep.wait_receivable)
        assert await peer.rest() == b""
        assert await level(rep.wait_sendable)
        await rep.send(b"a1")
        assert not await level(rep.wait_sendable)
        assert await peer.rest() == zmtp_message(b"", b"a1")


@jumping
async def test_28_rep_shall_prepend_the_envelope() -> None:
    """REP, outgoing: what was kept goes before the reply, byte by byte."""
    async with bound(Rep) as (rep, network):
        peer = await raw(network, Rep)
        await say(peer, b"\0abcd", b"x" * 255, b"", b"q")
        await rep.receive()
        await rep.send([b"", b"a"])
        await settle()
        assert await peer.rest() == zmtp_message(b"\0abcd", b"x" * 255, b"", b"", b"a")


@jumping
async def test_28_rep_shall_deliver_to_who_asked() -> None:
    """REP, outgoing: each reply goes to the peer whose request it answers, and to no other."""
    async with bound(Rep) as (rep, network):
        peers = [await raw(network, Rep) for _ in range(3)]
        for n in (2, 0, 1, 1, 2):
            await say(peers[n], b"", b"%d" % n)
            await rep.send(await rep.receive())
            await settle()
            assert [await peer.rest() for peer in peers] == [
                zmtp_message(b"", b"%d" % n) if other == n else b"" for other in range(3)
            ]


@jumping
async def test_28_rep_shall_discard_the_reply_to_who_is_gone() -> None:
    """REP, outgoing: the reply is dropped, counted, and the send succeeds; nobody else gets it."""
    async with bound(Rep) as (rep, network):
        peer = await raw(network, Rep, identity=b"me")
        await say(peer, b"", b"q")
        await rep.receive()
        asker = next(iter(rep._remotes))
        peer.stream.cut()
        await settle()
        again = await raw(network, Rep, identity=b"me")
        await rep.send(b"a")
        await settle()
        assert asker.dropped == 1
        assert await again.rest() == b""


@jumping
async def test_28_rep_shall_not_block_on_sending() -> None:
    """REP, outgoing: a reply for a peer that does not read is dropped when there is no more room, at once."""
    async with bound(Rep, send_hwm=1) as (rep, network):
        deaf = await raw(network, Rep)
        for _ in range(10):
            await say(deaf, b"", b"q")
            await rep.receive()
            rep.send_nowait(bytes(150))
            await settle()
        assert dropped(rep)[0] > 0


# DEALER


@jumping
async def test_28_dealer_shall_not_filter_or_modify() -> None:
    """DEALER, general: messages come and go as they are, with or without a delimiter."""
    await scenarios.sends_unchanged(Dealer)
    await scenarios.receives_unchanged(Dealer)


@jumping
@asynchronous
async def test_28_shall_maintain_a_double_queue(kind: Any) -> None:
    """DEALER and ROUTER, general: what goes out and what comes in wait independently, per peer."""
    await scenarios.double_queue(kind)


@jumping
@asynchronous
async def test_28_shall_create_a_double_queue_when_connecting(kind: Any) -> None:
    """DEALER and ROUTER, general: from `connect` on.

    A Router's can be sent to only by an id: at once if `connect` gave one, else once the peer has said who it is.
    """
    await scenarios.queue_at_connect(kind)
    if kind is Router:
        async with opened() as ctx:
            router, peer = ctx.socket(Router, mandatory=True), ctx.socket(Dealer, routing_id=b"P")
            router.connect(PLACE)
            with pytest.raises(HostUnreachable):
                router.send_nowait([b"P", b"early"])
            peer.bind(PLACE)
            await router.wait_for_peers()
            router.send_nowait([b"P", b"in time"])
            assert await peer.receive() == [b"in time"]


@jumping
@asynchronous
async def test_28_shall_maintain_the_queue_without_a_connection(kind: Any) -> None:
    """DEALER and ROUTER, general: what is sent while the connection is down goes out with the next one."""
    await scenarios.queue_through_a_loss(kind)


@jumping
@asynchronous
async def test_28_shall_create_a_double_queue_for_who_connects(kind: Any) -> None:
    """DEALER and ROUTER, general: one for each peer that comes, none before."""
    await scenarios.queue_of_a_guest(kind)


@jumping
@asynchronous
async def test_28_shall_destroy_the_queue_of_who_disconnects(kind: Any) -> None:
    """DEALER and ROUTER, general: nothing can be queued for a peer that came and went."""
    await scenarios.queue_destroyed(kind)


@jumping
@asynchronous
async def test_28_shall_discard_what_the_queue_contains(kind: Any) -> None:
    """DEALER and ROUTER, general: what was to go out is discarded.

    The deviation (libzmq's): what had come in is not, it can still be received.
    """
    await scenarios.queued_is_discarded(kind)
    await scenarios.unread_stays(kind)


@jumping
async def test_28_dealer_shall_consider_who_is_not_full() -> None:
    """DEALER, outgoing: whoever is full is passed over."""
    await scenarios.available_while_not_full(Dealer)


@jumping
async def test_28_dealer_shall_route_round_robin() -> None:
    """DEALER, outgoing: one message to each in turn, whole."""
    await scenarios.round_robin(Dealer)


@jumping
async def test_28_dealer_shall_block_without_available_peers() -> None:
    """DEALER, outgoing: with nobody there a send waits, or raises WouldBlock."""
    await scenarios.blocks_without_peers(Dealer)


@jumping
async def test_28_dealer_shall_not_accept_without_available_peers() -> None:
    """DEALER, outgoing: nothing is taken in beyond what the queues of those who are there hold."""
    await scenarios.nothing_beyond_the_queues(Dealer)


@jumping
async def test_28_dealer_shall_not_discard() -> None:
    """DEALER, outgoing: what was accepted arrives, what could not be queued waits with its sender."""
    await scenarios.never_discards(Dealer)


@jumping
@asynchronous
async def test_28_shall_fair_queue(kind: Any) -> None:
    """DEALER and ROUTER, incoming: peers are heard in turn."""
    await scenarios.fair_queueing(kind)


@jumping
@asynchronous
async def test_28_shall_deliver_what_comes(kind: Any) -> None:
    """DEALER and ROUTER, incoming: every message reaches the program, once, in order."""
    await scenarios.delivers_all(kind)


# ROUTER


@jumping
async def test_28_router_shall_identify_each_queue() -> None:
    """ROUTER, general: every peer has an id of its own: what it says it is called, or one that is made up.

    Whoever announces an id that is in use does not get in (libzmq lets it in, and never hears it).
    """
    async with bound(Router) as (router, network):
        nameless = [await raw(network, Router) for _ in range(3)]
        named = await raw(network, Router, identity=b"me")
        for peer in (*nameless, named):
            await say(peer, b"hello")
        ids = [peer for peer, _ in await all_of(router)]
        assert len(set(ids)) == 4
        assert b"me" in ids
        assert all(len(made) == 5 and made[0] == 0 for made in ids if made != b"me")
        second = await raw(network, Router, identity=b"me")
        assert await second.ended()
        router.send_nowait([b"me", b"still the first"])
        assert await named.exactly(17) == zmtp_message(b"still the first")


@jumping
async def test_28_router_shall_prefix_the_identity() -> None:
    """ROUTER, incoming: the id of who sent it, in a frame of its own, before the message as it came."""
    async with bound(Router) as (router, network):
        peers = {name: await raw(network, Router, identity=name) for name in (b"A", b"B" * 255)}
        for name, peer in peers.items():
            for body in ([b""], [b"", b"x"], [name, b"y"]):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(peer.stream.send_all, zmtp_message(*body))
                    assert await router.receive() == [name, *body]


@jumping
async def test_28_router_shall_take_the_first_frame_as_identity() -> None:
    """ROUTER, outgoing: the first frame says whom it is for, and does not travel."""
    async with bound(Router) as (router, network):
        one, other = [await raw(network, Router, identity=name) for name in (b"A", b"B")]
        await router.send([b"B", b"", b"A", b"x"])
        await settle()
        assert [await one.rest(), await other.rest()] == [b"", zmtp_message(b"", b"A", b"x")]


@jumping
async def test_28_router_shall_route_if_there_is_room() -> None:
    """ROUTER, outgoing: to that peer's queue, as long as there is one with room, whoever else is full."""
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        router, one, other = (
            ctx.socket(Router),
            ctx.socket(Dealer, routing_id=b"A"),
            ctx.socket(Dealer, routing_id=b"B"),
        )
        await joined(ctx, router, one, other, place="inproc://place")
        for n in range(9):
            router.send_nowait([b"A", b"%d" % n])
        router.send_nowait([b"B", b"room here"])
        assert await all_of(one) == [[b"%d" % n] for n in range(4)]
        assert await all_of(other) == [[b"room here"]]
        router.send_nowait([b"A", b"room again"])
        assert await one.receive() == [b"room again"]


@jumping
async def test_28_router_shall_drop_or_raise() -> None:
    """ROUTER, outgoing: for nobody, or where there is no room, it drops and counts; with ``mandatory`` it raises."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        router, peer = ctx.socket(Router), ctx.socket(Dealer, routing_id=b"A")
        await joined(ctx, router, peer, place="inproc://place")
        router.send_nowait([b"nobody", b"x"])
        for n in range(5):
            router.send_nowait([b"A", b"%d" % n])
        assert router.statistics().unroutable == 1
        assert dropped(router) == [3]
        router.mandatory = True
        with pytest.raises(HostUnreachable):
            router.send_nowait([b"nobody", b"x"])
        with pytest.raises(trio.WouldBlock):
            router.send_nowait([b"A", b"x"])
        assert await all_of(peer) == [[b"0"], [b"1"]]


@jumping
async def test_28_router_shall_not_block_on_sending() -> None:
    """ROUTER, outgoing: a send returns at once, whoever does not read.

    The deviation (libzmq's): with ``mandatory``, `send` waits where `send_nowait` raises.
    """
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        router, peer = ctx.socket(Router), ctx.socket(Dealer, routing_id=b"A")
        await joined(ctx, router, peer, place="inproc://place")
        for _ in range(5):
            assert await level(lambda: router.send([b"A", b"x"]), 1)
        router.mandatory = True
        assert not await level(lambda: router.send([b"A", b"x"]))
