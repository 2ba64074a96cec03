"""Pub, Sub, XPub and XSub: RFC 29; libzmq's test_xpub_*, test_xsub_verbose, test_sub_forward, test_hwm_pubsub."""

from __future__ import annotations

import math
import random
from operator import length_hint
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
    zmtp_command,
    zmtp_message,
)

import trimq
from trimq import Pub, StateError, Sub, XPub, XSub
from trimq._pace import Ahead
from trimq.testing import MemoryTransport

publishers = pytest.mark.parametrize("kind", [Pub, XPub])
subscribers = pytest.mark.parametrize("kind", [Sub, XSub])


def sub_to(ctx: trimq.Context, *topics: bytes, kind: Any = Sub, **options: Any) -> Any:
    """A subscriber that wants these."""
    socket = ctx.socket(kind, **options)
    for topic in topics:
        socket.subscribe(topic)
    return socket


# Publishing


@jumping
@both
@publishers
@pytest.mark.parametrize("seed", range(4))
async def test_lent_puts_change_nothing(place: str, kind: Any, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a call may go on without asking, each peer still gets all that it wants, in order, or its drops are counted."""
    monkeypatch.setattr(Ahead, "most", lambda self, possible: int(min(possible, 7)))
    chance = random.Random(seed)
    topics = (b"", b"", b"a", b"ab", b"b")
    went_short = 0
    async with opened(send_hwm=20, receive_hwm=20) as ctx:
        pub = ctx.socket(kind)
        pub.bind(place)
        ctx._pace.ahead = 1.0
        monkeypatch.setattr(type(ctx._pace), "_renew", lambda self: None)
        subs: dict[Any, tuple[Any, set[bytes], list[bytes]]] = {}
        for number in range(800):
            match chance.choice(["send"] * 40 + ["join", "leave", "topic", "topic", "settle", "settle", "many"]):
                case "send":
                    message = chance.choice([b"a", b"ab", b"b", b"c"]) + b"%d" % number
                    went_short += length_hint(pub._credit.puts)
                    pub.send_nowait(message)
                    for _, wanted, expected in subs.values():
                        expected.extend([message] if message.startswith(tuple(wanted)) else [])
                case "many":
                    several = [b"a%d" % number + bytes([place]) for place in range(12)]
                    await pub.send_many(several)
                    for _, wanted, expected in subs.values():
                        expected.extend(several if several[0].startswith(tuple(wanted)) else [])
                case "join" if len(subs) < 3:
                    sub = ctx.socket(Sub)
                    await joins(sub, place)
                    await settle()
                    subs[sub] = (remote(pub, -1), set(), [])
                case "leave" if subs:
                    sub = chance.choice(list(subs))
                    peer, _, expected = subs.pop(sub)
                    await check(sub, peer, expected)
                    sub.close()
                    await settle()
                case "topic" if subs:
                    sub = chance.choice(list(subs))
                    peer, wanted, expected = subs[sub]
                    await check(sub, peer, expected)  # what is no longer wanted is not handed out
                    topic = chance.choice(topics)
                    if topic in wanted:
                        wanted.remove(topic)
                        sub.unsubscribe(topic)
                    else:
                        wanted.add(topic)
                        sub.subscribe(topic)
                    await settle()
                case "settle":
                    for sub, (peer, _, expected) in subs.items():
                        await check(sub, peer, expected)
        for sub, (peer, _, expected) in subs.items():
            await check(sub, peer, expected)
    assert went_short > 100


async def check(sub: Any, peer: Any, expected: list[bytes]) -> None:
    """A subscriber has got what it should, in order, but for what was counted as dropped. All counts begin anew."""
    got = [message[0] for message in await all_of(sub)]
    rest = iter(expected)
    assert all(message in rest for message in got)
    assert len(expected) - len(got) == peer.dropped
    peer.dropped = 0
    expected.clear()


@jumping
@publishers
async def test_loans_end_with_each_subscription(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody misses what others have borrowed room for, nor gets what it no longer wants; its writer is busy meanwhile."""
    monkeypatch.setattr(Ahead, "most", lambda self, possible: int(min(possible, 7)))
    network = MemoryTransport(buffer=100)
    async with opened(network) as ctx:
        pub = ctx.socket(kind)
        pub.bind("tcp://place:1")
        deaf = RawPeer(await raw_connect(network))
        await deaf.handshake(b"SUB")
        await deaf.stream.send_all(zmtp_message(b"\1"))
        await pub.wait_for_subscribers()
        ctx._pace.ahead = 1.0
        expected = 0

        async def lends() -> None:
            nonlocal expected
            for _ in range(8):
                await pub.send(b"x" * 200)
                expected += 1
                if length_hint(pub._credit.puts) > 3:
                    break
            else:
                pytest.fail("it lends nothing")
            assert len(remote(pub).outbox) == expected

        await lends()
        await settle()
        await lends()  # with the queue's own append
        late = ctx.socket(Sub)
        late.subscribe(b"y")
        await joins(late, "tcp://place:1")
        await pub.wait_for_subscribers(2, b"y")
        await pub.send(b"y")
        expected += 1
        assert await all_of(late) == [[b"y"]]
        ctx._pace.ahead = 1.0
        await lends()
        late.subscribe(b"")
        await pub.wait_for_subscribers(2, b"all")
        await pub.send(b"all")
        expected += 1
        assert await all_of(late) == [[b"all"]]
        late.close()
        await settle()
        ctx._pace.ahead = 1.0
        await lends()
        await deaf.stream.send_all(zmtp_message(b"\0"))
        await settle()
        await pub.send(b"nobody")
        assert len(remote(pub).outbox) == expected


@jumping
@both
@publishers
async def test_by_prefix(place: str, kind: Any) -> None:
    """Prefix matching on the first frame; the empty one matches all; one copy whatever matches (libzmq.md 1.4)."""
    async with opened() as ctx:
        pub = ctx.socket(kind)
        a, ab, every, none = sub_to(ctx, b"a"), sub_to(ctx, b"ab", b"a"), sub_to(ctx, b"", b"ab"), sub_to(ctx)
        await joined(ctx, pub, a, ab, every, none, place=place)
        await pub.wait_for_subscribers(3, b"ab")
        for message in ([b"abc", b"1"], b"a", b"b", [b"", b"a"]):
            await pub.send(message)
        assert await all_of(a) == await all_of(ab) == [[b"abc", b"1"], [b"a"]]
        assert await all_of(every) == [[b"abc", b"1"], [b"a"], [b"b"], [b"", b"a"]]
        await nothing(none)


@jumping
@publishers
async def test_pub_never_waits(kind: Any) -> None:
    """Without subscribers messages go nowhere; full ones miss theirs; send never waits (RFC 29, mute: drop)."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        pub, sub = ctx.socket(kind), sub_to(ctx, b"")
        assert fill(pub, b"x", 100) == 100
        assert await level(pub.wait_sendable)
        await joined(ctx, pub, sub, place="inproc://place")
        assert fill(pub, b"x", 100) == 100
        assert dropped(pub) == [98]
        assert await level(pub.wait_sendable)
        assert drain(sub) == [[b"x"], [b"x"]]
        await pub.send(b"y")
        assert drain(sub) == [[b"y"]]


@jumping
async def test_only_the_full_miss() -> None:
    """A full pipe is skipped for the whole message; the others get it (1.3); counted per peer (promise 6)."""
    async with opened(receive_hwm=1) as ctx:
        pub, slow, quick = ctx.socket(Pub, send_hwm=1), sub_to(ctx, b""), sub_to(ctx, b"")
        await joined(ctx, pub, slow, quick, place="inproc://place")
        received = []
        for n in range(6):
            await pub.send([b"%d" % n, b"second"])
            received += drain(quick)
        assert received == [[b"%d" % n, b"second"] for n in range(6)]
        assert drain(slow) == [[b"0", b"second"], [b"1", b"second"]]
        assert dropped(pub) == [4, 0]


@jumping
@both
@pytest.mark.parametrize("count", [1000, 100])
async def test_hwm_pubsub(place: str, count: int) -> None:
    """test_hwm_pubsub: a mark set after bind and connect; as many messages as it says are all received."""
    async with opened(receive_hwm=count) as ctx:
        pub, sub = ctx.socket(XPub), sub_to(ctx, b"")
        await joined(ctx, pub, sub, place=place)
        assert await pub.receive() == [b"\x01"]
        pub.send_hwm = count
        assert fill(pub, b"", count) == count
        assert len(await all_of(sub)) == count
        assert dropped(pub) == [0]


@jumping
@both
async def test_credit_comes_back(place: str) -> None:
    """test_hwm_pubsub, "reset": 9,999 messages at a mark of 11,024 and then 1,100 more."""
    async with opened(send_hwm=11024, receive_hwm=11024) as ctx:
        pub, sub = ctx.socket(Pub), sub_to(ctx, b"")
        await joined(ctx, pub, sub, place=place)
        await pub.wait_for_subscribers()
        for count in (9999, 1100):
            await pub.send_many([b"message"] * count)
            assert len(await all_of(sub)) == count


@jumping
@both
async def test_pub_before_there_is_anybody(place: str) -> None:
    """test_inproc_connect: a Pub that connects first: what it says before the bind is dropped, what after is delivered."""
    async with opened() as ctx:
        pub, sub = ctx.socket(Pub), sub_to(ctx, b"")
        pub.connect(place)
        await pub.send(b"before")
        sub.bind(place)
        await pub.wait_for_subscribers(1, b"")
        await pub.send(b"after")
        assert await all_of(sub) == [[b"after"]]


# nodrop


@jumping
@publishers
async def test_nodrop(kind: Any) -> None:
    """test_xpub_nodrop: 1,999 of 2,000 go and arrive; then until there is no room: each that went is received."""
    async with opened() as ctx:
        pub, sub = ctx.socket(kind, nodrop=True, send_hwm=2000), sub_to(ctx, b"")
        await joined(ctx, pub, sub, place="inproc://place")
        await pub.send_many([b""] * 1999)
        assert len(await all_of(sub)) == 1999
        count = fill(pub)
        assert count == 3000
        assert not await level(pub.wait_sendable)
        assert len(drain(sub)) == count
        assert dropped(pub) == [0]
        assert await level(pub.wait_sendable)


@jumping
@both
async def test_nodrop_waits(place: str) -> None:
    """test_hwm_pubsub: 6,000 at a mark of 2,000 with a slow reader: none is lost."""
    async with opened(MemoryTransport(buffer=1000)) as ctx:
        pub, sub = ctx.socket(XPub, nodrop=True, send_hwm=20), sub_to(ctx, b"", receive_hwm=20)
        await joined(ctx, pub, sub, place=place)
        await pub.wait_for_subscribers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pub.send_many, [b"%d" % n for n in range(6000)])
            assert [await sub.receive() for _ in range(6000)] == [[b"%d" % n] for n in range(6000)]


@jumping
async def test_nodrop_is_all_or_nobody() -> None:
    """If any matching pipe is full the send waits, and nobody gets it (1.4); others' topics go on."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        pub = ctx.socket(XPub, nodrop=True)
        a, every = sub_to(ctx, b"a"), sub_to(ctx, b"")
        await joined(ctx, pub, a, every, place="inproc://place")
        assert fill(pub, b"a1") == 2
        assert drain(every) == [[b"a1"]] * 2
        with pytest.raises(trio.WouldBlock):
            pub.send_nowait(b"a2")
        await nothing(every)
        pub.send_nowait(b"b")
        assert drain(every) == [[b"b"]]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pub.send, b"a3")
            await settle()
            with pytest.raises(trio.WouldBlock):
                pub.send_nowait(b"b2")  # first come, first served
            # The first that is taken makes room, and who waits is served at once.
            assert drain(a) == [[b"a1"], [b"a1"], [b"a3"]]
        assert drain(every) == [[b"a3"]]


