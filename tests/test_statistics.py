"""Statistics: every message is somewhere, for each peer, each socket and the context (promise 6)."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
import trio
from sockets.helpers import both, drain, fill, joined, joins, jumping, opened, settle

import trimq
from trimq.testing import MemoryTransport


def balanced(traffic: trimq.Traffic) -> bool:
    return traffic.sent == traffic.written + traffic.queued + traffic.in_doubt + traffic.unsent


@jumping
@both
async def test_a_stream_of_messages(place: str) -> None:
    """Both ends count the same messages; bytes are those of the connection, and none over inproc."""
    async with opened() as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        await joined(ctx, pull, push, place=place)
        for _ in range(10):
            await push.send([b"0123", b"456789"])
        await push.flush()
        for _ in range(3):
            await pull.receive()
        await pull.receive_many(4)
        pull.receive_nowait()
        await settle()
        ours, theirs = push.statistics(), pull.statistics()
        assert (ours.sent, ours.written, ours.queued, ours.dropped) == (10, 10, 0, 0)
        assert (theirs.received, theirs.waiting, theirs.sent) == (10, 2, 0)
        size = 0 if place.startswith("inproc") else 10 * (2 + 4 + 2 + 6)
        assert (ours.bytes_written, theirs.bytes_received) == (size, size)
        assert (ours.connections, theirs.connections, ours.losses) == (1, 1, 0)
        [peer] = ours.peers
        assert peer.connected
        assert peer.peer is push.peers[0]
        assert attrs.asdict(peer)["sent"] == 10


@jumping
@both
async def test_requests_and_replies(place: str) -> None:
    """Also where messages do not wait in an inbox."""
    async with opened() as ctx:
        req, rep = ctx.socket(trimq.Req), ctx.socket(trimq.Rep)
        await joined(ctx, rep, req, place=place)
        for _ in range(3):
            await req.send(b"q")
            await rep.send(await rep.receive())
            await req.receive()
        for socket in (req, rep):
            await settle()
            statistics = socket.statistics()
            assert (statistics.sent, statistics.written, statistics.received) == (3, 3, 3)


@jumping
async def test_nobody_came() -> None:
    """What waits for an endpoint is queued; once it is closed, unsent; and stays so after the socket is gone."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        push.connect("tcp://nobody:1")
        fill(push, b"x", 5)
        before = push.statistics()
        assert (before.sent, before.queued, before.written) == (5, 5, 0)
        assert [(peer.endpoint, peer.peer, peer.connected) for peer in before.peers] == [
            ("tcp://nobody:1", None, False)
        ]
        await push.aclose()
        after = push.statistics()
        assert (after.sent, after.queued, after.unsent, after.peers) == (5, 0, 5, ())
        assert ctx.statistics().unsent == 5
        assert ctx.statistics().sockets == ()


@jumping
async def test_in_doubt() -> None:
    """What a lost connection took with it; the rest goes on over the next one. Every message is in one place."""
    network = MemoryTransport(buffer=1000)
    async with opened(network) as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull, receive_hwm=2)
        await joined(ctx, pull, push, place="tcp://place:1")
        fill(push, bytes(10_000), 100)
        await settle()
        network.drop_all()
        await settle()
        statistics = push.statistics()
        assert balanced(statistics)
        assert statistics.in_doubt > 0
        assert statistics.losses == 1
        await push.endpoints[0].ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.flush)
            while statistics.sent - statistics.in_doubt > pull.statistics().received - 1:
                await settle()
                if not drain(pull) and not push.statistics().queued:
                    break
        statistics = push.statistics()
        assert balanced(statistics)
        assert (statistics.queued, statistics.connections) == (0, 2)


@jumping
@both
async def test_peers_that_are_gone_still_count(place: str) -> None:
    """A bound socket's sums outlive its peers; what is unread of them waits."""
    async with opened() as ctx:
        pull = ctx.socket(trimq.Pull)
        pull.bind(place)
        for number in range(3):
            push = ctx.socket(trimq.Push, linger=math.inf)
            await joins(push, place)
            await push.send(b"%d" % number)
            await push.aclose()
            await settle()
        statistics = pull.statistics()
        assert (statistics.received, statistics.waiting, statistics.peers) == (3, 3, ())
        await pull.receive()
        assert pull.statistics().waiting == 2
        drain(pull)
        statistics = pull.statistics()
        assert (statistics.received, statistics.waiting) == (3, 0)
        assert statistics.connections == 3


