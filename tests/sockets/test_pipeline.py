"""Push and Pull: RFC 30; libzmq's test_spec_pushpull, test_hwm, test_sockopt_hwm, test_immediate, test_inproc_connect."""

from __future__ import annotations

import math
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

from trimq import EndpointState, Pull, Push
from trimq.testing import MemoryTransport

# Routing


@jumping
@both
async def test_push_round_robin(place: str) -> None:
    """RFC 30: "SHALL round-robin"; test_spec_pushpull: two messages to each of five, in the order they came."""
    async with opened() as ctx:
        push, pulls = ctx.socket(Push), [ctx.socket(Pull) for _ in range(5)]
        await joined(ctx, push, *pulls, place=place)
        for message in [b"ABC"] * 5 + [b"DEF"] * 5:
            await push.send(message)
        for pull in pulls:
            assert await all_of(pull) == [[b"ABC"], [b"DEF"]]


@jumping
@both
async def test_push_round_robin_over_connected(place: str) -> None:
    """Several endpoints: the order of the pipes is the order of connecting (libzmq.md 5.1)."""
    async with opened() as ctx:
        push, pulls = ctx.socket(Push), [ctx.socket(Pull) for _ in range(3)]
        for n, pull in enumerate(pulls):
            push.connect(f"{place}{n}")
            pull.bind(f"{place}{n}")
        await push.send_many(b"%d" % n for n in range(7))
        assert [await all_of(pull) for pull in pulls] == [[[b"0"], [b"3"], [b"6"]], [[b"1"], [b"4"]], [[b"2"], [b"5"]]]


@jumping
@both
async def test_pull_fair_queues(place: str) -> None:
    """test_spec_pushpull: of two messages from each of five, the first five received are the five first ones."""
    async with opened() as ctx:
        pull, pushes = ctx.socket(Pull), [ctx.socket(Push) for _ in range(5)]
        await joined(ctx, pull, *pushes, place=place)
        for n, push in enumerate(pushes):
            await push.send(b"first%d" % n)
            await push.send(b"second%d" % n)
        received = [message for [message] in await all_of(pull)]
        assert sorted(received[:5]) == [b"first%d" % n for n in range(5)]
        assert [int(message[-1:]) for message in received[5:]] == [int(message[-1:]) for message in received[:5]]


@jumping
async def test_pull_is_fair_to_a_quiet_peer() -> None:
    """A peer with one message is heard next, however much the others have sent (RFC 30: "SHALL fair-queue")."""
    async with opened() as ctx:
        pull, loud, quiet = ctx.socket(Pull), ctx.socket(Push), ctx.socket(Push)
        await joined(ctx, pull, loud, quiet, place="inproc://place")
        fill(loud, b"loud")
        await quiet.send(b"quiet")
        assert [b"quiet"] in [await pull.receive() for _ in range(2)]


@jumping
async def test_push_passes_over_who_is_full() -> None:
    """A pipe that cannot accept is passed over, and joins again at the end when half of it was read (1.3, 5.2)."""
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        push, slow, quick = ctx.socket(Push), ctx.socket(Pull), ctx.socket(Pull)
        await joined(ctx, push, slow, quick, place="inproc://place")
        for n in range(12):
            await push.send(b"%d" % n)
            if n % 2:
                drain(quick)
            if n >= 8:
                drain(quick)
        # 0, 2, 4, 6 filled the slow one's four places
        assert len(remote(push).outbox) == 4
        assert [slow.receive_nowait() for _ in range(2)] == [[b"0"], [b"2"]]
        await push.send_many([b"a", b"b", b"c", b"d"])
        assert drain(quick)[-2:] == [[b"a"], [b"c"]]
        assert drain(slow) == [[b"4"], [b"6"], [b"b"], [b"d"]]


@jumping
@both
async def test_who_joins_and_who_leaves(place: str) -> None:
    """Who comes gets its turn, who goes gets nothing more; nothing else is lost (RFC 30)."""
    async with opened() as ctx:
        push, one, other = ctx.socket(Push), ctx.socket(Pull), ctx.socket(Pull)
        await joined(ctx, push, one, place=place)
        await push.send(b"1")
        await joins(other, place)
        await push.wait_for_peers(2)
        await push.send_many([b"2", b"3"])
        assert sorted(await all_of(one) + await all_of(other)) == [[b"1"], [b"2"], [b"3"]]
        one.close()
        await settle()
        assert len(push.peers) == 1
        await push.send_many([b"4", b"5"])
        assert await all_of(other) == [[b"4"], [b"5"]]
        other.close()
        await settle()
        with pytest.raises(trio.WouldBlock):
            push.send_nowait(b"6")
        await joins(third := ctx.socket(Pull), place)
        await push.send(b"7")
        assert await third.receive() == [b"7"]