@jumping
@pytest.mark.parametrize("end", ["unsubscribe", "close", "endpoint", "nodrop"])
async def test_nodrop_lets_go(end: str) -> None:
    """Who waits for a full subscriber goes on when that one no longer wants it, or is gone, or nodrop is off."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        pub, full = ctx.socket(XPub, nodrop=True), sub_to(ctx, b"", kind=XSub)
        pub.bind("inproc://place")
        endpoint = await joins(full, "inproc://place")
        assert fill(pub, b"x") == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pub.send, b"y")
            nursery.start_soon(pub.send_many, [b"1", b"2"])
            nursery.start_soon(pub.wait_sendable)
            await settle()
            if end == "unsubscribe":
                full.unsubscribe(b"")  # what it has not read yet is in nobody's way
            elif end == "close":
                full.close()
            elif end == "endpoint":
                endpoint.close()
            else:
                pub.nodrop = False
        assert await level(pub.wait_sendable)


@jumping
async def test_nodrop_by_hand() -> None:
    """XPUB_MANUAL: taking back a subscription by hand lets who waits for that peer go, too."""
    async with opened(send_hwm=1, receive_hwm=1) as ctx:
        pub, full = ctx.socket(XPub, nodrop=True, manual=True), sub_to(ctx, b"a", kind=XSub)
        await joined(ctx, pub, full, place="inproc://place")
        assert await pub.receive() == [b"\x01a"]
        pub.subscribe(b"b")
        assert fill(pub, b"b") == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pub.send, b"b")
            await settle()
            pub.unsubscribe(b"b")


# Subscribing


@jumping
@both
@subscribers
async def test_subscriptions_at_any_time(place: str, kind: Any) -> None:
    """Before and after connect; what is subscribed to when a message is sent counts; unsubscribe ends it."""
    async with opened() as ctx:
        pub, sub = ctx.socket(Pub), sub_to(ctx, b"early", kind=kind)
        await joined(ctx, pub, sub, place=place)
        await pub.wait_for_subscribers(1, b"early")
        sub.subscribe(b"late")
        await pub.wait_for_subscribers(1, b"late")
        for topic in (b"early", b"late", b"other"):
            await pub.send(topic)
        assert await all_of(sub) == [[b"early"], [b"late"]]
        sub.unsubscribe(b"early")
        await settle()
        for topic in (b"early", b"late"):
            await pub.send(topic)
        assert await all_of(sub) == [[b"late"]]


@jumping
@both
@subscribers
async def test_refcounts(place: str, kind: Any) -> None:
    """As often as it is subscribed to it must be taken back; an unknown topic is none (test_xpub_verbose)."""
    async with opened() as ctx:
        pub, sub = ctx.socket(XPub, verboser=True), sub_to(ctx, b"A", kind=kind)
        await joined(ctx, pub, sub, place=place)
        assert await all_of(pub) == [[b"\x01A"]]
        sub.unsubscribe(b"never")
        await nothing(pub)
        sub.subscribe(b"A")
        assert await all_of(pub) == [[b"\x01A"]]  # duplicates are forwarded
        sub.unsubscribe(b"A")
        await nothing(pub)
        await pub.send(b"A")
        assert await sub.receive() == [b"A"]
        sub.unsubscribe(b"A")
        assert await all_of(pub) == [[b"\0A"]]
        sub.unsubscribe(b"A")
        await nothing(pub)
        await pub.send(b"A")
        await nothing(sub)


@jumping
async def test_unsubscribe_drops_what_waits() -> None:
    """Sub filters again what came: after unsubscribe nothing of the topic is received, what else matches is (1.4)."""
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        pub, sub = ctx.socket(Pub, nodrop=True), sub_to(ctx, b"a", b"ab", b"b")
        await joined(ctx, pub, sub, place="inproc://place")
        for topic in (b"a", b"ab", b"b", b"a"):
            await pub.send([topic, b""])
        with pytest.raises(trio.WouldBlock):
            pub.send_nowait(b"b")
        sub.unsubscribe(b"a")
        assert await level(pub.wait_sendable)  # there is room again
        assert drain(sub) == [[b"ab", b""], [b"b", b""]]
        assert not await level(sub.wait_receivable)


@jumping
async def test_xsub_does_not_filter() -> None:
    """XSub takes what comes, subscribed to or not (1.2); Sub does not, over a network either."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        for kind, expected in ((XSub, [[b"unasked"], [b"asked"]]), (Sub, [[b"asked"]])):
            socket = sub_to(ctx, b"as", kind=kind)
            socket.bind("tcp://place:1")
            peer = RawPeer(await raw_connect(network))
            await peer.handshake(b"PUB")
            await peer.stream.send_all(zmtp_message(b"unasked") + zmtp_message(b"asked"))
            assert await all_of(socket) == expected
            socket.close()
            await peer.stream.aclose()