@jumping
@both
async def test_drops_are_per_peer(place: str) -> None:
    """Who is slow is seen, and that the others are not."""
    async with opened(send_hwm=5, receive_hwm=5) as ctx:
        pub, slow, quick = ctx.socket(trimq.Pub), ctx.socket(trimq.Sub), ctx.socket(trimq.Sub)
        for sub in (slow, quick):
            sub.subscribe(b"")
        await joined(ctx, pub, slow, quick, place=place)
        await pub.wait_for_subscribers(2)
        for _ in range(50):
            await pub.send(bytes(100_000))
            await settle()
            drain(quick)
        first, second = pub.statistics().peers
        assert first.dropped > 0
        assert second.dropped == 0
        assert first.sent + first.dropped == 50


@jumping
async def test_topics() -> None:
    """Distinct ones, on either side (ZMQ_TOPICS_COUNT)."""
    async with opened() as ctx:
        pub, subs = ctx.socket(trimq.Pub), [ctx.socket(trimq.Sub) for _ in range(2)]
        await joined(ctx, pub, *subs, place="inproc://place")
        for sub in subs:
            sub.subscribe(b"a")
            sub.subscribe(b"a")
            sub.subscribe(b"b")
        assert [socket.statistics().topics for socket in (pub, *subs)] == [2, 2, 2]
        subs[0].unsubscribe(b"b")
        assert [socket.statistics().topics for socket in (pub, *subs)] == [2, 1, 2]


@jumping
async def test_the_context_adds_up() -> None:
    """All sockets, those that are closed included; also after the end."""
    async with opened() as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        await joined(ctx, pull, push, place="inproc://place")
        await push.send_many([b""] * 7)
        assert len(ctx.statistics().sockets) == 2
        push.close()
        statistics = ctx.statistics()
        assert [socket.socket_type for socket in statistics.sockets] == ["PULL"]
        assert (statistics.sent, statistics.received, statistics.connections) == (7, 7, 2)
    assert ctx.statistics().sent == 7
    assert ctx.statistics().sockets == ()


@jumping
async def test_flush_and_messages_that_are_dropped_or_put_first() -> None:
    """Counts are not disturbed by what jumps the line, and flush waits for neither too much nor too little."""
    async with opened(send_hwm=3) as ctx:
        push = ctx.socket(trimq.Push, mute="drop_old")
        endpoint = push.connect("tcp://place:1")
        await push.send_many([b"%d" % number for number in range(10)])
        statistics = push.statistics()
        assert (statistics.sent, statistics.queued, statistics.dropped) == (3, 3, 7)
        pull = ctx.socket(trimq.Pull)
        pull.bind("tcp://place:1")
        await endpoint.ready()
        await push.flush()
        await settle()
        assert drain(pull) == [[b"7"], [b"8"], [b"9"]]
        assert push.statistics().written == 3


@jumping
@pytest.mark.parametrize("kind", [trimq.XPub, trimq.Router, trimq.Stream, trimq.Pair, trimq.XSub])
async def test_every_type_has_them(kind: Any) -> None:
    """A fresh socket says nothing but zeros."""
    async with opened() as ctx:
        statistics = attrs.asdict(ctx.socket(kind).statistics())
        assert statistics.pop("socket_type") == kind.socket_type
        assert not any(statistics.values())


def test_not_from_another_thread() -> None:
    """NoIOThread, as all calls."""

    async def main() -> None:
        async with opened() as ctx:
            push = ctx.socket(trimq.Push)
            for call in (push.statistics, ctx.statistics):
                with pytest.raises(trimq.NoIOThread):
                    await trio.to_thread.run_sync(call)

    trio.run(main)


@jumping
async def test_bytes_that_come_with_the_handshake() -> None:
    """Messages that wait for a peer go out behind the handshake, and may be read together with it."""
    async with opened() as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        push.connect("tcp://place:1")
        for _ in range(10):
            await push.send(b"0123456789")
        pull.bind("tcp://place:1")
        await pull.wait_receivable()
        await settle()
        assert push.statistics().bytes_written == pull.statistics().bytes_received == 120
