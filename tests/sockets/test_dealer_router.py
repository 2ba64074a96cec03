"""Dealer and Router: RFC 28; libzmq's test_spec_dealer, test_spec_router, test_router_*, test_connect_rid."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from sockets.helpers import (
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
    reaches,
    settle,
)

import trimq
from trimq import Dealer, EndpointState, HostUnreachable, ProtocolError, Rep, Req, Router
from trimq._util import until
from trimq.testing import MemoryTransport

# Dealer


@jumping
@both
async def test_dealer_round_robin(place: str) -> None:
    """test_spec_dealer: bound with five Reps, five sends go one to each."""
    async with opened() as ctx:
        dealer, reps = ctx.socket(Dealer), [ctx.socket(Rep) for _ in range(5)]
        await joined(ctx, dealer, *reps, place=place)
        for n in range(5):
            await dealer.send([b"", b"%d" % n])
        for n, rep in enumerate(reps):
            assert await all_of_rep(rep) == [[b"%d" % n]]


async def all_of_rep(rep: Rep) -> list[trimq.Message]:
    await settle()
    found = [await rep.receive()]
    await rep.send(b"")
    assert not await level(rep.wait_receivable)
    return found


@jumping
@both
async def test_dealer_fair_queues(place: str) -> None:
    """test_spec_dealer: one of each of five before any second one."""
    async with opened() as ctx:
        dealer, others = ctx.socket(Dealer), [ctx.socket(Dealer) for _ in range(5)]
        await joined(ctx, dealer, *others, place=place)
        for n, other in enumerate(others):
            await other.send_many([b"first%d" % n, b"second%d" % n])
        received = [message for [message] in await all_of(dealer)]
        assert sorted(received[:5]) == [b"first%d" % n for n in range(5)]


@jumping
@both
async def test_dealer_without_peers(place: str) -> None:
    """test_spec_dealer, test_timeo: no peers, nothing goes and nothing comes."""
    async with opened() as ctx:
        dealer = ctx.socket(Dealer)
        dealer.bind(place)
        assert fill(dealer) == 0
        await nothing(dealer)
        assert not await level(dealer.wait_sendable)
        assert not await level(dealer.wait_receivable)


@jumping
@both
async def test_dealer_connects_before_the_other_binds(place: str) -> None:
    """test_bind_after_connect_tcp: three messages sent before anybody binds arrive in order."""
    async with opened() as ctx:
        dealer, late = ctx.socket(Dealer), ctx.socket(Dealer)
        dealer.connect(place)
        await dealer.send_many([b"1", [b"2", b"", b"2"], b"3"])
        late.bind(place)
        assert await all_of(late) == [[b"1"], [b"2", b"", b"2"], [b"3"]]


@jumping
async def test_dealer_with_itself() -> None:
    """A socket may be its own peer; each side of the connection has its turn."""
    async with opened() as ctx:
        dealer = ctx.socket(Dealer)
        dealer.bind("inproc://place")
        dealer.connect("inproc://place")
        assert len(dealer.peers) == 2
        await dealer.send_many(b"%d" % n for n in range(4))
        assert sorted(await all_of(dealer)) == [[b"%d" % n] for n in range(4)]


@jumping
async def test_dealer_in_both_directions_at_its_marks() -> None:
    """Two that only send fill up and wait; once one reads, both go on, and nothing is lost."""
    async with opened(send_hwm=5, receive_hwm=5) as ctx:
        one, other = ctx.socket(Dealer), ctx.socket(Dealer)
        await joined(ctx, one, other, place="inproc://place")
        assert (fill(one), fill(other)) == (10, 10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_many, [b"%d" % n for n in range(50)])
            nursery.start_soon(other.send_many, [b"%d" % n for n in range(50)])
            for dealer in (one, other):
                received = [await dealer.receive() for _ in range(60)]
                assert received == [[b""]] * 10 + [[b"%d" % n] for n in range(50)]


# Router: in


@jumping
@both
async def test_router_receives_with_ids(place: str) -> None:
    """test_spec_router: from five Dealers each exactly once, [id][M]; made-up ids begin with a zero, are five bytes long."""
    async with opened() as ctx:
        router, dealers = ctx.socket(Router), [ctx.socket(Dealer) for _ in range(5)]
        await joined(ctx, router, *dealers, place=place)
        for dealer in dealers:
            await dealer.send([b"M", b""])
        received = await all_of(router)
        assert [rest for _, *rest in received] == [[b"M", b""]] * 5
        ids = {peer for peer, *_ in received}
        assert len(ids) == 5
        assert all(len(peer) == 5 and peer[0] == 0 for peer in ids)


@jumping
@both
async def test_router_fair_queues(place: str) -> None:
    """One message per peer in turn, also with receive_many, each with its own id."""
    async with opened() as ctx:
        router, dealers = ctx.socket(Router), [ctx.socket(Dealer, routing_id=b"%d" % n) for n in range(5)]
        await joined(ctx, router, *dealers, place=place)
        for dealer in dealers:
            await dealer.send_many([dealer.routing_id] * 3)
        await settle()
        received = await router.receive_many(7)
        assert len(received) == 7
        received += await router.receive_many()
        assert all(peer == body for peer, body in received)
        assert [sorted(peer for peer, _ in received[n : n + 5]) for n in (0, 5, 10)] == [
            [b"0", b"1", b"2", b"3", b"4"]
        ] * 3


@jumping
@both
async def test_router_uses_what_peers_announce(place: str) -> None:
    """The identity is the peer's ROUTING_ID if it has one, up to 255 bytes; `peers` has it too."""
    async with opened() as ctx:
        router = ctx.socket(Router)
        names = [b"x", b"y" * 255, b"\xff\0\xfe"]
        dealers = [ctx.socket(kind, routing_id=name) for kind, name in zip((Dealer, Router, Req), names, strict=True)]
        await joined(ctx, router, *dealers, place=place)
        assert [peer.identity for peer in router.peers] == names
        for name in names:
            await router.send([name, b"", name])
        assert await dealers[0].receive() == [b"", names[0]]
        assert (await dealers[1].receive())[1:] == [b"", names[1]]