@jumping
@both
@subscribers
async def test_each_new_link_is_told(place: str, kind: Any) -> None:
    """All current subscriptions go to each new peer, one per distinct topic, whoever binds (1.4, 5.8)."""
    async with opened() as ctx:
        sub = sub_to(ctx, b"a", b"b", b"b", b"c", kind=kind)
        sub.unsubscribe(b"c")
        for n in range(2):
            pub = ctx.socket(XPub, verboser=True)
            pub.bind(f"{place}{n}")
            sub.connect(f"{place}{n}")
            assert sorted(await all_of(pub)) == [[b"\x01a"], [b"\x01b"]]
        sub.bind(place)
        pub = ctx.socket(XPub, verboser=True)
        await joins(pub, place)
        assert sorted(await all_of(pub)) == [[b"\x01a"], [b"\x01b"]]


@jumping
@subscribers
async def test_subscriptions_are_replayed_after_a_loss(kind: Any) -> None:
    """State, not messages: the new link has them all, once, changes made while there was none included (design 2)."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        pub, sub = ctx.socket(XPub, verboser=True), sub_to(ctx, b"a", b"b", kind=kind)
        await joined(ctx, pub, sub, place="tcp://place:1")
        assert sorted(await all_of(pub)) == [[b"\x01a"], [b"\x01b"]]
        for _ in range(3):
            network.drop_all()
            sub.subscribe(b"c")  # into the broken link, or between two links
            assert sorted(await all_of(pub)) == [[b"\0a"], [b"\0b"]]
            sub.subscribe(b"d")
            sub.unsubscribe(b"b")
            await pub.wait_for_subscribers(1, b"d")
            assert sorted(await all_of(pub)) == [[b"\x01a"], [b"\x01c"], [b"\x01d"]]
            sub.unsubscribe(b"c")
            sub.unsubscribe(b"d")
            sub.subscribe(b"b")
            assert sorted(await all_of(pub)) == [[b"\0c"], [b"\0d"], [b"\x01b"]]


@jumping
async def test_each_topic_is_replayed_once() -> None:
    """What still waited to be told when the connection broke is not told twice to the next one."""
    network = MemoryTransport(buffer=200)
    async with opened(network) as ctx:
        listener = network.bind("deaf:1", trimq._options.Settings())
        sub = ctx.socket(Sub)
        sub.connect("tcp://deaf:1")
        deaf = RawPeer(await listener.accept())
        await deaf.handshake(b"PUB")
        await sub.wait_for_peers()
        sub.subscribe(b"long" * 1000)  # the writer is busy with it
        await settle()
        sub.subscribe(b"a")
        sub.subscribe(b"b")
        sub.unsubscribe(b"b")
        await settle()
        network.drop_all()
        peer = RawPeer(await listener.accept())
        await peer.handshake(b"PUB")
        told = await peer.rest()
        assert told.count(b"\x09SUBSCRIBE") == 2
        assert told.count(zmtp_command(b"SUBSCRIBE", b"a")) == 1
        assert b"CANCEL" not in told


@jumping
@both
@subscribers
async def test_subscriptions_are_never_lost_to_a_mark(place: str, kind: Any) -> None:
    """libzmq loses those beyond SNDHWM (10 of 100 arrive); here all do (design 2)."""
    async with opened() as ctx:
        pub, sub = ctx.socket(XPub, receive_hwm=1), ctx.socket(kind, send_hwm=1)
        for n in range(50):
            sub.subscribe(b"%d" % n)
        await joined(ctx, pub, sub, place=place)
        for n in range(50, 100):
            sub.subscribe(b"%d" % n)
        assert await all_of(pub) == [[b"\x01%d" % n] for n in range(100)]


@jumping
async def test_a_pub_that_connects() -> None:
    """While its connection is down a peer keeps its subscriptions and its queue (RFC 29); it counts as no subscriber."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        pub, sub = ctx.socket(Pub), sub_to(ctx, b"")
        sub.bind("tcp://place:1")
        pub.connect("tcp://place:1")
        await pub.wait_for_subscribers()
        await pub.send(b"1")
        assert await sub.receive() == [b"1"]
        network.drop_all()
        await settle()
        assert pub.peers == ()
        await pub.send(b"between")
        assert not await level(lambda: pub.wait_for_subscribers(2), 0)
        await pub.wait_for_subscribers()
        await pub.send(b"2")
        assert await all_of(sub) == [[b"between"], [b"2"]]
        pub.disconnect("tcp://place:1")
        assert not pub._topics.match(b"")