@jumping
@both
async def test_pull_keeps_what_came_before_its_peer_went(place: str) -> None:
    """Inbound messages stay readable until drained (libzmq.md 1.6)."""
    async with opened(linger=math.inf) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place=place)
        await push.send_many([b"1", b"2", b"3"])
        await settle()
        await push.aclose()
        await settle()
        assert pull.peers == ()
        assert await pull.receive_many() == [[b"1"], [b"2"], [b"3"]]


@jumping
async def test_push_discards_what_it_receives() -> None:
    """RFC 30: a PUSH discards; its peer is not held back, and gets its messages."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        push = ctx.socket(Push, receive_hwm=1)
        push.bind("tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"PULL")
        await peer.stream.send_all(zmtp_message(b"unasked", b"for") * 10_000)
        await push.send(b"still there")
        assert await peer.exactly(13) == zmtp_message(b"still there")


# Mute


@jumping
@both
async def test_push_waits_while_there_is_nobody(place: str) -> None:
    """test_spec_pushpull: no peers after bind alone, nothing can be sent; RFC 30: block, never discard."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        push.bind(place)
        assert fill(push) == 0
        assert not await level(push.wait_sendable)
        assert not await level(lambda: push.send(b"cancelled"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send, b"1")
            nursery.start_soon(push.send_many, [b"2"])
            await settle()
            await joins(pull, place)
        assert sorted([await pull.receive(), await pull.receive()]) == [[b"1"], [b"2"]]
        await nothing(pull)


@jumping
@both
async def test_push_waits_while_all_are_full(place: str) -> None:
    """Mute action of PUSH: block; then what waited goes first, and nothing was dropped."""
    async with opened(MemoryTransport(buffer=200), send_hwm=1, receive_hwm=1) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place=place)
        sent = 0
        while await level(lambda: push.send(b"%d" % sent)):  # noqa: B023
            sent += 1
        assert sent >= 2
        async with trio.open_nursery() as nursery:
            for n in range(sent, sent + 3):
                nursery.start_soon(push.send, b"%d" % n)
                await settle()
            with pytest.raises(trio.WouldBlock):
                push.send_nowait(b"pushes in")
            received = [await pull.receive() for _ in range(sent + 3)]
        assert received == [[b"%d" % n] for n in range(sent + 3)]
        assert dropped(push) == [0]


# High-water marks


@jumping
@pytest.mark.parametrize("first", ["bind", "connect"])
@pytest.mark.parametrize(
    ("send_hwm", "receive_hwm", "count"),
    [
        (1000, 1000, 2000),
        (1, 1, 2),
        (2, 2, 4),
        (1, 5, 6),
        (math.inf, math.inf, 10_000),
        (math.inf, 1, 10_000),
        (1, math.inf, 10_000),
    ],
)
async def test_inproc_marks_add_up(first: str, send_hwm: float, receive_hwm: float, count: int) -> None:
    """test_hwm: the writer's SNDHWM + the reader's RCVHWM; unlimited if either is; after draining one more goes."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push, send_hwm=send_hwm), ctx.socket(Pull, receive_hwm=receive_hwm)
        for who in ("bind", "connect") if first == "bind" else ("connect", "bind"):
            if who == "bind":
                pull.bind("inproc://place")
            else:
                push.connect("inproc://place")
        assert fill(push) == count
        assert len(drain(pull)) == count
        push.send_nowait(b"one more")
        assert await pull.receive() == [b"one more"]


@jumping
async def test_marks_add_up_whoever_binds() -> None:
    """The same with the Push bound."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push, send_hwm=3), ctx.socket(Pull, receive_hwm=4)
        await joined(ctx, push, pull, place="inproc://place")
        assert fill(push) == 7


@jumping
async def test_marks_are_per_peer() -> None:
    """HWM is per pipe (libzmq.md 1, 5.2)."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        push = ctx.socket(Push)
        await joined(ctx, push, *(ctx.socket(Pull) for _ in range(3)), place="inproc://place")
        assert fill(push) == 6


@jumping
async def test_marks_count_messages() -> None:
    """Counted in whole messages: many frames are one."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="inproc://place")
        assert fill(push, [b""] * 1000) == 2


@jumping
@pytest.mark.parametrize("place", ["inproc://place", "tcp://place:1"])
async def test_before_there_is_a_peer(place: str) -> None:
    """After connect messages queue up to SNDHWM although no peer exists (libzmq.md 5.1); then all arrive in order."""
    async with opened(send_hwm=5, receive_hwm=5) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        push.connect(place)
        assert fill(push, b"early") == 5
        assert not await level(push.wait_sendable)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send_many, [b"%d" % n for n in range(20)])
            await settle()
            pull.bind(place)
            received = [await pull.receive() for _ in range(25)]
        assert received == [[b"early"]] * 5 + [[b"%d" % n] for n in range(20)]