@jumping
@both
async def test_made_up_ids_are_never_in_use(place: str) -> None:
    """Whoever is named here may be named as a made-up id would be: that one is passed over."""
    async with opened() as ctx:
        router, dealer, other = ctx.socket(Router), ctx.socket(Dealer), ctx.socket(Dealer)
        router.connect(place + "9", routing_id=b"\0\0\0\0\x01")
        router._by_id._last_id = 0
        await joined(ctx, router, dealer, other, place=place)
        for sender in (dealer, other):
            await sender.send(b"x")
        assert sorted(await all_of(router)) == [[b"\0\0\0\0\x02", b"x"], [b"\0\0\0\0\x03", b"x"]]


@jumping
@both
async def test_router_hears_who_has_left(place: str) -> None:
    """What came before the peer went is received with its id (1.6); an answer goes nowhere."""
    async with opened(linger=1) as ctx:
        router, dealer = ctx.socket(Router, mandatory=True), ctx.socket(Dealer, routing_id=b"X")
        await joined(ctx, router, dealer, place=place)
        await dealer.send_many([b"1", b"2"])
        await dealer.aclose()
        await settle()
        assert await all_of(router) == [[b"X", b"1"], [b"X", b"2"]]
        with pytest.raises(HostUnreachable):
            await router.send([b"X", b"answer"])


# How a Router sends


@jumping
@both
async def test_router_drops_for_the_unknown(place: str) -> None:
    """test_router_mandatory, default: a message for an unknown peer is dropped whole, and send succeeds; it is counted."""
    async with opened() as ctx:
        router, dealer = ctx.socket(Router), ctx.socket(Dealer, routing_id=b"X")
        router.bind(place)
        await router.send([b"UNKNOWN", b"DATA", b"more"])
        router.send_nowait([b"UNKNOWN", b"DATA"])
        assert router.statistics().unroutable == 2
        await joins(dealer, place)
        await router.wait_for_peers()
        await router.send([b"X", b"next", b"whole"])
        assert await all_of(dealer) == [[b"next", b"whole"]]