# wait_for_subscribers


@jumping
@both
@publishers
async def test_wait_for_subscribers(place: str, kind: Any) -> None:
    """n direct peers that would receive any message starting with the topic; a level: at once if so, else until so."""
    async with opened() as ctx:
        pub, one, other = ctx.socket(kind), sub_to(ctx, b"ab"), sub_to(ctx, b"a", b"x")
        assert await level(lambda: pub.wait_for_subscribers(0, b"a"))
        assert not await level(pub.wait_for_subscribers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pub.wait_for_subscribers, 2, b"abc")
            await settle()
            await joined(ctx, pub, one, other, place=place)
        await settle()
        for n, topic, is_so in (
            (1, b"a", True),
            (2, b"a", False),
            (2, b"ab", True),
            (1, b"", False),
            (1, b"x", True),
            (2, None, True),
            (3, None, False),
        ):
            assert await level(lambda n=n, topic=topic: pub.wait_for_subscribers(n, topic)) is is_so
        other.close()
        await settle()
        assert not await level(lambda: pub.wait_for_subscribers(2))
        one.unsubscribe(b"ab")
        await settle()
        assert not await level(pub.wait_for_subscribers)
        for wrong in ("a", 1):
            with pytest.raises(TypeError):
                await pub.wait_for_subscribers(1, wrong)


