"""Queues with another idea of full: byte limits, conflation, and what happens to a message when there is no room."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from sockets.helpers import both, drain, dropped, fill, joined, joins, jumping, opened, remote, settle

import trimq
from trimq.testing import MemoryTransport

KIB = 1024


# Bytes


@jumping
async def test_a_byte_limit_for_sending() -> None:
    """While so many bytes wait there is no room; one message may go beyond, and it opens again at half."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push, send_hwm_bytes=100)
        push.connect("tcp://place:1")
        assert fill(push, [bytes(20), bytes(10)]) == 4  # 90 and then 120
        assert push.statistics().queued == 4
        pull = ctx.socket(trimq.Pull)
        pull.bind("tcp://place:1")
        with trio.fail_after(100):
            await push.wait_sendable()
        await push.flush()
        assert fill(push, bytes(1000), 3) == 1


@jumping
async def test_a_byte_limit_for_receiving() -> None:
    """The link stops reading, the peer comes to wait, and nothing is lost or reordered."""
    network = MemoryTransport(buffer=4 * KIB)
    async with opened(network) as ctx:
        pull, push = ctx.socket(trimq.Pull, receive_hwm_bytes=10 * KIB), ctx.socket(trimq.Push, send_hwm=5)
        await joined(ctx, pull, push, place="tcp://place:1")
        sent = 0
        while push.statistics().queued < 5:
            sent += fill(push, b"%04d" % sent + bytes(KIB), 1)
            await settle()
        inbox = remote(pull).inbox
        assert 10 * KIB <= sum(len(item) for item in inbox.queue) <= 12 * KIB
        got = 0
        while got < sent:
            message = await pull.receive()
            assert message[0][:4] == b"%04d" % got
            got += 1