@jumping
@both
async def test_mandatory(place: str) -> None:
    """test_router_mandatory: EHOSTUNREACH for an unknown peer, before and after it was there."""
    async with opened() as ctx:
        router, dealer = ctx.socket(Router, mandatory=True), ctx.socket(Dealer, routing_id=b"X", linger=1)
        router.bind(place)
        for send in (router.send_nowait, router.send):
            with pytest.raises(HostUnreachable, match="b'X'"):
                result = send([b"X", b""])
                if result is not None:
                    await result
        await joins(dealer, place)
        await router.wait_for_peers()
        await router.send([b"X", b"1"])
        assert await dealer.receive() == [b"1"]
        await dealer.aclose()
        await settle()
        with pytest.raises(HostUnreachable):
            await router.send([b"X", b"2"])
        router.mandatory = False
        await router.send([b"X", b"3"])


@jumping
@both
async def test_an_id_ends_with_its_peer(place: str) -> None:
    """In the tick in which `peers` has it no longer, its id reaches nobody: no message is lost between the two."""
    async with opened() as ctx:
        router, dealer = ctx.socket(Router, mandatory=True), ctx.socket(Dealer, routing_id=b"X")
        await joined(ctx, router, dealer, place=place)
        dealer.close()
        await until(lambda: not router.peers, router._peer_bell, pace=router._pace)
        with pytest.raises(HostUnreachable):
            await router.send([b"X", b""])


@jumping
@pytest.mark.parametrize("mandatory", [False, True])
@pytest.mark.parametrize("value", [b"", b"X", [b"X"], bytearray(b"X"), memoryview(b"X"), (b"",)], ids=repr)
async def test_an_id_alone_is_no_message(value: Any, mandatory: bool) -> None:
    """The routing id and then a frame or more: one frame is a ValueError, not a message for nobody (libzmq swallows it)."""
    async with opened() as ctx:
        router = ctx.socket(Router, mandatory=mandatory)
        for send in (router.send_nowait, router.send):
            with pytest.raises(ValueError, match="routing id and then a frame"):
                result = send(value)
                if result is not None:
                    await result
        assert router.statistics().unroutable == 0


@jumping
async def test_default_drops_for_the_full() -> None:
    """A peer whose queue is full misses the whole message, which is counted; the others are served (1.4)."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        router = ctx.socket(Router)
        x, y = ctx.socket(Dealer, routing_id=b"X"), ctx.socket(Dealer, routing_id=b"Y")
        await joined(ctx, router, x, y, place="inproc://place")
        for n in range(5):
            await router.send([b"X", b"%d" % n])
        await router.send([b"Y", b"y"])
        assert dropped(router) == [3, 0]
        assert (drain(x), drain(y)) == ([[b"0"], [b"1"]], [[b"y"]])
        await router.send([b"X", b"5"])
        assert drain(x) == [[b"5"]]
        assert await level(router.wait_sendable)


@jumping
async def test_mandatory_waits_for_the_full() -> None:
    """test_router_mandatory_hwm: EAGAIN for a full peer; send waits for its room, and only for its."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        router = ctx.socket(Router, mandatory=True)
        x, y = ctx.socket(Dealer, routing_id=b"X"), ctx.socket(Dealer, routing_id=b"Y")
        await joined(ctx, router, x, y, place="inproc://place")
        assert fill(router, [b"X", b"full"]) == 2
        assert await level(router.wait_sendable)  # iff any pipe is below its mark
        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(router.send, [b"X", b"%d" % n])
                await settle()
            assert fill(router, [b"Y", b"y"]) == 2  # who waits for X holds nobody else up
            assert not await level(router.wait_sendable)
            with pytest.raises(HostUnreachable):
                await router.send([b"Z", b""])
            received = [await x.receive() for _ in range(5)]
        assert received == [[b"full"], [b"full"], [b"0"], [b"1"], [b"2"]]
        assert await level(router.wait_sendable)
        assert dropped(router) == [0, 0]