# XPub: what it is told


@jumping
@both
async def test_xpub_verbose(place: str) -> None:
    """test_xpub_verbose: by default first and last only; VERBOSE every subscription; acts at any time."""
    async with opened() as ctx:
        pub, sub, other = ctx.socket(XPub), ctx.socket(Sub), ctx.socket(Sub)
        await joined(ctx, pub, sub, other, place=place)
        sub.subscribe(b"A")
        assert await all_of(pub) == [[b"\x01A"]]
        sub.subscribe(b"B")
        assert await all_of(pub) == [[b"\x01B"]]
        sub.subscribe(b"A")
        other.subscribe(b"A")
        await nothing(pub)
        pub.verbose = True
        sub.subscribe(b"A")
        assert await all_of(pub) == [[b"\x01A"]]
        for message in (b"A1", b"B1"):
            await pub.send(message)
        assert await all_of(sub) == [[b"A1"], [b"B1"]]
        for _ in range(3):
            sub.unsubscribe(b"A")
        await nothing(pub)
        other.unsubscribe(b"A")
        assert await all_of(pub) == [[b"\0A"]]


@jumping
@both
async def test_xpub_verboser(place: str) -> None:
    """VERBOSER: two subs give two subscriptions and two cancellations, and two more as they leave."""
    async with opened() as ctx:
        pub, one, other = ctx.socket(XPub, verboser=True), ctx.socket(Sub), ctx.socket(Sub)
        await joined(ctx, pub, one, other, place=place)
        for sub in (one, other):
            sub.subscribe(b"A")
        assert await all_of(pub) == [[b"\x01A"]] * 2
        for sub in (one, other, one):
            sub.unsubscribe(b"A")
        assert await all_of(pub) == [[b"\0A"]] * 2
        for sub in (one, other):
            sub.subscribe(b"A")
        await all_of(pub)
        one.close()
        assert await all_of(pub) == [[b"\0A"]]
        other.close()
        assert await all_of(pub) == [[b"\0A"]]


@jumping
@both
async def test_xpub_when_subscribers_leave(place: str) -> None:
    """`00 topic` for each topic that loses its last subscriber, and only those; once (test_disconnect_inproc)."""
    async with opened() as ctx:
        pub, one, other = ctx.socket(XPub), sub_to(ctx, b"mine", b"shared"), sub_to(ctx, b"shared")
        pub.bind(place)
        endpoint = await joins(one, place)
        await joins(other, place)
        assert sorted(await all_of(pub)) == [[b"\x01mine"], [b"\x01shared"]]
        endpoint.close()
        assert await all_of(pub) == [[b"\0mine"]]
        other.close()
        assert await all_of(pub) == [[b"\0shared"]]


@jumping
@both
@pytest.mark.parametrize("size", [0, 1, 244, 245, 246, 247, 255, 256, 70_000])
async def test_xpub_topics_of_any_length(place: str, size: int) -> None:
    """test_xpub_topic: 245 and 246 bytes make a command of 255 and 256; all are told exactly, both ways."""
    topic = b"t" * size
    async with opened() as ctx:
        pub, sub = ctx.socket(XPub), ctx.socket(Sub)
        await joined(ctx, pub, sub, place=place)
        sub.subscribe(topic)
        assert await pub.receive() == [b"\x01" + topic]
        sub.unsubscribe(topic)
        assert await pub.receive() == [b"\0" + topic]


@jumping
@both
async def test_upstream_messages(place: str) -> None:
    r"""What does not begin with 00 or 01 is the user's (test_xpub_manual, `\x02A`); a Pub discards it (1.4)."""
    async with opened() as ctx:
        xpub, pub, sub = ctx.socket(XPub), ctx.socket(Pub), ctx.socket(XSub)
        await joined(ctx, xpub, sub, place=place)
        await sub.send(b"\x02A")
        await sub.send([b"user", b"message", b""])
        await sub.send(b"")
        assert await all_of(xpub) == [[b"\x02A"], [b"user", b"message", b""], [b""]]
        await joined(ctx, pub, sub, place=place + "1")
        await sub.send(b"to both")
        await sub.send(b"\x01topic")
        await pub.wait_for_subscribers(1, b"topic")
        assert await all_of(xpub) == [[b"to both"], [b"\x01topic"]]