@jumping
async def test_closed_before_the_other_binds() -> None:
    """test_hwm: connect first with SNDHWM 1, send, close, then bind: exactly one message arrives."""
    async with opened(linger=math.inf) as ctx:
        push, pull = ctx.socket(Push, send_hwm=1), ctx.socket(Pull)
        push.connect("inproc://place")
        assert fill(push, b"kept") == 1
        push.close()
        await settle()
        pull.bind("inproc://place")
        assert await all_of(pull) == [[b"kept"]]


@jumping
async def test_ten_pending_connects() -> None:
    """test_inproc_connect: ten Push sockets that connected and sent first are all heard after one bind."""
    async with opened() as ctx:
        for n in range(10):
            push = ctx.socket(Push)
            push.connect("inproc://place")
            await push.send(b"%d" % n)
        pull = ctx.socket(Pull)
        pull.bind("inproc://place")
        assert await all_of(pull) == [[b"%d" % n] for n in range(10)]


@jumping
async def test_raising_a_mark_on_a_live_socket() -> None:
    """test_sockopt_hwm: 1 + 1, then SNDHWM set to 5 after connect: 6 sends; the other side's mark counts as well."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push, send_hwm=1), ctx.socket(Pull, receive_hwm=1)
        await joined(ctx, pull, push, place="inproc://place")
        push.send_hwm = 5
        assert fill(push) == 6
        drain(pull)
        pull.receive_hwm = 10
        assert fill(push) == 15
        drain(pull)
        push.send_hwm = math.inf
        assert fill(push) == 10_000


@jumping
async def test_lowering_a_mark_on_a_live_socket() -> None:
    """test_sockopt_hwm: 100 + 1 filled, then 70: nothing is lost, and then no more than 71 fit, and more than 7."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push, send_hwm=100), ctx.socket(Pull, receive_hwm=1)
        await joined(ctx, pull, push, place="inproc://place")
        sent = 0
        while True:
            try:
                push.send_nowait(b"%d" % sent)
            except trio.WouldBlock:
                break
            sent += 1
        assert sent == 101
        push.send_hwm = 70
        assert push.send_hwm == 70
        with pytest.raises(trio.WouldBlock):
            push.send_nowait(b"")
        assert drain(pull) == [[b"%d" % n] for n in range(101)]
        assert fill(push) == 71


@jumping
async def test_a_raised_mark_lets_who_waits_go_on() -> None:
    """A call that waits for room goes on when a new mark makes half of the queue free."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push, send_hwm=1), ctx.socket(Pull, receive_hwm=1)
        await joined(ctx, pull, push, place="inproc://place")
        assert fill(push) == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send, b"waited")
            await settle()
            push.send_hwm = 10
        assert drain(pull)[-1] == [b"waited"]


@jumping
async def test_receive_hwm_holds_the_sender_back() -> None:
    """Over a network nothing is read beyond RCVHWM (and what one read brings): the sender has to wait."""
    async with opened(MemoryTransport(buffer=100), send_hwm=10, receive_hwm=10) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="tcp://place:1")
        sent = 0
        while await level(lambda: push.send(b"x" * 98)):
            sent += 1
            await settle()  # a queue that was full for a moment would open again only when half of it is read
        # 10 queued at each side, 10 in the batch that is being written, and what the buffers of 100 bytes hold
        assert 20 <= sent <= 35
        assert len(await all_of(pull)) == sent


# Whole messages


@jumping
async def test_a_message_is_never_cut() -> None:
    """Whole-message atomicity (test_spec_pushpull): what a lost connection cut in two is not seen, nor is its rest."""
    network = MemoryTransport(buffer=1000)
    async with opened(network, send_hwm=1, receive_hwm=1, reconnect_interval=0.01) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place="tcp://place:1")
        big = [b"3", b"x" * 1_000_000, b"3b"]
        await push.send(big)
        await push.send(b"kept")
        await settle()
        network.drop_all()
        await settle()
        await push.send([b"5", b"5"])
        received = await all_of(pull)
        while [b"5", b"5"] not in received:
            received += [await pull.receive()]
        assert [message for message in received if message not in (big, [b"kept"])] == [[b"5", b"5"]]
        assert received[-1] == [b"5", b"5"]


@jumping
@both
async def test_frames_stay_together(place: str) -> None:
    """Messages of many frames from many peers come whole, none interleaved (libzmq.md 1.3)."""
    async with opened(receive_hwm=3, send_hwm=3) as ctx:
        pull, pushes = ctx.socket(Pull), [ctx.socket(Push) for _ in range(4)]
        await joined(ctx, pull, *pushes, place=place)

        async def send(push: Push, name: bytes) -> None:
            for n in range(50):
                await push.send([name + b"%d" % n] * (1 + n % 7))

        async with trio.open_nursery() as nursery:
            for n, push in enumerate(pushes):
                nursery.start_soon(send, push, b"%d-" % n)
            received = [await pull.receive() for _ in range(200)]
        assert all(len(set(message)) == 1 for message in received)
        for n in range(4):
            mine = [message for message in received if message[0].startswith(b"%d-" % n)]
            assert mine == [[b"%d-%d" % (n, k)] * (1 + k % 7) for k in range(50)]


# Endpoints without peers


@jumping
async def test_a_dead_endpoint_gets_its_share() -> None:
    """test_immediate: of ten sends to a dead and a live endpoint five arrive; the rest wait for the dead one."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        pull.bind("tcp://live:1")
        push.connect("tcp://dead:1")
        await joins(push, "tcp://live:1")
        await push.send_many(b"%d" % n for n in range(10))
        assert await all_of(pull) == [[b"%d" % n] for n in range(1, 10, 2)]
        late = ctx.socket(Pull)
        late.bind("tcp://dead:1")
        assert [await late.receive() for _ in range(5)] == [[b"%d" % n] for n in range(0, 10, 2)]