@jumping
async def test_room_is_for_who_waits_for_it() -> None:
    """Who waits for X does not hold up who waits for Y, though he came before."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        router = ctx.socket(Router, mandatory=True)
        x, y = ctx.socket(Dealer, routing_id=b"X"), ctx.socket(Dealer, routing_id=b"Y")
        await joined(ctx, router, x, y, place="inproc://place")
        fill(router, [b"X", b"full"])
        fill(router, [b"Y", b"full"])
        async with trio.open_nursery() as nursery:
            for name in (b"X", b"Y", b"X", b"Y"):
                nursery.start_soon(router.send, [name, b"waits"])
                await settle()
            assert drain(y) == [[b"full"], [b"full"], [b"waits"], [b"waits"]]
            assert drain(x) == [[b"full"], [b"full"], [b"waits"], [b"waits"]]


@jumping
async def test_nobody_overtakes_for_the_same_peer() -> None:
    """First come, first served, per peer: while one waits for X, others for X wait behind it (promise 1)."""
    async with opened(send_hwm=1, receive_hwm=3) as ctx:
        router, x = ctx.socket(Router, mandatory=True), ctx.socket(Dealer, routing_id=b"X")
        await joined(ctx, router, x, place="inproc://place")
        fill(router, [b"X", b"full"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.send, [b"X", b"first"])
            await settle()
            x.receive_nowait()  # room, but not half of it: who waits is not called yet
            with pytest.raises(trio.WouldBlock):
                router.send_nowait([b"X", b"second"])
            received = await all_of(x)
        assert received[-1] == [b"first"]


@jumping
async def test_who_waits_for_a_peer_that_goes() -> None:
    """A mandatory send that waits for room at a peer that leaves: EHOSTUNREACH."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        router, x = ctx.socket(Router, mandatory=True), ctx.socket(Dealer, routing_id=b"X")
        await joined(ctx, router, x, place="inproc://place")
        fill(router, [b"X", b"full"])
        errors = []

        async def send() -> None:
            try:
                await router.send([b"X", b"waits"])
            except HostUnreachable as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(send)
            await settle()
            x.close()
        assert len(errors) == 2


@jumping
async def test_mandatory_switched_off_lets_who_waits_go() -> None:
    """The option acts at any time (2.1): what waited is dropped, as it would be now."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        router, x = ctx.socket(Router, mandatory=True), ctx.socket(Dealer, routing_id=b"X")
        await joined(ctx, router, x, place="inproc://place")
        fill(router, [b"X", b"full"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.send, [b"X", b"waits"])
            nursery.start_soon(router.wait_sendable)
            await settle()
            router.mandatory = False
        assert dropped(router) == [1]


@jumping
async def test_a_cancelled_send_wakes_who_waits_for_the_level() -> None:
    """wait_sendable is a level: there is room at Y, whoever waits for X, or stops waiting (design 1, Levels)."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        router = ctx.socket(Router, mandatory=True)
        x, y = ctx.socket(Dealer, routing_id=b"X"), ctx.socket(Dealer, routing_id=b"Y")
        await joined(ctx, router, x, y, place="inproc://place")
        fill(router, [b"X", b"full"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.send, [b"X", b"waits"])
            await settle()
            assert await level(router.wait_sendable)
            router.send_nowait([b"Y", b""])
            nursery.cancel_scope.cancel()
        assert await level(router.wait_sendable)


@jumping
async def test_mandatory_over_a_network() -> None:
    """test_router_mandatory_hwm: HWM 1 and 1, 64 KiB messages: EAGAIN after fewer than ten, no more than 20 later."""
    async with opened() as ctx:
        router, x = ctx.socket(Router, mandatory=True, send_hwm=1), ctx.socket(Dealer, routing_id=b"X", receive_hwm=1)
        await joined(ctx, router, x, place="tcp://place:1")
        big = [b"X", bytes(65536)]
        count = fill(router, big)
        assert 1 <= count < 10
        await settle()
        count += fill(router, big)
        await settle()
        count += fill(router, big)
        assert count < 20
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.send, big)
            received = [await x.receive() for _ in range(count + 1)]
        assert received == [[big[1]]] * (count + 1)