@jumping
@both
async def test_every_frame_is_interpreted(place: str) -> None:
    """Without ONLY_FIRST_SUBSCRIBE each frame of an upstream message may be a subscription (1.4)."""
    async with opened() as ctx:
        pub, sub = ctx.socket(XPub), ctx.socket(XSub)
        await joined(ctx, pub, sub, place=place)
        await sub.send([b"ABC", b"\x01BC", b"DEF"])
        assert sorted(await all_of(pub)) == [[b"\x01BC"], [b"ABC", b"DEF"]]
        await pub.send(b"BCD")
        assert await sub.receive() == [b"BCD"]


@jumping
@both
@pytest.mark.parametrize("fresh", [True, False])
async def test_welcome_message(place: str, fresh: bool) -> None:
    """test_xpub_welcome_msg: each new subscriber gets it first, if it is subscribed to it (SUB filters, XSUB does not)."""
    async with opened() as ctx:
        pub = ctx.socket(XPub, welcome_message=b"W" if fresh else b"")
        pub.welcome_message = b"W"
        subs = [sub_to(ctx, b"W"), sub_to(ctx, b"other"), sub_to(ctx), sub_to(ctx, kind=XSub)]
        await joined(ctx, pub, *subs, place=place)
        await pub.send(b"other")
        assert [await all_of(sub) for sub in subs] == [[[b"W"]], [[b"other"]], [], [[b"W"]]]
        assert await pub.receive() == [b"\x01W"]
        pub.welcome_message = b""
        late = sub_to(ctx, b"")
        await joins(late, place)
        await nothing(late)


# XPub: by hand


@jumping
@both
async def test_manual(place: str) -> None:
    """test_xpub_manual: the user subscribes for the peer, to other topics if it likes: A becomes XA, B XB."""
    async with opened() as ctx:
        pub, sub = ctx.socket(XPub, manual=True), ctx.socket(XSub)
        await joined(ctx, pub, sub, place=place)
        for topic in (b"A", b"B"):
            await sub.send(b"\x01" + topic)
            assert await pub.receive() == [b"\x01" + topic]
            await pub.send(topic)
            await nothing(sub)
            pub.subscribe(b"X" + topic)
        for topic in (b"A", b"XA", b"B", b"XB"):
            await pub.send(topic)
        assert await all_of(sub) == [[b"XA"], [b"XB"]]
        await sub.send(b"\0A")
        assert await pub.receive() == [b"\0A"]
        pub.unsubscribe(b"XA")
        for topic in (b"XA", b"XB"):
            await pub.send(topic)
        assert await all_of(sub) == [[b"XB"]]
        sub.close()
        # what the peer had asked for, once; what was subscribed by hand goes without a word
        assert await all_of(pub) == [[b"\0B"]]
        await pub.send(b"XB")
        pub.unsubscribe(b"XB")  # with no last pipe: nothing happens
        pub.subscribe(b"XB")
        assert not pub._topics.match(b"XB")


@jumping
@both
async def test_manual_is_for_the_last_peer(place: str) -> None:
    """test_xpub_manual: two subscribers, each topic attributed to the peer of the message received last."""
    async with opened() as ctx:
        pub, one, other = ctx.socket(XPub, manual=True), ctx.socket(Sub), ctx.socket(Sub)
        await joined(ctx, pub, one, other, place=place)
        one.subscribe(b"1")
        await settle()
        other.subscribe(b"2")
        await settle()
        assert await pub.receive() == [b"\x011"]
        pub.subscribe(b"1")
        assert await pub.receive() == [b"\x012"]
        pub.subscribe(b"2")
        for topic in (b"1", b"2"):
            await pub.send(topic)
        assert (await all_of(one), await all_of(other)) == ([[b"1"]], [[b"2"]])


@jumping
@both
async def test_manual_when_both_leave(place: str) -> None:
    """test_xpub_manual, the proxy: both of the same topic leave, and two `00 topic` come."""
    async with opened() as ctx:
        pub, subs = ctx.socket(XPub, manual=True), [sub_to(ctx, b"1") for _ in range(2)]
        await joined(ctx, pub, *subs, place=place)
        for _ in subs:
            assert await pub.receive() == [b"\x011"]
            pub.subscribe(b"1")
        await pub.send(b"1")
        for sub in subs:
            assert await sub.receive() == [b"1"]
            sub.close()
        assert await all_of(pub) == [[b"\x001"]] * 2
        assert not pub._topics.match(b"1")


@jumping
async def test_manual_only_if_it_is_on() -> None:
    """Without manual, subscribe on an XPub is a mistake that is told; so is a str."""
    async with opened() as ctx:
        pub = ctx.socket(XPub)
        for verb in (pub.subscribe, pub.unsubscribe):
            with pytest.raises(StateError, match="manual=True"):
                verb(b"A")
        pub.manual = True
        for verb in (pub.subscribe, pub.unsubscribe, ctx.socket(Sub).subscribe, ctx.socket(XSub).unsubscribe):
            with pytest.raises(TypeError):
                verb("A")  # type: ignore[arg-type]


# How an XSub sends