@jumping
async def test_immediate() -> None:
    """test_immediate with IMMEDIATE=1: all ten arrive; without any peer nothing can be sent."""
    async with opened(immediate=True) as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        push.connect("tcp://dead:1")
        push.connect("tcp://live:1")
        assert fill(push) == 0
        pull.bind("tcp://live:1")
        await push.wait_sendable()
        await push.send_many(b"%d" % n for n in range(10))
        assert await all_of(pull) == [[b"%d" % n] for n in range(10)]
        pull.close()
        await settle()
        assert fill(push) == 0
        back = ctx.socket(Pull)
        back.bind("tcp://live:1")
        await push.send(b"back")
        assert await back.receive() == [b"back"]


@jumping
async def test_disconnect() -> None:
    """test_term_endpoint: after a disconnect, or an unbind at the other side, nothing can be sent."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        bound = pull.bind("tcp://place:1")
        endpoint = await joins(push, "tcp://place:1")
        await push.send(b"1")
        assert await pull.receive() == [b"1"]
        endpoint.close()
        await settle()
        assert endpoint.state is EndpointState.CLOSED
        assert fill(push) == 0
        assert pull.peers == ()
        other = ctx.socket(Push)
        other.bind("tcp://other:1")
        await joins(pull, "tcp://other:1")
        await other.send(b"2")
        assert await pull.receive() == [b"2"]
        pull.disconnect("tcp://other:1")
        await settle()
        assert fill(other) == 0
        bound.close()


@jumping
async def test_unbind_ends_what_came_in_there() -> None:
    """test_term_endpoint: zmq_unbind closes the connections that were accepted there, at once (1.6 needs a poll)."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, push, pull, place="tcp://place:1")
        push.unbind("tcp://place:1")
        assert fill(push) == 0
        await settle()
        assert push.peers == pull.peers == ()


# What they are


@jumping
async def test_types_have_what_they_can() -> None:
    """What a pattern cannot do, its class does not have; they are trio's channels (design 1)."""
    async with opened() as ctx:
        push: Any = ctx.socket(Push)
        pull: Any = ctx.socket(Pull)
        assert isinstance(push, trio.abc.SendChannel)
        assert isinstance(pull, trio.abc.ReceiveChannel)
        assert not isinstance(push, trio.abc.ReceiveChannel)
        assert not isinstance(pull, trio.abc.SendChannel)
        for name in ("receive", "receive_nowait", "receive_many", "wait_receivable", "__aiter__", "subscribe"):
            assert not hasattr(push, name), name
        for name in ("send", "send_nowait", "send_many", "wait_sendable", "subscribe"):
            assert not hasattr(pull, name), name


@jumping
@both
async def test_async_for_over_a_pull(place: str) -> None:
    """As with any ReceiveChannel; a send into it from another task."""
    async with opened() as ctx:
        push, pull = ctx.socket(Push), ctx.socket(Pull)
        await joined(ctx, pull, push, place=place)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send_many, (b"%d" % n for n in range(5000)))
            n = 0
            async for [message] in pull:
                assert message == b"%d" % n
                n += 1
                if n == 5000:
                    break