@jumping
async def test_issue_566() -> None:
    """test_issue_566: a new Dealer each time, and a mandatory Router that waits for it: no message is lost."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        router = ctx.socket(Router, mandatory=True)
        router.bind("tcp://place:1")
        for n in range(100):
            async with opened(network) as other:
                dealer = other.socket(Dealer, routing_id=b"%10d" % n)
                dealer.connect("tcp://place:1")
                await router.wait_for_peers()
                await router.send([dealer.routing_id, b"HELLO"])
                assert await dealer.receive() == [b"HELLO"]
            while router.peers:
                await settle()
                await trio.sleep(0.1)  # of the clock that jumps


# Identities that are in use


@jumping
@both
async def test_a_duplicate_id_is_refused(place: str) -> None:
    """test_router_handover, off: the first keeps the id; the second is refused and told (design 2)."""
    async with opened() as ctx:
        router, first, second = (
            ctx.socket(Router),
            ctx.socket(Dealer, routing_id=b"X"),
            ctx.socket(Dealer, routing_id=b"X"),
        )
        await joined(ctx, router, first, place=place)
        endpoint = second.connect(place)
        await reaches(endpoint, EndpointState.LOST if place.startswith("inproc") else EndpointState.WAITING)
        assert isinstance(endpoint.cause, ProtocolError)
        assert "b'X' is in use" in str(endpoint.cause)
        assert len(router.peers) == 1
        await router.send([b"X", b"Hello"])
        assert await first.receive() == [b"Hello"]
        with pytest.raises(trio.WouldBlock):
            second.receive_nowait()
        await first.send(b"still here")
        assert [b"X", b"still here"] in await all_of(router)


@jumping
async def test_a_duplicate_gets_in_when_the_first_is_gone() -> None:
    """It goes on trying (libzmq gives up without a word; design 2)."""
    async with opened() as ctx:
        router, first, second = (
            ctx.socket(Router),
            ctx.socket(Dealer, routing_id=b"X"),
            ctx.socket(Dealer, routing_id=b"X"),
        )
        await joined(ctx, router, first, place="tcp://place:1")
        endpoint = second.connect("tcp://place:1")
        await reaches(endpoint, EndpointState.WAITING)
        first.close()
        await reaches(endpoint, EndpointState.READY)
        await router.wait_for_peers()
        await router.send([b"X", b"Hello"])
        assert await second.receive() == [b"Hello"]


@jumping
@both
async def test_handover(place: str) -> None:
    """test_router_handover, on: the new peer has the id, the old connection ends; what it sent comes under a made-up id."""
    async with opened(handover=True) as ctx:
        router, first, second = (
            ctx.socket(Router),
            ctx.socket(Dealer, routing_id=b"X"),
            ctx.socket(Dealer, routing_id=b"X"),
        )
        await joined(ctx, router, first, place=place)
        first.reconnect_interval = 1000
        await first.send(b"from the first")
        await settle()
        await joins(second, place)
        await settle()
        assert len(router.peers) == 1
        assert first.peers == () or place.startswith("tcp")
        await router.send([b"X", b"Hello"])
        assert await second.receive() == [b"Hello"]
        await nothing(first)
        [made_up, body] = await router.receive()
        assert body == b"from the first"
        assert made_up[0] == 0
        await second.send(b"from the second")
        assert await router.receive() == [b"X", b"from the second"]


# connect(routing_id=)


@jumping
@both
async def test_connect_with_an_id(place: str) -> None:
    """test_connect_rid: the connector addresses its peer by the id it gave, the peer's own name notwithstanding."""
    async with opened() as ctx:
        x, y = ctx.socket(Router, routing_id=b"X"), ctx.socket(Router, routing_id=b"Y")
        x.bind(place)
        endpoint = y.connect(place, routing_id=b"conn1")
        assert endpoint.routing_id == b"conn1"
        await y.send([b"conn1", b"hi 1"])
        assert await x.receive() == [b"Y", b"hi 1"]
        await x.send([b"Y", b"hi back"])
        assert await y.receive() == [b"conn1", b"hi back"]
        y.mandatory = True
        with pytest.raises(HostUnreachable):
            await y.send([b"X", b""])