@jumping
@both
async def test_xsub_subscribes_by_message(place: str) -> None:
    """`01 topic` and `00 topic` are subscribe and unsubscribe, whatever form they are given in (1.4, XSUB)."""
    async with opened() as ctx:
        pub, sub = ctx.socket(XPub), ctx.socket(XSub)
        await sub.send(b"\x01early")
        await joined(ctx, pub, sub, place=place)
        sub.send_nowait([b"\x01A"])
        await sub.send(bytearray(b"\x01B"))
        await sub.send((memoryview(b"\x01"),))
        assert await all_of(pub) == [[b"\x01early"], [b"\x01A"], [b"\x01B"], [b"\x01"]]
        await sub.send(b"\0A")
        sub.unsubscribe(b"B")
        await sub.send(b"\0never")
        assert await all_of(pub) == [[b"\0A"], [b"\0B"]]


@jumping
async def test_xsub_never_waits() -> None:
    """Dropped if the upstream pipe is full, counted (mute action of XSUB); the others get it."""
    network = MemoryTransport(buffer=200)
    async with opened(network, send_hwm=2) as ctx:
        sub, pub = ctx.socket(XSub), ctx.socket(XPub)
        sub.bind("tcp://place:1")
        deaf = RawPeer(await raw_connect(network))
        await deaf.handshake(b"XPUB")
        await sub.wait_for_peers()
        await joins(pub, "tcp://place:1")
        await sub.wait_for_peers(2)
        for n in range(20):
            assert await level(lambda: sub.send(b"%02d" % n + b"x" * 150))  # noqa: B023
            await settle()
        assert await level(sub.wait_sendable)
        assert [message[0][:2] for message in await all_of(pub)] == [b"%02d" % n for n in range(20)]
        assert dropped(sub)[0] >= 10
        assert dropped(sub)[1] == 0


@jumping
async def test_xsub_sends_to_those_who_are_not_there_yet() -> None:
    """Connected first: user messages wait for each endpoint, and each gets a list of its own (inproc)."""
    async with opened() as ctx:
        sub, pubs = ctx.socket(XSub), [ctx.socket(XPub) for _ in range(2)]
        for n in range(2):
            sub.connect(f"inproc://{n}")
        await sub.send(b"one")
        await sub.send([b"t", b"w", b"o"])
        for n, pub in enumerate(pubs):
            pub.bind(f"inproc://{n}")
            received = await all_of(pub)
            assert received == [[b"one"], [b"t", b"w", b"o"]]
            received[1].clear()


# On the wire


@jumping
@pytest.mark.parametrize("minor", [0, 1])
@publishers
async def test_a_publisher_takes_both_forms(minor: int, kind: Any) -> None:
    """test_mock_pub_sub: a 3.1 peer's command and a 3.0 peer's `01 topic` mean the same (wire.md trap 8)."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        pub = ctx.socket(kind)
        pub.bind("tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"SUB", minor=minor)
        for on, off in (
            (zmtp_command(b"SUBSCRIBE", b"A"), zmtp_command(b"CANCEL", b"A")),
            (zmtp_message(b"\x01A"), zmtp_message(b"\0A")),
        ):
            await peer.stream.send_all(on)
            await pub.wait_for_subscribers(1, b"A")
            if kind is XPub:
                assert await pub.receive() == [b"\x01A"]
            await pub.send(b"ALOL")
            assert await peer.exactly(6) == b"\x00\x04ALOL"
            await peer.stream.send_all(off)
            await settle()
            assert not pub._topics.match(b"A")
            if kind is XPub:
                assert await pub.receive() == [b"\0A"]


@jumping
@pytest.mark.parametrize(
    ("minor", "on", "off"),
    [
        (0, b"\x00\x02\x01A", b"\x00\x02\x00A"),
        (1, b"\x04\x0b\x09SUBSCRIBEA", b"\x04\x08\x06CANCELA"),
    ],
)
@subscribers
async def test_a_subscriber_speaks_as_its_peer(minor: int, on: bytes, off: bytes, kind: Any) -> None:
    """test_mock_pub_sub: SUBSCRIBE commands to 3.1, `01 topic` to 3.0; in order; and again to each new link."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        sub = sub_to(ctx, b"A", kind=kind)
        sub.bind("tcp://place:1")
        for _ in range(2):
            peer = RawPeer(await raw_connect(network))
            await peer.handshake(b"XPUB", minor=minor)
            assert await peer.exactly(len(on)) == on
            await peer.stream.send_all(b"\x00\x04ALOL")
            assert await sub.receive() == [b"ALOL"]
            sub.unsubscribe(b"A")
            sub.subscribe(b"A")
            assert await peer.exactly(len(off + on)) == off + on
            assert await peer.rest() == b""
            await peer.stream.aclose()