@jumping
async def test_small_messages_are_not_held_up_by_a_byte_limit() -> None:
    """The limit in messages still holds, and a limit in bytes lets batches through."""
    async with opened() as ctx:
        pull, push = ctx.socket(trimq.Pull, receive_hwm_bytes=1 << 20, receive_hwm=100), ctx.socket(trimq.Push)
        await joined(ctx, pull, push, place="tcp://place:1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send_many, [b"%d" % number for number in range(5000)])
            got = 0
            while got < 5000:
                for message in await pull.receive_many(50):
                    assert message == [b"%d" % got]
                    got += 1
                assert len(remote(pull).inbox) <= 100


@jumping
async def test_a_sub_with_a_byte_limit() -> None:
    """With its filter; unsubscribing makes room."""
    network = MemoryTransport(buffer=4 * KIB)
    async with opened(network) as ctx:
        pub, sub = ctx.socket(trimq.Pub, nodrop=True, send_hwm=5), ctx.socket(trimq.Sub, receive_hwm_bytes=10 * KIB)
        sub.subscribe(b"a")
        sub.subscribe(b"b")
        await joined(ctx, pub, sub, place="tcp://place:1")
        await pub.wait_for_subscribers(1, topic=b"b")
        for _ in range(100):
            fill(pub, b"a" + bytes(KIB), 1)
            await settle()
        assert not await sends(pub, b"b")
        sub.unsubscribe(b"a")
        assert await sends(pub, b"b")
        assert await sub.receive() == [b"b"]


async def sends(socket: Any, message: bytes) -> bool:
    with trio.move_on_after(10):
        await socket.send(message)
        return True
    return False


@jumping
async def test_byte_limits_over_inproc() -> None:
    """One queue stands for both: it is limited if both sides are, to the sum, as high-water marks are (libzmq.md 5.2)."""
    for ours, theirs, fits in ((100, 100, 7), (math.inf, 100, 50), (100, math.inf, 50)):
        async with opened() as ctx:
            push = ctx.socket(trimq.Push, send_hwm_bytes=ours)
            pull = ctx.socket(trimq.Pull, receive_hwm_bytes=theirs)
            await joined(ctx, pull, push, place="inproc://place")
            assert fill(push, bytes(30), 50) == fits


# Conflation


@jumping
@both
@pytest.mark.parametrize("side", ["sender", "receiver"])
@pytest.mark.parametrize(
    ("sending", "receiving"), [(trimq.Push, trimq.Pull), (trimq.Pub, trimq.Sub), (trimq.Dealer,) * 2]
)
async def test_only_the_latest(sending: Any, receiving: Any, side: str, place: str) -> None:
    """Of whole messages; those that were replaced are counted. (libzmq keeps the latest frame, and breaks messages.)"""
    async with opened(MemoryTransport(buffer=KIB)) as ctx:
        sender = ctx.socket(sending, conflate=side == "sender")
        receiver = ctx.socket(receiving, conflate=side == "receiver")
        if receiving is trimq.Sub:
            receiver.subscribe(b"")
        await joined(ctx, receiver, sender, place=place)
        await settle()
        for number in range(100):
            await sender.send([b"%d" % number, bytes(10 * KIB)])
        messages = []
        await settle()
        while more := drain(receiver):
            messages += more
            await settle()
        assert all(len(message) == 2 for message in messages)
        assert messages[-1][0] == b"99"
        missed = 100 - len(messages)
        assert missed > (50 if place.startswith("inproc") or side == "receiver" else 0)
        assert sum(socket.statistics().dropped for socket in (sender, receiver)) == missed


@jumping
async def test_a_conflating_sub_loses_no_subscription() -> None:
    """What goes out are subscriptions, and each of them counts (libzmq may lose some)."""
    async with opened() as ctx:
        pub, sub = ctx.socket(trimq.Pub), ctx.socket(trimq.Sub, conflate=True)
        await joined(ctx, pub, sub, place="tcp://place:1")
        for number in range(100):
            sub.subscribe(b"%d" % number)
        await settle()
        assert pub.statistics().topics == 100


@jumping
async def test_conflating_before_anybody_is_there() -> None:
    """One message waits for an endpoint, the latest."""
    async with opened() as ctx:
        push, pull = ctx.socket(trimq.Push, conflate=True, send_hwm=1), ctx.socket(trimq.Pull)
        push.connect("tcp://place:1")
        await push.send_many([b"%d" % number for number in range(10)])
        assert push.statistics().queued == 1
        pull.bind("tcp://place:1")
        assert await pull.receive() == [b"9"]
        assert (push.statistics().sent, push.statistics().dropped) == (1, 9)
        await push.flush()


# Mute: what happens where there is no room


@jumping
@both
@pytest.mark.parametrize("kind", [trimq.Push, trimq.Dealer, trimq.Pair])
@pytest.mark.parametrize("mute", ["block", "drop_new", "drop_old"])
async def test_mute(kind: Any, mute: str, place: str) -> None:
    """Waits, drops what comes, or drops what has waited for longest; send, send_many and send_nowait alike."""
    receiving = {trimq.Push: trimq.Pull}.get(kind, kind)
    async with opened(send_hwm=3, receive_hwm=1) as ctx:
        sender, receiver = ctx.socket(kind, mute=mute), ctx.socket(receiving)
        sender.connect(place)
        sender.send_nowait(b"0")
        await sender.send(b"1")
        await sender.send_many([b"2"])
        with trio.move_on_after(1) as scope:
            await sender.send(b"3")
            await sender.send_many([b"4", b"5"])
            sender.send_nowait(b"6")
        assert scope.cancelled_caught is (mute == "block")
        if mute == "block":
            with pytest.raises(trio.WouldBlock):
                sender.send_nowait(b"")
        assert dropped(sender) == [0 if mute == "block" else 4]
        receiver.bind(place)
        got = []
        for _ in range(3):
            got += await receiver.receive()
        assert got == {"drop_old": [b"4", b"5", b"6"]}.get(mute, [b"0", b"1", b"2"])
        await sender.flush()
        await settle()
        assert drain(receiver) == []


@jumping
async def test_mute_without_any_peer() -> None:
    """There is nothing to drop for anybody: the message itself is, and counted as unroutable."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push, mute="drop_old")
        push.bind("tcp://place:1")
        await push.send(b"")
        await push.send_many([b""] * 4)
        assert (push.statistics().unroutable, push.statistics().sent) == (5, 0)


@jumping
async def test_mute_takes_turns() -> None:
    """Where all peers are full, each loses in its turn."""
    async with opened(send_hwm=2) as ctx:
        push = ctx.socket(trimq.Push, mute="drop_old")
        for number in range(3):
            push.connect(f"tcp://place:{number + 1}")
        for number in range(12):
            await push.send(b"%d" % number)
        assert dropped(push) == [2, 2, 2]
        assert [list(one.outbox.queue) for one in push._remotes] == [[b"6", b"9"], [b"7", b"10"], [b"8", b"11"]]


@jumping
async def test_changing_mute_wakes_who_waits() -> None:
    """From block to a policy that never waits: the waiting send goes on."""
    async with opened(send_hwm=1) as ctx:
        push = ctx.socket(trimq.Push)
        push.connect("tcp://place:1")
        await push.send(b"0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send, b"1")
            await settle()
            push.mute = "drop_old"
        assert list(remote(push).outbox.queue) == [b"1"]
        push.mute = "block"
        with pytest.raises(trio.WouldBlock):
            push.send_nowait(b"2")


@jumping
@both
async def test_a_pub_that_drops_the_oldest(place: str) -> None:
    """The slow subscriber has the latest messages, the quick one all of them."""
    async with opened(MemoryTransport(buffer=KIB), send_hwm=3, receive_hwm=1) as ctx:
        pub, slow, quick = ctx.socket(trimq.Pub, mute="drop_old"), ctx.socket(trimq.Sub), ctx.socket(trimq.Sub)
        for sub in (slow, quick):
            sub.subscribe(b"")
        await joined(ctx, pub, slow, quick, place=place)
        await pub.wait_for_subscribers(2)
        got = []
        for number in range(30):
            await pub.send([b"%d" % number, bytes(KIB)])
            await settle()
            got += drain(quick)
        assert [message[0] for message in got] == [b"%d" % number for number in range(30)]
        late = []
        while more := drain(slow):
            late += [message[0] for message in more]
            await settle()
        assert late[-1] == b"29"
        assert len(late) + dropped(pub)[0] == 30
        assert late == sorted(late, key=int)


# Inverted matching (ZMQ_INVERT_MATCHING)


@jumping
@both
async def test_inverted_matching(place: str) -> None:
    """Subscribers get what they did not subscribe to; changed while it runs."""
    async with opened() as ctx:
        pub = ctx.socket(trimq.Pub, invert_matching=True)
        all_but_a, everything = (ctx.socket(trimq.Sub, invert_matching=True) for _ in range(2))
        all_but_a.subscribe(b"a")
        await joined(ctx, pub, all_but_a, everything, place=place)
        await pub.wait_for_subscribers(1)
        for message in (b"a1", b"b1", b"a2"):
            await pub.send(message)
        await settle()
        assert drain(all_but_a) == [[b"b1"]]
        assert drain(everything) == [[b"a1"], [b"b1"], [b"a2"]]
        pub.invert_matching = all_but_a.invert_matching = False
        await pub.send(b"a3")
        await settle()
        assert drain(all_but_a) == [[b"a3"]]
        assert drain(everything) == []
        endpoint = ctx.socket(trimq.Sub).connect(place)
        await joins(ctx.socket(trimq.Sub), str(endpoint))


@jumping
@both
async def test_only_the_latest_with_a_byte_limit(place: str) -> None:
    """A limit in bytes changes nothing where one message is all that waits, on either side."""
    options: dict[str, Any] = {"conflate": True, "send_hwm_bytes": 10, "receive_hwm_bytes": 10}
    async with opened() as ctx:
        push, pull = ctx.socket(trimq.Push, **options), ctx.socket(trimq.Pull, **options)
        await joined(ctx, pull, push, place=place)
        for number in range(10):
            await push.send(b"%d" % number + bytes(100))
        await settle()
        assert drain(pull)[-1] == [b"9" + bytes(100)]
        push.send_hwm = push.send_hwm_bytes = 1
        await push.send(bytes(100))
        await settle()
        assert drain(pull) == [[bytes(100)]]


@jumping
async def test_a_request_that_is_taken_back_is_not_counted_any_more() -> None:
    """Neither its bytes: else the queue would be full for ever, and empty."""
    async with opened() as ctx:
        req = ctx.socket(trimq.Req, send_hwm_bytes=1000)
        req.connect("tcp://place:1")
        for _ in range(20):
            with trio.move_on_after(1):
                await req.request(bytes(400))
        with trio.fail_after(1):
            await req.send(b"")


@jumping
async def test_mute_and_nodrop_are_one_setting_for_defaults_too() -> None:
    """A socket's own word comes before its context's, by whichever name."""
    for defaults, own, mute in (
        ({"mute": "drop_new"}, {"nodrop": True}, "block"),
        ({"nodrop": True}, {"mute": "drop_old"}, "drop_old"),
        ({"nodrop": True}, {}, "block"),
    ):
        async with opened(**defaults) as ctx:
            assert ctx.socket(trimq.Pub, **own).mute == mute  # type: ignore[call-overload]