@jumping
@both
async def test_connect_with_an_id_to_nameless(place: str) -> None:
    """test_connect_rid: the bound side sees a made-up id, and answers to it."""
    async with opened() as ctx:
        x, y = ctx.socket(Router), ctx.socket(Router)
        x.bind(place)
        y.connect(place, routing_id=b"conn1")
        await y.send([b"conn1", b"hi 1"])
        peer, body = await x.receive()
        assert (peer[0], body) == (0, b"hi 1")
        await x.send([peer, b"ok"])
        assert await y.receive() == [b"conn1", b"ok"]


@jumping
@both
async def test_connect_rid_between_three(place: str) -> None:
    """test_connect_rid, the third: with an unread message of Y pending, X connects to Z and reaches Z alone."""
    async with opened() as ctx:
        x, y, z = (ctx.socket(Router, routing_id=name) for name in (b"X", b"Y", b"Z"))
        x.bind(place)
        z.bind(place + "9")
        y.connect(place, routing_id=b"X")
        await y.send([b"X", b"pending"])
        await settle()
        x.connect(place + "9", routing_id=b"Z")
        await x.send([b"Z", b"hi 1"])
        assert await z.receive() == [b"X", b"hi 1"]
        await nothing(y)
        assert await x.receive() == [b"Y", b"pending"]


@jumping
async def test_connect_with_an_id_queues_before_there_is_a_peer() -> None:
    """zmq_connect(3): ready at once if it was named; otherwise only once the handshake is complete."""
    async with opened(mandatory=True) as ctx:
        router, dealer = ctx.socket(Router), ctx.socket(Dealer, routing_id=b"own")
        router.connect("tcp://place:1", routing_id=b"named")
        await router.send([b"named", b"early"])
        nameless = router.connect("tcp://place:2")
        assert nameless.routing_id is None
        dealer.bind("tcp://place:1")
        assert await dealer.receive() == [b"early"]
        other = ctx.socket(Dealer, routing_id=b"other")
        other.bind("tcp://place:2")
        await nameless.ready()
        assert nameless.routing_id == b"other"
        await router.send([b"other", b"hello"])
        assert await other.receive() == [b"hello"]


@jumping
async def test_ids_for_connect() -> None:
    """1 to 255 bytes, bytes only, and none that is in use (which aborts libzmq): then nothing has happened."""
    async with opened() as ctx:
        router = ctx.socket(Router)
        first = router.connect("tcp://place:1", routing_id=b"x")
        for wrong, error in ((b"", ValueError), (b"x" * 256, ValueError), ("x", TypeError), (b"x", ValueError)):
            with pytest.raises(error):
                router.connect("tcp://place:2", routing_id=wrong)  # type: ignore[arg-type]
        assert router.endpoints == (first,)
        router.connect("tcp://place:2", routing_id=b"y" * 255)
        router.connect("tcp://place:3", routing_id=bytearray(b"z"))  # type: ignore[arg-type]
        first.close()
        await settle()
        router.connect("tcp://place:4", routing_id=b"x")
        for kind in (Dealer, Req, Rep):
            with pytest.raises(TypeError):
                ctx.socket(kind).connect("tcp://place:1", routing_id=b"x")  # type: ignore[call-arg]


@jumping
async def test_a_reconnected_peer_keeps_its_id() -> None:
    """After a reconnect of the connecting side a newly announced identity is ignored (1.4); queued messages wait."""
    network = MemoryTransport()
    async with opened(network, mandatory=True) as ctx:
        router = ctx.socket(Router)
        dealer = ctx.socket(Dealer, routing_id=b"first")
        dealer.bind("tcp://place:1")
        endpoint = await joins(router, "tcp://place:1")
        dealer.close()
        await settle()
        await router.send([b"first", b"waits"])
        other = ctx.socket(Dealer, routing_id=b"second")
        other.bind("tcp://place:1")
        assert await other.receive() == [b"waits"]
        assert endpoint.routing_id == b"first"
        await other.send(b"hello")
        assert await router.receive() == [b"first", b"hello"]


# PROBE_ROUTER


@jumping
@both
@pytest.mark.parametrize("kind", [Router, Dealer])
async def test_probe_router(place: str, kind: Any) -> None:
    """test_probe_router: the server sees [X][empty], and can then send to X."""
    async with opened() as ctx:
        server, client = ctx.socket(Router), ctx.socket(kind, routing_id=b"X", probe_router=True)
        server.bind(place)
        client.connect(place)
        assert await server.receive() == [b"X", b""]
        await server.send([b"X", b"Hello"])
        received = await client.receive()
        if kind is Router:
            assert received.pop(0)[0] == 0
        assert received == [b"Hello"]