@jumping
async def test_a_flood_of_subscriptions_ends_its_connection() -> None:
    """A peer's fault ends that peer's connection, never the program (promise 4); others are served."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        pub, sub = ctx.socket(Pub), sub_to(ctx, b"")
        await joined(ctx, pub, sub, place="tcp://place:1")
        peer = RawPeer(await raw_connect(network))
        await peer.handshake(b"SUB")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trimq._sockets._fan_out.MAX_TOPICS", 10)
            await peer.stream.send_all(b"".join(zmtp_message(b"\x01%d" % n) for n in range(11)))
            assert await peer.ended()
        await settle()
        assert len(pub.peers) == 1
        assert not pub._topics.match(b"10") or list(pub._topics.match(b"10")) == [remote(pub)]
        await pub.send(b"1")
        assert await sub.receive() == [b"1"]


# By hand


@jumping
@both
async def test_sub_forward(place: str) -> None:
    """test_sub_forward: a device of XPub and XSub by hand: subscriptions go up, publications down, an empty one too."""
    async with opened() as ctx:
        pub, back, front, sub = ctx.socket(Pub), ctx.socket(XSub), ctx.socket(XPub), ctx.socket(Sub)
        await joined(ctx, pub, back, place=place)
        await joined(ctx, front, sub, place=place + "1")
        sub.subscribe(b"")
        await back.send(await front.receive())
        await pub.wait_for_subscribers(1, b"")
        await pub.send(b"")
        await front.send(await back.receive())
        assert await sub.receive() == [b""]


@jumping
@both
async def test_a_proxy_by_hand(place: str) -> None:
    """XSub and XPub forward for three publishers and three subscribers; only what somebody wants comes through."""
    async with opened() as ctx:
        back, front = ctx.socket(XSub), ctx.socket(XPub)
        back.bind(place)
        front.bind(place + "1")

        async def proxy() -> None:
            while True:
                for socket in await trimq.wait_any(back, front):
                    other = front if socket is back else back
                    for message in drain(socket):
                        await other.send(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy)
            pubs = [ctx.socket(Pub) for _ in range(3)]
            subs = [sub_to(ctx, b"%d" % n, b"all") for n in range(3)]
            for socket in (*pubs, *subs):
                await joins(socket, place if isinstance(socket, Pub) else place + "1")
            for pub in pubs:
                for topic in (b"0", b"1", b"2", b"all"):
                    await pub.wait_for_subscribers(1, topic)
            for n, pub in enumerate(pubs):
                await pub.send([b"%d" % n, b"to one"])
                await pub.send([b"all", b"%d" % n])
                await pub.send(b"nobody")
            for n, sub in enumerate(subs):
                received = await all_of(sub)
                assert sorted(received) == [[b"%d" % n, b"to one"], [b"all", b"0"], [b"all", b"1"], [b"all", b"2"]]
            for sub in subs:
                sub.close()
            await settle()
            assert not any(pub._topics.match(b"all") for pub in pubs)
            nursery.cancel_scope.cancel()


# What they are


@jumping
async def test_types_have_what_they_can() -> None:
    """What a pattern cannot do, its class does not have; they are trio's channels (design 1)."""
    async with opened() as ctx:
        pub: Any = ctx.socket(Pub)
        sub: Any = ctx.socket(Sub)
        xpub: Any = ctx.socket(XPub)
        xsub: Any = ctx.socket(XSub)
        assert isinstance(pub, trio.abc.SendChannel)
        assert isinstance(sub, trio.abc.ReceiveChannel)
        receiving = ("receive", "receive_nowait", "receive_many", "wait_receivable", "__aiter__")
        sending = ("send", "send_nowait", "wait_sendable")
        for socket, lacks in (
            (pub, (*receiving, "subscribe", "unsubscribe", "verbose")),
            (sub, (*sending, "send_many", "wait_for_subscribers", "nodrop")),
            (xsub, ("wait_for_subscribers", "nodrop")),
        ):
            for name in lacks:
                assert not hasattr(socket, name), name
        for name in (*receiving, *sending, "send_many", "wait_for_subscribers", "subscribe", "unsubscribe"):
            assert hasattr(xpub, name), name
        for name in (*receiving, *sending, "subscribe", "unsubscribe"):
            assert hasattr(xsub, name), name


@jumping
async def test_sub_fair_queues() -> None:
    """From each publisher in turn (1.2)."""
    async with opened() as ctx:
        sub, pubs = sub_to(ctx, b""), [ctx.socket(Pub) for _ in range(3)]
        await joined(ctx, sub, *pubs, place="inproc://place")
        for n, pub in enumerate(pubs):
            await pub.send_many([b"%d" % n] * 2)
        received = [message for [message] in drain(sub)]
        assert sorted(received[:3]) == sorted(received[3:]) == [b"0", b"1", b"2"]


@jumping
async def test_unlimited() -> None:
    """A mark of math.inf never drops (and takes what memory it takes)."""
    async with opened(send_hwm=math.inf, receive_hwm=1) as ctx:
        pub, sub = ctx.socket(Pub), sub_to(ctx, b"")
        await joined(ctx, pub, sub, place="inproc://place")
        assert fill(pub, b"", 5000) == 5000
        assert len(drain(sub)) == 5000


async def test_a_subscriber_lowers_its_mark() -> None:
    """inproc: one pipe stands for both queues (libzmq.md 5.2), and a mark lowered at its other end holds at once."""
    async with trimq.open_context(linger=0.0) as context:
        pub, sub = context.socket(trimq.Pub, send_hwm=10), context.socket(trimq.Sub, receive_hwm=1000)
        sub.subscribe(b"")
        sub.connect(pub.bind("inproc://a"))
        pub.send_nowait(b"first")
        sub.receive_hwm = 5
        for _ in range(100):
            pub.send_nowait(b"x")
        received = [sub.receive_nowait()]
        with pytest.raises(trio.WouldBlock):
            while True:
                received.append(sub.receive_nowait())
        assert len(received) == 15