@jumping
@both
async def test_a_probe_is_first(place: str) -> None:
    """Before what was sent before the connection was there, and again on each new connection."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        server, client = ctx.socket(Router), ctx.socket(Dealer, routing_id=b"X", probe_router=True)
        client.connect(place)
        await client.send_many([b"1", b"2"])
        server.bind(place)
        assert [await server.receive() for _ in range(3)] == [[b"X", b""], [b"X", b"1"], [b"X", b"2"]]
        if place.startswith("tcp"):
            network.drop_all()
            await settle()
            await client.send(b"3")
            assert [await server.receive() for _ in range(2)] == [[b"X", b""], [b"X", b"3"]]


@jumping
@both
async def test_the_bound_side_may_probe(place: str) -> None:
    """On each connection that is accepted, too; a Router that is probed sees the prober's id."""
    async with opened() as ctx:
        server, client = ctx.socket(Router, routing_id=b"S", probe_router=True), ctx.socket(Router)
        server.bind(place)
        client.connect(place)
        assert await client.receive() == [b"S", b""]


@jumping
@both
async def test_a_probe_disturbs_nobody(place: str) -> None:
    """A Rep drops it, a Req does not take it for a reply; both go on."""
    async with opened() as ctx:
        rep, dealer = ctx.socket(Rep), ctx.socket(Dealer, probe_router=True)
        await joined(ctx, rep, dealer, place=place)
        await dealer.send([b"", b"q"])
        assert await rep.receive() == [b"q"]
        router, req = ctx.socket(Router, probe_router=True), ctx.socket(Req)
        await joined(ctx, router, req, place=place + "1")
        await req.send(b"q")
        await router.send(await router.receive())
        assert await req.receive() == [b"q"]


async def offers_to(peers: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a message is tried where each of so many peers has one that waits, and then they come one by one."""
    offers = 0

    async with opened() as ctx, trio.open_nursery() as nursery:
        router = ctx.socket(Router, mandatory=True, send_hwm=1)
        names = [b"%d" % n for n in range(peers)]
        for name in names:
            router.connect(f"inproc://{name.decode()}", routing_id=name)
            router.send_nowait([name, b"first"])
            nursery.start_soon(router.send, [name, b"second"])
        await trio.testing.wait_all_tasks_blocked()
        offer = router._offer

        def counted(item: Any) -> bool:
            nonlocal offers
            offers += 1
            return offer(item)

        monkeypatch.setattr(router, "_offer", counted)
        for name in names:
            dealer = ctx.socket(Dealer)
            dealer.bind(f"inproc://{name.decode()}")
            assert [await dealer.receive() for _ in range(2)] == [[b"first"], [b"second"]]
    return offers


@jumping
async def test_router_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room at one peer is tried for those who wait for it alone, however many wait for others."""
    few = await offers_to(5, monkeypatch)
    assert await offers_to(200, monkeypatch) <= 40 * few


@jumping
async def test_router_line_of_a_cancelled_send() -> None:
    """Where the head of a peer's line is cancelled, the next goes on when there is room, and those of other peers wait."""
    async with opened() as ctx, trio.open_nursery() as nursery:
        router = ctx.socket(Router, mandatory=True, send_hwm=1)
        for name in (b"a", b"b"):
            router.connect(f"inproc://{name.decode()}", routing_id=name)
            router.send_nowait([name, b"0"])
        scope = trio.CancelScope()

        async def first() -> None:
            with scope:
                await router.send([b"a", b"1"])

        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        for message in ([b"a", b"2"], [b"b", b"1"]):
            nursery.start_soon(router.send, message)
            await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        for name, last in ((b"a", b"2"), (b"b", b"1")):
            dealer = ctx.socket(Dealer)
            dealer.bind(f"inproc://{name.decode()}")
            assert [await dealer.receive() for _ in range(2)] == [[b"0"], [last]]
